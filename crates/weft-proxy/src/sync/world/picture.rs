//! A world as it goes to the disk and comes back from it.
//!
//! Never in here: files.

use super::used::Used;
use super::{INSTANCES_MAX, NAMES_MAX, Store, Voucher, World, wrong};
use std::collections::BTreeMap;
use std::sync::Arc;
use weft_api::saved::{Found, LastUse, Part, Place, Saved, UsedKey};
use weft_api::sync::arriving::InstanceReader;
use weft_api::sync::{self, FieldError};
use weft_model::snapshot::names::Names;
use weft_model::{Instance, InstanceId, ServiceName, Snapshot, Version};

/// The world that an earlier process saved.
impl TryFrom<Found<'_>> for World {
    type Error = FieldError;

    fn try_from(found: Found<'_>) -> Result<Self, FieldError> {
        if found.count() > INSTANCES_MAX {
            return Err(wrong(
                "instances",
                format!("there are {}, more than {INSTANCES_MAX}", found.count()),
            ));
        }
        let saved = &found.rest;
        if saved.names.len() > NAMES_MAX {
            return Err(wrong("names", format!("there are more than {NAMES_MAX}")));
        }
        let sync::Version { epoch, revision } = saved
            .version
            .ok_or_else(|| wrong("version", "it is missing".to_owned()))?;
        let store = Store {
            id: saved.store_id.clone(),
            epoch,
        };
        let mut world = Self {
            center: saved.center.as_str().into(),
            held: Some((store, Version { epoch, revision })),
            used: Used::of_saved(&saved.used),
            ..Self::default()
        };
        *world.draft.names_mut() = saved.names.iter().copied().collect();
        for place in Place::ALL {
            world.take_back(&found, place)?;
        }
        for use_ in &saved.last_uses {
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
    /// Takes the instances of one place.
    fn take_back(&mut self, found: &Found<'_>, place: Place) -> Result<(), FieldError> {
        let mut reader = InstanceReader::default();
        let read = found
            .instances(place)
            .enumerate()
            .map(|(position, wire)| reader.read(wire, || format!("{}[{position}]", place.name())));
        let mut read = read.peekable();
        // Those of one service mostly stand together.
        while let Some(first) = read.next_if(Result::is_ok) {
            let first = first?;
            let shape = Arc::clone(&first.shape);
            let service = &shape.service;
            let mut edit = self.draft.edit(service);
            let mut next = Some(first);
            while let Some(instance) = next {
                if place == Place::Unconfirmed {
                    let doubted = self.doubted.entry(service.clone()).or_default();
                    doubted.insert(instance.id.clone(), Voucher::Earlier);
                }
                if place == Place::Departed {
                    edit.set_departed(Arc::new(instance));
                    self.empty.insert(service.clone());
                } else {
                    edit.put(Arc::new(instance));
                }
                let more =
                    read.next_if(|more| more.as_ref().is_ok_and(|more| more.service == *service));
                next = more.transpose()?;
            }
        }
        read.next().transpose().map(drop)
    }
}

/// What a world was at one time, cheap to take and to carry to the thread that writes it.
#[derive(Debug)]
pub(crate) struct WorldPicture {
    store: Store,
    version: Version,
    center: Arc<str>,
    names: Names,
    /// Instances that take calls; all of it is shared with the snapshot in use.
    view: Snapshot,
    /// The others.
    aside: Vec<Arc<Instance>>,
    departed: Vec<Arc<Instance>>,
    doubted: BTreeMap<ServiceName, BTreeMap<InstanceId, Voucher>>,
    used: Vec<UsedKey>,
    last_uses: Vec<LastUse>,
}

impl WorldPicture {
    /// None of a world that no center has told anything.
    pub(crate) fn of(world: &World) -> Option<Self> {
        let (store, version) = world.held.clone()?;
        let draft = &world.draft;
        let last_uses = world.last_uses.iter().map(|(service, at_ms)| LastUse {
            namespace: service.namespace.to_string(),
            service: service.name.to_string(),
            at_ms: *at_ms,
        });
        Some(Self {
            store,
            version,
            center: Arc::clone(&world.center),
            names: draft.names().clone(),
            view: draft.view().clone(),
            aside: draft.aside().cloned().collect(),
            departed: draft.departed().cloned().collect(),
            doubted: world.doubted.clone(),
            used: world.used.to_saved(),
            last_uses: last_uses.collect(),
        })
    }

    /// Tells the message for the disk in parts: the whole of it takes many times the memory of what is known.
    pub(crate) fn tell(&self, saved_at_ms: u64, part: &mut dyn FnMut(Part<'_>)) {
        let Version { epoch, revision } = self.version;
        let mut names: Vec<u64> = self.names.iter().collect();
        names.sort_unstable();
        part(Part::Fields(&Saved {
            store_id: self.store.id.clone(),
            version: Some(sync::Version { epoch, revision }),
            center: self.center.to_string(),
            saved_at_ms,
            names,
            ..Saved::default()
        }));
        for service in self.view.services() {
            for member in &service.members {
                part(Part::Instance(
                    self.place_of(&member.instance),
                    &member.instance,
                ));
            }
        }
        for instance in &self.aside {
            part(Part::Instance(self.place_of(instance), instance));
        }
        for instance in &self.departed {
            part(Part::Instance(Place::Departed, instance));
        }
        part(Part::Fields(&Saved {
            used: self.used.clone(),
            last_uses: self.last_uses.clone(),
            ..Saved::default()
        }));
    }

    fn place_of(&self, instance: &Instance) -> Place {
        let doubted = self.doubted.get(&instance.service);
        if doubted.is_some_and(|doubted| doubted.contains_key(&instance.id)) {
            Place::Unconfirmed
        } else {
            Place::Instances
        }
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
