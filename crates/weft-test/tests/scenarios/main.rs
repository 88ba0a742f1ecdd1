//! The scenarios: real sidecars over one link, apps and callers that a test controls byte by byte. One module per
//! behaviour; each scenario ends with the question whether every call was recorded.

mod bodies;
mod failures;
mod fields;
mod http;
mod many;
mod routing;
