//! Which fields of a head travel, which are added and which end at the sidecar.

use weft_test::{HttpApp, scenario};

#[test]
fn the_app_sees_who_called_and_the_callers_own_host() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        caller.get("orders.default", "/").await;
        let seen = app.only();
        assert_eq!(
            seen.field("host"),
            Some("orders.default"),
            "Host stays the caller's"
        );
        assert_eq!(seen.field("x-weft-caller"), Some("web"));
        assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    });
}

#[test]
fn a_chain_of_forwarders_grows_by_one_address() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        caller
            .call("GET / HTTP/1.1\r\nHost: orders\r\nX-Forwarded-For: 10.1.2.3\r\n\r\n")
            .await;
        assert_eq!(
            app.only().field("x-forwarded-for"),
            Some("10.1.2.3, 127.0.0.1")
        );
    });
}

#[test]
fn nobody_but_the_mesh_says_x_weft() {
    scenario(async |mesh| {
        let app = HttpApp::start(|_| {
            b"HTTP/1.1 200 OK\r\nX-Weft-Code: forged\r\nX-Weft-Blame: mesh\r\nContent-Length: 0\r\n\r\n".to_vec()
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let forged =
            "GET / HTTP/1.1\r\nHost: orders\r\nX-Weft-Caller: admin\r\nx-weft-anything: 1\r\n\r\n";
        let reply = pair.caller.outbound().await.call(forged).await;
        assert_eq!(
            (
                reply.status,
                reply.field("x-weft-code"),
                reply.field("x-weft-blame")
            ),
            (200, None, None)
        );
        pair.callee.inbound().await.call(forged).await;
        let seen = app.seen();
        assert_eq!(seen[0].field("x-weft-caller"), Some("web"));
        assert_eq!(
            seen[1].field("x-weft-caller"),
            None,
            "a plain caller is nobody's service"
        );
        assert!(
            seen.iter()
                .all(|request| request.field("x-weft-anything").is_none()),
            "{seen:?}"
        );
    });
}

#[test]
fn a_sane_call_id_is_kept_and_another_is_replaced() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        let long = "x".repeat(65);
        for id in [
            "",
            "x-request-id: id-of-the-caller-1\r\n",
            &format!("x-request-id: {long}\r\n"),
        ] {
            caller
                .call(format!("GET / HTTP/1.1\r\nHost: orders\r\n{id}\r\n"))
                .await;
        }
        let seen = app.seen();
        let id = |at: usize| {
            seen[at]
                .field("x-request-id")
                .expect("every call has an id")
                .to_owned()
        };
        assert_eq!(id(1), "id-of-the-caller-1");
        for made in [id(0), id(2)] {
            assert!(
                made.len() == 16 && made.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{made}"
            );
        }
        // Both sidecars record the call under the same id.
        for sidecar in [&pair.caller, &pair.callee] {
            sidecar
                .expect_record(&[("id", "id-of-the-caller-1"), ("code", "ok")])
                .await;
            sidecar
                .expect_record(&[("id", &id(0)), ("code", "ok")])
                .await;
        }
    });
}

#[test]
fn hop_by_hop_fields_end_at_the_sidecar_both_ways() {
    scenario(async |mesh| {
        let app = HttpApp::start(|_| {
            b"HTTP/1.1 200 OK\r\nConnection: X-Hop, keep-alive\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nX-End: 1\r\n\
              Proxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
                .to_vec()
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        let reply = caller
            .call(
                "GET / HTTP/1.1\r\nHost: orders\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
                 Upgrade: h2c\r\nTE: trailers\r\nProxy-Connection: keep-alive\r\nX-End: 1\r\n\r\n",
            )
            .await;
        let seen = app.only();
        for gone in ["x-hop", "keep-alive", "upgrade", "proxy-connection"] {
            assert_eq!(seen.field(gone), None, "{gone} reached the app: {seen:?}");
        }
        assert_eq!(
            (seen.field("x-end"), seen.field("te")),
            (Some("1"), Some("trailers"))
        );
        for gone in ["x-hop", "keep-alive"] {
            assert_eq!(
                reply.field(gone),
                None,
                "{gone} reached the caller: {reply:?}"
            );
        }
        assert_eq!(reply.field("x-end"), Some("1"));
    });
}

#[test]
fn repeated_fields_keep_their_order_and_their_case() {
    scenario(async |mesh| {
        let app = HttpApp::start(|_| {
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-CaSe: Kept\r\nContent-Length: 0\r\n\r\n".to_vec()
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        let reply = caller
            .call("GET / HTTP/1.1\r\nHost: orders\r\nX-A: 1\r\nX-CaSe: 2\r\nx-a: 3\r\n\r\n")
            .await;
        assert_eq!(app.only().message.head.all("x-a"), ["1", "3"]);
        assert_eq!(reply.message.head.all("set-cookie"), ["a=1", "b=2"]);
        let names = |fields: &[(String, String)]| fields.iter().any(|(name, _)| name == "X-CaSe");
        assert!(names(&reply.message.head.fields) && names(&app.only().message.head.fields));
    });
}
