//! A whole center over real connections: sidecars made by hand, and people who ask.

mod told;

use crate::{Config, Times};
use bytes::Bytes;
use http::Request;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use weft_api::grpc;
use weft_api::sync::{self, InstanceState, from_center, from_sidecar};
use weft_model::Family;
use weft_model::key::key_hash;

/// Nothing in these tests takes this long unless it never comes.
const BOUND: Duration = Duration::from_secs(10);

/// A center on a free loopback port.
struct Served {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Served {
    fn start() -> Self {
        Self::start_with(|_| {})
    }

    fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = Config::new(listener);
        change(&mut config);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stop = async move {
                let _ = stopped.await;
            };
            crate::serve(config, stop).await.unwrap();
        });
        Self {
            address,
            stop: Some(stop),
            task,
        }
    }

    async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(BOUND, self.task)
            .await
            .unwrap()
            .unwrap();
    }

    /// Sends a request on a connection of its own and reads the reply to its end.
    async fn ask(&self, head: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{head}\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        tokio::time::timeout(BOUND, socket.read_to_string(&mut reply))
            .await
            .unwrap()
            .unwrap();
        let status = reply.split(' ').nth(1).unwrap().parse().unwrap();
        let body = reply.split_once("\r\n\r\n").unwrap().1.to_owned();
        (status, body)
    }

    async fn json(&self, path: &str) -> (u16, Value) {
        let (status, body) = self
            .ask(&format!("GET {path} HTTP/1.1\r\nhost: localhost"))
            .await;
        (
            status,
            serde_json::from_str(&body).unwrap_or_else(|_| panic!("not JSON: {body}")),
        )
    }

    async fn items(&self, path: &str) -> Vec<Value> {
        let (status, list) = self.json(path).await;
        assert_eq!(status, 200, "{list}");
        list["items"].as_array().unwrap().clone()
    }
}

/// A sidecar as the center sees it: a stream, and what it was sent.
struct Sidecar {
    send: h2::SendStream<Bytes>,
    receive: h2::RecvStream,
    decoder: grpc::Decoder,
    hello: Option<sync::CenterHello>,
    instances: BTreeMap<String, sync::Instance>,
    names: Option<sync::NameSet>,
    offline: Option<sync::SetOffline>,
    policy: Option<sync::OwnPolicy>,
    connection: JoinHandle<()>,
}

impl Sidecar {
    async fn open(center: &Served) -> Self {
        let socket = TcpStream::connect(center.address).await.unwrap();
        let (mut client, connection) = h2::client::handshake(socket).await.unwrap();
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        let request = Request::post(format!("http://{}{}", center.address, crate::stream::PATH))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let (reply, send) = client.send_request(request, false).unwrap();
        let reply = tokio::time::timeout(BOUND, reply).await.unwrap().unwrap();
        assert_eq!(reply.status(), 200);
        Self {
            send,
            receive: reply.into_body(),
            decoder: grpc::Decoder::new(grpc::MESSAGE_BYTES_MAX),
            hello: None,
            instances: BTreeMap::new(),
            names: None,
            offline: None,
            policy: None,
            connection,
        }
    }

    /// Opens a stream, says hello, asks for all and registers.
    async fn join(center: &Served, service: &str, id: &str) -> Self {
        let mut sidecar = Self::open(center).await;
        sidecar.say_hello(service, id);
        let subscribe = sync::Subscribe {
            all: true,
            ..sync::Subscribe::default()
        };
        sidecar.say(from_sidecar::Kind::Subscribe(subscribe));
        sidecar.register(record(service, id));
        sidecar
    }

    fn say_hello(&mut self, service: &str, id: &str) {
        self.say(from_sidecar::Kind::Hello(sync::SidecarHello {
            protocol_version: sync::PROTOCOL_VERSION,
            service: service.into(),
            instance: id.into(),
            ..sync::SidecarHello::default()
        }));
    }

    fn register(&mut self, instance: sync::Instance) {
        let register = sync::Register {
            instance: Some(instance),
        };
        self.say(from_sidecar::Kind::Register(register));
    }

    fn say(&mut self, kind: from_sidecar::Kind) {
        let mut out = Vec::new();
        grpc::encode(&sync::FromSidecar { kind: Some(kind) }, &mut out);
        self.send.send_data(out.into(), false).unwrap();
    }

    /// Takes what the center sends until `done` holds.
    async fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let waited = tokio::time::timeout(BOUND, async {
            while !done(self) {
                self.take().await;
            }
        });
        waited
            .await
            .expect("the center never sent what was awaited");
    }

    async fn take(&mut self) {
        let data = self
            .receive
            .data()
            .await
            .expect("the stream is open")
            .unwrap();
        self.receive
            .flow_control()
            .release_capacity(data.len())
            .unwrap();
        self.decoder.push(&data);
        while let Some(message) = self.decoder.next::<sync::FromCenter>().unwrap() {
            match message.kind.unwrap() {
                from_center::Kind::Hello(hello) => self.hello = Some(hello),
                from_center::Kind::Names(names) => self.names = Some(names),
                from_center::Kind::Delta(delta) => self.apply(delta),
                from_center::Kind::SetOffline(word) => self.offline = Some(word),
                from_center::Kind::OwnPolicy(policy) => self.policy = Some(policy),
            }
        }
    }

    fn apply(&mut self, delta: sync::Delta) {
        for id in &delta.removed {
            self.instances.remove(id);
        }
        for instance in delta.upserted {
            self.instances.insert(instance.id.clone(), instance);
        }
    }

    fn sees(&self, id: &str, state: InstanceState) -> bool {
        self.instances
            .get(id)
            .is_some_and(|instance| instance.state() == state)
    }

    /// The status in the trailers, and its message.
    async fn end(&mut self) -> (String, String) {
        let trailers = async {
            while let Some(data) = self.receive.data().await {
                let length = data.unwrap().len();
                self.receive
                    .flow_control()
                    .release_capacity(length)
                    .unwrap();
            }
            self.receive
                .trailers()
                .await
                .unwrap()
                .expect("a gRPC stream ends with trailers")
        };
        let trailers = tokio::time::timeout(BOUND, trailers).await.unwrap();
        let text = |name| {
            let value = trailers
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned());
            value.unwrap_or_default()
        };
        (text("grpc-status"), text("grpc-message"))
    }

    /// Breaks the connection as a crash does.
    fn crash(self) {
        self.connection.abort();
    }
}

fn record(service: &str, id: &str) -> sync::Instance {
    sync::Instance {
        service: service.into(),
        id: id.into(),
        incarnation: 1,
        inbound_port: 9982,
        ports: vec![sync::Port {
            name: "http".into(),
            protocol: "http".into(),
            number: 8080,
            ..sync::Port::default()
        }],
        weight: 100,
        ..sync::Instance::default()
    }
}

#[tokio::test]
async fn two_sidecars_register_and_both_see_both() {
    let center = Served::start();
    let mut web = Sidecar::join(&center, "web", "w1").await;
    let mut orders = Sidecar::join(&center, "orders", "o1").await;
    for sidecar in [&mut web, &mut orders] {
        sidecar
            .until(|seen| {
                seen.sees("w1", InstanceState::Ready) && seen.sees("o1", InstanceState::Ready)
            })
            .await;
    }
    let hello = web.hello.as_ref().unwrap();
    assert_eq!(hello.seen_address, "127.0.0.1");
    assert!(!hello.store_id.is_empty());
    assert_eq!(
        web.instances["o1"].address, "127.0.0.1",
        "the address seen is the default"
    );
    assert_eq!(web.instances["o1"].namespace, "default");
    center.stop().await;
}

#[tokio::test]
async fn the_names_end_each_batch_with_its_version() {
    let center = Served::start();
    let mut web = Sidecar::join(&center, "web", "w1").await;
    let holds_itself = |seen: &Sidecar| {
        seen.names
            .as_ref()
            .is_some_and(|names| !names.added.is_empty())
    };
    web.until(holds_itself).await;
    web.names = None;
    let _orders = Sidecar::join(&center, "orders", "o1").await;
    web.until(|seen| seen.names.is_some()).await;
    let names = web.names.as_ref().unwrap();
    assert!(!names.full);
    assert!(
        web.instances.contains_key("o1"),
        "the delta came before the names"
    );
    let host = key_hash(Family::Host, "orders", "", "", "default");
    assert_eq!(names.added, [host], "both instances have the same address");
    center.stop().await;
}

#[tokio::test]
async fn a_hundred_sidecars_come_and_go_and_those_that_stay_hold_the_same() {
    const COUNT: usize = 100;
    let center = Served::start();
    let mut sidecars = Vec::new();
    for number in 0..COUNT {
        let service = format!("s{}", number % 7);
        sidecars.push(Sidecar::join(&center, &service, &format!("i{number}")).await);
    }
    let mut stay = sidecars.split_off(COUNT / 2);
    for mut leaving in sidecars {
        leaving.say(from_sidecar::Kind::Goodbye(sync::Goodbye::default()));
        assert_eq!(leaving.end().await.0, "0");
    }
    let mut expect: Vec<_> = (COUNT / 2..COUNT)
        .map(|number| format!("i{number}"))
        .collect();
    expect.sort();
    for sidecar in &mut stay {
        sidecar
            .until(|seen| seen.instances.keys().eq(&expect))
            .await;
    }
    center.stop().await;
}

#[tokio::test]
async fn a_connection_that_asks_nothing_is_closed() {
    let center = Served::start();
    let until_closed = async |first: &str| {
        let mut socket = TcpStream::connect(center.address).await.unwrap();
        socket.write_all(first.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let read = socket.read_to_end(&mut rest);
        tokio::time::timeout(BOUND, read)
            .await
            .expect("it is closed")
            .unwrap();
    };
    tokio::join!(
        until_closed(""),
        until_closed("PRI * HT"),
        until_closed("GET / HTTP/1.1\r\nho"),
    );
    center.stop().await;
}

#[tokio::test]
async fn a_crash_leaves_an_instance_unconfirmed_and_time_drops_it() {
    let center = Served::start_with(|config| {
        config.limits.times = Times {
            unconfirmed_kept: Duration::from_millis(200),
            ..Times::default()
        };
    });
    let mut web = Sidecar::join(&center, "web", "w1").await;
    let orders = Sidecar::join(&center, "orders", "o1").await;
    web.until(|seen| seen.sees("o1", InstanceState::Ready))
        .await;
    orders.crash();
    web.until(|seen| seen.sees("o1", InstanceState::Unconfirmed))
        .await;
    web.until(|seen| !seen.instances.contains_key("o1")).await;
    center.stop().await;
}

#[tokio::test]
async fn a_goodbye_removes_an_instance_and_ends_the_stream_well() {
    let center = Served::start();
    let mut web = Sidecar::join(&center, "web", "w1").await;
    let mut orders = Sidecar::join(&center, "orders", "o1").await;
    web.until(|seen| seen.instances.contains_key("o1")).await;
    orders.say(from_sidecar::Kind::Goodbye(sync::Goodbye {
        reason: "tested".into(),
    }));
    assert_eq!(orders.end().await.0, "0");
    web.until(|seen| !seen.instances.contains_key("o1")).await;
    center.stop().await;
}

#[tokio::test]
async fn a_draining_instance_is_told_as_draining() {
    let center = Served::start();
    let mut web = Sidecar::join(&center, "web", "w1").await;
    let mut orders = Sidecar::join(&center, "orders", "o1").await;
    let mut leaving = record("orders", "o1");
    leaving.set_state(InstanceState::Draining);
    orders.register(leaving);
    web.until(|seen| seen.sees("o1", InstanceState::Draining))
        .await;
    center.stop().await;
}

#[tokio::test]
async fn a_stream_that_does_not_begin_with_a_hello_is_refused() {
    let center = Served::start();
    let mut sidecar = Sidecar::open(&center).await;
    sidecar.register(record("web", "w1"));
    let (status, message) = sidecar.end().await;
    assert_eq!(status, "3");
    assert!(message.contains("SidecarHello"), "{message}");
    center.stop().await;
}

#[tokio::test]
async fn an_instance_that_no_sidecar_could_use_is_refused_with_the_field() {
    let center = Served::start();
    let mut sidecar = Sidecar::open(&center).await;
    sidecar.say_hello("web", "w1");
    let mut wrong = record("web", "w1");
    wrong.inbound_port = 70_000;
    sidecar.register(wrong);
    let (status, message) = sidecar.end().await;
    assert_eq!(status, "3");
    assert!(message.contains("instance.inbound_port"), "{message}");
    center.stop().await;
}

#[tokio::test]
async fn a_sidecar_cannot_register_somebody_else() {
    let center = Served::start();
    let mut sidecar = Sidecar::open(&center).await;
    sidecar.say_hello("web", "w1");
    sidecar.register(record("orders", "o1"));
    assert_eq!(sidecar.end().await.0, "7");
    assert!(
        center
            .items("/apis/mesh.weft.dev/v1alpha1/namespaces/default/instances")
            .await
            .is_empty()
    );
    center.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_message_end_the_stream_with_a_sentence() {
    let center = Served::start();
    let mut sidecar = Sidecar::open(&center).await;
    sidecar
        .send
        .send_data(Bytes::from_static(b"\x07nonsense"), false)
        .unwrap();
    let (status, message) = sidecar.end().await;
    assert_eq!(status, "3");
    assert!(message.contains("0x07"), "{message}");
    center.stop().await;
}

#[tokio::test]
async fn one_sidecar_too_many_is_told_so() {
    let center = Served::start_with(|config| config.limits.streams_max = 1);
    let mut first = Sidecar::join(&center, "web", "w1").await;
    first.until(|seen| seen.hello.is_some()).await;
    let mut second = Sidecar::open(&center).await;
    let (status, message) = second.end().await;
    assert_eq!(status, "8");
    assert!(message.contains("limit"), "{message}");
    center.stop().await;
}

#[tokio::test]
async fn a_stopping_center_ends_streams_as_unavailable() {
    let center = Served::start();
    let mut web = Sidecar::join(&center, "web", "w1").await;
    web.until(|seen| seen.names.is_some()).await;
    let ended = tokio::spawn(async move { web.end().await });
    center.stop().await;
    assert_eq!(ended.await.unwrap().0, "14");
}

#[tokio::test]
async fn services_and_instances_are_lists_in_the_kubernetes_shape() {
    let center = Served::start();
    let mut orders = Sidecar::join(&center, "orders", "o1").await;
    orders
        .until(|seen| seen.instances.contains_key("o1") && seen.names.is_some())
        .await;
    let version = orders.names.as_ref().unwrap().version;
    orders.say(from_sidecar::Kind::Ack(sync::Ack { version }));

    let (status, list) = center
        .json("/apis/mesh.weft.dev/v1alpha1/namespaces/default/services")
        .await;
    assert_eq!((status, list["kind"].as_str()), (200, Some("ServiceList")));
    let version = version.unwrap();
    let expect = format!("{}.{}", version.epoch, version.revision);
    assert_eq!(list["metadata"]["resourceVersion"], expect.as_str());
    let service = &list["items"][0];
    assert_eq!(service["metadata"]["name"], "orders");
    assert_eq!(service["status"]["ready"], 1);
    assert_eq!(service["spec"]["ports"][0]["port"], 8080);

    let path = "/apis/mesh.weft.dev/v1alpha1/namespaces/default/instances";
    let instance = loop {
        let instance = center.items(path).await.remove(0);
        if instance["status"]["sync"]["acked"] == expect.as_str() {
            break instance;
        }
    };
    assert_eq!(instance["kind"], "Instance");
    assert_eq!(instance["metadata"]["name"], "o1");
    assert_eq!(instance["spec"]["inboundPort"], 9982);
    assert_eq!(instance["status"]["state"], "Ready");
    assert!(
        center
            .items("/apis/mesh.weft.dev/v1alpha1/namespaces/other/instances")
            .await
            .is_empty()
    );
    center.stop().await;
}

#[tokio::test]
async fn a_refused_version_is_shown_with_its_field_until_a_later_one_is_used() {
    let center = Served::start();
    let mut orders = Sidecar::join(&center, "orders", "o1").await;
    orders.until(|seen| seen.names.is_some()).await;
    orders.say(from_sidecar::Kind::Nack(sync::Nack {
        version: Some(sync::Version {
            epoch: 1,
            revision: 2,
        }),
        field: "instances[0].address".into(),
        reason: "tested".into(),
    }));
    let path = "/apis/mesh.weft.dev/v1alpha1/namespaces/default/instances";
    let refused = async {
        loop {
            let instance = center.items(path).await.remove(0);
            if !instance["status"]["sync"]["refused"].is_null() {
                return instance["status"]["sync"]["refused"].clone();
            }
        }
    };
    let refused = tokio::time::timeout(BOUND, refused).await.unwrap();
    assert_eq!(refused["field"], "instances[0].address");
    center.stop().await;
}

#[tokio::test]
async fn a_sidecar_that_refused_something_is_sent_everything_with_the_next_change() {
    let center = Served::start();
    let mut web = Sidecar::join(&center, "web", "w1").await;
    web.until(|seen| seen.instances.contains_key("w1")).await;
    web.say(from_sidecar::Kind::Nack(sync::Nack::default()));
    // The center takes messages in order: once the record is changed, it knows of the refusal.
    web.register(sync::Instance {
        incarnation: 2,
        ..record("web", "w1")
    });
    let is_second = |seen: &Sidecar| {
        seen.instances
            .get("w1")
            .is_some_and(|w1| w1.incarnation == 2)
    };
    web.until(is_second).await;
    web.until(|seen| seen.names.as_ref().is_some_and(|names| names.full))
        .await;
    center.stop().await;
}

#[tokio::test]
async fn stats_tell_of_services_and_of_edges() {
    let center = Served::start();
    let mut web = Sidecar::join(&center, "web", "w1").await;
    let mut orders = Sidecar::join(&center, "orders", "o1").await;
    let row = |direction: &str| sync::StatsRow {
        direction: direction.into(),
        caller: "web".into(),
        service: "orders".into(),
        protocol: "http".into(),
        code: "ok".into(),
        calls: 10,
        duration_us_sum: 1_000,
        bucket_index: vec![weft_telemetry::histogram::bucket_of(100) as u32],
        bucket_count: vec![10],
    };
    for (sidecar, direction) in [(&mut web, "outbound"), (&mut orders, "inbound")] {
        let rows = vec![row(direction)];
        sidecar.say(from_sidecar::Kind::Stats(sync::Stats {
            interval_ms: 2_000,
            rows,
        }));
    }
    let path = "/apis/stats.weft.dev/v1alpha1/namespaces/default/services";
    let item = async {
        loop {
            let items = center.items(path).await;
            let orders = items
                .into_iter()
                .find(|item| item["metadata"]["name"] == "orders");
            let is_known = |item: &Value| {
                !item["stats"]["p50_us"].is_null() && !item["edges"].as_array().unwrap().is_empty()
            };
            if let Some(item) = orders.filter(is_known) {
                return item;
            }
        }
    };
    let item = tokio::time::timeout(BOUND, item).await.unwrap();
    assert_eq!(item["stats"]["instances"], 1);
    assert_eq!(item["edges"][0]["caller"], "web");
    assert_eq!(item["edges"][0]["p99_us"], item["stats"]["p99_us"]);
    center.stop().await;
}

#[tokio::test]
async fn an_unknown_path_is_answered_with_what_there_is() {
    let center = Served::start();
    let (status, body) = center.json("/apis/nothing").await;
    assert_eq!(
        (status, body["kind"].as_str(), body["code"].as_u64()),
        (404, Some("Status"), Some(404))
    );
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .contains("/namespaces/{namespace}/services")
    );
    let path = "/apis/mesh.weft.dev/v1alpha1/namespaces/default/services";
    let (status, _) = center
        .ask(&format!("DELETE {path} HTTP/1.1\r\nhost: localhost"))
        .await;
    assert_eq!(status, 405);
    center.stop().await;
}

#[tokio::test]
async fn web_pages_are_refused() {
    let center = Served::start_with(|config| config.token = Some("secret".into()));
    let path = "/apis/mesh.weft.dev/v1alpha1/namespaces/default/services";
    let hosts = [
        ("localhost", 200),
        ("localhost:9700", 200),
        ("127.0.0.1:9700", 200),
        ("[::1]:9700", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("10.0.0.1", 403),
    ];
    for (host, expect) in hosts {
        let (status, body) = center
            .ask(&format!("GET {path} HTTP/1.1\r\nhost: {host}"))
            .await;
        assert_eq!(status, expect, "{host}: {body}");
    }
    for path in [path, "/healthz"] {
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\norigin: http://evil.example");
        let (status, body) = center.ask(&head).await;
        assert_eq!(status, 403, "{body}");
        assert!(body.contains("Origin"), "{body}");
    }
    center.stop().await;
}

#[tokio::test]
async fn a_token_opens_under_any_name_and_a_wrong_one_under_none() {
    let center = Served::start_with(|config| config.token = Some("secret".into()));
    let path = "/apis/mesh.weft.dev/v1alpha1/namespaces/default/services";
    for (host, token, expect) in [
        ("evil.example", "Bearer secret", 200),
        ("localhost", "Bearer secreT", 401),
        ("localhost", "Bearer secret1", 401),
        ("localhost", "Basic secret", 401),
    ] {
        let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: {token}");
        assert_eq!(center.ask(&head).await.0, expect, "{host} {token}");
    }
    center.stop().await;
}

#[tokio::test]
async fn health_is_for_anybody() {
    let center = Served::start();
    for path in ["/healthz", "/readyz"] {
        let (status, _) = center
            .ask(&format!("GET {path} HTTP/1.1\r\nhost: anything"))
            .await;
        assert_eq!(status, 200);
    }
    center.stop().await;
}

#[tokio::test]
async fn a_stream_without_grpc_is_told_what_the_path_is() {
    let center = Served::start();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0",
        crate::stream::PATH
    );
    let (status, body) = center.ask(&head).await;
    assert_eq!(status, 415);
    assert!(body.contains("application/grpc"), "{body}");
    center.stop().await;
}

#[test]
fn beyond_loopback_a_center_listens_only_when_told_to() {
    let address: SocketAddr = "0.0.0.0:9700".parse().unwrap();
    let refused = Config::check_listen(address, false)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("--insecure-listen"), "{refused}");
    assert!(Config::check_listen(address, true).is_ok());
    assert!(Config::check_listen("127.0.0.1:9700".parse().unwrap(), false).is_ok());
    assert!(Config::check_listen("[::1]:9700".parse().unwrap(), false).is_ok());
}

/// A folder for one test's store, gone with it.
struct StoreFolder(std::path::PathBuf);

impl StoreFolder {
    fn new(name: &str) -> Self {
        let name = format!("weft-center-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A center on this store, with the token `secret`.
    fn start(&self) -> Served {
        let place = crate::store::Place::File(self.0.join("store.redb"));
        Served::start_with(|config| {
            config.store = Some(crate::store::Kept::open(&place).unwrap());
            config.token = Some("secret".into());
        })
    }
}

impl Drop for StoreFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const OBJECTS: &str = "/apis/mesh.weft.dev/v1alpha1/namespaces/default/meshservices";

impl Served {
    /// Writes with the token.
    async fn write(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer secret\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut reply = String::new();
        let read = tokio::time::timeout(BOUND, socket.read_to_string(&mut reply));
        read.await.unwrap().unwrap();
        let status = reply.split(' ').nth(1).unwrap().parse().unwrap();
        let body = reply.split_once("\r\n\r\n").unwrap().1;
        (status, serde_json::from_str(body).unwrap())
    }
}

fn mesh_service(name: &str, port: u16) -> Value {
    serde_json::json!({
        "apiVersion": "mesh.weft.dev/v1alpha1",
        "kind": "MeshService",
        "metadata": { "name": name },
        "spec": { "ports": [{ "port": port, "protocol": "http" }] },
    })
}

#[tokio::test]
async fn instances_come_back_unconfirmed_and_their_sidecars_confirm_them_in_the_same_epoch() {
    let folder = StoreFolder::new("restart");
    let path = "/apis/mesh.weft.dev/v1alpha1/namespaces/default/instances";
    let center = folder.start();
    let mut orders = Sidecar::join(&center, "orders", "o1").await;
    let ready = |seen: &Sidecar| seen.sees("o1", InstanceState::Ready);
    orders
        .until(|seen| ready(seen) && seen.names.is_some())
        .await;
    let hello = orders.hello.clone().unwrap();
    let held = orders.names.clone().unwrap().version.unwrap();
    center.stop().await;

    let center = folder.start();
    assert_eq!(
        center.items(path).await[0]["status"]["state"],
        "Unconfirmed"
    );
    // It holds what it held: only the difference is sent.
    let mut orders = Sidecar::open(&center).await;
    orders.say(from_sidecar::Kind::Hello(sync::SidecarHello {
        protocol_version: sync::PROTOCOL_VERSION,
        service: "orders".into(),
        instance: "o1".into(),
        held: Some(held),
        store_id: hello.store_id.clone(),
        ..sync::SidecarHello::default()
    }));
    orders.say(from_sidecar::Kind::Subscribe(sync::Subscribe {
        all: true,
        ..sync::Subscribe::default()
    }));
    orders.register(sync::Instance {
        address: "127.0.0.1".into(),
        ..record("orders", "o1")
    });
    orders
        .until(|seen| ready(seen) && seen.names.is_some())
        .await;
    let again = orders.hello.clone().unwrap();
    assert_eq!(again.store_id, hello.store_id);
    let version = orders.names.clone().unwrap().version.unwrap();
    assert_eq!(version.epoch, held.epoch);
    assert!(version.revision > held.revision);
    assert!(!orders.names.unwrap().full, "all was sent");
    assert_eq!(center.items(path).await[0]["status"]["state"], "Ready");
    center.stop().await;
}

#[tokio::test]
async fn an_instance_whose_sidecar_does_not_come_back_is_dropped_when_time_is_up() {
    let folder = StoreFolder::new("dropped");
    let path = "/apis/mesh.weft.dev/v1alpha1/namespaces/default/instances";
    let center = folder.start();
    let mut orders = Sidecar::join(&center, "orders", "o1").await;
    orders
        .until(|seen| seen.sees("o1", InstanceState::Ready))
        .await;
    center.stop().await;
    let place = crate::store::Place::File(folder.0.join("store.redb"));
    let center = Served::start_with(|config| {
        config.store = Some(crate::store::Kept::open(&place).unwrap());
        config.limits.times.unconfirmed_kept = Duration::from_millis(200);
    });
    let emptied = async { while !center.items(path).await.is_empty() {} };
    tokio::time::timeout(BOUND, emptied).await.unwrap();
    center.stop().await;
    let center = folder.start();
    assert!(
        center.items(path).await.is_empty(),
        "it came back from the dead"
    );
    center.stop().await;
}

#[tokio::test]
async fn objects_are_written_read_and_kept_over_a_restart() {
    let folder = StoreFolder::new("objects");
    let center = folder.start();
    let one = format!("{OBJECTS}/orders");
    let (status, made) = center.write("PUT", &one, &mesh_service("orders", 80)).await;
    assert_eq!((status, &made["metadata"]["generation"]), (200, &1.into()));
    let (status, error) = center
        .write("POST", OBJECTS, &mesh_service("orders", 80))
        .await;
    assert_eq!((status, &error["reason"]), (409, &"AlreadyExists".into()));
    let (status, _) = center
        .write("POST", OBJECTS, &mesh_service("stock", 80))
        .await;
    assert_eq!(status, 201);

    let mut old = mesh_service("orders", 81);
    old["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
    let (status, _) = center
        .write("PUT", &format!("{one}?dryRun=All"), &old)
        .await;
    assert_eq!(status, 200);
    assert_eq!(center.json(&one).await.1["metadata"]["generation"], 1);
    let (status, _) = center
        .write("PUT", &format!("{one}?fieldManager=ann@host"), &old)
        .await;
    assert_eq!(status, 200);
    let (status, error) = center.write("PUT", &one, &old).await;
    assert_eq!((status, &error["reason"]), (409, &"Conflict".into()));
    center.stop().await;

    let center = folder.start();
    let (status, orders) = center.json(&one).await;
    assert_eq!(
        (status, &orders["metadata"]["generation"]),
        (200, &2.into())
    );
    assert_eq!(orders["spec"]["ports"][0]["port"], 81);
    assert_eq!(orders["status"]["state"], "Accepted");
    assert_eq!(center.items(OBJECTS).await.len(), 2);
    let (status, _) = center.write("DELETE", &one, &Value::Null).await;
    assert_eq!(status, 200);
    let (status, _) = center.write("DELETE", &one, &Value::Null).await;
    assert_eq!(status, 404);
    let changes = center.items(&format!("{one}/history")).await;
    let changes: Vec<_> = changes.iter().map(|change| &change["change"]).collect();
    assert_eq!(changes, ["created", "changed", "deleted"]);
    center.stop().await;
}

#[tokio::test]
async fn a_set_is_taken_whole_or_not_at_all_and_each_fault_has_its_place() {
    let folder = StoreFolder::new("set");
    let center = folder.start();
    let path = "/apis/mesh.weft.dev/v1alpha1/apply";
    let items = |ports: &[u16]| {
        let items = ports.iter().enumerate();
        let items = items.map(|(index, port)| mesh_service(&format!("s{index}"), *port));
        serde_json::json!({ "items": items.collect::<Vec<_>>() })
    };
    let (status, error) = center.write("POST", path, &items(&[80, 0, 80, 0])).await;
    assert_eq!(status, 422);
    let causes = error["details"]["causes"].as_array().unwrap();
    let places: Vec<_> = causes.iter().map(|cause| &cause["index"]).collect();
    assert_eq!(places, [1, 3]);
    assert_eq!(causes[0]["field"], "spec.ports[0].port");
    assert!(center.items(OBJECTS).await.is_empty());
    let (status, list) = center.write("POST", path, &items(&[80, 81])).await;
    assert_eq!(
        (status, &list["items"][1]["change"]),
        (200, &"created".into())
    );
    // Nothing is no wish to have nothing.
    assert_eq!(center.write("POST", path, &items(&[])).await.0, 200);
    assert_eq!(center.items(OBJECTS).await.len(), 2);
    let too_many = items(&[80; 2_001]);
    assert_eq!(center.write("POST", path, &too_many).await.0, 422);
    center.stop().await;
}

#[tokio::test]
async fn who_shows_no_token_changes_nothing_even_on_this_machine() {
    let folder = StoreFolder::new("token");
    let center = folder.start();
    let one = format!("{OBJECTS}/orders");
    for (method, path) in [("PUT", one.as_str()), ("DELETE", &one), ("POST", OBJECTS)] {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0");
        let (status, body) = center.ask(&head).await;
        assert_eq!(status, 401, "{method}: {body}");
        assert!(body.contains("token_file"), "{body}");
    }
    let backup = "/apis/mesh.weft.dev/v1alpha1/backup";
    assert_eq!(center.json(backup).await.0, 401);
    assert_eq!(center.json(OBJECTS).await.0, 200);
    center.stop().await;
}

/// Somebody who follows changes.
struct Follower {
    socket: TcpStream,
    read: String,
}

impl Follower {
    async fn new(center: &Served, query: &str) -> Self {
        let mut socket = TcpStream::connect(center.address).await.unwrap();
        let head = format!("GET {OBJECTS}?watch=true{query} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        Self {
            socket,
            read: String::new(),
        }
    }

    /// The types and names of the next changes, when there are so many.
    async fn next(&mut self, count: usize) -> Vec<(String, String)> {
        let lines = |read: &str| -> Vec<Value> {
            let lines = read.lines().filter(|line| line.starts_with('{'));
            lines
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect()
        };
        let mut piece = [0; 4096];
        while lines(&self.read).len() < count {
            let read = tokio::time::timeout(BOUND, self.socket.read(&mut piece));
            let length = read.await.unwrap().unwrap();
            assert!(length > 0, "{}", self.read);
            self.read
                .push_str(std::str::from_utf8(&piece[..length]).unwrap());
        }
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let told = lines(&std::mem::take(&mut self.read));
        told.iter()
            .map(|line| {
                (
                    text(&line["type"]),
                    text(&line["object"]["metadata"]["name"]),
                )
            })
            .collect()
    }
}

fn told(word: &str, name: &str) -> (String, String) {
    (word.to_owned(), name.to_owned())
}

#[tokio::test]
async fn changes_are_told_to_who_follows_from_a_list_and_not_before_it() {
    let folder = StoreFolder::new("watch");
    let center = folder.start();
    center.write("POST", OBJECTS, &mesh_service("a", 1)).await;
    let (_, list) = center.write("GET", OBJECTS, &Value::Null).await;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut follower = Follower::new(&center, &format!("&resourceVersion={version}")).await;
    let b = format!("{OBJECTS}/b");
    center.write("PUT", &b, &mesh_service("b", 1)).await;
    center.write("PUT", &b, &mesh_service("b", 2)).await;
    assert_eq!(
        follower.next(2).await,
        [told("ADDED", "b"), told("MODIFIED", "b")]
    );
    center.write("DELETE", &b, &Value::Null).await;
    assert_eq!(follower.next(1).await, [told("DELETED", "b")]);
    let mut other = Follower::new(&center, "").await;
    assert_eq!(
        other.next(2).await,
        [told("ADDED", "a"), told("BOOKMARK", "")]
    );
    let mut late = Follower::new(&center, "&resourceVersion=1.1").await;
    assert_eq!(late.next(1).await, [told("ERROR", "")]);
    center.stop().await;
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_respects_the_version_that_it_names() {
    let folder = StoreFolder::new("patch");
    let center = folder.start();
    let a = format!("{OBJECTS}/a");
    let (_, first) = center.write("PUT", &a, &mesh_service("a", 1)).await;
    let version = &first["metadata"]["resourceVersion"];
    let patch = serde_json::json!({
        "metadata": { "resourceVersion": version, "labels": { "team": "x" } },
    });
    let (status, second) = center.write("PATCH", &a, &patch).await;
    assert_eq!(
        (status, &second["metadata"]["labels"]["team"]),
        (200, &"x".into())
    );
    assert_eq!(second["spec"], first["spec"]);
    let (status, refused) = center.write("PATCH", &a, &patch).await;
    assert_eq!((status, &refused["reason"]), (409, &"Conflict".into()));
    let patch = serde_json::json!({ "metadata": { "labels": { "team": null } } });
    let (status, third) = center.write("PATCH", &a, &patch).await;
    assert_eq!(
        (status, &third["metadata"]["labels"]),
        (200, &serde_json::json!({}))
    );
    assert_eq!(third["metadata"]["generation"], 3);
    let patch = serde_json::json!({ "spec": { "ports": [{ "prot": 1 }] } });
    let (status, refused) = center.write("PATCH", &a, &patch).await;
    assert_eq!(status, 422, "{refused}");
    let missing = format!("{OBJECTS}/b");
    let (status, _) = center.write("PATCH", &missing, &patch).await;
    assert_eq!(status, 404);
    let (_, list) = center.write("GET", OBJECTS, &Value::Null).await;
    assert_eq!(list["items"][0]["spec"], first["spec"]);
    center.stop().await;
}
