//! A world as it goes to the disk and comes back from it.
//!
//! Never in here: files.

use super::{Held, INSTANCES_MAX, NAMES_MAX, Store, Voucher, World, wrong};
use std::collections::HashSet;
use std::sync::Arc;
use weft_api::saved::Saved;
use weft_api::sync::{self, FieldError};
use weft_model::{Instance, Version};

/// The world that an earlier process saved.
impl TryFrom<Saved> for World {
    type Error = FieldError;

    fn try_from(saved: Saved) -> Result<Self, FieldError> {
        let count = saved.instances.len() + saved.unconfirmed.len() + saved.departed.len();
        if count > INSTANCES_MAX {
            return Err(wrong(
                "instances",
                format!("there are {count}, more than {INSTANCES_MAX}"),
            ));
        }
        if saved.names.len() > NAMES_MAX {
            return Err(wrong("names", format!("there are more than {NAMES_MAX}")));
        }
        let sync::Version { epoch, revision } = saved
            .version
            .ok_or_else(|| wrong("version", "it is missing".to_owned()))?;
        let store = Store {
            id: saved.store_id,
            epoch,
        };
        let mut world = Self {
            names: Arc::new(saved.names.into_iter().collect()),
            center: saved.center.into(),
            held: Some((store, Version { epoch, revision })),
            ..Self::default()
        };
        for (wire, voucher) in [
            (&saved.instances, Voucher::Center),
            (&saved.unconfirmed, Voucher::Earlier),
        ] {
            for instance in sync::instances_from_wire(wire)? {
                let place = world.services.entry(instance.service.clone()).or_default();
                let held = Held {
                    instance: Arc::new(instance),
                    voucher,
                };
                place.instances.insert(held.instance.id.clone(), held);
            }
        }
        for instance in sync::instances_from_wire(&saved.departed)? {
            let place = world.services.entry(instance.service.clone()).or_default();
            place.departed = Some(Arc::new(instance));
        }
        world.forget_services();
        Ok(world)
    }
}

/// What a world was at one time, cheap to take and to carry to the thread that writes it.
#[derive(Debug)]
pub(crate) struct WorldPicture {
    store: Store,
    version: Version,
    center: Arc<str>,
    names: Arc<HashSet<u64>>,
    instances: Vec<Arc<Instance>>,
    unconfirmed: Vec<Arc<Instance>>,
    departed: Vec<Arc<Instance>>,
}

impl WorldPicture {
    /// None of a world that no center has told anything.
    pub(crate) fn of(world: &World) -> Option<Self> {
        let (store, version) = world.held.clone()?;
        let mut picture = Self {
            store,
            version,
            center: Arc::clone(&world.center),
            names: world.names(),
            instances: Vec::new(),
            unconfirmed: Vec::new(),
            departed: Vec::new(),
        };
        for service in world.services.values() {
            for held in service.instances.values() {
                let place = match held.voucher {
                    Voucher::Center => &mut picture.instances,
                    Voucher::Earlier | Voucher::Itself { .. } => &mut picture.unconfirmed,
                };
                place.push(Arc::clone(&held.instance));
            }
            picture.departed.extend(service.departed.clone());
        }
        Some(picture)
    }

    /// The message for the disk.
    pub(crate) fn to_saved(&self, saved_at_ms: u64) -> Saved {
        let to_wire = |all: &[Arc<Instance>]| {
            all.iter()
                .map(|instance| sync::instance_to_wire(instance))
                .collect()
        };
        let Version { epoch, revision } = self.version;
        let mut names: Vec<u64> = self.names.iter().copied().collect();
        names.sort_unstable();
        Saved {
            store_id: self.store.id.clone(),
            version: Some(sync::Version { epoch, revision }),
            center: self.center.to_string(),
            saved_at_ms,
            names,
            instances: to_wire(&self.instances),
            unconfirmed: to_wire(&self.unconfirmed),
            departed: to_wire(&self.departed),
        }
    }
}
