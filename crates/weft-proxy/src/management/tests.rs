//! The management port over real connections: answers, and who gets none.

use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use weft_model::instance::Shape;
use weft_model::snapshot::Draft;
use weft_model::{Instance, InstanceId, ServiceName, Version};

/// Nothing in these tests takes this long unless it never comes.
const BOUND: Duration = Duration::from_secs(10);

struct Served {
    address: SocketAddr,
    ready: watch::Sender<bool>,
    shutdown: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Served {
    async fn start(token: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ready, is_ready) = watch::channel(false);
        let (shutdown, stopping) = watch::channel(false);
        let task = tokio::spawn(server(token, is_ready).run(vec![listener], stopping));
        Self {
            address,
            ready,
            shutdown,
            task,
        }
    }

    async fn ask(&self, head: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{head}\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        timeout(BOUND, socket.read_to_string(&mut reply))
            .await
            .unwrap()
            .unwrap();
        let status = reply.split(' ').nth(1).unwrap().parse().unwrap();
        let body = reply.split_once("\r\n\r\n").unwrap().1.to_owned();
        (status, body)
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: localhost:8002"))
            .await
    }

    async fn stop(self) {
        self.shutdown.send_replace(true);
        timeout(BOUND, self.task).await.unwrap().unwrap();
    }
}

fn server(token: Option<&str>, ready: watch::Receiver<bool>) -> ManagementServer {
    let instance = Instance {
        id: InstanceId::new("s1"),
        incarnation: 2,
        address: "10.0.0.7".parse().unwrap(),
        inbound_port: 9982,
        state: InstanceState::Unconfirmed,
        weight: 100,
        shape: Arc::new(Shape {
            service: ServiceName::new("default", "stock"),
            ports: vec!["motan=8001".parse::<weft_model::PortSpec>().unwrap().0],
            labels: Vec::new(),
            zone: "".into(),
            idempotent: Vec::new(),
            check: None,
        }),
    };
    let version = Version {
        epoch: 3,
        revision: 9,
    };
    let mut draft = Draft::default();
    let mut service = draft.edit(&instance.service);
    service.set_subscribed(true);
    service.put(Arc::new(instance.clone()));
    let snapshot = draft.publish(version, true);
    ManagementServer {
        spec: SidecarSpec {
            service: "orders".into(),
            ..SidecarSpec::default()
        },
        snapshots: Arc::new(ArcSwap::from_pointee(snapshot)),
        metrics: Arc::new(|| "weft_calls_total 1\n".to_owned()),
        ready,
        token: token.map(str::to_owned),
    }
}

#[tokio::test]
async fn metrics_are_told_in_prometheus_text() {
    let served = Served::start(None).await;
    assert_eq!(
        served.get("/metrics").await,
        (200, "weft_calls_total 1\n".to_owned())
    );
    served.stop().await;
}

#[tokio::test]
async fn ready_follows_the_sidecar_and_live_does_not() {
    let served = Served::start(None).await;
    assert_eq!(served.get("/ready").await.0, 503);
    assert_eq!(served.get("/live").await.0, 200);
    served.ready.send_replace(true);
    assert_eq!(served.get("/ready").await, (200, "ready\n".to_owned()));
    served.ready.send_replace(false);
    assert_eq!(served.get("/ready").await.0, 503);
    served.stop().await;
}

#[tokio::test]
async fn config_needs_the_token_and_says_how_to_get_it() {
    let served = Served::start(None).await;
    let (status, body) = served.get("/config").await;
    assert_eq!(status, 401);
    assert!(body.contains("WEFT_ADMIN_TOKEN"), "{body}");
    served.stop().await;

    let served = Served::start(Some("secret")).await;
    for (token, expect) in [
        ("Bearer secret", 200),
        ("Bearer secreT", 401),
        ("secret", 401),
    ] {
        let head = format!("GET /config HTTP/1.1\r\nhost: localhost\r\nauthorization: {token}");
        assert_eq!(served.ask(&head).await.0, expect, "{token}");
    }
    assert_eq!(served.get("/config").await.0, 401);
    served.stop().await;
}

#[tokio::test]
async fn config_tells_the_sidecar_and_its_snapshot() {
    let served = Served::start(Some("secret")).await;
    let head = "GET /config HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer secret";
    let (_, body) = served.ask(head).await;
    let config: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(config["sidecar"]["service"], "orders");
    assert_eq!(config["snapshot"]["version"], "3.9");
    assert_eq!(config["asked"], Value::Null);
    let head = "GET /config?host=away HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer secret";
    let (_, asked) = served.ask(head).await;
    let asked: Value = serde_json::from_str(&asked).unwrap();
    let expect = serde_json::json!({ "host": "away", "is_service": false });
    assert_eq!(asked["asked"], expect);
    let stock = &config["snapshot"]["services"][0];
    assert_eq!(stock["name"], "stock");
    assert_eq!(stock["ports"][0], "motan:motan=8001");
    assert_eq!(stock["instances"][0]["address"], "10.0.0.7:9982");
    assert_eq!(stock["instances"][0]["state"], "unconfirmed");
    served.stop().await;
}

#[tokio::test]
async fn web_pages_are_refused_whatever_they_ask() {
    let served = Served::start(Some("secret")).await;
    for path in ["/metrics", "/ready", "/config"] {
        for line in [
            "host: localhost\r\norigin: http://evil.example",
            "host: localhost\r\norigin: null\r\nauthorization: Bearer secret",
            "host: evil.example",
            "host: localhost.evil.example:8002",
            "host: 10.0.0.7",
            "host: localhost\r\nhost: evil.example",
        ] {
            let (status, _) = served.ask(&format!("GET {path} HTTP/1.1\r\n{line}")).await;
            assert_eq!(status, 403, "{path} {line}");
        }
    }
    for host in [
        "localhost",
        "LOCALHOST:8002",
        "127.0.0.1:8002",
        "[::1]:8002",
        "127.9.9.9",
    ] {
        let (status, _) = served
            .ask(&format!("GET /metrics HTTP/1.1\r\nhost: {host}"))
            .await;
        assert_eq!(status, 200, "{host}");
    }
    served.stop().await;
}

#[tokio::test]
async fn an_unknown_path_and_a_wrong_method_are_answered_with_what_there_is() {
    let served = Served::start(None).await;
    let (status, body) = served.get("/nothing").await;
    assert_eq!(status, 404);
    assert!(body.contains("/metrics"), "{body}");
    let (status, body) = served.ask("POST /ready HTTP/1.1\r\nhost: localhost").await;
    assert_eq!(status, 405);
    assert!(body.contains("GET"), "{body}");
    served.stop().await;
}

#[tokio::test]
async fn from_another_host_only_probes_are_answered_without_the_token() {
    let remote: SocketAddr = "192.0.2.1:5000".parse().unwrap();
    for (path, token, expect) in [
        ("/ready", None, 503),
        ("/live", None, 200),
        ("/metrics", None, 401),
        ("/config", None, 401),
        ("/metrics", Some("Bearer secret"), 200),
        ("/config", Some("Bearer secret"), 200),
    ] {
        assert_eq!(
            status_from(remote, path, token).await,
            expect,
            "{path} {token:?}"
        );
    }
}

/// What a request is answered whose connection came from `peer`.
async fn status_from(peer: SocketAddr, path: &str, token: Option<&str>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_ready, is_ready) = watch::channel(false);
    let (_shutdown, stopping) = watch::channel(false);
    let server = Arc::new(server(Some("secret"), is_ready));
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let serving = async {
        let (socket, _) = listener.accept().await.unwrap();
        connection(server, socket, peer, permit, stopping).await;
    };
    let asking = async {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let token = token
            .map(|token| format!("authorization: {token}\r\n"))
            .unwrap_or_default();
        let head =
            format!("GET {path} HTTP/1.1\r\nhost: 192.0.2.9\r\nconnection: close\r\n{token}\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut reply = String::new();
        timeout(BOUND, socket.read_to_string(&mut reply))
            .await
            .unwrap()
            .unwrap();
        reply.split(' ').nth(1).unwrap().parse().unwrap()
    };
    let ((), status) = tokio::join!(serving, asking);
    status
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_and_those_within_it_served() {
    let served = Served::start(None).await;
    let mut held = Vec::new();
    for _ in 0..MANAGEMENT_CONNECTIONS_MAX {
        let mut socket = TcpStream::connect(served.address).await.unwrap();
        // An answer proves that the connection was taken.
        socket
            .write_all(b"GET /live HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
            .unwrap();
        let mut first = [0; 12];
        timeout(BOUND, socket.read_exact(&mut first))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        held.push(socket);
    }
    let mut late = TcpStream::connect(served.address).await.unwrap();
    let mut nothing = Vec::new();
    let read = timeout(BOUND, late.read_to_end(&mut nothing))
        .await
        .unwrap();
    assert!(read.is_err() || nothing.is_empty());
    drop(held);
    served.stop().await;
}

#[test]
fn a_token_is_trimmed_and_an_empty_one_is_none() {
    assert_eq!(sound_token(" secret\n"), Some("secret".to_owned()));
    assert_eq!(sound_token(" \n"), None);
    assert_eq!(sound_token(&"x".repeat(TOKEN_BYTES_MAX + 1)), None);
}
