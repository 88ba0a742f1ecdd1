//! `Mesh`: settings of the whole mesh.

use super::Metadata;
use super::field::{self, Share, wrong};
use crate::sync::FieldError;
use serde::{Deserialize, Serialize};
use weft_model::declared::{Hop, MeshSettings, OnDeath};

/// The only name that a `Mesh` may have.
pub const NAME: &str = "default";

/// The domain of identities when none is declared.
pub const TRUST_DOMAIN_DEFAULT: &str = "mesh.local";

/// The share of calls that are traced when none is declared.
const TRACE_SAMPLE_DEFAULT: f64 = 0.01;

/// Settings of the whole mesh. There is one, named `default` in namespace `default`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MeshSpec {
    /// The domain of all identities; `mesh.local` unless said otherwise.
    #[serde(default)]
    pub trust_domain: String,
    /// Encryption between sidecars.
    #[serde(default)]
    pub mtls: MtlsSpec,
    /// Transports between sidecars.
    #[serde(default)]
    pub mesh_hop: MeshHopSpec,
    /// What happens when a sidecar keeps dying.
    #[serde(default)]
    pub sidecar_failure: SidecarFailureSpec,
    /// What is observed.
    #[serde(default)]
    pub telemetry: TelemetrySpec,
}

/// Encryption between sidecars.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MtlsSpec {
    /// Whether plain callers are refused; `Permissive` unless said otherwise.
    #[serde(default)]
    pub mode: MtlsMode,
}

/// Whether plain callers are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum MtlsMode {
    /// Plain callers are served.
    #[default]
    Permissive,
    /// Plain callers are refused.
    Strict,
}

/// Transports between sidecars.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MeshHopSpec {
    /// The preferred one first; `[h2, http1]` unless said otherwise.
    #[serde(default)]
    pub prefer: Vec<HopSpec>,
}

/// A transport between sidecars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum HopSpec {
    /// HTTP/2.
    H2,
    /// HTTP/1.1, upgraded.
    Http1,
}

/// What happens when a sidecar keeps dying.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SidecarFailureSpec {
    /// When it dies once more after five deaths within a minute; as `weft run --sidecar-failure` says, or else
    /// `RestartApp`, unless said otherwise. That flag goes before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_death: Option<OnDeathSpec>,
    /// Whether calls may then go without it; `Never` unless said otherwise.
    #[serde(default)]
    pub fail_open: FailOpenSpec,
}

/// What follows when a sidecar keeps dying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum OnDeathSpec {
    /// The sidecar is started again, ever more slowly.
    RestartInPlace,
    /// The app is started anew with it.
    RestartApp,
    /// The host agent ends, so that whoever started it replaces all.
    GiveUp,
}

/// Whether calls may go without a sidecar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum FailOpenSpec {
    /// They fail.
    #[default]
    Never,
    /// They may where mTLS is `Permissive`.
    WhenPlaintextAllowed,
}

/// What is observed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TelemetrySpec {
    /// The share of calls that are traced; `1%` unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_sample: Option<Share>,
    /// Whose trace headers are carried; all unless said otherwise.
    #[serde(default)]
    pub propagate: Vec<Propagation>,
}

/// A family of trace headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Propagation {
    /// `traceparent`.
    W3c,
    /// Zipkin's.
    B3,
    /// SkyWalking's.
    Sw8,
}

impl MeshSpec {
    /// What it means.
    pub fn model(&self, metadata: &Metadata) -> Result<MeshSettings, FieldError> {
        if metadata.name != NAME || metadata.namespace != NAME {
            let reason = format!(
                "found \"{}\" in namespace \"{}\"; there is one Mesh, \"{NAME}\" in namespace \"{NAME}\"",
                metadata.name, metadata.namespace
            );
            return Err(wrong("metadata.name", reason));
        }
        let domain = match self.trust_domain.as_str() {
            "" => TRUST_DOMAIN_DEFAULT,
            domain => domain,
        };
        field::name("spec.trustDomain", domain)?;
        let hops = match self.mesh_hop.prefer.as_slice() {
            [] => vec![Hop::H2, Hop::Http1],
            hops => hops.iter().map(|hop| hop.model()).collect(),
        };
        if hops.len() > 1 && hops.first() == hops.last() || hops.len() > 2 {
            return Err(wrong(
                "spec.meshHop.prefer",
                "each of h2 and http1 belongs here at most once",
            ));
        }
        Ok(MeshSettings {
            trust_domain: domain.into(),
            mtls_strict: self.mtls.mode == MtlsMode::Strict,
            hops,
            on_death: self.sidecar_failure.on_death.map(OnDeathSpec::model),
            fail_open: self.sidecar_failure.fail_open == FailOpenSpec::WhenPlaintextAllowed,
            trace_sample: self
                .telemetry
                .trace_sample
                .map_or(TRACE_SAMPLE_DEFAULT, |share| share.0),
        })
    }
}

impl OnDeathSpec {
    fn model(self) -> OnDeath {
        match self {
            Self::RestartInPlace => OnDeath::RestartInPlace,
            Self::RestartApp => OnDeath::RestartApp,
            Self::GiveUp => OnDeath::GiveUp,
        }
    }
}

impl HopSpec {
    fn model(self) -> Hop {
        match self {
            Self::H2 => Hop::H2,
            Self::Http1 => Hop::Http1,
        }
    }
}
