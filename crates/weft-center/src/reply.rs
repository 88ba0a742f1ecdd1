//! The shapes in which the center answers people: lists, objects and refusals as the Kubernetes API has
//! them, because the kinds are.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};
use weft_api::sync;

/// The API group of services and instances.
pub(crate) const MESH_VERSION: &str = "mesh.weft.dev/v1alpha1";

/// The API group of what happened to calls.
pub(crate) const STATS_VERSION: &str = "stats.weft.dev/v1alpha1";

/// A refusal: what was asked, what was found, what to do.
pub(crate) fn refusal(code: StatusCode, reason: &str, message: &str) -> Response {
    refusal_with(code, reason, message, Value::Null)
}

/// A refusal with details for programs.
pub(crate) fn refusal_with(
    code: StatusCode,
    reason: &str,
    message: &str,
    details: Value,
) -> Response {
    let mut status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code.as_u16(),
    });
    if !details.is_null() {
        status["details"] = details;
    }
    (code, Json(status)).into_response()
}

/// A list of a kind at a version of the center's state.
pub(crate) fn list(
    api_version: &str,
    kind: &str,
    version: sync::Version,
    items: &[Value],
) -> Response {
    let list = json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": { "resourceVersion": resource_version(version) },
        "items": items,
    });
    Json(list).into_response()
}

/// `<epoch>.<revision>`.
pub(crate) fn resource_version(version: sync::Version) -> String {
    format!("{}.{}", version.epoch, version.revision)
}
