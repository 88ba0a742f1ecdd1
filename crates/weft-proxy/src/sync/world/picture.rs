//! A world as it goes to the disk and comes back from it.
//!
//! Never in here: files.

use super::used::Used;
use super::{INSTANCES_MAX, NAMES_MAX, Store, Voucher, World, wrong};
use std::sync::Arc;
use weft_api::saved::{LastUse, Saved, UsedKey};
use weft_api::sync::{self, FieldError};
use weft_model::snapshot::names::Names;
use weft_model::{Instance, ServiceName, Version};

/// Instances that are turned into a message at a time.
const PART_INSTANCES: usize = 64;

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
            center: saved.center.into(),
            held: Some((store, Version { epoch, revision })),
            used: Used::of_saved(&saved.used),
            ..Self::default()
        };
        *world.draft.names_mut() = saved.names.into_iter().collect();
        for instance in sync::instances_from_wire(&saved.instances)? {
            world.take_back(instance, Voucher::Center);
        }
        for instance in sync::instances_from_wire(&saved.unconfirmed)? {
            world.take_back(instance, Voucher::Earlier);
        }
        for instance in sync::instances_from_wire(&saved.departed)? {
            let service = instance.service.clone();
            world.draft.edit(&service).set_departed(Arc::new(instance));
            world.empty.insert(service);
        }
        for use_ in saved.last_uses {
            let service = ServiceName::new(&use_.namespace, &use_.service);
            if world.draft.knows(&service) {
                world.last_uses.insert(service, use_.at_ms);
            }
        }
        world.mark_all_subscribed();
        world.forget_empty();
        Ok(world)
    }
}

impl World {
    fn take_back(&mut self, instance: Instance, voucher: Voucher) {
        let (service, id) = (instance.service.clone(), instance.id.clone());
        self.draft.edit(&service).put(Arc::new(instance));
        if voucher != Voucher::Center {
            self.doubt(&service, &id, voucher);
        }
    }
}

/// What a world was at one time, cheap to take and to carry to the thread that writes it.
#[derive(Debug)]
pub(crate) struct WorldPicture {
    store: Store,
    version: Version,
    center: Arc<str>,
    names: Names,
    instances: Vec<Arc<Instance>>,
    unconfirmed: Vec<Arc<Instance>>,
    departed: Vec<Arc<Instance>>,
    used: Vec<UsedKey>,
    last_uses: Vec<LastUse>,
}

impl WorldPicture {
    /// None of a world that no center has told anything.
    pub(crate) fn of(world: &World) -> Option<Self> {
        let (store, version) = world.held.clone()?;
        let mut picture = Self {
            store,
            version,
            center: Arc::clone(&world.center),
            names: world.draft.names().clone(),
            instances: Vec::with_capacity(
                world
                    .draft
                    .services()
                    .map(|service| world.draft.count(service))
                    .sum(),
            ),
            unconfirmed: Vec::new(),
            departed: Vec::new(),
            used: world.used.to_saved(),
            last_uses: Vec::new(),
        };
        for service in world.draft.services() {
            for instance in world.draft.instances(service) {
                let place = if world.is_vouched(instance) {
                    &mut picture.instances
                } else {
                    &mut picture.unconfirmed
                };
                place.push(Arc::clone(instance));
            }
            let departed = world.draft.departed(service);
            picture.departed.extend(departed.cloned());
        }
        picture.last_uses = world
            .last_uses
            .iter()
            .map(|(service, at_ms)| LastUse {
                namespace: service.namespace.to_string(),
                service: service.name.to_string(),
                at_ms: *at_ms,
            })
            .collect();
        Some(picture)
    }

    /// Tells the message for the disk in parts: the whole of it takes many times the memory of what is known.
    pub(crate) fn tell(&self, saved_at_ms: u64, part: &mut dyn FnMut(&Saved)) {
        let Version { epoch, revision } = self.version;
        let mut names: Vec<u64> = self.names.iter().collect();
        names.sort_unstable();
        part(&Saved {
            store_id: self.store.id.clone(),
            version: Some(sync::Version { epoch, revision }),
            center: self.center.to_string(),
            saved_at_ms,
            names,
            ..Saved::default()
        });
        in_parts(&self.instances, |instances| {
            part(&Saved {
                instances,
                ..Saved::default()
            });
        });
        in_parts(&self.unconfirmed, |unconfirmed| {
            part(&Saved {
                unconfirmed,
                ..Saved::default()
            });
        });
        in_parts(&self.departed, |departed| {
            part(&Saved {
                departed,
                ..Saved::default()
            });
        });
        part(&Saved {
            used: self.used.clone(),
            last_uses: self.last_uses.clone(),
            ..Saved::default()
        });
    }

    /// The whole message.
    #[cfg(test)]
    pub(crate) fn to_saved(&self, saved_at_ms: u64) -> Saved {
        let file = weft_api::saved::encode_parts(|part| self.tell(saved_at_ms, part));
        let mut saved = weft_api::saved::decode(&file).expect("what was just encoded");
        for list in [
            &mut saved.instances,
            &mut saved.unconfirmed,
            &mut saved.departed,
        ] {
            list.sort_unstable_by(|a, b| (&a.service, &a.id).cmp(&(&b.service, &b.id)));
        }
        saved
    }
}

/// Instances, a few at a time.
fn in_parts(all: &[Arc<Instance>], mut part: impl FnMut(Vec<sync::Instance>)) {
    for few in all.chunks(PART_INSTANCES) {
        let few = few.iter().map(|instance| sync::instance_to_wire(instance));
        part(few.collect());
    }
}
