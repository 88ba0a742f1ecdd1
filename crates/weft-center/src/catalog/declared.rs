//! Services and instances without a sidecar, as people declared them; and what the store remembers.
//!
//! Never in here: objects, their status.

use super::service::DeclaredPorts;
use super::{Catalog, Owner};
use crate::names::interface_keys;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use weft_api::sync;
use weft_model::ServiceName;

/// All that a store remembers of the mesh.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// Instances as they were registered; of those without a sidecar only whether they are out of use counts.
    pub(crate) instances: Vec<sync::Instance>,
    /// Declared services with their ports.
    pub(crate) services: Vec<(ServiceName, Vec<sync::Port>)>,
    /// Declared instances.
    pub(crate) plain: Vec<sync::Instance>,
    /// What [`Catalog::names_note`] said when all of this was last told: the same names now, and the difference
    /// is all that sidecars need.
    pub(crate) names: Option<u64>,
}

impl Catalog {
    /// Takes back what the store remembers, before anybody is served. Each instance is unconfirmed until its
    /// sidecar comes back, or time is up.
    pub(crate) fn restore(&mut self, remembered: Remembered, now: Instant) {
        // What is known now was known when it was last told, unless the names say otherwise.
        let told = self.revision;
        let (plain_rows, records): (Vec<_>, Vec<_>) = remembered
            .instances
            .into_iter()
            .partition(|record| record.check.is_some());
        for mut record in records {
            record.set_state(sync::InstanceState::Unconfirmed);
            let name = ServiceName::new(&record.namespace, &record.service);
            let service = self.place(&name, Some(told));
            let dropped_at = now + self.times.unconfirmed_kept;
            self.put(
                service,
                record,
                Owner::Nobody { dropped_at },
                now,
                Some(told),
            );
        }
        for (name, ports) in remembered.services {
            self.declare_ports(&name, Some(ports), now, Some(told));
        }
        let key = |record: &sync::Instance| (record.service.clone(), record.id.clone());
        let offline: BTreeMap<_, _> = plain_rows
            .iter()
            .map(|row| (key(row), (row.offline, row.offline_changed_ms)))
            .collect();
        for mut record in remembered.plain {
            if let Some((is_offline, changed_ms)) = offline.get(&key(&record)) {
                record.offline = *is_offline;
                record.offline_changed_ms = *changed_ms;
            }
            self.declare(record, now, Some(told));
        }
        // Rows of what is no longer declared go.
        for row in plain_rows {
            let name = ServiceName::new(&row.namespace, &row.service);
            self.unsaved.insert((name, row.id));
        }
        self.complete_from = if remembered.names == Some(self.names_note()) {
            told
        } else {
            self.revision
        };
    }

    /// A person declared the ports of a service, or no longer does.
    pub(crate) fn declare_service(
        &mut self,
        name: &ServiceName,
        ports: Option<Vec<sync::Port>>,
        now: Instant,
    ) {
        self.declare_ports(name, ports, now, None);
    }

    fn declare_ports(
        &mut self,
        name: &ServiceName,
        ports: Option<Vec<sync::Port>>,
        now: Instant,
        since: Option<u64>,
    ) {
        if ports.is_none() && !self.ids.contains_key(name) {
            return;
        }
        let service = self.place(name, since);
        let revision = self.next_revision(now);
        let Some(place) = self.services.get_mut(&service) else {
            return;
        };
        let declared = ports.map(|ports| DeclaredPorts {
            keys: interface_keys(name, &ports),
            ports,
        });
        let come = declared
            .as_ref()
            .map_or_else(BTreeSet::new, |d| d.keys.clone());
        let gone = std::mem::replace(&mut place.declared, declared);
        let gone = gone.map_or_else(BTreeSet::new, |declared| declared.keys);
        let is_idle =
            place.declared.is_none() && place.instances.is_empty() && place.forgotten_at.is_none();
        let changed = std::mem::replace(&mut place.changed, revision);
        self.touched(service, changed, revision);
        self.rekey(service, &come, &gone, since.unwrap_or(revision));
        if is_idle {
            self.forget_later(service, now);
        }
    }

    /// A person declared an instance without a sidecar.
    pub(crate) fn declare_instance(&mut self, record: sync::Instance, now: Instant) {
        self.declare(record, now, None);
    }

    fn declare(&mut self, mut record: sync::Instance, now: Instant, since: Option<u64>) {
        let name = ServiceName::new(&record.namespace, &record.service);
        let service = self.place(&name, since);
        let Some(place) = self.services.get_mut(&service) else {
            return;
        };
        place.plain.insert(record.id.clone(), record.clone());
        if let Some(known) = place.instances.get(&record.id) {
            if known.owner != Owner::Person {
                self.overridden_changed = true;
                return;
            }
            record.offline = known.record.offline;
            record.offline_changed_ms = known.record.offline_changed_ms;
            if known.record == record {
                return;
            }
        }
        self.put(service, record, Owner::Person, now, since);
    }

    /// A person no longer declares an instance.
    pub(crate) fn undeclare_instance(&mut self, name: &ServiceName, id: &str, now: Instant) {
        let Some(service) = self.ids.get(name).copied() else {
            return;
        };
        let Some(place) = self.services.get_mut(&service) else {
            return;
        };
        place.plain.remove(id);
        let entry = place.instances.get(id);
        if entry.is_some_and(|entry| entry.owner == Owner::Person) {
            self.remove(service, id, now);
        }
    }

    /// The declared instances whose id a sidecar has; none when nothing of that changed since the last call.
    pub(crate) fn take_overridden(&mut self) -> Option<BTreeSet<(ServiceName, String)>> {
        if !std::mem::take(&mut self.overridden_changed) {
            return None;
        }
        let overridden = self.services.values().flat_map(|place| {
            let gave_way = place.plain.keys().filter(|id| {
                let entry = place.instances.get(*id);
                entry.is_some_and(|entry| entry.owner != Owner::Person)
            });
            gave_way.map(|id| (place.name.clone(), id.clone()))
        });
        Some(overridden.collect())
    }
}
