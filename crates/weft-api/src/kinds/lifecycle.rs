//! `LifecyclePolicy`: how instances of some services start, stop and stay.

use super::Metadata;
use super::field::{self, Share, Span, wrong};
use crate::sync::FieldError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use weft_model::ServiceName;
use weft_model::declared::{Check, Lifecycle, Target};

/// Targets of one policy at the most.
pub const TARGETS_MAX: usize = 64;

/// The only kind that a policy may point at.
const TARGET_KIND: &str = "MeshService";

const DRAIN_MIN_DEFAULT: Duration = Duration::from_secs(2);
const DRAIN_MAX_DEFAULT: Duration = Duration::from_secs(25);
const WARM_UP_DEFAULT: Duration = Duration::from_secs(30);

/// How instances of some services start, stop and stay. By name beats by label; then the higher priority,
/// then the older object; the loser's status is `Overridden`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LifecyclePolicySpec {
    /// The services.
    pub target_refs: Vec<TargetRef>,
    /// Whether it counts; yes unless said otherwise.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Of two that are equally specific the greater wins; 0 unless said otherwise.
    #[serde(default)]
    pub priority: i32,
    /// How an instance starts.
    #[serde(default)]
    pub online: OnlineSpec,
    /// How an instance stops.
    #[serde(default)]
    pub offline: OfflineSpec,
    /// Whether an instance may move.
    #[serde(default)]
    pub placement: PlacementSpec,
}

/// Which services: one by name, or all of the namespace with some labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TargetRef {
    /// `MeshService`.
    pub kind: String,
    /// The one with this name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// All with these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// How an instance starts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OnlineSpec {
    /// What must answer first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_for: Option<WaitForSpec>,
    /// Waited after that; `0s` unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// How long its share of calls grows; `30s` unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<Span>,
    /// Growth pauses while more than this share of instances are warming up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_warm_up_over: Option<Share>,
}

/// What must answer before an instance gets calls: exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WaitForSpec {
    /// The number of a port that takes a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<u16>,
    /// A path that answers 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<WaitForHttpSpec>,
}

/// A path that answers 200 to 399.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WaitForHttpSpec {
    /// The port's number.
    pub port: u16,
    /// The path, from its `/` on.
    pub path: String,
}

/// How an instance stops.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OfflineSpec {
    /// Whether peers are told first; yes unless said otherwise.
    #[serde(default = "yes")]
    pub notify_peers: bool,
    /// A drain lasts at least this long; `2s` unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_drain: Option<Span>,
    /// A drain lasts at most this long; `25s` unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_drain: Option<Span>,
}

impl Default for OfflineSpec {
    fn default() -> Self {
        Self {
            notify_peers: true,
            min_drain: None,
            max_drain: None,
        }
    }
}

/// Whether an instance may move.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PlacementSpec {
    /// Whether it may be started on another host; `Free` unless said otherwise.
    #[serde(default)]
    pub drift: Drift,
    /// Why not, for whoever wants to move it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Whether an instance may be started on another host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Drift {
    /// It may.
    #[default]
    Free,
    /// It stays on its host.
    NodeSticky,
}

fn yes() -> bool {
    true
}

impl LifecyclePolicySpec {
    /// What it means.
    pub fn model(&self, metadata: &Metadata) -> Result<Lifecycle, FieldError> {
        let refs = self.target_refs.len();
        if refs == 0 || refs > TARGETS_MAX {
            let reason = format!("found {refs}; 1 to {TARGETS_MAX} targets belong here");
            return Err(wrong("spec.targetRefs", reason));
        }
        let targets = self.target_refs.iter().enumerate().map(|(index, target)| {
            target.model(&format!("spec.targetRefs[{index}]"), &metadata.namespace)
        });
        let targets = targets.collect::<Result<_, _>>()?;
        let span = |span: Option<Span>, default| span.map_or(default, |span| span.0);
        let drain_min = span(self.offline.min_drain, DRAIN_MIN_DEFAULT);
        let drain_max = span(self.offline.max_drain, DRAIN_MAX_DEFAULT.max(drain_min));
        if drain_min > drain_max {
            let reason = format!("{} s is shorter than minDrain", drain_max.as_secs_f64());
            return Err(wrong("spec.offline.maxDrain", reason));
        }
        let wait_for = self.online.wait_for.as_ref();
        Ok(Lifecycle {
            targets,
            enabled: self.enabled,
            priority: self.priority,
            wait_for: wait_for.map(WaitForSpec::model).transpose()?,
            delay: span(self.online.delay, Duration::ZERO),
            warm_up: span(self.online.warm_up, WARM_UP_DEFAULT),
            pause_warm_up_over: self.online.pause_warm_up_over.map(|share| share.0),
            notify_peers: self.offline.notify_peers,
            drain_min,
            drain_max,
            node_sticky: self.placement.drift == Drift::NodeSticky,
        })
    }
}

impl TargetRef {
    fn model(&self, path: &str, namespace: &str) -> Result<Target, FieldError> {
        if self.kind != TARGET_KIND {
            let reason = format!("found \"{}\"; allowed is {TARGET_KIND}", self.kind);
            return Err(wrong(format!("{path}.kind"), reason));
        }
        match (self.name.as_str(), self.labels.is_empty()) {
            ("", true) | (_, false) if self.name.is_empty() == self.labels.is_empty() => {
                Err(wrong(path, "either name or labels belongs here"))
            }
            ("", _) => {
                field::labels(&format!("{path}.labels"), &self.labels)?;
                let labels = self.labels.iter();
                Ok(Target::Labelled {
                    namespace: namespace.into(),
                    labels: labels
                        .map(|(k, v)| (k.as_str().into(), v.as_str().into()))
                        .collect(),
                })
            }
            (name, _) => {
                field::name(&format!("{path}.name"), name)?;
                Ok(Target::Named(ServiceName::new(namespace, name)))
            }
        }
    }
}

impl WaitForSpec {
    fn model(&self) -> Result<Check, FieldError> {
        const PATH: &str = "spec.online.waitFor";
        match (self.tcp, &self.http) {
            (Some(port), None) => Ok(Check::Tcp {
                port: field::port(&format!("{PATH}.tcp"), port)?,
            }),
            (None, Some(http)) => Ok(Check::Http {
                port: field::port(&format!("{PATH}.http.port"), http.port)?,
                path: path_of(&format!("{PATH}.http.path"), &http.path)?,
            }),
            _ => Err(wrong(PATH, "exactly one of tcp and http belongs here")),
        }
    }
}

/// A path that can be asked for.
pub(super) fn path_of(field: &str, path: &str) -> Result<Box<str>, FieldError> {
    let fits =
        path.len() <= crate::sync::TEXT_BYTES_MAX && path.bytes().all(|b| b.is_ascii_graphic());
    if path.starts_with('/') && fits {
        return Ok(path.into());
    }
    Err(wrong(
        field,
        format!("found \"{path}\"; a path begins with / and has no spaces"),
    ))
}
