//! HTTP/2 from a caller over the link to an app, in every mix of versions: messages arrive as they were meant.

use weft_test::h2::read_reply;
use weft_test::tcp_app::free_port;
use weft_test::wait::within;
use weft_test::{H2App, H2Connection, H2Message, HttpApp, scenario};

#[test]
fn an_http_2_call_reaches_an_http_2_app_through_both_sidecars() {
    scenario(async |mesh| {
        let app = H2App::echo("orders").await;
        let pair = mesh.pair("orders", "h2", app.port()).await;
        let caller = H2Connection::open(pair.caller.outbound_port()).await;
        let reply = caller
            .call(&H2Message::request("POST", "orders", "/1?a=b", b"hello").with("x-one", "1"))
            .await;
        assert_eq!((reply.status, reply.text()), (200, "hello"));
        assert_eq!(reply.field("app"), Some("orders"));
        let seen = app.only();
        assert_eq!((&*seen.method, &*seen.path), ("POST", "/1?a=b"));
        assert_eq!(
            (&*seen.authority, seen.field("x-one")),
            ("orders", Some("1"))
        );
        assert_eq!(seen.field("x-weft-caller"), Some("web"));
        let ok = [("protocol", "h2"), ("code", "ok")];
        for (sidecar, direction) in [(&pair.caller, "outbound"), (&pair.callee, "inbound")] {
            sidecar
                .expect_calls(1, &[ok[0], ok[1], ("direction", direction)])
                .await;
        }
    });
}

#[test]
fn an_http_2_call_reaches_an_http_1_app_and_the_other_way_round() {
    scenario(async |mesh| {
        let old = HttpApp::echo("old").await;
        let new = H2App::echo("new").await;
        mesh.sidecar("old").port("http", old.port()).start().await;
        mesh.sidecar("new").port("h2", new.port()).start().await;
        let web = mesh.sidecar("web").start().await;
        let caller = H2Connection::open(web.outbound_port()).await;
        let reply = caller
            .call(&H2Message::request("PUT", "old", "/2", b"to the old"))
            .await;
        assert_eq!((reply.status, reply.text()), (200, "to the old"));
        assert_eq!(
            (reply.field("app"), reply.field("content-length")),
            (Some("old"), Some("10"))
        );
        assert_eq!(
            (old.only().method(), old.only().field("host")),
            ("PUT", Some("old"))
        );
        let mut caller = web.outbound().await;
        let reply = caller.post("new", "/3", b"to the new").await;
        assert_eq!((reply.status, reply.text()), (200, "to the new"));
        assert_eq!(reply.field("app"), Some("new"));
        let seen = new.only();
        assert_eq!((&*seen.authority, &*seen.path), ("new", "/3"));
    });
}

#[test]
fn a_plain_caller_on_the_inbound_port_reaches_an_app_of_the_other_version() {
    scenario(async |mesh| {
        let old = HttpApp::echo("old").await;
        let new = H2App::echo("new").await;
        let before_old = mesh.sidecar("old").port("http", old.port()).start().await;
        let before_new = mesh.sidecar("new").port("grpc", new.port()).start().await;
        let caller = H2Connection::open(before_old.inbound_port()).await;
        let request = H2Message::request("PUT", "old", "/1", b"to the old");
        let reply = caller.call(&request).await;
        assert_eq!((reply.status, reply.text()), (200, "to the old"));
        let mut caller = before_new.inbound().await;
        let reply = caller.post("new", "/2", b"to the new").await;
        assert_eq!((reply.status, reply.text()), (200, "to the new"));
    });
}

#[test]
fn a_plain_http_2_caller_on_the_inbound_port_reaches_the_app_beside_links() {
    scenario(async |mesh| {
        let app = H2App::echo("orders").await;
        let pair = mesh.pair("orders", "h2", app.port()).await;
        let plain = H2Connection::open(pair.callee.inbound_port()).await;
        for path in ["/1", "/2"] {
            assert_eq!(plain.get("anything", path).await.status, 200);
        }
        let caller = H2Connection::open(pair.caller.outbound_port()).await;
        assert_eq!(caller.get("orders", "/3").await.status, 200);
        assert_eq!(app.seen().len(), 3);
        pair.callee
            .expect_calls(3, &[("direction", "inbound"), ("code", "ok")])
            .await;
    });
}

#[test]
fn a_port_that_declares_nothing_is_called_as_its_app_answers() {
    scenario(async |mesh| {
        let old = HttpApp::echo("old").await;
        let new = H2App::echo("new").await;
        let port = |number: u16| number.to_string();
        let old_spec = port(old.port());
        mesh.sidecar("old").port_spec(&old_spec).start().await;
        let new_spec = port(new.port());
        mesh.sidecar("new").port_spec(&new_spec).start().await;
        let web = mesh.sidecar("web").start().await;
        let caller = H2Connection::open(web.outbound_port()).await;
        for app in ["old", "new", "old", "new"] {
            let request = H2Message::request("POST", app, "/", b"body");
            let reply = caller.call(&request).await;
            assert_eq!((reply.status, reply.field("app")), (200, Some(app)));
            assert_eq!(reply.text(), "body");
        }
        // The preface, once, is what the old app could make nothing of.
        let is_call = |seen: &&weft_test::Request| seen.method() == "POST";
        assert_eq!(old.seen().iter().filter(is_call).count(), 2);
        assert_eq!(new.seen().len(), 2);
    });
}

#[test]
fn a_listener_that_declares_http_2_takes_nothing_else_and_says_so() {
    scenario(async |mesh| {
        let app = H2App::echo("orders").await;
        let (inbound, outbound) = (free_port(), free_port());
        let orders = mesh
            .sidecar("orders")
            .port("h2", app.port())
            .arg("--listen")
            .arg(&format!("inbound:h2={inbound}"))
            .arg("--listen")
            .arg(&format!("outbound:h2={outbound}"))
            .start()
            .await;
        let plain = H2Connection::open(inbound).await;
        assert_eq!(plain.get("anything", "/1").await.status, 200);
        let caller = H2Connection::open(outbound).await;
        assert_eq!(caller.get("orders", "/2").await.status, 200);
        for port in [inbound, outbound] {
            let mut wrong = weft_test::HttpConnection::open(port).await;
            wrong.send("GET / HTTP/1.1\r\nHost: orders\r\n\r\n").await;
            while let Ok(true) = within("the end", wrong.wire.fill()).await {}
            // GOAWAY, last stream 0, PROTOCOL_ERROR.
            let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
            assert!(
                wrong.wire.bytes.ends_with(&goaway),
                "{:02x?}",
                wrong.wire.bytes
            );
        }
        orders
            .expect_calls(2, &[("direction", "inbound"), ("code", "ok")])
            .await;
    });
}

#[test]
fn trailers_and_large_bodies_arrive_whole_both_ways() {
    scenario(async |mesh| {
        let app = H2App::start(|request| {
            let sum = request.trailer("sum").unwrap_or("none").to_owned();
            H2Message::reply(200, &request.body).with_trailer("sum", &sum)
        })
        .await;
        let pair = mesh.pair("orders", "h2", app.port()).await;
        let caller = H2Connection::open(pair.caller.outbound_port()).await;
        for length in [0, 1, 16_385, 65_537, 1_000_000] {
            let body = weft_test::http::pattern(length);
            let request = H2Message::request("POST", "orders", "/", &body).with_trailer("sum", "9");
            let reply = caller.call(&request).await;
            assert!(reply.body == body, "{length} bytes came back otherwise");
            assert_eq!(reply.trailer("sum"), Some("9"), "{length} bytes");
        }
    });
}

#[test]
fn what_http_1_could_not_say_is_refused_before_it_reaches_an_app() {
    scenario(async |mesh| {
        let app = H2App::echo("orders").await;
        let pair = mesh.pair("orders", "h2", app.port()).await;
        let caller = H2Connection::open(pair.caller.outbound_port()).await;
        let get = || H2Message::request("GET", "orders", "/", b"");
        let many = |count: usize| {
            (0..count).fold(get(), |request, number| {
                request.with(&format!("x-{number}"), "1")
            })
        };
        let crumbs =
            |count: usize| (0..count).fold(get(), |request, _| request.with("cookie", "a=b"));
        let cases = [
            (get().with("host", "others"), 400),
            (H2Message::request("GET", "orders", "/\"quoted\"", b""), 400),
            (many(101), 431),
            (crumbs(101), 431),
        ];
        for (request, status) in &cases {
            let reply = caller.call(request).await;
            assert_eq!(reply.status, *status, "{request:?}");
            assert!(reply.field("x-weft-code").is_some());
        }
        assert!(app.seen().is_empty());
        assert_eq!(caller.call(&get().with("host", "Orders")).await.status, 200);
        assert_eq!(caller.call(&crumbs(3)).await.status, 200);
        let seen = app.seen();
        let cookies = seen.last().unwrap().field("cookie");
        assert_eq!(cookies, Some("a=b; a=b; a=b"), "crumbs are one field");
        let refused = [("code", "malformed"), ("code", "head_too_large")];
        for label in refused {
            pair.caller.expect_calls(2, &[label]).await;
        }
    });
}

#[test]
fn interim_replies_pass() {
    scenario(async |mesh| {
        let app = H2App::streams(|_, mut respond| async move {
            let hints = http::Response::builder()
                .status(103)
                .header("link", "</a.css>");
            respond.send_informational(hints.body(()).unwrap()).unwrap();
            let _ = weft_test::h2::send_reply(respond, &H2Message::reply(200, b"page")).await;
        })
        .await;
        let pair = mesh.pair("web-page", "h2", app.port()).await;
        let caller = H2Connection::open(pair.caller.outbound_port()).await;
        let head = H2Message::request("GET", "web-page", "/", b"").request_head();
        let (mut response, _) = caller.begin(head, true).await.unwrap();
        let hints = within(
            "the interim reply",
            std::future::poll_fn(|cx| response.poll_informational(cx)),
        )
        .await
        .unwrap()
        .unwrap();
        assert_eq!(
            (hints.status().as_u16(), &hints.headers()["link"]),
            (103, &"</a.css>".parse::<http::HeaderValue>().unwrap())
        );
        let reply = within("the reply", read_reply(response)).await.unwrap();
        assert_eq!((reply.status, reply.text()), (200, "page"));
    });
}

#[test]
fn a_stream_that_the_app_refuses_is_tried_again_and_not_lost() {
    scenario(async |mesh| {
        let count = std::rc::Rc::new(std::cell::Cell::new(0));
        let counted = std::rc::Rc::clone(&count);
        let app = H2App::streams(move |request, mut respond| {
            counted.set(counted.get() + 1);
            let is_first = counted.get() == 1;
            async move {
                if is_first {
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                    return;
                }
                drop(request);
                let _ = weft_test::h2::send_reply(respond, &H2Message::reply(200, b"second")).await;
            }
        })
        .await;
        mesh.sidecar("one").port("h2", app.port()).start().await;
        let other = H2App::echo("other").await;
        mesh.sidecar("one").port("h2", other.port()).start().await;
        let web = mesh.sidecar("web").start().await;
        let caller = H2Connection::open(web.outbound_port()).await;
        for _ in 0..12 {
            // POST: only a proof that no app has it lets it move on. Without a body, which might have been sent.
            let request = H2Message::request("POST", "one", "/", b"");
            assert_eq!(caller.call(&request).await.status, 200);
        }
        assert!(count.get() >= 1, "the app that refuses was called");
    });
}

#[test]
fn a_reader_that_stands_still_holds_back_its_own_stream_alone() {
    scenario(async |mesh| {
        let app = H2App::start(|request| {
            let length = request.path.trim_start_matches('/').parse().unwrap_or(0);
            H2Message::reply(200, &weft_test::http::pattern(length))
        })
        .await;
        let pair = mesh.pair("orders", "h2", app.port()).await;
        // One stream's window must not be the whole connection's: that would be the caller's own doing.
        let mut builder = h2::client::Builder::new();
        builder.initial_connection_window_size(1024 * 1024);
        let caller = H2Connection::open_with(pair.caller.outbound_port(), &builder).await;
        let head = H2Message::request("GET", "orders", "/5000000", b"").request_head();
        let (response, _) = caller.begin(head, true).await.unwrap();
        let stalled = within("the head of the stalled reply", response)
            .await
            .unwrap();
        for _ in 0..50 {
            assert_eq!(caller.get("orders", "/1000").await.body.len(), 1000);
        }
        let mut body = stalled.into_body();
        let (bytes, _) = within("the rest", weft_test::h2::read_body(&mut body))
            .await
            .unwrap();
        assert!(bytes == weft_test::http::pattern(5_000_000));
    });
}

#[test]
fn an_open_stream_survives_a_drain_and_its_caller_is_asked_to_go() {
    scenario(async |mesh| {
        let app = H2App::streams(|request, mut respond| async move {
            let mut stream = respond
                .send_response(http::Response::new(()), false)
                .unwrap();
            let mut body = request.into_body();
            while let Some(Ok(piece)) = body.data().await {
                let _ = body.flow_control().release_capacity(piece.len());
                stream.send_data(piece, false).unwrap();
            }
            stream.send_data(bytes::Bytes::new(), true).unwrap();
        })
        .await;
        let pair = mesh.pair("orders", "h2", app.port()).await;
        let link = H2Connection::open(pair.caller.outbound_port()).await;
        let plain = H2Connection::open(pair.callee.inbound_port()).await;
        let mut streams = Vec::new();
        for caller in [&link, &plain] {
            let head = H2Message::request("POST", "orders", "/", b"").request_head();
            let (response, stream) = caller.begin(head, false).await.unwrap();
            streams.push((
                within("a head", response).await.unwrap().into_body(),
                stream,
            ));
        }
        let ending = {
            let callee = pair.callee.clone();
            tokio::task::spawn_local(async move { callee.end().await })
        };
        // The plain caller is asked to open no further stream here; the one that is open goes on.
        weft_test::wait::until("GOAWAY", async || {
            let head = H2Message::request("GET", "orders", "/", b"").request_head();
            plain.begin(head, true).await.is_err().then_some(())
        })
        .await;
        for (body, stream) in &mut streams {
            stream
                .send_data(bytes::Bytes::from_static(b"late"), true)
                .unwrap();
            let (bytes, _) = within("the end of a stream", weft_test::h2::read_body(body))
                .await
                .unwrap();
            assert_eq!(bytes, b"late");
        }
        assert_eq!(ending.await.unwrap(), Some(0));
    });
}
