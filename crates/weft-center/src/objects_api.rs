//! The API for what people declare: one object, a list, a whole set, and what was before.
//!
//! | file | defines |
//! |---|---|
//! | `objects_api/patch.rs` | PATCH: the object as it is with what the body names |
//!
//! Whoever reads is let through by `guard.rs` as everywhere; whoever writes shows the token, also on this
//! machine. Never in here: what is valid (weft-api), what becomes of it (`declared.rs`).

mod patch;

use crate::declared::plan::{Fault, Finding, Outcome, Wish};
use crate::declared::{ObjectKey, Past, Stored};
use crate::intake::{Refused, Taken};
use crate::reply::{self, MESH_VERSION, refusal, resource_version};
use crate::{Center, clock, guard, watch_api};
use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use weft_api::kinds::{Kind, Object};
use weft_api::sync::FieldError;

/// Bytes of a request's body at the most.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Objects in one set at the most.
const SET_MAX: usize = 2_000;

/// Faults told of one set at the most.
const FAULTS_TOLD_MAX: usize = 100;

/// Bytes of an author's name at the most.
const AUTHOR_BYTES_MAX: usize = 128;

/// The paths that this part of the API answers.
pub(crate) const PATHS: [&str; 5] = [
    "/apis/mesh.weft.dev/v1alpha1/namespaces/{namespace}/{plural}",
    "/apis/mesh.weft.dev/v1alpha1/namespaces/{namespace}/{plural}/{name}",
    "/apis/mesh.weft.dev/v1alpha1/namespaces/{namespace}/{plural}/{name}/history",
    "/apis/mesh.weft.dev/v1alpha1/apply",
    "/apis/mesh.weft.dev/v1alpha1/backup",
];

/// What a request may say behind its `?`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Options {
    /// `All`: nothing is done, and the answer says what would be.
    dry_run: Option<String>,
    /// Who writes.
    field_manager: Option<String>,
    /// DELETE: only if it is still this version. A watch: what comes after it.
    resource_version: Option<String>,
    /// Of a list: `true` to follow it.
    watch: Option<bool>,
    /// Of a set: the namespace of objects that name none.
    namespace: Option<String>,
}

type Asked = Result<Query<Options>, axum::extract::rejection::QueryRejection>;

pub(crate) fn routes() -> Router<Arc<Center>> {
    Router::new()
        .route(PATHS[0], get(list).post(create))
        .route(
            PATHS[1],
            get(one).put(put).patch(patch::patch).delete(delete),
        )
        .route(PATHS[2], get(history))
        .route(PATHS[3], post(apply))
        .route(PATHS[4], get(backup))
}

async fn list(
    State(center): State<Arc<Center>>,
    Path((namespace, plural)): Path<(String, String)>,
    asked: Asked,
) -> Response {
    let Some(kind) = Kind::from_plural(&plural) else {
        return unknown_kind(&plural);
    };
    match asked {
        Err(error) => {
            return refusal(StatusCode::BAD_REQUEST, "BadRequest", &error.body_text());
        }
        Ok(Query(options)) if options.watch == Some(true) => {
            let from = options.resource_version.as_deref();
            return watch_api::watch(&center, kind, namespace, from);
        }
        Ok(_) => {}
    }
    let declared = center.declared();
    let objects = declared.objects(kind, &namespace);
    let items: Vec<Value> = objects
        .map(|stored| object(stored, &declared.status(stored)))
        .collect();
    let name = format!("{}List", kind.name());
    // Not that of the catalog: a set that is being made durable has revisions already.
    reply::list(MESH_VERSION, &name, declared.recent().version(), &items)
}

async fn one(
    State(center): State<Arc<Center>>,
    Path((namespace, plural, name)): Path<(String, String, String)>,
) -> Response {
    let Some(kind) = Kind::from_plural(&plural) else {
        return unknown_kind(&plural);
    };
    let key = ObjectKey::new(kind, &namespace, &name);
    let declared = center.declared();
    match declared.object(&key) {
        Some(stored) => Json(object(stored, &declared.status(stored))).into_response(),
        None => not_found(&key),
    }
}

async fn history(
    State(center): State<Arc<Center>>,
    Path((namespace, plural, name)): Path<(String, String, String)>,
) -> Response {
    let Some(kind) = Kind::from_plural(&plural) else {
        return unknown_kind(&plural);
    };
    let key = ObjectKey::new(kind, &namespace, &name);
    let declared = center.declared();
    let items: Vec<Value> = declared.history(&key).map(past).collect();
    if items.is_empty() && declared.object(&key).is_none() {
        return not_found(&key);
    }
    reply::list(
        MESH_VERSION,
        "ChangeList",
        center.catalog().version(),
        &items,
    )
}

async fn create(
    State(center): State<Arc<Center>>,
    Path((namespace, plural)): Path<(String, String)>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let request = Writing::read(&center, asked, &headers, body).await;
    let request = match request {
        Ok(request) => request,
        Err(response) => return *response,
    };
    let Some(kind) = Kind::from_plural(&plural) else {
        return unknown_kind(&plural);
    };
    match of_path(&request.value, kind, &namespace, None) {
        Ok(object) => {
            let wish = Wish::Create(Box::new(object));
            request.one(&center, wish, StatusCode::CREATED).await
        }
        Err(error) => invalid(&[(0, error)]),
    }
}

async fn put(
    State(center): State<Arc<Center>>,
    Path((namespace, plural, name)): Path<(String, String, String)>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let request = match Writing::read(&center, asked, &headers, body).await {
        Ok(request) => request,
        Err(response) => return *response,
    };
    let Some(kind) = Kind::from_plural(&plural) else {
        return unknown_kind(&plural);
    };
    match of_path(&request.value, kind, &namespace, Some(&name)) {
        Ok(object) => {
            let wish = Wish::Put(Box::new(object));
            request.one(&center, wish, StatusCode::OK).await
        }
        Err(error) => invalid(&[(0, error)]),
    }
}

async fn delete(
    State(center): State<Arc<Center>>,
    Path((namespace, plural, name)): Path<(String, String, String)>,
    asked: Asked,
    headers: HeaderMap,
) -> Response {
    let request = match Writing::read(&center, asked, &headers, Body::from("{}")).await {
        Ok(request) => request,
        Err(response) => return *response,
    };
    let Some(kind) = Kind::from_plural(&plural) else {
        return unknown_kind(&plural);
    };
    let key = ObjectKey::new(kind, &namespace, &name);
    let expected = request.expected.clone();
    request
        .one(&center, Wish::Delete(key, expected), StatusCode::OK)
        .await
}

/// A whole set: `{"items": [...]}`. All of it is taken, or nothing.
async fn apply(
    State(center): State<Arc<Center>>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let request = match Writing::read(&center, asked, &headers, body).await {
        Ok(request) => request,
        Err(response) => return *response,
    };
    let Some(items) = request.value.get("items").and_then(Value::as_array) else {
        let error = reply_error("items", "it is missing; a list of objects belongs here");
        return invalid(&[(0, error)]);
    };
    if items.len() > SET_MAX {
        let reason = format!(
            "{} objects are more than {SET_MAX}; apply them in parts",
            items.len()
        );
        return invalid(&[(0, reply_error("items", &reason))]);
    }
    let mut wishes = Vec::with_capacity(items.len());
    let mut faults = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match Object::from_json(item, &request.namespace) {
            Ok(object) => wishes.push(Wish::Put(Box::new(object))),
            Err(error) => faults.push((index, error)),
        }
    }
    if !faults.is_empty() {
        return invalid(&faults);
    }
    match center
        .intake(wishes, &request.author, request.dry_run)
        .await
    {
        Err(refused) => refused_response(refused),
        Ok(taken) => {
            let outcomes = taken.outcomes.iter();
            let items: Vec<Value> = outcomes.map(|o| outcome(&center, o)).collect();
            reply::list(MESH_VERSION, "ChangeResultList", taken.version, &items)
        }
    }
}

/// All that is kept, as one file for `weft center restore`.
async fn backup(State(center): State<Arc<Center>>, headers: HeaderMap) -> Response {
    if let Some(response) = guard::refuse_writer(&center, &headers) {
        return response;
    }
    match center.writer.rows().await {
        Ok(rows) if rows.is_empty() => {
            let message = "this center keeps nothing (it was started with --memory): there is nothing to back up";
            refusal(StatusCode::CONFLICT, "NothingKept", message)
        }
        Ok(rows) => crate::store::backup::written(&rows).into_response(),
        Err(error) => refused_response(Refused::Store(error)),
    }
}

/// A request that wants to change something, from somebody who may.
struct Writing {
    value: Value,
    author: String,
    dry_run: bool,
    namespace: String,
    expected: Option<String>,
}

impl Writing {
    async fn read(
        center: &Center,
        asked: Asked,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Self, Box<Response>> {
        if let Some(response) = guard::refuse_writer(center, headers) {
            return Err(Box::new(response));
        }
        let wrong =
            |message: &str| Box::new(refusal(StatusCode::BAD_REQUEST, "BadRequest", message));
        let options = match asked {
            Ok(Query(options)) => options,
            Err(error) => return Err(wrong(&error.body_text())),
        };
        let dry_run = match options.dry_run.as_deref() {
            None | Some("") => false,
            Some("All") => true,
            Some(other) => {
                return Err(wrong(&format!("dryRun is \"{other}\"; allowed is All")));
            }
        };
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|_| {
            let message = format!(
                "the body is longer than {BODY_BYTES_MAX} bytes, or it broke off; apply in parts"
            );
            Box::new(refusal(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", &message))
        })?;
        let value = serde_json::from_slice(&body.to_bytes())
            .map_err(|error| wrong(&format!("the body is no JSON: {error}")))?;
        let mut author = options.field_manager.unwrap_or_default();
        if author.is_empty() {
            "unknown".clone_into(&mut author);
        }
        if author.len() > AUTHOR_BYTES_MAX || author.chars().any(char::is_control) {
            let message = format!(
                "fieldManager is longer than {AUTHOR_BYTES_MAX} bytes or has control characters"
            );
            return Err(wrong(&message));
        }
        Ok(Self {
            value,
            author,
            dry_run,
            namespace: options.namespace.unwrap_or_default(),
            expected: options.resource_version,
        })
    }

    /// Grants one wish and answers with the object.
    async fn one(self, center: &Center, wish: Wish, code: StatusCode) -> Response {
        let outcome = center.intake(vec![wish], &self.author, self.dry_run).await;
        answer(center, outcome, code)
    }
}

/// The object that became of one wish.
fn answer(center: &Center, outcome: Result<Taken, Refused>, code: StatusCode) -> Response {
    match outcome {
        Err(refused) => refused_response(refused),
        Ok(Taken { outcomes, .. }) => {
            let state = outcomes
                .first()
                .and_then(|o| o.after.as_ref().or(o.before.as_ref()));
            let state = state.map(|stored| object(stored, &center.declared().status(stored)));
            (code, Json(state.unwrap_or_default())).into_response()
        }
    }
}

/// An object from a request whose path names its kind and place too.
fn of_path(
    value: &Value,
    kind: Kind,
    namespace: &str,
    name: Option<&str>,
) -> Result<Object, FieldError> {
    let object = Object::from_json(value, namespace)?;
    let differs = |field: &str, found: &str, path: &str| {
        reply_error(
            field,
            &format!("found \"{found}\", but the path says \"{path}\""),
        )
    };
    if object.kind != kind {
        return Err(differs("kind", object.kind.name(), kind.name()));
    }
    if object.metadata.namespace != namespace {
        return Err(differs(
            "metadata.namespace",
            &object.metadata.namespace,
            namespace,
        ));
    }
    match name {
        Some(name) if object.metadata.name != name => {
            Err(differs("metadata.name", &object.metadata.name, name))
        }
        _ => Ok(object),
    }
}

pub(crate) fn object(stored: &Stored, status: &Value) -> Value {
    json!({
        "apiVersion": MESH_VERSION,
        "kind": stored.key.kind.name(),
        "metadata": {
            "name": stored.key.name,
            "namespace": stored.key.namespace,
            "labels": stored.labels,
            "resourceVersion": resource_version(stored.version),
            "generation": stored.generation,
            "creationTimestamp": clock::rfc3339(stored.created_ms),
        },
        "spec": stored.spec,
        "status": status,
    })
}

fn past(past: &Past) -> Value {
    json!({
        "kind": past.key.kind.name(),
        "metadata": {
            "name": past.key.name,
            "namespace": past.key.namespace,
            "labels": past.labels,
            "generation": past.generation,
        },
        "change": past.deed.name(),
        "author": past.author,
        "at": clock::rfc3339(past.at_ms),
        "spec": past.spec,
    })
}

fn outcome(center: &Center, outcome: &Outcome) -> Value {
    let declared = center.declared();
    let shown = |stored: &Option<Stored>| {
        let stored = stored.as_ref();
        stored.map(|stored| object(stored, &declared.status(stored)))
    };
    json!({
        "kind": outcome.key.kind.name(),
        "metadata": { "name": outcome.key.name, "namespace": outcome.key.namespace },
        "change": outcome.deed.map_or("unchanged", crate::declared::Deed::name),
        "before": shown(&outcome.before),
        "after": shown(&outcome.after),
    })
}

fn reply_error(field: &str, reason: &str) -> FieldError {
    FieldError {
        field: field.to_owned(),
        reason: reason.to_owned(),
    }
}

fn not_found(key: &ObjectKey) -> Response {
    refusal(StatusCode::NOT_FOUND, "NotFound", &there_is_no(key))
}

fn there_is_no(key: &ObjectKey) -> String {
    let (
        kind,
        ObjectKey {
            name, namespace, ..
        },
    ) = (key.kind.name(), key);
    format!("there is no {kind} \"{name}\" in namespace \"{namespace}\"")
}

fn unknown_kind(plural: &str) -> Response {
    let known: Vec<_> = Kind::ALL.iter().map(|kind| kind.plural()).collect();
    let message = format!(
        "the center has no \"{plural}\"; it has services, instances, {}",
        known.join(", ")
    );
    refusal(StatusCode::NOT_FOUND, "NotFound", &message)
}

fn invalid(faults: &[(usize, FieldError)]) -> Response {
    let findings: Vec<Finding> = faults
        .iter()
        .map(|(index, error)| Finding {
            index: *index,
            fault: Fault::Invalid,
            field: error.field.clone(),
            reason: error.reason.clone(),
        })
        .collect();
    refused_response(Refused::Faults(findings))
}

fn refused_response(refused: Refused) -> Response {
    let findings = match refused {
        Refused::Faults(findings) => findings,
        Refused::Store(error) => {
            let message = format!("nothing was changed: {error}");
            return refusal(StatusCode::INSUFFICIENT_STORAGE, "NotDurable", &message);
        }
    };
    let (code, reason) = match findings.first().map(|finding| finding.fault) {
        Some(Fault::Conflict) => (StatusCode::CONFLICT, "Conflict"),
        Some(Fault::AlreadyExists) => (StatusCode::CONFLICT, "AlreadyExists"),
        Some(Fault::NotFound) => (StatusCode::NOT_FOUND, "NotFound"),
        Some(Fault::Full) => (StatusCode::INSUFFICIENT_STORAGE, "Full"),
        Some(Fault::Invalid) | None => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid"),
    };
    let told = findings.iter().take(FAULTS_TOLD_MAX);
    let causes: Vec<Value> = told
        .clone()
        .map(|f| json!({ "index": f.index, "field": f.field, "message": f.reason }))
        .collect();
    let lines: Vec<String> = told
        .map(|f| format!("item {}: {}: {}", f.index + 1, f.field, f.reason))
        .collect();
    let message = format!("nothing was changed: {}", lines.join("; "));
    reply::refusal_with(code, reason, &message, json!({ "causes": causes }))
}
