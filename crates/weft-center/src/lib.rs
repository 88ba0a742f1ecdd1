//! weft-center
