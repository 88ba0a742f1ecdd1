//! A center without sockets, threads and clock, for simulations: the real catalog, the real writer and epochs on
//! a store that is what was committed. `weft-test` plays it against the real world of sidecars.
//!
//! Time and the moment of each commit come from outside. Never used by the product.

use crate::catalog::{Catalog, Parcel, Remembered, StreamId, Times};
use crate::delta::encoded;
use crate::instance_rows;
use crate::store::{
    Committer, Opened, Rows, SharedRows, StoreError, Writer, backup, clean_mark, take_over,
};
use crate::stream::agreed;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use weft_api::sync::{self, PROTOCOL_VERSION, from_center, from_sidecar};
use weft_model::ServiceName;

/// What a center keeps: it outlives the center.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<Rows>>);

/// A running center. Dropped, it has crashed: what was not committed is gone.
pub struct Center {
    catalog: Catalog,
    writer: Writer,
    committer: Committer,
    store_id: String,
    epoch: u64,
    streams_opened: u64,
    /// What each stream is told once it is durable.
    outboxes: BTreeMap<StreamId, VecDeque<Parcel>>,
}

/// One sidecar's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream(StreamId);

/// A sidecar was turned away: the store is older than what it holds.
#[derive(Clone, Copy, Debug)]
pub struct TurnedAway;

impl Disk {
    /// All that is kept, as a backup.
    pub fn backup(&self) -> String {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        backup::written(&rows)
    }

    /// Takes a backup back, with an epoch after every other, as `weft center restore` does.
    pub fn restore(&self, text: &str, unix_ms: u64) -> Result<(), StoreError> {
        let restored = backup::read(text)?;
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *rows = backup::restored(restored, &rows, unix_ms);
        Ok(())
    }
}

impl Center {
    /// Starts on what is kept; `unix_ms` is the time of day.
    pub fn start(disk: &Disk, unix_ms: u64, now: Instant) -> Result<Self, StoreError> {
        let store = Box::new(SharedRows(Arc::clone(&disk.0)));
        let Opened {
            store,
            store_id,
            epoch,
            revision,
            clean_note,
            rows,
        } = take_over(store, "simulated", unix_ms)?;
        let mut catalog = Catalog::new(sync::Version { epoch, revision }, Times::default());
        let remembered = Remembered {
            instances: instance_rows::records(&rows).0,
            names: clean_note,
            ..Remembered::default()
        };
        catalog.restore(remembered, now);
        let (writer, committer) = Writer::parts(store, revision);
        let mut center = Self {
            catalog,
            writer,
            committer,
            store_id,
            epoch,
            streams_opened: 0,
            outboxes: BTreeMap::new(),
        };
        center.save();
        Ok(center)
    }

    /// A sidecar says hello on a new stream.
    pub fn connect(&mut self, hello: &sync::SidecarHello) -> Result<Stream, TurnedAway> {
        let held = agreed(hello, &self.store_id, self.durable()).map_err(|_| TurnedAway)?;
        self.streams_opened += 1;
        let stream = StreamId(self.streams_opened);
        let service = ServiceName::new("default", &hello.service);
        self.catalog
            .connected(stream, service, hello.instance.clone(), held);
        let own = from_center::Kind::Hello(sync::CenterHello {
            protocol_version: PROTOCOL_VERSION,
            store_id: self.store_id.clone(),
            version: Some(self.durable()),
            weft_version: String::new(),
            seen_address: String::new(),
        });
        let parcel = Parcel {
            revision: 0,
            bytes: encoded(own),
        };
        self.outboxes.insert(stream, VecDeque::from([parcel]));
        Ok(Stream(stream))
    }

    /// A sidecar says something.
    pub fn hear(&mut self, stream: Stream, kind: from_sidecar::Kind, now: Instant) {
        let stream = stream.0;
        if !self.outboxes.contains_key(&stream) {
            return;
        }
        match kind {
            from_sidecar::Kind::Subscribe(subscribe) => {
                let _ = self.catalog.subscribe(stream, &subscribe);
            }
            from_sidecar::Kind::Register(register) => {
                if let Some(record) = register.instance {
                    let _ = self.catalog.register(stream, record, now);
                }
            }
            from_sidecar::Kind::Ack(ack) => {
                self.catalog.acked(stream, ack.version.unwrap_or_default());
            }
            from_sidecar::Kind::Nack(nack) => self.catalog.nacked(stream, nack),
            from_sidecar::Kind::Goodbye(_) => {
                self.catalog.goodbye(stream, now);
                self.outboxes.remove(&stream);
            }
            from_sidecar::Kind::Hello(_)
            | from_sidecar::Kind::Stats(_)
            | from_sidecar::Kind::Peers(_) => {}
        }
    }

    /// The stream is gone.
    pub fn lost(&mut self, stream: Stream, now: Instant) {
        if self.outboxes.remove(&stream.0).is_some() {
            self.catalog.broken(stream.0, now);
        }
    }

    /// A person takes an instance out of use, or back.
    pub fn set_offline(
        &mut self,
        service: &str,
        id: &str,
        offline: bool,
        unix_ms: u64,
        now: Instant,
    ) {
        let name = ServiceName::new("default", service);
        let word = sync::SetOffline {
            offline,
            changed_ms: unix_ms,
        };
        self.catalog.set_offline(&name, id, word, now);
    }

    /// Time does its work; changes that are due are handed to the streams.
    pub fn tick(&mut self, now: Instant) {
        if self.catalog.due_at().is_some_and(|due_at| due_at <= now) {
            self.catalog.tick(now);
        }
        self.save();
    }

    /// What changed becomes durable.
    pub fn commit(&mut self) {
        self.save();
        self.committer.turn_if_any();
    }

    /// What a stream is told now: nothing that is not durable.
    pub fn tell(&mut self, stream: Stream) -> Vec<bytes::Bytes> {
        let durable = self.durable().revision;
        let Some(outbox) = self.outboxes.get_mut(&stream.0) else {
            return Vec::new();
        };
        if outbox.is_empty() {
            outbox.extend(self.catalog.take_parcels(stream.0));
        }
        let mut told = Vec::new();
        while let Some(parcel) = outbox.pop_front_if(|parcel| parcel.revision <= durable) {
            told.push(parcel.bytes);
        }
        told
    }

    /// The last version that is durable.
    pub fn durable(&self) -> sync::Version {
        sync::Version {
            epoch: self.epoch,
            revision: *self.writer.durable().borrow(),
        }
    }

    /// The present version.
    pub fn version(&self) -> sync::Version {
        self.catalog.version()
    }

    /// The instances of a service, by id.
    pub fn instances(&self, service: &str) -> BTreeMap<String, sync::Instance> {
        let name = ServiceName::new("default", service);
        let places = self.catalog.services().filter(|(own, _)| **own == name);
        let entries = places.flat_map(|(_, place)| &place.instances);
        entries
            .map(|(id, entry)| (id.clone(), entry.record.clone()))
            .collect()
    }

    /// Stops in order.
    pub fn stop(mut self) -> Result<(), StoreError> {
        self.save();
        let mark = clean_mark(self.catalog.version().revision, self.catalog.names_note());
        self.committer.close(&mark)
    }

    fn save(&mut self) {
        let revision = self.catalog.version().revision;
        let unsaved = self.catalog.take_unsaved().into_iter();
        let changes = unsaved
            .map(|(service, id, record)| instance_rows::change(&service, &id, record.as_deref()));
        self.writer.soon(changes.collect(), revision);
    }
}
