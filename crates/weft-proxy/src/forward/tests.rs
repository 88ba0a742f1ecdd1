//! Calls to instances without a sidecar, over real sockets: the sidecar speaks to their apps itself.

use crate::accept::Listener;
use crate::clock;
use crate::protocol::motan2::tests::{End, Frame, Sidecar, run};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use weft_model::declared::Check;
use weft_model::instance::{CallerCheck, InstanceState, Shape};
use weft_model::{Instance, InstanceId, PortSpec, ServiceName};

const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx-weft-code: forged\r\n\r\nok";

const POST: &[u8] = b"POST /x HTTP/1.1\r\nHost: stock\r\nContent-Length: 2\r\n\r\nhi";

fn plain(id: &str, spec: &str, at: SocketAddr) -> Arc<Instance> {
    Arc::new(Instance {
        id: InstanceId::new(id),
        incarnation: 0,
        address: at.ip(),
        inbound_port: 0,
        state: InstanceState::Ready,
        weight: 100,
        shape: Arc::new(Shape {
            service: ServiceName::new("default", "stock"),
            ports: vec![spec.parse::<PortSpec>().unwrap().0],
            labels: Vec::new(),
            zone: "".into(),
            idempotent: Vec::new(),
            check: Some(CallerCheck {
                check: Check::Tcp { port: at.port() },
                interval: Duration::from_secs(5),
            }),
        }),
    })
}

fn http(id: &str, app: &TcpListener) -> Arc<Instance> {
    let at = app.local_addr().unwrap();
    plain(id, &format!("http={}", at.port()), at)
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Reads until what came ends so.
async fn read_to(stream: &mut TcpStream, end: &[u8]) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the end");
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_app_is_called_in_http_as_it_is_and_learns_who_calls() {
    run(async {
        let app = listener().await;
        let instances = vec![http("stock-a", &app)];
        let orders = Sidecar::start("orders", &[], Listener::Outbound, instances).await;
        let mut caller = TcpStream::connect(orders.address).await.unwrap();
        let mut served = None;
        for _ in 0..3 {
            caller.write_all(POST).await.unwrap();
            if served.is_none() {
                served = Some(app.accept().await.unwrap().0);
            }
            let stream = served.as_mut().unwrap();
            let request = read_to(stream, b"hi").await;
            assert!(request.starts_with("POST /x HTTP/1.1\r\n"), "{request}");
            let lower = request.to_lowercase();
            assert!(lower.contains("host: stock\r\n"), "{request}");
            assert!(lower.contains("x-weft-caller: orders\r\n"), "{request}");
            assert!(!lower.contains("x-forwarded-for"), "{request}");
            stream.write_all(REPLY).await.unwrap();
            let reply = read_to(&mut caller, b"ok").await;
            assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
            assert!(!reply.contains("forged"), "{reply}");
        }
        orders.quiet().await;
        assert_eq!(orders.calls("ok"), 3);
    });
}

#[test]
fn one_that_refuses_is_left_at_once_and_passed_over_for_a_while() {
    run(async {
        let (gone, app) = (listener().await, listener().await);
        let instances = vec![http("stock-a", &gone), http("stock-b", &app)];
        drop(gone);
        let orders = Sidecar::start("orders", &[], Listener::Outbound, instances).await;
        orders.ctx.spawn(async move {
            while let Ok((mut stream, _)) = app.accept().await {
                tokio::task::spawn_local(async move {
                    loop {
                        read_to(&mut stream, b"hi").await;
                        stream.write_all(REPLY).await.unwrap();
                    }
                });
            }
        });
        let snapshot = orders.ctx.snapshot();
        let service = snapshot.service("default", "stock").unwrap();
        let members = service.members.iter();
        let loads: Vec<_> = members.map(|member| Arc::clone(&member.load)).collect();
        let avoided = |at: usize| loads[at].avoided_until_ms.load(Relaxed) > clock::now_ms();
        let mut caller = TcpStream::connect(orders.address).await.unwrap();
        while !avoided(0) {
            caller.write_all(POST).await.unwrap();
            assert!(read_to(&mut caller, b"ok").await.contains("200 OK"));
        }
        assert!(!avoided(1));
        for load in &loads {
            assert_eq!(load.outstanding.load(Relaxed), 0);
        }
    });
}

#[test]
fn the_app_is_called_in_motan_with_its_own_group() {
    run(async {
        let app = listener().await;
        let at = app.local_addr().unwrap();
        let spec = format!("motan={},interface=com.t.Svc,group=g1", at.port());
        let instances = vec![plain("stock-a", &spec, at)];
        let orders = Sidecar::start("orders", &[], Listener::Outbound, instances).await;
        let mut caller = End::connect(orders.address).await;
        let request = Frame::request(7, "hello", b"Ray");
        caller.send(&request).await;
        let mut app = End::new(app.accept().await.unwrap().0);
        let arrived = app.frame().await;
        assert_eq!(arrived.body, b"Ray");
        for (key, value) in [("M_g", "g1"), ("M_s", "orders"), ("M_m", "hello")] {
            assert_eq!(arrived.value(key), value, "{key}");
        }
        app.send(&arrived.reply(b"hello Ray")).await;
        let reply = caller.frame().await;
        assert_eq!(
            (reply.header.request_id, &*reply.body),
            (7, &b"hello Ray"[..])
        );
        orders.quiet().await;
        assert_eq!(orders.calls("ok"), 1);
    });
}
