//! The part of the API that only reads: services and what happened to their calls.
//!
//! Never in here: who may ask (`guard.rs`), what is true (`catalog.rs`), how it adds up (`stats.rs`).

use crate::catalog::{Catalog, ServiceEntry};
use crate::reply::{self, MESH_VERSION, STATS_VERSION, refusal, resource_version};
use crate::stats::Summary;
use crate::{Center, clock, guard};
use axum::Router;
use axum::extract::{Path, State};
use axum::middleware;
use axum::response::Response;
use axum::routing::get;
use http::{StatusCode, Uri};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use weft_api::sync;
use weft_model::ServiceName;

/// The paths that the API answers, as its 404 lists them.
const PATHS: [&str; 2] = [
    "/apis/mesh.weft.dev/v1alpha1/namespaces/{namespace}/services",
    "/apis/stats.weft.dev/v1alpha1/namespaces/{namespace}/services",
];

/// The routes for people. Health is for anybody.
pub(crate) fn routes(center: &Arc<Center>) -> Router<Arc<Center>> {
    Router::new()
        .route(PATHS[0], get(services))
        .route(PATHS[1], get(stats))
        .merge(crate::instances_api::routes())
        .merge(crate::objects_api::routes())
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .route_layer(middleware::from_fn_with_state(
            Arc::clone(center),
            guard::readers,
        ))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async || "ready\n"))
}

async fn services(State(center): State<Arc<Center>>, Path(namespace): Path<String>) -> Response {
    let catalog = center.catalog();
    let items: Vec<Value> = of_namespace(&catalog, &namespace)
        .map(|(name, place)| service_object(&catalog, name, place))
        .collect();
    reply::list(MESH_VERSION, "ServiceList", catalog.version(), &items)
}

async fn stats(State(center): State<Arc<Center>>, Path(namespace): Path<String>) -> Response {
    let now = clock::now();
    let catalog = center.catalog();
    let stats = center.stats();
    let items: Vec<Value> = of_namespace(&catalog, &namespace)
        .map(|(name, place)| {
            let mut own = summary_fields(&stats.service(name, now));
            own.insert("instances".into(), json!(place.instances.len()));
            let edges: Vec<Value> = stats
                .edges(name, now)
                .into_iter()
                .map(|(caller, summary)| {
                    let mut edge = summary_fields(&summary);
                    edge.insert("caller".into(), json!(caller));
                    Value::Object(edge)
                })
                .collect();
            json!({
                "apiVersion": STATS_VERSION,
                "kind": "ServiceStats",
                "metadata": { "name": &*name.name, "namespace": &*name.namespace },
                "stats": own,
                "edges": edges,
            })
        })
        .collect();
    reply::list(STATS_VERSION, "ServiceStatsList", catalog.version(), &items)
}

async fn unknown_path(uri: Uri) -> Response {
    let message = format!(
        "the center has no path \"{}\"; it has {}, {}, {}, /healthz and /readyz",
        uri.path(),
        PATHS.join(", "),
        crate::instances_api::PATHS.join(", "),
        crate::objects_api::PATHS.join(", ")
    );
    refusal(StatusCode::NOT_FOUND, "NotFound", &message)
}

async fn wrong_method(uri: Uri) -> Response {
    let message = format!(
        "\"{}\" does not take this method: use GET, or PUT to change an object",
        uri.path()
    );
    refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", &message)
}

pub(crate) fn of_namespace<'a>(
    catalog: &'a Catalog,
    namespace: &'a str,
) -> impl Iterator<Item = (&'a ServiceName, &'a ServiceEntry)> {
    catalog
        .services()
        .filter(move |(name, _)| &*name.namespace == namespace)
}

fn service_object(catalog: &Catalog, name: &ServiceName, place: &ServiceEntry) -> Value {
    let mut ports: Vec<&sync::Port> = Vec::new();
    let used = place.instances.values();
    let used = used.flat_map(|entry| &entry.record.ports);
    for port in used.chain(place.declared_ports()) {
        if !ports.iter().any(|known| known.name == port.name) {
            ports.push(port);
        }
    }
    let in_state = |state| {
        place
            .instances
            .values()
            .filter(|entry| !entry.record.offline && entry.record.state() == state)
            .count()
    };
    let offline = place.instances.values().filter(|e| e.record.offline);
    json!({
        "apiVersion": MESH_VERSION,
        "kind": "Service",
        "metadata": {
            "name": &*name.name,
            "namespace": &*name.namespace,
            "resourceVersion": at_revision(catalog, place.changed),
        },
        "spec": { "ports": ports.into_iter().map(port_object).collect::<Vec<_>>() },
        "status": {
            "instances": place.instances.len(),
            "ready": in_state(sync::InstanceState::Ready),
            "unconfirmed": in_state(sync::InstanceState::Unconfirmed),
            "draining": in_state(sync::InstanceState::Draining),
            "offline": offline.count(),
        },
    })
}

pub(crate) fn port_object(port: &sync::Port) -> Value {
    let mut fields = Map::new();
    fields.insert("name".into(), json!(port.name));
    fields.insert("protocol".into(), json!(port.protocol));
    fields.insert("port".into(), json!(port.number));
    let rpc = [
        ("interface", &port.interface),
        ("group", &port.group),
        ("version", &port.version),
    ];
    for (name, value) in rpc {
        if !value.is_empty() {
            fields.insert(name.into(), json!(value));
        }
    }
    Value::Object(fields)
}

/// Microseconds and calls a second; null where no call was seen.
fn summary_fields(summary: &Summary) -> Map<String, Value> {
    let rounded = (summary.calls_per_second * 100.0).round() / 100.0;
    let fields = [
        ("calls_per_second", json!(rounded)),
        ("success", json!(summary.success)),
        ("p50_us", json!(summary.p50_us)),
        ("p95_us", json!(summary.p95_us)),
        ("p99_us", json!(summary.p99_us)),
    ];
    fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

pub(crate) fn at_revision(catalog: &Catalog, revision: u64) -> String {
    resource_version(sync::Version {
        revision,
        ..catalog.version()
    })
}
