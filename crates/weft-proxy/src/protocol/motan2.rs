//! Motan2.

pub(crate) mod server;
pub(crate) mod upstream;
