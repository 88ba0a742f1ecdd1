//! The own instance as centers are told of it: the app, whether a person took it out of use, its record.
//!
//! Never in here: when it is said.

use super::SyncTask;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::watch;
use weft_api::sync;
use weft_model::instance::Shape;
use weft_model::{Instance, InstanceId, InstanceState, ServiceName};

/// What is known of the own app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppState {
    /// Nobody has looked yet.
    Unknown,
    /// It takes connections.
    Up {
        /// +1 at each start of the app.
        incarnation: u64,
    },
    /// It does not.
    Dead,
}

/// Whether a person took the own instance out of use. The center and the host agent both say so; of two words
/// the later one counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offline {
    /// No new calls.
    pub(crate) offline: bool,
    /// When it was said, in milliseconds since 1970; 0 never.
    pub(crate) changed_ms: u64,
}

impl Offline {
    /// Passes this word on if it is later than the one known. True when it was.
    pub(crate) fn tell(self, known: &watch::Sender<Self>) -> bool {
        known.send_if_modified(|known| {
            let is_later = self.changed_ms > known.changed_ms;
            if is_later {
                *known = self;
            }
            is_later
        })
    }
}

impl From<sync::SetOffline> for Offline {
    fn from(said: sync::SetOffline) -> Self {
        Self {
            offline: said.offline,
            changed_ms: said.changed_ms,
        }
    }
}

/// The record of the own instance.
pub(super) fn record(
    task: &SyncTask,
    app: AppState,
    incarnation: u64,
    local: IpAddr,
) -> sync::Instance {
    let state = match app {
        AppState::Up { .. } => InstanceState::Ready,
        AppState::Dead | AppState::Unknown => InstanceState::Draining,
    };
    let Offline {
        offline,
        changed_ms,
    } = *task.offline.borrow();
    sync::Instance {
        link_tls: task.link_tls,
        management_port: u32::from(task.management_port),
        offline,
        offline_changed_ms: changed_ms,
        ..sync::instance_to_wire(&instance(task, incarnation, state, local))
    }
}

fn instance(task: &SyncTask, incarnation: u64, state: InstanceState, local: IpAddr) -> Instance {
    let spec = &task.spec;
    let text = |text: &String| Box::from(text.as_str());
    let labels = spec
        .labels
        .iter()
        .map(|(name, value)| (text(name), text(value)));
    let mut labels: Vec<_> = labels.collect();
    labels.sort();
    Instance {
        id: InstanceId::new(&spec.instance),
        incarnation,
        address: spec.advertise.unwrap_or(local),
        inbound_port: task.inbound_port,
        state,
        weight: spec.weight,
        shape: Arc::new(Shape {
            service: ServiceName::new(&spec.namespace, &spec.service),
            ports: spec.ports.iter().map(|port| port.0.clone()).collect(),
            labels,
            zone: text(&spec.zone),
            idempotent: spec.idempotent.iter().map(text).collect(),
            check: None,
        }),
    }
}
