//! What the used keys lead to: which services the center tells of, and which are kept without that.
//!
//! A service is subscribed while a used key that was answered leads to it. One that is not stays as it was told
//! last, is served while its next call asks for it anew, and is forgotten a day after its last call. Never in
//! here: when a call waits.

use super::used::STALE_KEPT;
use super::{Takings, World};
use crate::clock::Moment;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use weft_api::sync;
use weft_model::key::key_hash;
use weft_model::{Family, Key, Service, ServiceName, Snapshot};

/// How often idle services are looked for.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(30);

impl World {
    /// Callers name these keys. Those beyond the limit are not served.
    pub(crate) fn name(&mut self, keys: impl IntoIterator<Item = Key>, now: Moment) {
        for key in keys {
            if !self.used.name(key, now.unix_ms) {
                self.notes.push(format!(
                    "the app calls more than {} services: further ones are not asked for",
                    super::used::USED_KEYS_MAX
                ));
                return;
            }
        }
    }

    /// The Subscribe that is due.
    pub(crate) fn subscribe(&mut self) -> Option<sync::Subscribe> {
        self.used.say()
    }

    /// Whether a Subscribe was answered since this was asked last.
    pub(crate) fn take_answers(&mut self) -> bool {
        std::mem::take(&mut self.has_answers)
    }

    /// Keys are answered. A service to which one leads, of which the batch did not tell and no other key keeps,
    /// is none any more.
    pub(super) fn settle(
        &mut self,
        answered: &[Key],
        told: &BTreeSet<ServiceName>,
        takings: &mut Takings,
    ) {
        self.has_answers |= !answered.is_empty();
        for key in answered {
            for service in led_to(self.draft.view(), key) {
                let is_kept = service.subscribed || told.contains(&*service.name);
                if !is_kept {
                    self.take_all(takings, &service.name);
                }
            }
        }
    }

    /// An address stands for its service: the instance there may go, and the service is still called.
    fn replace_addresses(&mut self, answered: &[Key]) {
        for key in answered.iter().filter(|key| key.family == Family::Address) {
            let by = led_to(self.draft.view(), key)
                .next()
                .map(|service| Key::of_host(&service.name.name, &service.name.namespace));
            if let Some(by) = by {
                self.used.replace(key, by);
            }
        }
    }

    /// Marks what these keys lead to, and what became of these services.
    pub(super) fn mark_subscribed(&mut self, answered: &[Key], touched: BTreeSet<ServiceName>) {
        self.replace_addresses(answered);
        let view = self.draft.view();
        let mut changed = touched;
        for key in answered {
            changed.extend(led_to(view, key).map(|service| ServiceName::clone(&service.name)));
        }
        for service in changed {
            self.mark_one_subscribed(&service);
        }
    }

    /// Marks every service. True when one changed.
    pub(super) fn mark_all_subscribed(&mut self) -> bool {
        let services: Vec<_> = self.draft.services().cloned().collect();
        let mut has_changed = false;
        for service in services {
            has_changed |= self.mark_one_subscribed(&service);
        }
        has_changed
    }

    fn mark_one_subscribed(&mut self, name: &ServiceName) -> bool {
        let service = self.draft.view().service(&name.namespace, &name.name);
        let Some(service) = service else {
            return false;
        };
        let is_used = self.is_used(service);
        let has_changed = service.subscribed != is_used;
        if has_changed {
            self.draft.edit(name).set_subscribed(is_used);
        }
        has_changed
    }

    fn is_used(&self, service: &Service) -> bool {
        let ServiceName { namespace, name } = &*service.name;
        let is_answered = |family, name: &str| {
            let hash = key_hash(family, name, "", "", namespace);
            self.used.is_answered(hash)
        };
        is_answered(Family::Host, name)
            || service.ports.iter().any(|port| {
                let interface = if port.interface.is_empty() {
                    name
                } else {
                    &port.interface
                };
                !port.protocol.is_http_family() && is_answered(Family::Rpc, interface)
            })
    }

    /// The services of which the center tells, except these.
    pub(super) fn subscribed_except(&self, except: &BTreeSet<ServiceName>) -> Vec<ServiceName> {
        let services = self.draft.view().services();
        services
            .filter(|service| service.subscribed && !except.contains(&*service.name))
            .map(|service| ServiceName::clone(&service.name))
            .collect()
    }

    /// Gives up what is idle, and forgets what was idle too long. True when something changed.
    pub(crate) fn sweep(&mut self, now: Moment) -> bool {
        let view = self.draft.view();
        for service in view.services() {
            let Some(called_ms) = service.usage.called_ms() else {
                continue;
            };
            let ago_ms = now.clock_ms.saturating_sub(called_ms);
            let called_ms = now.unix_ms.saturating_sub(ago_ms);
            if let Some(last) = self.last_uses.get_mut(&*service.name) {
                *last = called_ms.max(*last);
            }
        }
        let last_uses = &self.last_uses;
        let has_given_up = self.used.give_up_idle(now.unix_ms, |key| {
            let services = led_to(view, key);
            let uses = services.filter_map(|service| last_uses.get(&*service.name));
            uses.copied().max().unwrap_or(0)
        });
        let has_changed = has_given_up && self.mark_all_subscribed();
        self.forget_stale(now.unix_ms) || has_changed || has_given_up
    }

    fn forget_stale(&mut self, unix_ms: u64) -> bool {
        let is_stale = |service: &&std::sync::Arc<Service>| {
            let last = self.last_uses.get(&*service.name).copied().unwrap_or(0);
            !service.subscribed && unix_ms.saturating_sub(last) >= STALE_KEPT.as_millis() as u64
        };
        let stale: Vec<_> = self
            .draft
            .view()
            .services()
            .filter(is_stale)
            .map(|service| ServiceName::clone(&service.name))
            .collect();
        for service in &stale {
            self.forget(service);
        }
        !stale.is_empty()
    }
}

/// The services that are held to which a key leads.
fn led_to<'a>(
    view: &'a Snapshot,
    key: &'a Key,
) -> impl Iterator<Item = &'a std::sync::Arc<Service>> {
    let host = match key.family {
        Family::Host => view.service(&key.namespace, &key.name),
        Family::Address => {
            let address: Option<SocketAddr> = key.name.parse().ok();
            address
                .and_then(|address| view.address(address))
                .map(|found| found.service)
        }
        Family::Rpc => None,
    };
    let rpc = match key.family {
        Family::Rpc => view.rpc(&key.name),
        Family::Host | Family::Address => &[],
    };
    let rpc = rpc
        .iter()
        .filter_map(|entry| view.service_of(entry))
        .filter(|service| service.name.namespace == key.namespace);
    host.into_iter().chain(rpc)
}
