//! What travels beside the fields, exceptions, and calls over real sockets: caller, sidecar, link, sidecar, app.

use super::*;
use crate::accept::{Incoming, Listener};
use crate::context::{Context, OwnHealth, Shared};
use crate::deadline::SWEEP_EVERY;
use crate::path;
use crate::settings::{Limits, Settings};
use arc_swap::ArcSwap;
use std::collections::HashSet;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use weft_api::sidecar::SidecarSpec;
use weft_codec::Fields;
use weft_codec::motan2::{self as codec, Step};
use weft_model::instance::{HealthState, InstanceState, Shape};
use weft_model::snapshot::{Draft, Version};
use weft_model::{Code, Failure, Instance, InstanceId, PortSpec, ServiceName};

/// Nothing in these tests takes this long unless it never comes.
const BOUND: Duration = Duration::from_secs(20);

const SIMPLE: u8 = 0x30;

/// A frame as a test sends or receives it.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    pub(crate) header: Header,
    pub(crate) metadata: Fields,
    pub(crate) body: Vec<u8>,
}

impl Frame {
    pub(crate) fn request(id: u64, method: &str, body: &[u8]) -> Self {
        let mut metadata = Fields::new();
        for (key, value) in [("M_p", "com.t.Svc"), ("M_m", method), ("M_g", "g1")] {
            metadata.push(key.as_bytes(), value.as_bytes());
        }
        let header = Header {
            serialize: SIMPLE,
            request_id: id,
            ..Header::default()
        };
        Self {
            header,
            metadata,
            body: body.to_vec(),
        }
    }

    fn heartbeat(id: u64) -> Self {
        let header = Header {
            heartbeat: true,
            serialize: 0x08,
            request_id: id,
            ..Header::default()
        };
        Self {
            header,
            ..Self::default()
        }
    }

    /// The app's reply to this request.
    pub(crate) fn reply(&self, body: &[u8]) -> Self {
        let header = Header {
            response: true,
            proxy: false,
            ..self.header
        };
        let mut metadata = Fields::new();
        metadata.push(b"M_pt", b"7");
        Self {
            header,
            metadata,
            body: body.to_vec(),
        }
    }

    pub(crate) fn value(&self, key: &str) -> &str {
        std::str::from_utf8(self.metadata.last_exact(key).unwrap_or_default()).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        codec::write_head(
            self.header,
            &self.metadata,
            self.body.len() as u32,
            &mut out,
        );
        out.extend_from_slice(&self.body);
        out
    }
}

/// One end of a connection, the caller's or the app's.
pub(crate) struct End {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl End {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            bytes: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, frame: &Frame) {
        self.stream.write_all(&frame.bytes()).await.unwrap();
    }

    /// The next frame; none at the end.
    async fn next(&mut self) -> Option<Frame> {
        let limits = codec::Limits::default();
        loop {
            if let Step::Frame { header, meta, body } = codec::parse(&self.bytes, &limits).unwrap()
            {
                let mut metadata = Fields::new();
                codec::parse_metadata(&self.bytes[meta], &limits, &mut metadata).unwrap();
                let frame = Frame {
                    header,
                    metadata,
                    body: self.bytes[body.clone()].to_vec(),
                };
                self.bytes.drain(..body.end);
                return Some(frame);
            }
            if self.stream.read_buf(&mut self.bytes).await.ok()? == 0 {
                return None;
            }
        }
    }

    pub(crate) async fn frame(&mut self) -> Frame {
        self.next().await.expect("a frame, not the end")
    }
}

/// A sidecar without workers: its calls run on the test's own thread.
pub(crate) struct Sidecar {
    pub(crate) ctx: Rc<Context>,
    pub(crate) address: SocketAddr,
    health: tokio::sync::watch::Sender<OwnHealth>,
}

impl Sidecar {
    pub(crate) async fn start(
        service: &str,
        ports: &[&str],
        listener: Listener,
        instances: Vec<Arc<Instance>>,
    ) -> Self {
        Self::start_with(service, ports, listener, instances, Limits::default()).await
    }

    pub(crate) async fn start_with(
        service: &str,
        ports: &[&str],
        listener: Listener,
        instances: Vec<Arc<Instance>>,
        limits: Limits,
    ) -> Self {
        let spec = SidecarSpec {
            service: service.into(),
            instance: format!("{service}-1"),
            ports: ports
                .iter()
                .map(|port| port.parse::<PortSpec>().unwrap())
                .collect(),
            ..SidecarSpec::default()
        };
        let settings = Settings::new(&spec, HashSet::new(), limits);
        let mut draft = Draft::default();
        for instance in instances {
            draft.edit(&instance.service).put(Arc::clone(&instance));
        }
        let snapshot = draft.publish(Version::default(), true);
        let shared = Shared {
            settings: Arc::new(settings),
            snapshots: Arc::new(ArcSwap::from_pointee(snapshot)),
            asking: crate::asking::channel().0,
            registry: Arc::default(),
            incarnation: AtomicU64::new(1),
            app_since_ms: AtomicI64::new(crate::context::APP_IS_OLD),
            app_down: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            drained: AtomicBool::new(false),
            hops: crate::protocol::link::hops::DeclaredHops::default(),
        };
        let (log, _) = tokio::sync::mpsc::channel(16);
        let (told, health) = tokio::sync::watch::channel(crate::health::initial());
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let ctx = Context::new(Arc::new(shared), connections, log, health, 7);
        let swept = Rc::clone(&ctx);
        ctx.spawn(async move {
            loop {
                tokio::time::sleep(SWEEP_EVERY).await;
                swept.deadlines.sweep();
            }
        });
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let serving = Rc::clone(&ctx);
        ctx.spawn(async move {
            loop {
                let (stream, peer) = socket.accept().await.unwrap();
                counted.fetch_add(1, Relaxed);
                let incoming = Incoming {
                    stream,
                    peer,
                    listener,
                    visit: crate::sources::Visit::default(),
                };
                serving.spawn(path::connection(Rc::clone(&serving), incoming));
            }
        });
        Self {
            ctx,
            address,
            health: told,
        }
    }

    /// A caller that sends these bytes and ends its side.
    async fn connect_and_end(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        stream
    }

    /// Calls that ended so.
    pub(crate) fn calls(&self, code: &str) -> u64 {
        let rows = self.ctx.shared.registry.rows();
        let those = rows.iter().filter(|row| row.code == code);
        those.map(|row| row.calls).sum()
    }

    /// Waits until every call is recorded and nothing is under way.
    pub(crate) async fn quiet(&self) {
        let counters = &self.ctx.counters;
        while self.ctx.calls_open() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.ctx.calls_active.get(), 0);
        assert_eq!(counters.panics.load(Relaxed), 0);
    }
}

/// A caller's sidecar, an app's sidecar, and the app.
struct Mesh {
    app: TcpListener,
    outbound: Sidecar,
    inbound: Sidecar,
}

impl Mesh {
    async fn start() -> Self {
        let app = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let number = app.local_addr().unwrap().port();
        let port = format!("motan={number},interface=com.t.Svc,group=g9");
        let inbound = Sidecar::start("stock", &[&port], Listener::Inbound, Vec::new()).await;
        // The instance is declared for any group; the app itself knows only g9.
        let port = format!("motan={number},interface=com.t.Svc");
        let instance = Instance {
            id: InstanceId::new("stock-1"),
            incarnation: 1,
            address: inbound.address.ip(),
            inbound_port: inbound.address.port(),
            state: InstanceState::Ready,
            weight: 100,
            shape: Arc::new(Shape {
                service: ServiceName::new("default", "stock"),
                ports: vec![port.parse::<PortSpec>().unwrap().0],
                labels: Vec::new(),
                zone: "".into(),
                idempotent: Vec::new(),
                check: None,
            }),
        };
        let instances = vec![Arc::new(instance)];
        let outbound = Sidecar::start("orders", &[], Listener::Outbound, instances).await;
        Self {
            app,
            outbound,
            inbound,
        }
    }

    async fn caller(&self) -> End {
        End::connect(self.outbound.address).await
    }

    async fn app(&self) -> End {
        End::new(self.app.accept().await.unwrap().0)
    }

    async fn quiet(&self) {
        self.outbound.quiet().await;
        self.inbound.quiet().await;
    }
}

pub(crate) fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap()
        .block_on(async {
            timeout(BOUND, test).await.expect("the test ends in time");
        });
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn extra_parts_come_out_as_they_went_in() {
    for extra in [
        Extra::default(),
        Extra {
            serialize: 0x40,
            gzip: true,
            one_way: true,
            exception: true,
            request_id: u64::MAX,
            length: u32::MAX,
        },
        Extra {
            request_id: 0x0102_0304_0506_0708,
            length: 9,
            ..Extra::default()
        },
    ] {
        let bytes = extra.bytes();
        assert_eq!(Extra::read(&bytes), extra);
        for short in 0..bytes.len() {
            assert_eq!(Extra::read(&bytes[..short]), Extra::default());
        }
    }
}

#[test]
fn an_unknown_service_is_told_in_the_words_that_clients_test_for() {
    let failure = Failure::with(Code::NoService, "interface \"s\"");
    let mut out = Vec::new();
    answer::write_exception(&failure, 1, b"g", b"s", &mut out);
    assert!(hex(&out).starts_with("f1f10309000000000000000001"));
    let text = String::from_utf8_lossy(&out);
    let expected = "M_e\n{\"errcode\":404,\"errmsg\":\"provider not exist serviceKey=g_s: ";
    assert!(text.contains(expected), "{text}");
    assert!(
        text.contains("(WFT-1102)\",\"errtype\":1}\0\0\0\0"),
        "{text}"
    );
}

#[test]
fn a_failure_of_the_mesh_is_one_of_the_framework() {
    let mut out = Vec::new();
    answer::write_exception(&Failure::new(Code::NoInstance), 1, b"", b"", &mut out);
    let text = String::from_utf8_lossy(&out);
    assert!(text.contains("{\"errcode\":1001,"), "{text}");
    assert!(text.contains("\"errtype\":0}"), "{text}");
}

#[test]
fn a_call_crosses_both_sidecars_and_its_app_knows_its_caller() {
    run(async {
        let mesh = Mesh::start().await;
        let mut caller = mesh.caller().await;
        let mut request = Frame::request(u64::MAX, "hello", b"Ray");
        request.header.gzip = true;
        request.metadata.push(b"x-weft-caller", b"forged");
        caller.send(&request).await;
        let mut app = mesh.app().await;
        let arrived = app.frame().await;
        assert_eq!(
            arrived.header,
            Header {
                proxy: true,
                request_id: arrived.header.request_id,
                ..request.header
            }
        );
        assert_ne!(arrived.header.request_id, request.header.request_id);
        assert_eq!(arrived.body, b"Ray");
        for (key, value) in [
            ("M_p", "com.t.Svc"),
            ("M_m", "hello"),
            ("M_g", "g9"),
            ("M_rid", "-1"),
            ("M_s", "orders"),
            ("host", "127.0.0.1"),
            ("x-weft-caller", ""),
        ] {
            assert_eq!(arrived.value(key), value, "{key}");
        }
        app.send(&arrived.reply(b"hello Ray")).await;
        let reply = caller.frame().await;
        assert_eq!(
            reply.header,
            Header {
                response: true,
                proxy: true,
                ..request.header
            }
        );
        assert_eq!(reply.value("M_pt"), "7");
        assert_eq!(reply.body, b"hello Ray");
        mesh.quiet().await;
        assert_eq!(mesh.outbound.calls("ok"), 1);
        assert_eq!(mesh.inbound.calls("ok"), 1);
    });
}

#[test]
fn what_the_caller_has_already_said_of_itself_stays() {
    run(async {
        let mesh = Mesh::start().await;
        let mut caller = mesh.caller().await;
        let mut request = Frame::request(5, "hello", b"");
        for (key, value) in [("M_rid", "42"), ("M_s", "old-app"), ("host", "10.1.1.1")] {
            request.metadata.push(key.as_bytes(), value.as_bytes());
        }
        caller.send(&request).await;
        let mut app = mesh.app().await;
        let arrived = app.frame().await;
        assert_eq!(arrived.value("M_rid"), "42");
        assert_eq!(arrived.value("M_s"), "old-app");
        assert_eq!(arrived.value("host"), "10.1.1.1");
        app.send(&arrived.reply(b"")).await;
        assert!(caller.frame().await.body.is_empty());
        mesh.quiet().await;
    });
}

#[test]
fn replies_leave_in_the_order_in_which_the_app_gives_them() {
    run(async {
        let mesh = Mesh::start().await;
        let mut caller = mesh.caller().await;
        let mut all = Vec::new();
        for id in 1..=50 {
            all.extend(Frame::request(id, "hello", &[id as u8]).bytes());
        }
        caller.stream.write_all(&all).await.unwrap();
        let mut app = mesh.app().await;
        let mut arrived = Vec::new();
        for _ in 1..=50 {
            arrived.push(app.frame().await);
        }
        for frame in arrived.iter().rev() {
            app.send(&frame.reply(&frame.body)).await;
        }
        for id in (1..=50).rev() {
            let reply = caller.frame().await;
            assert_eq!(reply.header.request_id, id);
            assert_eq!(reply.body, [id as u8]);
        }
        mesh.quiet().await;
        assert_eq!(mesh.outbound.calls("ok"), 50);
    });
}

#[test]
fn frames_are_found_in_any_split() {
    run(async {
        let mesh = Mesh::start().await;
        let mut caller = mesh.caller().await;
        let mut bytes = Frame::heartbeat(1).bytes();
        bytes.extend(Frame::request(2, "hello", b"Ray").bytes());
        for byte in bytes {
            caller.stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(caller.frame().await.header.request_id, 1);
        let mut app = mesh.app().await;
        let arrived = app.frame().await;
        for byte in arrived.reply(b"yes").bytes() {
            app.stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let reply = caller.frame().await;
        assert_eq!((reply.header.request_id, &*reply.body), (2, &b"yes"[..]));
        mesh.quiet().await;
    });
}

#[test]
fn heartbeats_are_answered_although_the_app_is_dead() {
    run(async {
        let mesh = Mesh::start().await;
        let Mesh {
            app,
            outbound,
            inbound,
        } = mesh;
        drop(app);
        for address in [outbound.address, inbound.address] {
            let mut caller = End::connect(address).await;
            caller.send(&Frame::heartbeat(1)).await;
            let answer = caller.frame().await;
            assert_eq!(
                hex(&answer.bytes()),
                "f1f113083000000000000000010000000000000000"
            );
            caller.send(&Frame::request(2, "hello", b"")).await;
            let answer = caller.frame().await;
            assert!(answer.header.exception && answer.header.proxy);
            assert_eq!((answer.header.request_id, answer.header.serialize), (2, 0));
            let text = answer.value("M_e");
            assert!(text.contains("\"errcode\":1001"), "{text}");
            assert!(text.contains("\"errtype\":1"), "{text}");
            caller.send(&Frame::heartbeat(3)).await;
            assert_eq!(caller.frame().await.header.request_id, 3);
        }
        outbound.quiet().await;
        inbound.quiet().await;
        assert_eq!(inbound.calls("connect_refused"), 2);
        assert_eq!(outbound.calls("connect_refused"), 1);
    });
}

#[test]
fn a_draining_sidecar_answers_no_heartbeat_from_outside() {
    run(async {
        let mesh = Mesh::start().await;
        mesh.inbound.ctx.shared.draining.store(true, Relaxed);
        let mut caller = End::connect(mesh.inbound.address).await;
        caller.send(&Frame::heartbeat(1)).await;
        assert!(caller.next().await.is_none());
    });
}

#[test]
fn heartbeats_from_outside_end_once_the_app_is_known_dead() {
    run(async {
        let mesh = Mesh::start().await;
        let mut outside = End::connect(mesh.inbound.address).await;
        outside.send(&Frame::heartbeat(1)).await;
        assert_eq!(outside.frame().await.header.request_id, 1);
        crate::health::change(&mesh.inbound.health, HealthState::AppDead);
        outside.send(&Frame::heartbeat(2)).await;
        assert!(outside.next().await.is_none());
        let mut own = mesh.caller().await;
        own.send(&Frame::heartbeat(3)).await;
        assert_eq!(own.frame().await.header.request_id, 3);
    });
}

#[test]
fn a_plain_call_after_the_drain_is_refused_and_one_after_a_replacement_is_served() {
    run(async {
        let mesh = Mesh::start().await;
        let shared = &mesh.inbound.ctx.shared;
        shared.draining.store(true, Relaxed);
        shared.drained.store(true, Relaxed);
        // Another sidecar serves the instance: nobody was told that it leaves.
        let mut caller = End::connect(mesh.inbound.address).await;
        caller.send(&Frame::request(1, "hello", b"")).await;
        let mut app = mesh.app().await;
        let arrived = app.frame().await;
        app.send(&arrived.reply(b"hi")).await;
        assert_eq!(caller.frame().await.body, b"hi");
        crate::health::change(&mesh.inbound.health, HealthState::Draining);
        caller.send(&Frame::request(2, "hello", b"")).await;
        let refused = caller.frame().await;
        let text = refused.value("M_e");
        assert!(refused.header.exception && text.contains("1502"), "{text}");
        mesh.inbound.quiet().await;
    });
}

#[test]
fn a_one_way_call_is_counted_and_not_answered() {
    run(async {
        let mesh = Mesh::start().await;
        let mut caller = mesh.caller().await;
        let mut request = Frame::request(1, "hello", b"Ray");
        request.header.one_way = true;
        caller.send(&request).await;
        let mut app = mesh.app().await;
        let arrived = app.frame().await;
        assert!(arrived.header.one_way && arrived.header.proxy);
        // An app that answers all the same is not heard.
        app.send(&arrived.reply(b"no")).await;
        caller.send(&Frame::request(2, "hello", b"")).await;
        let arrived = app.frame().await;
        app.send(&arrived.reply(b"yes")).await;
        assert_eq!(caller.frame().await.header.request_id, 2);
        mesh.quiet().await;
        assert_eq!(mesh.outbound.calls("ok"), 2);
        assert_eq!(mesh.inbound.calls("ok"), 2);
    });
}

#[test]
fn large_bodies_cross_the_link_both_ways() {
    run(async {
        let mesh = Mesh::start().await;
        let mut caller = mesh.caller().await;
        let body: Vec<u8> = (0..5_000_000_u32).map(|at| (at % 251) as u8).collect();
        let request = Frame::request(1, "hello", &body);
        let asking = async {
            caller.send(&request).await;
            caller.frame().await
        };
        let answering = async {
            let mut app = mesh.app().await;
            let arrived = app.frame().await;
            assert!(arrived.body == body);
            app.send(&arrived.reply(&arrived.body)).await;
            app
        };
        let (reply, _app) = tokio::join!(asking, answering);
        assert!(reply.body == body);
        mesh.quiet().await;
    });
}

#[test]
fn a_caller_that_reads_nothing_is_not_read_any_further() {
    run(async {
        const CALLS: u64 = 2500;
        let body = vec![7; 8_000];
        let expected = Frame::request(1, "hello", &body).reply(&body).bytes().len();
        let mesh = Mesh::start().await;
        let caller = mesh.caller().await;
        let (mut reading, mut writing) = caller.stream.into_split();
        tokio::task::spawn_local(async move {
            for id in 1..=CALLS {
                let frame = Frame::request(id, "hello", &body);
                writing.write_all(&frame.bytes()).await.unwrap();
            }
            // The caller says that it is done, and still reads.
            writing.shutdown().await.unwrap();
        });
        let app = mesh.app;
        tokio::task::spawn_local(async move {
            loop {
                let mut app = End::new(app.accept().await.unwrap().0);
                tokio::task::spawn_local(async move {
                    while let Some(frame) = app.next().await {
                        app.send(&frame.reply(&frame.body)).await;
                    }
                });
            }
        });
        // It settles when all are held, or (that would be the fault) when all are taken.
        let opened = || mesh.outbound.ctx.counters.calls_opened.load(Relaxed);
        let mut before = 0;
        while opened() == 0 || opened() != before {
            before = opened();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(opened() < CALLS, "all calls were taken");
        let mut all = vec![0; 64 * 1024];
        let mut count = 0;
        loop {
            match reading.read(&mut all).await.unwrap() {
                0 => break,
                more => count += more,
            }
        }
        assert_eq!(count, expected * CALLS as usize);
        mesh.outbound.quiet().await;
        mesh.inbound.quiet().await;
        assert_eq!(mesh.outbound.calls("ok"), CALLS);
    });
}

#[test]
fn a_frame_over_the_limit_is_answered_before_the_connection_closes() {
    run(async {
        let mesh = Mesh::start().await;
        let mut caller = mesh.caller().await;
        caller.send(&Frame::request(1, "hello", b"")).await;
        let mut bytes = Frame::request(2, "hello", b"").bytes();
        let length = bytes.len() - 4..;
        bytes[length].copy_from_slice(&(11 * 1024 * 1024_u32).to_be_bytes());
        bytes.extend(vec![0; 100_000]);
        let mut app = mesh.app().await;
        caller.stream.write_all(&bytes).await.unwrap();
        let refused = caller.frame().await;
        assert_eq!(refused.header.request_id, 2);
        let text = refused.value("M_e");
        assert!(text.contains("WFT-1003"), "{text}");
        // What was under way is still answered.
        let arrived = app.frame().await;
        app.send(&arrived.reply(b"yes")).await;
        assert_eq!(caller.frame().await.header.request_id, 1);
        assert!(caller.next().await.is_none());
        mesh.quiet().await;
        assert_eq!(mesh.outbound.calls("body_too_large"), 1);
    });
}

#[test]
fn bytes_that_are_no_frame_close_the_connection_silently() {
    run(async {
        let mesh = Mesh::start().await;
        let mut caller = mesh.caller().await;
        caller.send(&Frame::heartbeat(1)).await;
        assert_eq!(caller.frame().await.header.request_id, 1);
        caller
            .stream
            .write_all(b"GET / HTTP/1.1\r\n")
            .await
            .unwrap();
        assert!(caller.next().await.is_none());
        mesh.quiet().await;
        let ends = &mesh.outbound.ctx.counters.connection_ends;
        while mesh
            .outbound
            .ctx
            .counters
            .connections_recorded
            .load(Relaxed)
            == 0
        {
            tokio::task::yield_now().await;
        }
        assert!(ends.counts().any(|end| end == ("malformed", 1)));
        assert_eq!(mesh.outbound.ctx.counters.calls_opened.load(Relaxed), 0);
    });
}

#[test]
fn unsound_metadata_fail_their_own_call_alone() {
    run(async {
        let mesh = Mesh::start().await;
        let mut caller = mesh.caller().await;
        let nameless = |metadata| Frame {
            metadata,
            ..Frame::request(1, "", b"")
        };
        caller.send(&nameless(Fields::new())).await;
        let text = caller.frame().await.value("M_e").to_owned();
        assert!(text.contains("\"errcode\":400"), "{text}");
        assert!(text.contains("no M_p"), "{text}");
        // An odd count of tokens: one trailing LF may stand there, two may not.
        let mut odd = Frame::request(2, "hello", b"").bytes();
        let at = odd.len() - 4;
        odd.splice(at..at, *b"\nlonely");
        let length = u32::from_be_bytes(odd[13..17].try_into().unwrap()) + 7;
        odd[13..17].copy_from_slice(&length.to_be_bytes());
        caller.stream.write_all(&odd).await.unwrap();
        let refused = caller.frame().await;
        assert_eq!(refused.header.request_id, 2);
        assert!(refused.value("M_e").contains("without a value"));
        caller.send(&Frame::request(3, "hello", b"")).await;
        let mut app = mesh.app().await;
        let arrived = app.frame().await;
        app.send(&arrived.reply(b"")).await;
        assert_eq!(caller.frame().await.header.request_id, 3);
        mesh.quiet().await;
        assert_eq!(mesh.outbound.calls("malformed"), 2);
    });
}

#[test]
fn an_exception_of_the_app_is_passed_on_as_it_is() {
    run(async {
        let mesh = Mesh::start().await;
        let mut caller = mesh.caller().await;
        caller.send(&Frame::request(1, "fail", b"")).await;
        let mut app = mesh.app().await;
        let arrived = app.frame().await;
        let mut reply = arrived.reply(b"");
        reply.header.exception = true;
        reply.header.serialize = 0x40;
        reply.metadata.push(b"M_e", b"{\"errcode\":30001}");
        app.send(&reply).await;
        let reply = caller.frame().await;
        assert!(reply.header.exception);
        assert_eq!(reply.header.serialize, 0x40);
        assert_eq!(reply.value("M_e"), "{\"errcode\":30001}");
        mesh.quiet().await;
        assert_eq!(mesh.outbound.calls("app_error"), 1);
        assert_eq!(mesh.inbound.calls("app_error"), 1);
    });
}

#[test]
fn an_unknown_interface_is_answered_on_the_connection() {
    run(async {
        let mesh = Mesh::start().await;
        let mut caller = mesh.caller().await;
        let mut request = Frame::request(1, "hello", b"");
        request.metadata.push(b"M_p", b"com.t.Nobody");
        caller.send(&request).await;
        let text = caller.frame().await.value("M_e").to_owned();
        let expected = "provider not exist serviceKey=g1_com.t.Nobody";
        assert!(text.contains(expected), "{text}");
        mesh.quiet().await;
    });
}

#[test]
fn an_app_that_closes_fails_what_it_had_and_gets_the_next_call_anew() {
    run(async {
        let mesh = Mesh::start().await;
        let mut caller = mesh.caller().await;
        for id in 1..=3 {
            caller.send(&Frame::request(id, "hello", b"")).await;
        }
        let mut app = mesh.app().await;
        for _ in 1..=3 {
            app.frame().await;
        }
        drop(app);
        for _ in 1..=3 {
            let answer = caller.frame().await;
            assert!(answer.value("M_e").contains("WFT-1303"));
        }
        caller.send(&Frame::request(4, "hello", b"")).await;
        let mut app = mesh.app().await;
        let arrived = app.frame().await;
        app.send(&arrived.reply(b"")).await;
        assert!(!caller.frame().await.header.exception);
        mesh.quiet().await;
        assert_eq!(mesh.outbound.calls("upstream_closed"), 3);
        assert_eq!(mesh.outbound.calls("ok"), 1);
    });
}

#[test]
fn an_app_that_breaks_the_grammar_is_blamed_for_it() {
    run(async {
        let mesh = Mesh::start().await;
        let mut caller = mesh.caller().await;
        caller.send(&Frame::request(1, "hello", b"")).await;
        let mut app = mesh.app().await;
        let arrived = app.frame().await;
        app.stream.write_all(b"HTTP/1.1 400 \r\n").await.unwrap();
        let answer = caller.frame().await;
        assert!(answer.value("M_e").contains("WFT-1304"));
        drop(arrived);
        assert!(app.next().await.is_none());
        mesh.quiet().await;
    });
}

#[test]
fn a_caller_that_goes_away_cancels_its_calls_and_no_others() {
    run(async {
        let mesh = Mesh::start().await;
        let mut leaving = mesh.caller().await;
        leaving.send(&Frame::request(1, "hello", b"")).await;
        let mut app = mesh.app().await;
        let cancelled = app.frame().await;
        let socket = socket2::SockRef::from(&leaving.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        drop(leaving);
        mesh.quiet().await;
        assert_eq!(mesh.outbound.calls("cancelled"), 1);
        assert_eq!(mesh.inbound.calls("cancelled"), 1);
        // The late reply finds nobody, and the connection serves the next call.
        app.send(&cancelled.reply(b"late")).await;
        let mut caller = mesh.caller().await;
        caller.send(&Frame::request(2, "hello", b"")).await;
        let arrived = app.frame().await;
        app.send(&arrived.reply(b"yes")).await;
        assert_eq!(caller.frame().await.body, b"yes");
        mesh.quiet().await;
    });
}

#[test]
fn a_caller_that_ended_its_side_still_gets_its_replies() {
    run(async {
        let mesh = Mesh::start().await;
        let mut caller = mesh.caller().await;
        caller.send(&Frame::request(1, "hello", b"")).await;
        caller.stream.shutdown().await.unwrap();
        let mut app = mesh.app().await;
        let arrived = app.frame().await;
        app.send(&arrived.reply(b"yes")).await;
        assert_eq!(caller.frame().await.body, b"yes");
        assert!(caller.next().await.is_none());
        mesh.quiet().await;
    });
}

#[test]
fn a_second_connection_is_made_when_the_first_is_in_use() {
    run(async {
        let mesh = Mesh::start().await;
        let mut caller = mesh.caller().await;
        caller.send(&Frame::request(1, "hello", b"")).await;
        let mut first = mesh.app().await;
        let one = first.frame().await;
        caller.send(&Frame::request(2, "hello", b"")).await;
        let two = first.frame().await;
        let mut second = mesh.app().await;
        caller.send(&Frame::request(3, "hello", b"")).await;
        let three = second.frame().await;
        second.send(&three.reply(b"")).await;
        assert_eq!(caller.frame().await.header.request_id, 3);
        first.send(&two.reply(b"")).await;
        first.send(&one.reply(b"")).await;
        assert_eq!(caller.frame().await.header.request_id, 2);
        assert_eq!(caller.frame().await.header.request_id, 1);
        mesh.quiet().await;
    });
}

#[test]
fn a_heartbeat_of_the_app_is_answered() {
    run(async {
        let mesh = Mesh::start().await;
        let mut caller = mesh.caller().await;
        caller.send(&Frame::request(1, "hello", b"")).await;
        let mut app = mesh.app().await;
        let arrived = app.frame().await;
        app.send(&Frame::heartbeat(9)).await;
        let answer = app.frame().await;
        assert!(answer.header.heartbeat && answer.header.response);
        assert_eq!(answer.header.request_id, 9);
        app.send(&arrived.reply(b"")).await;
        caller.frame().await;
        mesh.quiet().await;
    });
}

#[test]
fn a_frame_that_stops_in_its_head_is_answered_late_and_a_silent_connection_not_at_all() {
    run(async {
        let limits = Limits {
            head: Duration::from_millis(50),
            idle: Duration::from_millis(50),
            ..Limits::default()
        };
        let none = Vec::new();
        let sidecar = Sidecar::start_with("a", &[], Listener::Outbound, none, limits).await;
        let mut caller = End::connect(sidecar.address).await;
        let request = Frame::request(3, "hello", b"").bytes();
        caller.stream.write_all(&request[..20]).await.unwrap();
        let answer = caller.frame().await;
        assert_eq!(answer.header.request_id, 3);
        assert!(answer.value("M_e").contains("WFT-1002"));
        assert!(caller.next().await.is_none());
        let mut caller = End::connect(sidecar.address).await;
        caller.send(&Frame::heartbeat(1)).await;
        caller.frame().await;
        assert!(caller.next().await.is_none());
        sidecar.quiet().await;
        assert_eq!(sidecar.calls("head_timeout"), 1);
    });
}

#[test]
fn a_plain_caller_of_the_inbound_port_gets_large_replies_too() {
    run(async {
        let mesh = Mesh::start().await;
        let mut caller = End::connect(mesh.inbound.address).await;
        caller.send(&Frame::request(1, "hello", b"")).await;
        let mut app = mesh.app().await;
        let arrived = app.frame().await;
        let body = vec![9; 1_000_000];
        let reply = arrived.reply(&body);
        let (reply, ()) = tokio::join!(caller.frame(), app.send(&reply));
        assert!(reply.body == body);
        mesh.quiet().await;
    });
}

#[test]
fn an_app_whose_answers_nobody_takes_is_not_read_any_further() {
    run(async {
        const BODY: usize = 8 * 1024 * 1024;
        let calls = 3 * HELD_BYTES_MAX / BODY;
        let mesh = Mesh::start().await;
        let mut caller = mesh.caller().await;
        for id in 1..=calls {
            caller.send(&Frame::request(id as u64, "hello", b"")).await;
        }
        let mut app = mesh.app().await;
        let (count, counted) = tokio::sync::watch::channel(0);
        tokio::task::spawn_local(async move {
            let mut arrived = Vec::new();
            for _ in 1..=calls {
                arrived.push(app.frame().await);
            }
            for frame in arrived {
                app.send(&frame.reply(&vec![7; BODY])).await;
                count.send_modify(|count| *count += 1);
            }
            app.next().await
        });
        let mut before = 0;
        while *counted.borrow() == 0 || *counted.borrow() != before {
            before = *counted.borrow();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert!(*counted.borrow() < calls, "all replies were taken");
        for id in 1..=calls {
            let reply = caller.frame().await;
            assert_eq!(reply.body.len(), BODY, "{id}");
        }
        mesh.quiet().await;
    });
}

#[test]
fn no_mutant_of_a_frame_stops_a_sidecar() {
    run(async {
        const MUTANTS: u64 = 400;
        let mesh = Mesh::start().await;
        let app = mesh.app;
        tokio::task::spawn_local(async move {
            loop {
                let mut app = End::new(app.accept().await.unwrap().0);
                tokio::task::spawn_local(async move {
                    while let Some(frame) = app.next().await {
                        app.send(&frame.reply(&frame.body)).await;
                    }
                });
            }
        });
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |bound: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % bound as u64) as usize
        };
        for _ in 0..MUTANTS {
            let mut bytes = Frame::request(1, "hello", b"Ray").bytes();
            bytes.extend(Frame::heartbeat(2).bytes());
            bytes.extend(Frame::request(3, "hello", b"Ray").bytes());
            for _ in 0..=below(3) {
                let at = below(bytes.len());
                match below(3) {
                    0 => bytes[at] = below(256) as u8,
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, below(256) as u8),
                }
            }
            let mut caller = mesh.outbound.connect_and_end(&bytes).await;
            let mut rest = Vec::new();
            // A mutant may be cut off: what counts is that it ends, and is recorded.
            let _ = caller.read_to_end(&mut rest).await;
        }
        mesh.outbound.quiet().await;
        mesh.inbound.quiet().await;
        let counters = &mesh.outbound.ctx.counters;
        assert_eq!(counters.connections_opened.load(Relaxed), MUTANTS);
    });
}
