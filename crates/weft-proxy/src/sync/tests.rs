//! The sync task against a center made by hand, over real connections.

use super::stream::PATH;
use super::*;
use crate::asking::{self, Asking};
use bytes::Bytes;
use h2::{RecvStream, SendStream};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use weft_api::grpc;
use weft_api::saved::{Saved, UsedKey, decode, encode};
use weft_model::instance::HealthState;
use weft_model::key::key_hash;
use weft_model::{Family, InstanceState, Version};

/// Nothing in these tests takes this long unless it never comes.
const BOUND: Duration = Duration::from_secs(10);

/// A sync task under test, with all that it is fed.
struct Rig {
    snapshots: Arc<ArcSwap<Snapshot>>,
    app: watch::Sender<AppState>,
    offline: watch::Sender<Offline>,
    own_policy: watch::Sender<sync::OwnPolicy>,
    asking: Asking,
    shutdown: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Rig {
    fn start(centers: Vec<String>) -> Self {
        Self::in_folder(centers, None)
    }

    fn in_folder(centers: Vec<String>, folder: Option<&Path>) -> Self {
        let snapshots = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        let (app, app_state) = watch::channel(AppState::Unknown);
        let offline = watch::Sender::new(Offline::default());
        let own_policy = watch::Sender::new(sync::OwnPolicy::default());
        let (shutdown, stopping) = watch::channel(false);
        let (asking, asked) = asking::channel();
        for service in ["web", "orders"] {
            asking.ask(Key::of_host(service, "default"));
        }
        let reports = AtomicU64::new(0);
        let row = move || sync::StatsRow {
            direction: "inbound".into(),
            calls: reports.fetch_add(1, Relaxed) + 1,
            ..sync::StatsRow::default()
        };
        let task = SyncTask {
            spec: SidecarSpec {
                service: "orders".into(),
                instance: "o1".into(),
                ports: vec!["http=8080".parse().unwrap()],
                labels: vec![("zone".into(), "a".into()), ("app".into(), "x".into())],
                centers,
                state_dir: folder.map(Path::to_owned),
                ..SidecarSpec::default()
            },
            inbound_port: 9982,
            management_port: 8002,
            snapshots: Arc::clone(&snapshots),
            app: app_state,
            offline: offline.clone(),
            own_policy: own_policy.clone(),
            stats: Box::new(move || vec![row()]),
            shutdown: stopping,
            asked,
            link_tls: false,
            earlier: Earlier::load(folder, &snapshots),
        };
        Self {
            snapshots,
            app,
            offline,
            own_policy,
            asking,
            shutdown,
            task: tokio::spawn(run(task)),
        }
    }

    async fn until(&self, done: impl Fn(&Snapshot) -> bool) {
        let waited = timeout(BOUND, async {
            while !done(&self.snapshots.load()) {
                sleep(Duration::from_millis(2)).await;
            }
        });
        waited
            .await
            .expect("the snapshot never became what was awaited");
    }

    fn members(&self, service: &str) -> usize {
        let snapshot = self.snapshots.load();
        snapshot
            .service("default", service)
            .map_or(0, |service| service.members.len())
    }

    async fn stop(self) {
        self.shutdown.send_replace(true);
        timeout(BOUND, self.task)
            .await
            .expect("the task ends")
            .unwrap();
    }
}

/// A center by hand.
struct FakeCenter {
    listener: TcpListener,
    address: String,
}

impl FakeCenter {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self { listener, address }
    }

    /// The next stream that a sidecar opens, after its hello and its subscription.
    async fn stream(&self) -> FakeStream {
        timeout(BOUND, self.accept())
            .await
            .expect("the sidecar opens a stream")
    }

    async fn accept(&self) -> FakeStream {
        let (socket, _) = self.listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        assert_eq!(request.uri().path(), PATH);
        assert_eq!(request.headers()["content-type"], "application/grpc");
        let sender = respond
            .send_response(http::Response::new(()), false)
            .unwrap();
        let connection =
            tokio::spawn(async move { while let Some(Ok(_)) = connection.accept().await {} });
        let mut stream = FakeStream {
            sender,
            receiver: request.into_body(),
            decoder: grpc::Decoder::new(grpc::MESSAGE_BYTES_MAX),
            hello: sync::SidecarHello::default(),
            subscribe: sync::Subscribe::default(),
            connection,
        };
        let from_sidecar::Kind::Hello(hello) = stream.hear().await else {
            panic!("the first message is a hello");
        };
        stream.hello = hello;
        let from_sidecar::Kind::Subscribe(subscribe) = stream.hear().await else {
            panic!("the second message is a subscription");
        };
        assert!(!subscribe.all);
        stream.subscribe = subscribe;
        stream
    }
}

struct FakeStream {
    sender: SendStream<Bytes>,
    receiver: RecvStream,
    decoder: grpc::Decoder,
    hello: sync::SidecarHello,
    /// The last one that was heard of.
    subscribe: sync::Subscribe,
    connection: JoinHandle<()>,
}

impl FakeStream {
    fn say(&mut self, kind: from_center::Kind) {
        let mut out = Vec::new();
        grpc::encode(&sync::FromCenter { kind: Some(kind) }, &mut out);
        self.sender.send_data(out.into(), false).unwrap();
    }

    fn say_hello(&mut self, epoch: u64) {
        self.say(from_center::Kind::Hello(sync::CenterHello {
            protocol_version: sync::PROTOCOL_VERSION,
            store_id: format!("store-{epoch}"),
            version: Some(sync::Version { epoch, revision: 0 }),
            ..sync::CenterHello::default()
        }));
    }

    /// A batch that says everything.
    fn say_all(&mut self, version: sync::Version, instances: Vec<sync::Instance>) {
        for instance in instances {
            self.say(from_center::Kind::Delta(sync::Delta {
                version: Some(version),
                namespace: "default".into(),
                service: instance.service.clone(),
                full: true,
                upserted: vec![instance],
                removed: Vec::new(),
            }));
        }
        self.say(from_center::Kind::Names(sync::NameSet {
            version: Some(version),
            full: true,
            subscribed: self.subscribe.sequence,
            ..sync::NameSet::default()
        }));
    }

    async fn hear(&mut self) -> from_sidecar::Kind {
        timeout(BOUND, self.next())
            .await
            .expect("the sidecar says something")
    }

    async fn next(&mut self) -> from_sidecar::Kind {
        loop {
            if let Some(message) = self.decoder.next::<sync::FromSidecar>().unwrap() {
                return message.kind.unwrap();
            }
            let data = self
                .receiver
                .data()
                .await
                .expect("the stream is open")
                .unwrap();
            self.receiver
                .flow_control()
                .release_capacity(data.len())
                .unwrap();
            self.decoder.push(&data);
        }
    }

    /// The next message that `pick` takes.
    async fn hear_of<T>(&mut self, pick: impl Fn(from_sidecar::Kind) -> Option<T>) -> T {
        let heard = timeout(BOUND, async {
            loop {
                if let Some(picked) = pick(self.next().await) {
                    return picked;
                }
            }
        });
        heard.await.expect("the sidecar says what is awaited")
    }

    async fn registered(&mut self) -> sync::Instance {
        self.hear_of(|kind| match kind {
            from_sidecar::Kind::Register(register) => register.instance,
            _ => None,
        })
        .await
    }

    fn crash(self) {
        self.connection.abort();
    }
}

fn record(service: &str, id: &str) -> sync::Instance {
    sync::Instance {
        namespace: "default".into(),
        service: service.into(),
        id: id.into(),
        incarnation: 1,
        address: "127.0.0.1".into(),
        inbound_port: 9982,
        state: sync::InstanceState::Ready as i32,
        ..sync::Instance::default()
    }
}

fn version(epoch: u64, revision: u64) -> sync::Version {
    sync::Version { epoch, revision }
}

#[tokio::test]
async fn the_own_instance_is_registered_when_the_app_is_up_and_again_when_it_changes() {
    let center = FakeCenter::start().await;
    let rig = Rig::start(vec![center.address.clone()]);
    let mut stream = center.stream().await;
    assert_eq!(
        (
            stream.hello.service.as_str(),
            stream.hello.instance.as_str()
        ),
        ("orders", "o1")
    );
    rig.app.send_replace(AppState::Up { incarnation: 3 });
    let instance = stream.registered().await;
    assert_eq!((instance.id.as_str(), instance.incarnation), ("o1", 3));
    assert_eq!(
        instance.address, "127.0.0.1",
        "the local address of the connection"
    );
    assert_eq!(
        (instance.inbound_port, instance.management_port),
        (9982, 8002)
    );
    assert_eq!(instance.ports[0].number, 8080);
    assert_eq!(instance.state(), sync::InstanceState::Ready);

    rig.app.send_replace(AppState::Dead);
    let instance = stream.registered().await;
    assert_eq!(instance.state(), sync::InstanceState::Draining);
    assert_eq!(instance.incarnation, 3);
    rig.app.send_replace(AppState::Up { incarnation: 4 });
    let instance = stream.registered().await;
    assert_eq!(
        (instance.state(), instance.incarnation),
        (sync::InstanceState::Ready, 4)
    );
    rig.stop().await;
}

#[tokio::test]
async fn the_later_word_of_being_offline_counts_whoever_says_it_and_is_registered() {
    let center = FakeCenter::start().await;
    let rig = Rig::start(vec![center.address.clone()]);
    rig.app.send_replace(AppState::Up { incarnation: 1 });
    let mut stream = center.stream().await;
    let instance = stream.registered().await;
    assert_eq!((instance.offline, instance.offline_changed_ms), (false, 0));
    let said = |offline, changed_ms| sync::SetOffline {
        offline,
        changed_ms,
    };
    stream.say_hello(1);
    stream.say(from_center::Kind::SetOffline(said(true, 20)));
    let instance = stream.registered().await;
    assert_eq!((instance.offline, instance.offline_changed_ms), (true, 20));
    let own = Offline {
        offline: true,
        changed_ms: 20,
    };
    assert_eq!(*rig.offline.borrow(), own);

    // An older word changes nothing, and the host agent's newer one is registered as well.
    stream.say(from_center::Kind::SetOffline(said(false, 19)));
    let local = Offline {
        offline: false,
        changed_ms: 30,
    };
    assert!(local.tell(&rig.offline));
    let instance = stream.registered().await;
    assert_eq!((instance.offline, instance.offline_changed_ms), (false, 30));
    assert!(!own.tell(&rig.offline));
    rig.stop().await;
}

#[tokio::test]
async fn what_is_declared_for_the_own_service_is_passed_on() {
    let center = FakeCenter::start().await;
    let rig = Rig::start(vec![center.address.clone()]);
    let mut policies = rig.own_policy.subscribe();
    let mut stream = center.stream().await;
    stream.say_hello(1);
    let policy = sync::OwnPolicy {
        warm_up_ms: 500,
        ..sync::OwnPolicy::default()
    };
    stream.say(from_center::Kind::OwnPolicy(policy.clone()));
    let heard = timeout(BOUND, policies.wait_for(|heard| *heard == policy)).await;
    assert!(heard.is_ok_and(|heard| heard.is_ok()));
    rig.stop().await;
}

#[tokio::test]
async fn a_batch_becomes_a_snapshot_and_is_acknowledged() {
    let center = FakeCenter::start().await;
    let rig = Rig::start(vec![center.address.clone()]);
    let mut stream = center.stream().await;
    assert!(!rig.snapshots.load().synced);
    stream.say_hello(1);
    stream.say_all(
        version(1, 7),
        vec![record("web", "w1"), record("orders", "o2")],
    );
    let acked = stream
        .hear_of(|kind| match kind {
            from_sidecar::Kind::Ack(ack) => ack.version,
            _ => None,
        })
        .await;
    assert_eq!(acked, version(1, 7));
    let snapshot = rig.snapshots.load_full();
    assert!(snapshot.synced);
    assert_eq!(
        snapshot.version,
        Version {
            epoch: 1,
            revision: 7
        }
    );
    assert_eq!((rig.members("web"), rig.members("orders")), (1, 1));
    rig.stop().await;
}

#[tokio::test]
async fn a_field_at_fault_is_named_and_the_snapshot_stays() {
    let center = FakeCenter::start().await;
    let rig = Rig::start(vec![center.address.clone()]);
    let mut stream = center.stream().await;
    stream.say_hello(1);
    stream.say_all(version(1, 1), vec![record("web", "w1")]);
    rig.until(|snapshot| snapshot.synced).await;
    let wrong = sync::Instance {
        address: "nowhere".into(),
        ..record("web", "w2")
    };
    stream.say_all(version(1, 2), vec![record("orders", "o2"), wrong]);
    let nack = stream
        .hear_of(|kind| match kind {
            from_sidecar::Kind::Nack(nack) => Some(nack),
            _ => None,
        })
        .await;
    assert_eq!(nack.field, "instances[0].address");
    assert_eq!(nack.version, Some(version(1, 2)));
    stream.say_all(version(1, 3), vec![record("web", "w3")]);
    rig.until(|snapshot| snapshot.version.revision == 3).await;
    assert_eq!((rig.members("web"), rig.members("orders")), (1, 0));
    rig.stop().await;
}

#[tokio::test]
async fn what_happened_to_calls_is_told() {
    let center = FakeCenter::start().await;
    let rig = Rig::start(vec![center.address.clone()]);
    let mut stream = center.stream().await;
    for expect in 1..=2 {
        let stats = stream
            .hear_of(|kind| match kind {
                from_sidecar::Kind::Stats(stats) => Some(stats),
                _ => None,
            })
            .await;
        assert_eq!(stats.rows[0].calls, expect);
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_sidecar_that_stops_says_goodbye() {
    let center = FakeCenter::start().await;
    let rig = Rig::start(vec![center.address.clone()]);
    let mut stream = center.stream().await;
    let goodbye = async {
        stream
            .hear_of(|kind| match kind {
                from_sidecar::Kind::Goodbye(goodbye) => Some(goodbye),
                _ => None,
            })
            .await
    };
    let (goodbye, ()) = tokio::join!(goodbye, rig.stop());
    assert!(!goodbye.reason.is_empty());
}

#[tokio::test]
async fn without_its_center_a_sidecar_keeps_its_snapshot_and_comes_back_with_what_it_holds() {
    let center = FakeCenter::start().await;
    let rig = Rig::start(vec![center.address.clone()]);
    rig.app.send_replace(AppState::Up { incarnation: 1 });
    let mut stream = center.stream().await;
    assert_eq!(stream.hello.held, None);
    stream.say_hello(1);
    stream.say_all(version(1, 5), vec![record("web", "w1")]);
    rig.until(|snapshot| snapshot.synced).await;
    stream.crash();
    let mut stream = center.stream().await;
    assert_eq!(rig.members("web"), 1);
    assert_eq!(stream.hello.held, Some(version(1, 5)));
    assert_eq!(stream.hello.store_id, "store-1");
    assert_eq!(stream.registered().await.id, "o1", "it registers again");
    rig.stop().await;
}

#[tokio::test]
async fn a_center_that_starts_anew_and_empty_does_not_empty_the_snapshot() {
    let center = FakeCenter::start().await;
    let rig = Rig::start(vec![center.address.clone()]);
    let mut stream = center.stream().await;
    stream.say_hello(1);
    stream.say_all(version(1, 5), vec![record("web", "w1")]);
    rig.until(|snapshot| snapshot.synced).await;
    stream.crash();
    let mut stream = center.stream().await;
    stream.say_hello(2);
    stream.say_all(version(2, 1), vec![record("orders", "o2")]);
    rig.until(|snapshot| snapshot.version.epoch == 2).await;
    assert_eq!((rig.members("web"), rig.members("orders")), (1, 1));
    let snapshot = rig.snapshots.load_full();
    let web = snapshot.service("default", "web").unwrap();
    assert_eq!(web.members[0].instance.state, InstanceState::Unconfirmed);
    rig.stop().await;
}

#[tokio::test]
async fn a_dead_address_is_passed_over_for_one_that_answers() {
    let dead = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let center = FakeCenter::start().await;
    let rig = Rig::start(vec![dead.to_string(), center.address.clone()]);
    center.stream().await;
    rig.stop().await;
}

#[tokio::test]
async fn a_port_that_is_no_center_is_left_and_tried_again() {
    let center = FakeCenter::start().await;
    let rig = Rig::start(vec![center.address.clone()]);
    let (socket, _) = center.listener.accept().await.unwrap();
    socket
        .try_write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        .unwrap();
    drop(socket);
    center.stream().await;
    rig.stop().await;
}

#[tokio::test]
async fn without_a_center_the_task_waits_for_its_end() {
    let rig = Rig::start(Vec::new());
    rig.stop().await;
}

#[test]
fn waits_between_attempts_are_spread_up_to_their_bound() {
    let mut follower = follower(vec!["a".into()]);
    let waits: Vec<_> = (0..200).map(|_| follower.jitter(RETRY_MAX)).collect();
    assert!(waits.iter().all(|wait| *wait < RETRY_MAX));
    assert!(waits.iter().any(|wait| *wait < RETRY_MAX / 4));
    assert!(waits.iter().any(|wait| *wait > RETRY_MAX / 4 * 3));
}

#[test]
fn each_address_is_tried_once_before_any_is_tried_again() {
    let mut follower = follower(vec!["a".into(), "b".into(), "c".into()]);
    let mut order = Vec::new();
    for _ in 0..20 {
        let mut tried: Vec<_> = (0..3).map(|_| follower.next_center(&mut order)).collect();
        tried.sort();
        assert_eq!(tried, ["a", "b", "c"]);
    }
}

fn follower(centers: Vec<String>) -> Follower {
    Follower {
        world: World::default(),
        keeper: None,
        picture_at: None,
        incarnation: None,
        reported_at: crate::clock::now(),
        random: 42,
        task: SyncTask {
            spec: SidecarSpec {
                centers,
                ..SidecarSpec::default()
            },
            inbound_port: 0,
            management_port: 0,
            snapshots: Arc::default(),
            app: watch::channel(AppState::Unknown).1,
            offline: watch::Sender::default(),
            own_policy: watch::Sender::default(),
            stats: Box::new(Vec::new),
            shutdown: watch::channel(false).1,
            asked: asking::channel().1,
            link_tls: false,
            earlier: Earlier::default(),
        },
    }
}

/// What an earlier process left: one instance of `web`, from store-1 at this center.
fn earlier(center: &str, folder: &Path) -> Saved {
    let saved = Saved {
        store_id: "store-1".into(),
        version: Some(version(1, 5)),
        center: center.into(),
        names: vec![key_hash(Family::Host, "web", "", "", "default")],
        instances: vec![record("web", "w1")],
        used: vec![UsedKey {
            family: Family::Host as u32,
            name: "web".into(),
            namespace: "default".into(),
            used_at_ms: crate::clock::unix_ms(),
            held: true,
        }],
        ..Saved::default()
    };
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(saved::newest_of(folder), encode(&saved)).unwrap();
    saved
}

fn on_disk(folder: &Path) -> Option<Saved> {
    decode(&std::fs::read(saved::newest_of(folder)).ok()?).ok()
}

/// A folder of one test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("weft-sync-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_successor_serves_at_once_from_what_is_saved_and_asks_only_for_the_difference() {
    let scratch = Scratch::new("successor");
    let center = FakeCenter::start().await;
    earlier(&center.address, &scratch.0);
    let rig = Rig::in_folder(vec![center.address.clone()], Some(&scratch.0));
    assert!(rig.snapshots.load().synced, "before any center was heard");
    assert_eq!(rig.members("web"), 1);
    let hash = key_hash(Family::Host, "web", "", "", "default");
    assert!(rig.snapshots.load().has_name(hash));
    let mut stream = center.stream().await;
    assert_eq!(stream.hello.held, Some(version(1, 5)));
    assert_eq!(stream.hello.store_id, "store-1");
    stream.say_hello(1);
    stream.say(from_center::Kind::Delta(sync::Delta {
        version: Some(version(1, 6)),
        namespace: "default".into(),
        service: "web".into(),
        upserted: vec![record("web", "w2")],
        ..sync::Delta::default()
    }));
    stream.say(from_center::Kind::Names(sync::NameSet {
        version: Some(version(1, 6)),
        ..sync::NameSet::default()
    }));
    rig.until(|snapshot| snapshot.version.revision == 6).await;
    assert_eq!(rig.members("web"), 2);
    rig.stop().await;
    let saved = on_disk(&scratch.0).unwrap();
    assert_eq!(saved.version, Some(version(1, 6)));
    assert_eq!((saved.instances.len(), saved.names.len()), (2, 1));
    assert_eq!(saved.center, center.address);
}

#[tokio::test]
async fn without_any_center_a_saved_snapshot_is_served() {
    let scratch = Scratch::new("alone");
    earlier("127.0.0.1:1", &scratch.0);
    let rig = Rig::in_folder(Vec::new(), Some(&scratch.0));
    assert_eq!(rig.members("web"), 1);
    rig.stop().await;
}

#[tokio::test]
async fn a_second_live_store_is_turned_away_and_the_snapshot_stays() {
    let scratch = Scratch::new("second-store");
    let center = FakeCenter::start().await;
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let first = dead.local_addr().unwrap().to_string();
    drop(dead);
    let before = earlier(&first, &scratch.0);
    let rig = Rig::in_folder(vec![first, center.address.clone()], Some(&scratch.0));
    let mut stream = center.stream().await;
    stream.say_hello(2);
    let nack = stream
        .hear_of(|kind| match kind {
            from_sidecar::Kind::Nack(nack) => Some(nack),
            _ => None,
        })
        .await;
    assert_eq!(nack.field, "store_id");
    assert!(nack.reason.contains("(WFT-1406)"), "{}", nack.reason);
    assert!(nack.reason.contains("store-2"), "{}", nack.reason);
    let goodbye = stream
        .hear_of(|kind| match kind {
            from_sidecar::Kind::Goodbye(goodbye) => Some(goodbye),
            _ => None,
        })
        .await;
    assert_eq!(goodbye.reason, "another store is followed");
    assert_eq!(rig.members("web"), 1);
    rig.stop().await;
    assert_eq!(on_disk(&scratch.0), Some(before));
}

#[tokio::test]
async fn a_new_store_at_the_address_of_the_old_one_is_followed() {
    let scratch = Scratch::new("new-store");
    let center = FakeCenter::start().await;
    earlier(&center.address, &scratch.0);
    let rig = Rig::in_folder(vec![center.address.clone()], Some(&scratch.0));
    let mut stream = center.stream().await;
    stream.say_hello(2);
    stream.say_all(version(2, 1), vec![record("orders", "o2")]);
    rig.until(|snapshot| snapshot.version.epoch == 2).await;
    assert_eq!((rig.members("web"), rig.members("orders")), (1, 1));
    rig.stop().await;
    let saved = on_disk(&scratch.0).unwrap();
    assert_eq!(saved.store_id, "store-2");
    assert_eq!(
        saved.unconfirmed.len(),
        1,
        "the hold goes on after a restart"
    );
}

#[tokio::test]
async fn a_mass_removal_keeps_the_instance_whose_link_is_heard() {
    let center = FakeCenter::start().await;
    let rig = Rig::start(vec![center.address.clone()]);
    let mut stream = center.stream().await;
    stream.say_hello(1);
    stream.say_all(
        version(1, 1),
        vec![record("web", "w1"), record("orders", "o2")],
    );
    rig.until(|snapshot| snapshot.version.revision == 1).await;
    let snapshot = rig.snapshots.load_full();
    let load = &snapshot.service("default", "web").unwrap().members[0].load;
    load.heard_ms.store(crate::clock::now_ms().max(1), Relaxed);
    stream.say_all(version(1, 2), Vec::new());
    rig.until(|snapshot| snapshot.version.revision == 2).await;
    assert_eq!((rig.members("web"), rig.members("orders")), (1, 0));
    load.tell(1, 1, HealthState::Draining);
    rig.until(|snapshot| {
        snapshot
            .service("default", "web")
            .is_none_or(|service| service.members.is_empty())
    })
    .await;
    rig.stop().await;
}

#[tokio::test]
async fn what_a_call_asks_for_is_subscribed_and_whoever_waits_is_told_of_the_answer() {
    let center = FakeCenter::start().await;
    let rig = Rig::start(vec![center.address.clone()]);
    let mut stream = center.stream().await;
    assert_eq!(
        stream.subscribe.fresh.len(),
        2,
        "what was asked before is in the first"
    );
    stream.say_hello(1);
    stream.say_all(version(1, 1), Vec::new());
    rig.until(|snapshot| snapshot.synced).await;
    let mut answers = rig.asking.answers();
    let key = Key::of_host("far", "default");
    for _ in 0..3 {
        rig.asking.ask(key.clone());
    }
    let subscribe = stream
        .hear_of(|kind| match kind {
            from_sidecar::Kind::Subscribe(subscribe) => Some(subscribe),
            _ => None,
        })
        .await;
    assert_eq!(subscribe.keys.len(), 3);
    assert_eq!(subscribe.fresh, [key.hash64()]);
    stream.subscribe = subscribe;
    stream.say_all(version(1, 2), vec![record("far", "f1")]);
    timeout(BOUND, answers.changed())
        .await
        .expect("in time")
        .unwrap();
    let snapshot = rig.snapshots.load_full();
    assert!(snapshot.is_answered(key.hash64()));
    assert_eq!(rig.members("far"), 1);
    rig.stop().await;
}
