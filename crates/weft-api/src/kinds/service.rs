//! `MeshService`: a service that is known before, or without, its instances.

use super::Metadata;
use super::port::{self, PortSpec};
use crate::sync::FieldError;
use serde::{Deserialize, Serialize};
use weft_model::ServiceName;
use weft_model::declared::DeclaredService;

/// A service outside Kubernetes. Its name is the object's name. As long as it is declared, its host name and the RPC
/// interfaces of its ports are known to all sidecars: with no instance there, calls to them fail as calls to a service
/// without instances and do not leave the mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MeshServiceSpec {
    /// Its ports.
    pub ports: Vec<PortSpec>,
}

impl MeshServiceSpec {
    /// What it means.
    pub fn model(&self, metadata: &Metadata) -> Result<DeclaredService, FieldError> {
        Ok(DeclaredService {
            name: ServiceName::new(&metadata.namespace, &metadata.name),
            ports: port::models("spec.ports", &self.ports)?,
        })
    }
}
