//! weft-telemetry
