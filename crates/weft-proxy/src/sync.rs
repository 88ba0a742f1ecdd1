//! The sidecar's side of `weft.sync.v1`: one stream to one center, for as long as both live. It registers
//! the own instance, turns what centers tell into snapshots, and reports what happened to calls.
//!
//! Runs on the control thread, so a slow center never delays a call; while no center is there the last
//! snapshot stays in use. Never in here: what a batch means (`sync/world.rs`).

mod own;
mod peers;
mod stream;
mod world;

use crate::asking::Asked;
use crate::clock::Instant;
use crate::saved::{self, Keeper, Loaded};
use arc_swap::ArcSwap;
use peers::Peers;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use stream::{Away, Stream, Told};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};
use weft_api::saved::Part;
use weft_api::sidecar::SidecarSpec;
use weft_api::sync::{self, from_center, from_sidecar};
use weft_model::instance::InstanceLoad;
use weft_model::{Failure, Instance, Key, Snapshot};
use world::SWEEP_EVERY;

pub(crate) use own::{AppState, Offline};
pub(crate) use world::{World, WorldPicture};

/// What happened to calls is told this often.
pub(crate) const STATS_EVERY: Duration = Duration::from_secs(2);

/// Counts older than this are not told: after a long time without a center they would look like a burst.
const STATS_SPAN_MAX: Duration = Duration::from_mins(1);

/// Waits between attempts: full jitter under a bound that doubles from the first to the second of these.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// An instance answers when a link to it was heard this recently.
const ANSWERED_WITHIN: Duration = Duration::from_secs(6);

/// What changed goes to the keeper after this time: many changes, one picture and one write.
const PICTURE_AFTER: Duration = Duration::from_millis(700);

/// A stream that lived this long was a good one: the next wait is short again.
const STREAM_PROVEN: Duration = Duration::from_secs(5);

/// What the sync task works with.
pub(crate) struct SyncTask {
    /// Which instance this is, and where its centers are.
    pub(crate) spec: SidecarSpec,
    /// Where peers reach this sidecar.
    pub(crate) inbound_port: u16,
    /// Where people on this host reach it.
    pub(crate) management_port: u16,
    /// Where snapshots go.
    pub(crate) snapshots: Arc<ArcSwap<Snapshot>>,
    /// The own app, as whoever checks it sees it.
    pub(crate) app: watch::Receiver<AppState>,
    /// Whether a person took the own instance out of use: the center's word goes in, whoever's newest word is
    /// registered.
    pub(crate) offline: watch::Sender<Offline>,
    /// What was declared for the start and the end of the own service: the center's newest word goes in.
    pub(crate) own_policy: watch::Sender<sync::OwnPolicy>,
    /// What happened since it was asked last.
    pub(crate) stats: Box<dyn FnMut() -> Vec<sync::StatsRow> + Send>,
    /// What calls ask for.
    pub(crate) asked: Asked,
    /// True: say goodbye and end.
    pub(crate) shutdown: watch::Receiver<bool>,
    /// Whether links to this sidecar use TLS.
    pub(crate) link_tls: bool,
    /// What an earlier process of this sidecar left on disk.
    pub(crate) earlier: Earlier,
}

/// What an earlier process of this sidecar left on disk; empty without a folder.
#[derive(Default)]
pub(crate) struct Earlier(Option<Loaded<World>>);

impl Earlier {
    /// Reads it, and has calls served from it at once.
    pub(crate) fn load(folder: Option<&Path>, snapshots: &ArcSwap<Snapshot>) -> Self {
        let mut loaded = folder.map(|folder| saved::load(folder, |found| World::try_from(found)));
        for (level, text) in loaded.iter().flat_map(|loaded| &loaded.told) {
            log(level, text, &[]);
        }
        if let Some(world) = loaded.as_mut().and_then(|loaded| loaded.content.as_mut()) {
            snapshots.store(Arc::new(world.publish()));
        }
        Self(loaded)
    }
}

/// Follows centers until told to end.
pub(crate) async fn run(mut task: SyncTask) {
    let mut shutdown = task.shutdown.clone();
    if task.spec.centers.is_empty() {
        log(
            "info",
            "no address of a center was given: there is nobody to follow",
            &[],
        );
        told_to_stop(&mut shutdown).await;
        return;
    }
    let mut loaded = std::mem::take(&mut task.earlier).0;
    let world = loaded.as_mut().and_then(|loaded| loaded.content.take());
    let mut follower = Follower {
        world: world.unwrap_or_default(),
        keeper: loaded.map(Keeper::start),
        picture_at: None,
        incarnation: None,
        reported_at: crate::clock::now(),
        random: RandomState::new().hash_one(0) | 1,
        task,
    };
    follower.world.ask(Box::new(answers));
    follower.follow_any(&mut shutdown).await;
    follower.keep();
    if let Some(keeper) = follower.keeper.take() {
        keeper.finish().await;
    }
}

/// Whether an instance answers, by the links of this very sidecar.
fn answers(_: &Instance, load: &InstanceLoad) -> bool {
    let heard_ms = load.heard_ms.load(Relaxed);
    let silence = crate::clock::now_ms().saturating_sub(heard_ms);
    heard_ms != 0 && silence < ANSWERED_WITHIN.as_millis() as u64 && load.state().takes_calls()
}

struct Follower {
    task: SyncTask,
    world: World,
    /// None without a folder.
    keeper: Option<Keeper>,
    /// When what is held now goes to the keeper; none while it has it.
    picture_at: Option<Instant>,
    /// The app's last known incarnation: none until it was up once.
    incarnation: Option<u64>,
    reported_at: Instant,
    random: u64,
}

impl Follower {
    /// Follows one center after another, until the sidecar is told to end.
    async fn follow_any(&mut self, shutdown: &mut watch::Receiver<bool>) {
        let mut retry_bound = RETRY_FIRST;
        let mut last_why = String::new();
        let mut order: Vec<String> = Vec::new();
        loop {
            let center = self.next_center(&mut order);
            let started = crate::clock::now();
            let ended = self.follow(&center).await;
            self.world.disconnected();
            let why = match ended {
                Ok(()) => return,
                Err(why) => why.to_string(),
            };
            let lived = crate::clock::now().saturating_duration_since(started);
            if lived >= STREAM_PROVEN {
                retry_bound = RETRY_FIRST;
            }
            // An address that stays dead is told once, not at every attempt.
            if why != last_why {
                log(
                    "warn",
                    "no center: the last snapshot stays in use",
                    &[("center", &center), ("why", &why)],
                );
                last_why = why;
            }
            let wait = self.jitter(retry_bound);
            retry_bound = (retry_bound * 2).min(RETRY_MAX);
            tokio::select! {
                () = self.rest(wait) => {}
                () = told_to_stop(shutdown) => return,
            }
        }
    }

    /// Waits, and does meanwhile what needs no center.
    async fn rest(&mut self, wait: Duration) {
        let ended = sleep(wait);
        tokio::pin!(ended);
        loop {
            let picture_at = self.picture_at;
            tokio::select! {
                () = &mut ended => return,
                Some(key) = self.task.asked.keys.recv() => self.name(key),
                () = until(picture_at) => self.keep(),
            }
        }
    }

    /// Calls ask for this key, and maybe for more.
    fn name(&mut self, key: Key) {
        let mut keys = vec![key];
        while let Ok(key) = self.task.asked.keys.try_recv() {
            keys.push(key);
        }
        self.world.name(keys, crate::clock::moment());
        self.tell_notes();
    }

    /// Follows one center. `Ok` when the sidecar is told to end.
    async fn follow(&mut self, center: &str) -> Result<(), Away> {
        let mut shutdown = self.task.shutdown.clone();
        let mut stream = tokio::select! {
            stream = Stream::open(center) => stream?,
            () = told_to_stop(&mut shutdown) => return Ok(()),
        };
        self.greet(&mut stream).await?;
        log("info", "connected to the center", &[("center", center)]);
        let mut app = self.task.app.clone();
        app.mark_unchanged();
        let mut offline = self.task.offline.subscribe();
        self.register(&mut stream).await?;
        let mut peers = Peers::default();
        let mut stats_turn = interval(STATS_EVERY);
        stats_turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sweep_turn = interval(SWEEP_EVERY);
        sweep_turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.subscribe(&mut stream).await?;
            let (due_at, picture_at) = (self.world.due_at(), self.picture_at);
            tokio::select! {
                message = stream.next() => self.take(message?, &mut stream, center).await?,
                Ok(()) = app.changed() => self.register(&mut stream).await?,
                Ok(()) = offline.changed() => self.register(&mut stream).await?,
                _ = stats_turn.tick() => {
                    self.report(&mut stream).await?;
                    let report = peers.report(&self.task.snapshots.load(), crate::clock::now_ms());
                    if let Some(report) = report {
                        stream.say(from_sidecar::Kind::Peers(report)).await?;
                    }
                }
                Some(key) = self.task.asked.keys.recv() => self.name(key),
                _ = sweep_turn.tick() => {
                    if self.world.sweep(crate::clock::moment()) {
                        self.publish();
                    }
                }
                () = until(picture_at) => self.keep(),
                () = until(due_at) => {
                    if self.world.tick(crate::clock::now()) {
                        self.publish();
                    }
                }
                () = told_to_stop(&mut shutdown) => {
                    stream.say_goodbye("the sidecar is stopping").await;
                    return Ok(());
                }
            }
        }
    }

    async fn greet(&mut self, stream: &mut Stream) -> Result<(), Away> {
        let spec = &self.task.spec;
        let (store_id, held) = self.world.held();
        let hello = sync::SidecarHello {
            protocol_version: sync::PROTOCOL_VERSION,
            namespace: spec.namespace.clone(),
            service: spec.service.clone(),
            instance: spec.instance.clone(),
            held,
            store_id,
            weft_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        stream.say(from_sidecar::Kind::Hello(hello)).await?;
        if let Ok(key) = self.task.asked.keys.try_recv() {
            self.name(key);
        }
        self.subscribe(stream).await
    }

    /// Says what the app calls, when that changed.
    async fn subscribe(&mut self, stream: &mut Stream) -> Result<(), Away> {
        match self.world.subscribe() {
            Some(subscribe) => stream.say(from_sidecar::Kind::Subscribe(subscribe)).await,
            None => Ok(()),
        }
    }

    /// Says what the own instance is now; nothing before the app was up once.
    async fn register(&mut self, stream: &mut Stream) -> Result<(), Away> {
        let app = *self.task.app.borrow();
        if let AppState::Up { incarnation } = app {
            self.incarnation = Some(incarnation);
        }
        let Some(incarnation) = self.incarnation else {
            return Ok(());
        };
        let record = own::record(&self.task, app, incarnation, stream.local_address);
        let register = sync::Register {
            instance: Some(record),
        };
        stream.say(from_sidecar::Kind::Register(register)).await
    }

    async fn report(&mut self, stream: &mut Stream) -> Result<(), Away> {
        let now = crate::clock::now();
        let span = now.saturating_duration_since(self.reported_at);
        self.reported_at = now;
        let rows = (self.task.stats)();
        if rows.is_empty() || span > STATS_SPAN_MAX {
            return Ok(());
        }
        let interval_ms = span.as_millis() as u32;
        stream
            .say(from_sidecar::Kind::Stats(sync::Stats { interval_ms, rows }))
            .await
    }

    async fn take(&mut self, told: Told, stream: &mut Stream, center: &str) -> Result<(), Away> {
        let kind = match told {
            Told::Delta(delta) => {
                return match self.world.stage(&delta) {
                    Ok(()) => Ok(()),
                    Err(why) => stream.refuse(delta.head.version, why).await,
                };
            }
            Told::Other(kind) => kind,
        };
        match kind {
            from_center::Kind::Hello(hello) => {
                let configured = &self.task.spec.centers;
                if let Some(failure) = self.world.refusal(&hello, center, configured) {
                    return self.turn_away(stream, hello.version, &failure).await;
                }
                self.world.connected(&hello, center);
                Ok(())
            }
            // Read apart: see above.
            from_center::Kind::Delta(_) => Ok(()),
            from_center::Kind::SetOffline(said) => {
                Offline::from(said).tell(&self.task.offline);
                Ok(())
            }
            from_center::Kind::OwnPolicy(policy) => {
                // Also one that says nothing: it may take back what a sidecar before this one was told.
                self.task.own_policy.send_replace(policy);
                Ok(())
            }
            from_center::Kind::Names(names) => {
                match self.world.commit(&names, crate::clock::moment()) {
                    Ok(true) => {
                        self.publish();
                        let ack = sync::Ack {
                            version: names.version,
                        };
                        stream.say(from_sidecar::Kind::Ack(ack)).await
                    }
                    Ok(false) => Ok(()),
                    Err(why) => stream.refuse(names.version, why).await,
                }
            }
        }
    }

    /// Leaves a center of another store; the instance must not stay in that one.
    async fn turn_away(
        &mut self,
        stream: &mut Stream,
        version: Option<sync::Version>,
        failure: &Failure,
    ) -> Result<(), Away> {
        let why = sync::FieldError {
            field: "store_id".to_owned(),
            reason: failure.to_string(),
        };
        stream.refuse(version, why).await?;
        stream.say_goodbye("another store is followed").await;
        let forget = self.task.spec.state_dir.as_deref().map_or_else(
            || "restart the sidecar".to_owned(),
            |folder| {
                let newest = saved::newest_of(folder);
                format!(
                    "stop the sidecar, remove {}* and start it",
                    newest.display()
                )
            },
        );
        Err(Away::Ended(format!(
            "{failure}; give all sidecars centers of one store only, or, to follow the other store, {forget}"
        )))
    }

    fn publish(&mut self) {
        self.tell_notes();
        let next = self.world.publish();
        self.task.snapshots.store(Arc::new(next));
        if self.world.take_answers() {
            self.task.asked.answers.send_replace(());
        }
        if self.keeper.is_some() {
            let soon = crate::clock::now() + PICTURE_AFTER;
            self.picture_at.get_or_insert(soon);
        }
    }

    fn tell_notes(&mut self) {
        for note in self.world.take_notes() {
            log("warn", &note, &[]);
        }
    }

    /// Gives what is held now to the keeper, if it changed.
    fn keep(&mut self) {
        if self.picture_at.take().is_none() {
            return;
        }
        if let (Some(keeper), Some(picture)) = (&self.keeper, WorldPicture::of(&self.world)) {
            keeper.keep(Arc::new(move |part: &mut dyn FnMut(Part<'_>)| {
                picture.tell(crate::clock::unix_ms(), part);
            }));
        }
    }

    /// Each address once in random order, then all again.
    fn next_center(&mut self, order: &mut Vec<String>) -> String {
        if order.is_empty() {
            order.clone_from(&self.task.spec.centers);
        }
        let position = self.next_random() as usize % order.len().max(1);
        order.swap_remove(position)
    }

    /// Any time up to the bound.
    fn jitter(&mut self, bound: Duration) -> Duration {
        let share = (self.next_random() >> 11) as f64 / (1_u64 << 53) as f64;
        bound.mul_f64(share)
    }

    /// xorshift: spreads attempts, keeps no secret.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

/// Also when nobody is left who could say so.
async fn told_to_stop(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

async fn until(due_at: Option<Instant>) {
    match due_at {
        Some(due_at) => sleep_until(due_at.into()).await,
        None => std::future::pending().await,
    }
}

/// One JSON object a line on standard error.
fn log(level: &str, message: &str, fields: &[(&str, &str)]) {
    let mut object = serde_json::Map::new();
    object.insert("kind".into(), "event".into());
    object.insert("level".into(), level.into());
    object.insert("message".into(), message.into());
    for (name, value) in fields {
        object.insert((*name).to_owned(), (*value).into());
    }
    crate::log::line(&serde_json::Value::Object(object).to_string());
}

#[cfg(test)]
mod tests;
