//! A sidecar without sockets, threads and clock, for simulations: the real world of what it knows, with the
//! messages it takes and says. `weft-test` plays it against the real catalog of a center.
//!
//! Time comes from outside. Never used by the product.

use crate::clock::Moment;
use crate::sync::{World, WorldPicture};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use weft_api::grpc;
use weft_api::saved;
use weft_api::sync::arriving::{Heard, read_message};
use weft_api::sync::{self, FieldError, from_center, from_sidecar};
use weft_model::instance::InstanceState;
use weft_model::{Key, ServiceName, Snapshot};

/// The one address at which the center is.
const CENTER: &str = "center:9700";

/// What a sidecar knows of the mesh.
pub struct Sidecar {
    world: World,
    snapshot: Snapshot,
    decoder: grpc::Decoder,
    service: String,
    instance: String,
    /// The instances that answer it.
    answering: Arc<Mutex<BTreeSet<String>>>,
}

/// An instance as a sidecar knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its incarnation.
    pub incarnation: u64,
    /// Nobody vouches for it now.
    pub unconfirmed: bool,
}

impl Sidecar {
    /// A sidecar that starts, from what an earlier process of it saved.
    pub fn start(service: &str, instance: &str, saved: Option<&[u8]>) -> Self {
        let content = saved.and_then(|bytes| saved::find(bytes).ok());
        let mut world = content
            .and_then(|found| World::try_from(found).ok())
            .unwrap_or_default();
        let answering: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let answers = Arc::clone(&answering);
        world.ask(Box::new(move |instance, _| {
            let answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.contains(instance.id.as_str())
        }));
        Self {
            snapshot: world.publish(),
            world,
            decoder: grpc::Decoder::new(grpc::MESSAGE_BYTES_MAX),
            service: service.to_owned(),
            instance: instance.to_owned(),
            answering,
        }
    }

    /// What is kept for the next process; none before a center told anything.
    pub fn saved(&self, unix_ms: u64) -> Option<Vec<u8>> {
        let picture = WorldPicture::of(&self.world)?;
        Some(saved::encode_parts(|part| picture.tell(unix_ms, part)))
    }

    /// The hello of a new stream.
    pub fn hello(&self) -> sync::SidecarHello {
        let (store_id, held) = self.world.held();
        sync::SidecarHello {
            protocol_version: sync::PROTOCOL_VERSION,
            namespace: "default".to_owned(),
            service: self.service.clone(),
            instance: self.instance.clone(),
            held,
            store_id,
            weft_version: String::new(),
        }
    }

    /// The stream is gone.
    pub fn disconnected(&mut self) {
        self.world.disconnected();
        self.decoder = grpc::Decoder::new(grpc::MESSAGE_BYTES_MAX);
    }

    /// The app calls a service.
    pub fn call(&mut self, service: &str, since: Instant, after: Duration) {
        let keys = [Key::of_host(service, "default")];
        self.world.name(keys, moment(since, after));
    }

    /// The Subscribe that is due.
    pub fn subscribe(&mut self) -> Option<sync::Subscribe> {
        self.world.subscribe()
    }

    /// These instances answer it from now on.
    pub fn is_answered_by(&self, instances: BTreeSet<String>) {
        *self
            .answering
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = instances;
    }

    /// Takes what came on the stream, and says what it has to say to it.
    pub fn take(
        &mut self,
        bytes: &[u8],
        since: Instant,
        after: Duration,
    ) -> Result<Vec<from_sidecar::Kind>, String> {
        self.decoder.push(bytes);
        let mut said = Vec::new();
        loop {
            let heard = self.decoder.next_by(read_message);
            let Some(heard) = heard.map_err(|error| error.to_string())? else {
                return Ok(said);
            };
            said.extend(self.take_one(heard, moment(since, after)));
        }
    }

    fn take_one(&mut self, heard: Heard, now: Moment) -> Option<from_sidecar::Kind> {
        let nack = |version, why: FieldError| {
            from_sidecar::Kind::Nack(sync::Nack {
                version,
                field: why.field,
                reason: why.reason,
            })
        };
        match heard {
            Heard::Delta(delta) => {
                let staged = self.world.stage(&delta);
                staged.err().map(|why| nack(delta.head.version, why))
            }
            Heard::Other(Some(from_center::Kind::Hello(hello))) => {
                self.world.connected(&hello, CENTER);
                None
            }
            Heard::Other(Some(from_center::Kind::Names(names))) => {
                match self.world.commit(&names, now) {
                    Ok(false) => None,
                    Ok(true) => {
                        self.publish();
                        let version = names.version;
                        Some(from_sidecar::Kind::Ack(sync::Ack { version }))
                    }
                    Err(why) => Some(nack(names.version, why)),
                }
            }
            Heard::Other(_) => None,
        }
    }

    /// Time does its work; whether that changed anything.
    pub fn tick(&mut self, since: Instant, after: Duration) -> bool {
        let now = moment(since, after);
        let is_due = self.world.due_at().is_some_and(|due| due <= now.instant);
        let has_changed = is_due && self.world.tick(now.instant);
        if has_changed {
            self.publish();
        }
        has_changed
    }

    fn publish(&mut self) {
        self.snapshot = self.world.publish();
        self.world.take_answers();
        self.world.take_notes();
    }

    /// The version in use: epoch, revision.
    pub fn version(&self) -> (u64, u64) {
        let version = self.snapshot.version;
        (version.epoch, version.revision)
    }

    /// How many instances of a service the center vouches for, those included that take no calls.
    pub fn vouched(&self, service: &str) -> usize {
        let name = ServiceName::new("default", service);
        self.world.vouched_count(&name)
    }

    /// The instances of a service that it uses, as calls may go to them; none: the center does not tell it of the service.
    pub fn service(&self, service: &str) -> Option<BTreeMap<String, Known>> {
        let service = self.snapshot.service("default", service)?;
        let known = service.members.iter().map(|member| {
            let instance = &member.instance;
            let known = Known {
                incarnation: instance.incarnation,
                unconfirmed: instance.state == InstanceState::Unconfirmed,
            };
            (instance.id.to_string(), known)
        });
        service.subscribed.then(|| known.collect())
    }
}

fn moment(since: Instant, after: Duration) -> Moment {
    Moment {
        instant: since + after,
        clock_ms: after.as_millis() as u64,
        unix_ms: after.as_millis() as u64,
    }
}
