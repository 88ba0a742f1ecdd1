//! Instances without a sidecar: declared by a person, checked and called by their callers' sidecars.

use std::cell::Cell;
use std::rc::Rc;
use weft_test::wait::until;
use weft_test::{Frame, HttpApp, Mesh, MotanApp, MotanConnection, Sidecar, scenario};

const INTERFACE: &str = "com.t.Stock";

async fn declare(mesh: &Mesh, name: &str, port: &str, check: &str) {
    let declared = include_str!("plain.yaml")
        .replace("NAME", name)
        .replace("PORT", port)
        .replace("CHECK", check);
    mesh.apply(&declared).await;
}

async fn declare_http(mesh: &Mesh, name: &str, app: &HttpApp) {
    let port = format!("name: http, protocol: http, port: {}", app.port());
    declare(mesh, name, &port, "http: {path: /healthz}").await;
}

/// What the app answers a check with, and a call with its name.
async fn named(name: &'static str, port: u16, is_well: &Rc<Cell<bool>>) -> HttpApp {
    let is_well = Rc::clone(is_well);
    HttpApp::start_on(port, move |request| {
        let status = if request.target() == "/healthz" && !is_well.get() {
            503
        } else {
            200
        };
        weft_test::http_app::reply(status, &[("app", name)], b"")
    })
    .await
}

fn calls(app: &HttpApp) -> usize {
    let seen = app.seen();
    seen.iter()
        .filter(|request| request.target() == "/")
        .count()
}

async fn reaches(caller: &Sidecar, app: &HttpApp) {
    let before = calls(app);
    let mut connection = caller.outbound().await;
    until("a call at the app", async || {
        // Until the sidecar knows of the service it takes the name for one of the outside.
        let _ = connection.get("stock", "/").await;
        (calls(app) > before).then_some(())
    })
    .await;
}

#[test]
fn a_declared_http_app_is_called_checked_left_when_it_is_gone_and_used_again() {
    scenario(async |mesh| {
        let is_well = Rc::new(Cell::new(true));
        let (one, two) = (named("one", 0, &is_well).await, HttpApp::echo("two").await);
        declare_http(mesh, "stock-one", &one).await;
        declare_http(mesh, "stock-two", &two).await;
        let caller = mesh.sidecar("web").start().await;
        reaches(&caller, &one).await;
        reaches(&caller, &two).await;
        let seen = one.seen();
        let call = seen.iter().find(|request| request.target() == "/").unwrap();
        assert_eq!(call.field("x-weft-caller"), Some("web"));
        until("a check of the app", async || {
            let seen = one.seen();
            seen.iter()
                .any(|request| request.target() == "/healthz")
                .then_some(())
        })
        .await;

        // It says that it is not well: calls leave it, though it would answer them.
        is_well.set(false);
        let mut connection = caller.outbound().await;
        until("the app that is not well to be left", async || {
            let before = calls(&one);
            for _ in 0..20 {
                assert_eq!(connection.get("stock", "/").await.status, 200);
            }
            (calls(&one) == before).then_some(())
        })
        .await;
        is_well.set(true);
        reaches(&caller, &one).await;

        // It is gone: any method moves on, and none fails.
        let port = one.port();
        one.stop().await;
        for at in 0..50 {
            let request = "POST / HTTP/1.1\r\nHost: stock\r\nContent-Length: 2\r\n\r\nhi";
            let reply = caller.outbound().await.call(request).await;
            let found = (reply.status, reply.field("app"));
            assert_eq!(found, (200, Some("two")), "call {at}: {reply:?}");
        }
        let one = named("one", port, &is_well).await;
        reaches(&caller, &one).await;
    });
}

#[test]
fn a_declared_motan_app_is_called_and_left_when_it_is_gone() {
    scenario(async |mesh| {
        let app = async |name: &'static str, port| {
            MotanApp::start_on(port, move |frame| Some(frame.reply(name.as_bytes()))).await
        };
        let (one, two) = (app("one", 0).await, app("two", 0).await);
        for (name, app) in [("stock-one", &one), ("stock-two", &two)] {
            let port = format!(
                "name: motan, protocol: motan, port: {}, interfaces: [{INTERFACE}]",
                app.port()
            );
            declare(mesh, name, &port, "motan: {}").await;
        }
        let caller = mesh.sidecar("web").start().await;
        let mut connection = MotanConnection::open(caller.outbound_port()).await;
        let mut call = async |id| {
            let frame = Frame::call(id, INTERFACE, "take", b"");
            let reply = connection.call(&frame).await;
            String::from_utf8(reply.body).unwrap()
        };
        let mut seen = std::collections::BTreeSet::new();
        let mut id = 0;
        until("calls at both apps", async || {
            id += 1;
            seen.insert(call(id).await);
            (seen.contains("one") && seen.contains("two")).then_some(())
        })
        .await;
        let port = one.port();
        one.stop().await;
        until("the calls to be answered by the other", async || {
            id += 1;
            (call(id).await == "two").then_some(())
        })
        .await;
        for _ in 0..50 {
            id += 1;
            assert_eq!(call(id).await, "two");
        }
        let _one = app("one", port).await;
        until("a call at the one that came back", async || {
            id += 1;
            (call(id).await == "one").then_some(())
        })
        .await;
    });
}
