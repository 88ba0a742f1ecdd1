//! PATCH of an object: what the body names changes, the rest stays (a merge patch, RFC 7396).
//!
//! The patch is laid over the object as it is and planned as a write of that version; when somebody was faster, it
//! is tried anew, unless the patch itself names a version. Never in here: what is valid.

use super::{Asked, Writing, answer, object, of_path, reply_error, there_is_no, unknown_kind};
use crate::Center;
use crate::declared::ObjectKey;
use crate::declared::plan::{Fault, Finding, Wish};
use crate::intake::{Refused, Taken};
use crate::reply::refusal;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use std::sync::Arc;
use weft_api::kinds::Kind;
use weft_api::sync::FieldError;

/// A patch is tried so often when others change the object meanwhile.
const TRIES_MAX: usize = 4;

/// The types of a merge patch.
const TYPES: [&str; 2] = ["application/merge-patch+json", "application/json"];

/// Changes what the body names and leaves the rest: a merge patch (RFC 7396).
pub(super) async fn patch(
    State(center): State<Arc<Center>>,
    Path((namespace, plural, name)): Path<(String, String, String)>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let said = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if said.is_some_and(|said| !TYPES.iter().any(|known| said.starts_with(known.as_bytes()))) {
        let message = format!(
            "a PATCH here is a merge patch; send content-type {}",
            TYPES[0]
        );
        return refusal(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            &message,
        );
    }
    let request = match Writing::read(&center, asked, &headers, body).await {
        Ok(request) => request,
        Err(response) => return *response,
    };
    let Some(kind) = Kind::from_plural(&plural) else {
        return unknown_kind(&plural);
    };
    let key = ObjectKey::new(kind, &namespace, &name);
    let held = request.value["metadata"]["resourceVersion"].as_str();
    let is_held = held.is_some_and(|held| !held.is_empty());
    for _ in 1..TRIES_MAX {
        match patched(&center, &key, &request).await {
            // Somebody was faster, and the patch does not say that it may not be.
            Err(Refused::Faults(faults)) if !is_held && is_conflict(&faults) => {}
            outcome => return answer(&center, outcome, StatusCode::OK),
        }
    }
    let outcome = patched(&center, &key, &request).await;
    answer(&center, outcome, StatusCode::OK)
}

/// One try: the object as it is now with the patch, unless it changes meanwhile.
async fn patched(center: &Center, key: &ObjectKey, request: &Writing) -> Result<Taken, Refused> {
    let refused = |fault, error: FieldError| {
        Refused::Faults(vec![Finding {
            index: 0,
            fault,
            field: error.field,
            reason: error.reason,
        }])
    };
    let mut value = {
        let declared = center.declared();
        let Some(stored) = declared.object(key) else {
            let error = reply_error("metadata.name", &there_is_no(key));
            return Err(refused(Fault::NotFound, error));
        };
        object(stored, &Value::Null)
    };
    merge(&mut value, &request.value);
    let object = of_path(&value, key.kind, &key.namespace, Some(&key.name))
        .map_err(|error| refused(Fault::Invalid, error))?;
    let wish = Wish::Put(Box::new(object));
    center
        .intake(vec![wish], &request.author, request.dry_run)
        .await
}

/// RFC 7396: null takes away, objects are merged, everything else is replaced. As deep as JSON is read.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(target) = target else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

fn is_conflict(faults: &[Finding]) -> bool {
    faults
        .iter()
        .any(|finding| finding.fault == Fault::Conflict)
}
