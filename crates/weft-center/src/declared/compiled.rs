//! What declared objects mean for the catalog and for sidecars. Pure: one object, or one service, at a time.
//!
//! Never in here: what becomes of it.

use super::{Declared, Stored};
use std::sync::Arc;
use std::time::Duration;
use weft_api::kinds::mesh::NAME;
use weft_api::kinds::{Kind, Meaning};
use weft_api::sync;
use weft_model::declared::PlainInstance;
use weft_model::instance::{CallerCheck, Shape};
use weft_model::{Instance, InstanceState, ServiceName};

/// What one object means for the catalog.
pub(crate) enum Compiled {
    /// There is this instance without a sidecar.
    Instance(Box<sync::Instance>),
    /// There is no such instance.
    NoInstance(ServiceName, String),
    /// The service is known, with these ports; none: not by a declaration.
    Service(ServiceName, Option<Vec<sync::Port>>),
    /// Some services may follow another policy.
    Policy,
    Nothing,
}

impl Compiled {
    /// Whether this takes the place of what the object meant before.
    pub(crate) fn replaces(&self, before: &Self) -> bool {
        match (self, before) {
            (Self::Instance(own), Self::Instance(before)) => own.service == before.service,
            (Self::Service(..), Self::Service(..)) => true,
            _ => false,
        }
    }

    /// What is to be done first when the object is no longer so.
    pub(crate) fn undone(self) -> Self {
        match self {
            Self::Instance(record) => {
                let service = ServiceName::new(&record.namespace, &record.service);
                Self::NoInstance(service, record.id)
            }
            Self::Service(name, _) => Self::Service(name, None),
            other => other,
        }
    }
}

/// What an object means.
pub(crate) fn of(stored: &Stored) -> Compiled {
    match &stored.meaning {
        Ok(Meaning::Instance(own)) => Compiled::Instance(Box::new(record(own))),
        Ok(Meaning::Service(own)) => {
            Compiled::Service(own.name.clone(), Some(sync::ports_to_wire(&own.ports)))
        }
        Ok(Meaning::Lifecycle(_) | Meaning::Mesh(_)) => Compiled::Policy,
        Err(_) => Compiled::Nothing,
    }
}

fn record(own: &PlainInstance) -> sync::Instance {
    let shape = Shape {
        service: own.service.clone(),
        ports: own.ports.clone(),
        labels: own.labels.clone(),
        zone: own.zone.clone(),
        idempotent: Vec::new(),
        check: Some(CallerCheck {
            check: own.check.clone(),
            interval: own.interval,
        }),
    };
    sync::instance_to_wire(&Instance {
        id: own.id.clone(),
        // Nobody counts the starts of an app without a sidecar.
        incarnation: 0,
        address: own.address,
        inbound_port: 0,
        weight: own.weight,
        state: InstanceState::Ready,
        shape: Arc::new(shape),
    })
}

/// Declared services with their ports, and declared instances.
type All = (Vec<(ServiceName, Vec<sync::Port>)>, Vec<sync::Instance>);

impl Declared {
    /// What all of it means for a catalog that starts.
    pub(crate) fn compiled(&self) -> All {
        let (mut services, mut instances) = (Vec::new(), Vec::new());
        for stored in self.objects.values() {
            match of(stored) {
                Compiled::Instance(record) => instances.push(*record),
                Compiled::Service(name, Some(ports)) => services.push((name, ports)),
                _ => {}
            }
        }
        (services, instances)
    }

    /// What was declared for a service's instances; zeros when nothing was.
    pub(crate) fn own_policy(&self, service: &ServiceName) -> sync::OwnPolicy {
        let of_mesh = self.of_mesh();
        let Some((_, policy)) = self.followed(service) else {
            return of_mesh;
        };
        let wait_for = policy.wait_for.clone().map(|check| {
            // How often is the host agent's business.
            let interval = Duration::ZERO;
            sync::check_to_wire(&CallerCheck { check, interval })
        });
        sync::OwnPolicy {
            delay_ms: milliseconds(policy.delay),
            warm_up_ms: milliseconds(policy.warm_up),
            drain_min_ms: milliseconds(policy.drain_min),
            drain_max_ms: milliseconds(policy.drain_max),
            wait_for,
            ..of_mesh
        }
    }

    /// What the `Mesh` says to every instance; nothing when none is declared.
    fn of_mesh(&self) -> sync::OwnPolicy {
        let mut meshes = self.objects(Kind::Mesh, NAME);
        match meshes.next().map(|stored| &stored.meaning) {
            Some(Ok(Meaning::Mesh(settings))) => sync::OwnPolicy {
                hops: sync::hops_to_wire(&settings.hops),
                on_death: sync::on_death_to_wire(settings.on_death),
                ..sync::OwnPolicy::default()
            },
            _ => sync::OwnPolicy::default(),
        }
    }
}

fn milliseconds(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}
