//! The API for instances and their sidecars: what is, how peers find it, and what a person takes out of use.
//!
//! Never in here: who may ask (`guard.rs`), what is true (`catalog.rs`).

use crate::api::{at_revision, of_namespace, port_object};
use crate::catalog::{Catalog, Entry, Owner, Sidecar};
use crate::reply::{self, MESH_VERSION, refusal, resource_version};
use crate::{Center, clock, guard};
use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use weft_api::sync;
use weft_model::ServiceName;

/// The paths that this part of the API answers.
pub(crate) const PATHS: [&str; 4] = [
    "/apis/mesh.weft.dev/v1alpha1/namespaces/{namespace}/instances",
    "/apis/mesh.weft.dev/v1alpha1/namespaces/{namespace}/instances/{id}",
    "/apis/mesh.weft.dev/v1alpha1/namespaces/{namespace}/instances/{id}/offline",
    "/apis/mesh.weft.dev/v1alpha1/namespaces/{namespace}/sidecars",
];

/// Peers told by name of one instance; of more only the counts are whole. Those with trouble come first.
const PEERS_TOLD_MAX: usize = 256;

/// Bytes of a request's body at the most.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// Whoever takes an instance out of use waits this long for the store.
const DURABLE_WAIT_MAX: Duration = Duration::from_secs(10);

pub(crate) fn routes() -> Router<Arc<Center>> {
    Router::new()
        .route(PATHS[0], get(instances))
        .route(PATHS[1], get(instance))
        .route(PATHS[2], post(offline))
        .route(PATHS[3], get(sidecars))
}

/// Which service an id belongs to, where two have it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Of {
    service: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfflineBody {
    offline: bool,
}

async fn instances(State(center): State<Arc<Center>>, Path(namespace): Path<String>) -> Response {
    let catalog = center.catalog();
    let items: Vec<Value> = of_namespace(&catalog, &namespace)
        .flat_map(|(_, place)| place.instances.values())
        .map(|entry| object(&catalog, entry))
        .collect();
    reply::list(MESH_VERSION, "InstanceList", catalog.version(), &items)
}

async fn instance(
    State(center): State<Arc<Center>>,
    Path((namespace, id)): Path<(String, String)>,
    Query(of): Query<Of>,
) -> Response {
    let catalog = center.catalog();
    match found(&catalog, &namespace, &id, &of) {
        Ok((_, entry)) => Json(object(&catalog, entry)).into_response(),
        Err(response) => *response,
    }
}

async fn sidecars(State(center): State<Arc<Center>>, Path(namespace): Path<String>) -> Response {
    let catalog = center.catalog();
    let connected = catalog.sidecars().map(|(_, sidecar)| sidecar);
    let items: Vec<Value> = connected
        .filter(|sidecar| *sidecar.service.namespace == *namespace)
        .map(sidecar_object)
        .collect();
    reply::list(MESH_VERSION, "SidecarList", catalog.version(), &items)
}

/// `{"offline": true}` takes an instance out of use, `false` takes it back. Answered when it is durable.
async fn offline(
    State(center): State<Arc<Center>>,
    Path((namespace, id)): Path<(String, String)>,
    Query(of): Query<Of>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if let Some(response) = guard::refuse_writer(&center, &headers) {
        return response;
    }
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes);
    let body = body.ok().and_then(|b| serde_json::from_slice(&b).ok());
    let Some(OfflineBody { offline }) = body else {
        let message =
            "the body is not what belongs here: {\"offline\": true} or {\"offline\": false}";
        return refusal(StatusCode::BAD_REQUEST, "BadRequest", message);
    };
    let (service, revision) = {
        let mut catalog = center.catalog();
        let service = match found(&catalog, &namespace, &id, &of) {
            Ok((service, _)) => service.clone(),
            Err(response) => return *response,
        };
        let word = sync::SetOffline {
            offline,
            changed_ms: clock::unix_millis(),
        };
        catalog.set_offline(&service, &id, word, clock::now());
        center.save(&mut catalog);
        (service, catalog.version().revision)
    };
    center.changed.notify_one();
    let mut durable = center.writer.durable();
    let kept = durable.wait_for(|durable| *durable >= revision);
    if !matches!(timeout(DURABLE_WAIT_MAX, kept).await, Ok(Ok(_))) {
        let message = format!(
            "\"{id}\" of \"{service}\" will be told as soon as the store can be written, which it could not be for {} \
             s; the center's log says why",
            DURABLE_WAIT_MAX.as_secs()
        );
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "StoreFailed", &message);
    }
    let catalog = center.catalog();
    let of = Of {
        service: Some(service.name.to_string()),
    };
    match found(&catalog, &namespace, &id, &of) {
        Ok((_, entry)) => Json(object(&catalog, entry)).into_response(),
        Err(response) => *response,
    }
}

/// The instance with an id, or why there is not one.
fn found<'a>(
    catalog: &'a Catalog,
    namespace: &'a str,
    id: &str,
    of: &Of,
) -> Result<(&'a ServiceName, &'a Entry), Box<Response>> {
    let own = of_namespace(catalog, namespace)
        .filter(|(name, _)| of.service.as_deref().is_none_or(|of| *of == *name.name))
        .filter_map(|(name, place)| Some((name, place.instances.get(id)?)));
    let found: Vec<_> = own.collect();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => {
            let message = format!(
                "there is no instance \"{id}\" in namespace \"{namespace}\"; \"weft get instances\" lists them"
            );
            let response = refusal(StatusCode::NOT_FOUND, "NotFound", &message);
            Err(Box::new(response))
        }
        several => {
            let services: Vec<_> = several.iter().map(|(name, _)| &*name.name).collect();
            let message = format!(
                "several services have an instance \"{id}\": {}; add ?service= with one of them",
                services.join(", ")
            );
            let response = refusal(StatusCode::CONFLICT, "Ambiguous", &message);
            Err(Box::new(response))
        }
    }
}

fn object(catalog: &Catalog, entry: &Entry) -> Value {
    let record = &entry.record;
    let sidecar = match entry.owner {
        Owner::Sidecar(stream) => catalog.sidecar(stream),
        Owner::Nobody { .. } | Owner::Person => None,
    };
    let acked = sidecar
        .and_then(|sidecar| sidecar.acked)
        .map(resource_version);
    let check = record.check.as_ref().map(|check| {
        json!({
            "kind": check.kind, "port": check.port, "path": check.path, "intervalMs": check.interval_ms,
        })
    });
    let kind = match check {
        Some(_) => "plain",
        None => "sidecar",
    };
    let (peers, counts) = peers(catalog, entry);
    json!({
        "apiVersion": MESH_VERSION,
        "kind": "Instance",
        "metadata": {
            "name": record.id,
            "namespace": record.namespace,
            "labels": record.labels,
            "resourceVersion": at_revision(catalog, entry.changed),
        },
        "spec": {
            "kind": kind,
            "service": record.service,
            "address": record.address,
            "inboundPort": record.inbound_port,
            "managementPort": record.management_port,
            "ports": record.ports.iter().map(port_object).collect::<Vec<_>>(),
            "zone": record.zone,
            "weight": record.weight,
            "idempotent": record.idempotent,
            "linkTls": record.link_tls,
            "check": check,
        },
        "status": {
            "state": state(record),
            "incarnation": record.incarnation,
            "sync": { "acked": acked, "refused": sidecar.and_then(refused) },
            "peers": peers,
            "peerCounts": counts,
        },
    })
}

/// How sidecars find the instance: those with trouble first, and how many find it how.
fn peers(catalog: &Catalog, entry: &Entry) -> (Vec<Value>, Map<String, Value>) {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut seen: Vec<_> = entry.seen.iter().collect();
    seen.sort_by_key(|(stream, seen)| (std::cmp::Reverse(seen.state), **stream));
    let mut peers = Vec::new();
    for (stream, seen) in seen {
        let state = seen.state.text();
        *counts.entry(state).or_default() += 1;
        if let Some(sidecar) = catalog.sidecar(*stream)
            && peers.len() < PEERS_TOLD_MAX
        {
            let reporter = &sidecar.instance;
            peers.push(json!({ "reporter": reporter, "state": state, "silentMs": seen.silent_ms }));
        }
    }
    let counts = counts
        .into_iter()
        .map(|(state, count)| (state.to_owned(), count.into()));
    (peers, counts.collect())
}

fn sidecar_object(sidecar: &Sidecar) -> Value {
    json!({
        "apiVersion": MESH_VERSION,
        "kind": "Sidecar",
        "metadata": { "name": sidecar.instance, "namespace": &*sidecar.service.namespace },
        "spec": { "service": &*sidecar.service.name },
        "status": {
            "keys": sidecar.keys_used(),
            "acked": sidecar.acked.map(resource_version),
            "refused": refused(sidecar),
        },
    })
}

fn refused(sidecar: &Sidecar) -> Option<Value> {
    let nack = sidecar.refused.as_ref()?;
    Some(json!({
        "version": nack.version.map(resource_version),
        "field": nack.field,
        "reason": nack.reason,
    }))
}

/// As the center believes it to be.
fn state(record: &sync::Instance) -> &'static str {
    match record.state() {
        sync::InstanceState::Draining => "Draining",
        _ if record.offline => "Offline",
        sync::InstanceState::StateUnknown => "Unknown",
        sync::InstanceState::Ready => "Ready",
        sync::InstanceState::Unconfirmed => "Unconfirmed",
    }
}
