//! What people declare: the closed table of kinds, the envelope that all share, and one object from its JSON.
//!
//! | file | defines |
//! |---|---|
//! | `kinds/document.rs` | YAML and JSON with the line of every field; the one place that knows the YAML crate |
//! | `kinds/field.rs` | durations, shares, names, and what is wrong with them |
//! | `kinds/example.rs` | one object of each kind |
//! | `kinds/reference.rs` | the reference page (feature `schema`) |
//! | `kinds/port.rs` | the shape of a port |
//! | `kinds/mesh.rs`, `kinds/service.rs`, `kinds/lifecycle.rs`, `kinds/workload.rs` | a kind's spec, and its model |
//!
//! Specs are what people wrote and are kept as they wrote them; models are what is true. Never in here: who
//! may write, where it is kept.

pub mod document;
pub mod example;
pub mod field;
pub mod lifecycle;
pub mod mesh;
pub mod port;
#[cfg(feature = "schema")]
pub mod reference;
pub mod service;
pub mod workload;

use crate::sync::FieldError;
use field::wrong;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use weft_model::declared::{DeclaredService, Lifecycle, MeshSettings, PlainInstance};
use weft_model::instance::NAMESPACE_DEFAULT;

/// The API group and version of all kinds.
pub const API_VERSION: &str = "mesh.weft.dev/v1alpha1";

/// Labels of one object at the most.
pub const LABELS_MAX: usize = 64;

/// Bytes of one object's spec at the most, as JSON without spaces.
pub const SPEC_BYTES_MAX: usize = 64 * 1024;

/// A kind of object. Closed: a new kind is a new row here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Settings of the whole mesh.
    Mesh,
    /// A service.
    MeshService,
    /// How instances start, stop and stay.
    LifecyclePolicy,
    /// An instance without a sidecar.
    Workload,
}

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Mesh,
        Self::MeshService,
        Self::LifecyclePolicy,
        Self::Workload,
    ];

    /// As in `kind:`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mesh => "Mesh",
            Self::MeshService => "MeshService",
            Self::LifecyclePolicy => "LifecyclePolicy",
            Self::Workload => "Workload",
        }
    }

    /// As in a path of the API.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Mesh => "meshes",
            Self::MeshService => "meshservices",
            Self::LifecyclePolicy => "lifecyclepolicies",
            Self::Workload => "workloads",
        }
    }

    /// The kind that is written `MeshService`, `meshservice` or `meshservices`.
    pub fn from_name(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| {
            text.eq_ignore_ascii_case(kind.name()) || text.eq_ignore_ascii_case(kind.plural())
        })
    }

    /// The kind with this plural.
    pub fn from_plural(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.plural() == text)
    }

    /// What it does today: a person must not take a declaration for a deed.
    pub const fn effect(self) -> &'static str {
        match self {
            Self::Mesh => {
                "sidecars follow its `meshHop` at the next link that they make, host agents its `sidecarFailure.onDeath`; \
                 the rest is kept and shown"
            }
            Self::MeshService => {
                "its name and the interfaces of its ports are the mesh's also while it has no instance; an instance's \
                 ports are its own"
            }
            Self::LifecyclePolicy => {
                "delay, warmUp, waitFor and both drains are told to the sidecars of its services; pauseWarmUpOver, \
                 notifyPeers and placement are kept and shown"
            }
            Self::Workload => "an instance of its service, told to all who use it",
        }
    }

    /// All names, for a message.
    pub fn names() -> String {
        Self::ALL
            .iter()
            .map(|kind| kind.name())
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// What an object is called, and what the center adds to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Metadata {
    /// The name, unique in its kind and namespace: letters, digits and, between them, `-`, `_` and `.`.
    #[serde(default)]
    pub name: String,
    /// The namespace; `default` unless said otherwise.
    #[serde(default)]
    pub namespace: String,
    /// Labels by which policies select.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The version that was read. When it is given, a write is refused if the object has changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// Set by the center: +1 with each change of the spec or the labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Set by the center.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
}

/// What a spec means.
#[derive(Clone, Debug, PartialEq)]
pub enum Meaning {
    /// Of a `Mesh`.
    Mesh(MeshSettings),
    /// Of a `MeshService`.
    Service(DeclaredService),
    /// Of a `LifecyclePolicy`.
    Lifecycle(Lifecycle),
    /// Of a `Workload`.
    Instance(PlainInstance),
}

/// An object that somebody declared, known to be valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its kind.
    pub kind: Kind,
    /// Its name and what belongs to it.
    pub metadata: Metadata,
    /// The spec as it was written.
    pub spec: Value,
    /// What it means.
    pub meaning: Meaning,
}

impl Object {
    /// An object from its JSON. Without a namespace it takes `namespace`.
    pub fn from_json(value: &Value, namespace: &str) -> Result<Self, FieldError> {
        let fields = value.as_object().ok_or_else(|| {
            wrong(
                "",
                "an object with apiVersion, kind, metadata and spec belongs here",
            )
        })?;
        for name in fields.keys() {
            const ALLOWED: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
            if !ALLOWED.contains(&name.as_str()) {
                let reason = format!("there is no such field; allowed are {}", ALLOWED.join(", "));
                return Err(wrong(name, reason));
            }
        }
        match fields.get("apiVersion").and_then(Value::as_str) {
            Some(API_VERSION) => {}
            found => {
                let found = found.map_or("nothing".to_owned(), |found| format!("\"{found}\""));
                return Err(wrong(
                    "apiVersion",
                    format!("found {found}; write {API_VERSION}"),
                ));
            }
        }
        let named = fields.get("kind").and_then(Value::as_str).unwrap_or("");
        let kind = Kind::ALL
            .iter()
            .copied()
            .find(|kind| kind.name() == named)
            .ok_or_else(|| {
                wrong(
                    "kind",
                    format!("found \"{named}\"; the kinds are {}", Kind::names()),
                )
            })?;
        let metadata = fields.get("metadata").ok_or_else(|| {
            wrong(
                "metadata",
                "it is missing; metadata: {name: ...} belongs here",
            )
        })?;
        let mut metadata: Metadata = typed("metadata", metadata)?;
        if metadata.namespace.is_empty() {
            let namespace = if namespace.is_empty() {
                NAMESPACE_DEFAULT
            } else {
                namespace
            };
            namespace.clone_into(&mut metadata.namespace);
        }
        field::name("metadata.name", &metadata.name)?;
        field::name("metadata.namespace", &metadata.namespace)?;
        field::labels("metadata.labels", &metadata.labels)?;
        let empty = Value::Object(serde_json::Map::new());
        let spec = match fields.get("spec") {
            None | Some(Value::Null) => &empty,
            Some(spec) => spec,
        };
        let bytes = spec.to_string().len();
        if bytes > SPEC_BYTES_MAX {
            let reason = format!("{bytes} bytes are more than {SPEC_BYTES_MAX}");
            return Err(wrong("spec", reason));
        }
        Ok(Self {
            kind,
            meaning: meaning(kind, &metadata, spec)?,
            spec: spec.clone(),
            metadata,
        })
    }
}

/// The one translation from what was written to what is true.
fn meaning(kind: Kind, metadata: &Metadata, spec: &Value) -> Result<Meaning, FieldError> {
    Ok(match kind {
        Kind::Mesh => Meaning::Mesh(typed::<mesh::MeshSpec>("spec", spec)?.model(metadata)?),
        Kind::MeshService => {
            Meaning::Service(typed::<service::MeshServiceSpec>("spec", spec)?.model(metadata)?)
        }
        Kind::LifecyclePolicy => Meaning::Lifecycle(
            typed::<lifecycle::LifecyclePolicySpec>("spec", spec)?.model(metadata)?,
        ),
        Kind::Workload => {
            Meaning::Instance(typed::<workload::WorkloadSpec>("spec", spec)?.model(metadata)?)
        }
    })
}

/// A value as a type, or the field at fault.
fn typed<T: for<'de> Deserialize<'de>>(path: &str, value: &Value) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let inner = error.path().to_string();
        let field = match inner.as_str() {
            "." => path.to_owned(),
            inner => format!("{path}.{inner}"),
        };
        wrong(field, error.inner().to_string())
    })
}

#[cfg(test)]
mod tests;
