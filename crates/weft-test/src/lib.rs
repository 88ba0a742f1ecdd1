//! weft-test
