//! Sidecars, centers and apps that go and come back.

use weft_test::process::{freeze, thaw};
use weft_test::tcp_app::free_port;
use weft_test::wait::until;
use weft_test::{HttpApp, scenario};

#[test]
fn a_killed_sidecar_of_the_callee_is_replaced_and_the_next_call_works() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        assert_eq!(caller.get("orders", "/").await.status, 200);
        let killed = pair.callee.kill_process();
        // A plain caller connects at once: the socket was never closed.
        let mut plain = pair.callee.inbound().await;
        assert_eq!(plain.get("orders", "/").await.status, 200);
        let reply = caller.get("orders", "/").await;
        assert_eq!((reply.status, reply.field("app")), (200, Some("orders")));
        pair.callee.successor_of(killed).await;
    });
}

#[test]
fn a_killed_sidecar_of_the_caller_is_replaced_on_the_same_port() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        assert_eq!(caller.get("orders", "/").await.status, 200);
        let port = pair.caller.outbound_port();
        let killed = pair.caller.kill_process();
        caller.expect_end().await;
        // No connection is refused; a successor that has not heard the center yet says so.
        until("a call through the successor", async || {
            let reply = pair.caller.outbound().await.get("orders", "/").await;
            assert!(
                reply.status == 200 || reply.field("x-weft-code") == Some("not_synced"),
                "{reply:?}"
            );
            (reply.status == 200).then_some(())
        })
        .await;
        assert_eq!(pair.caller.outbound_port(), port);
        pair.caller.successor_of(killed).await;
    });
}

#[test]
fn a_sidecar_that_is_killed_again_and_again_stays_the_same_instance() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let before = mesh.instances("orders").await;
        let mut caller = pair.caller.outbound().await;
        for _ in 0..3 {
            let killed = pair.callee.kill_process();
            pair.callee.successor_of(killed).await;
            assert_eq!(caller.get("orders", "/").await.status, 200);
        }
        until("the center to confirm the instance again", async || {
            (mesh.states("orders").await == ["Ready"]).then_some(())
        })
        .await;
        let after = mesh.instances("orders").await;
        for field in ["/metadata/name", "/status/incarnation", "/spec/inboundPort"] {
            assert_eq!(after[0].pointer(field), before[0].pointer(field), "{field}");
        }
    });
}

#[test]
fn calls_go_on_when_the_center_is_killed() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        // What is called is known; what never was is another scenario.
        let reply = pair.caller.outbound().await.get("orders", "/").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        mesh.kill_center();
        for at in 0..50 {
            // Also on new connections.
            let reply = pair.caller.outbound().await.get("orders", "/").await;
            assert_eq!(
                (reply.status, reply.field("app")),
                (200, Some("orders")),
                "call {at}"
            );
        }
    });
}

#[test]
fn an_instance_that_says_goodbye_is_removed_at_once() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        assert_eq!(mesh.states("orders").await, ["Ready"]);
        assert_eq!(pair.callee.end().await, Some(0));
        // The agent has ended, so the goodbye was said: nothing is left to wait for.
        assert!(mesh.instances("orders").await.is_empty());
    });
}

#[test]
fn an_instance_whose_stream_breaks_is_unconfirmed_and_still_called() {
    scenario(async |mesh| {
        let (one, two) = (HttpApp::echo("one").await, HttpApp::echo("two").await);
        let first = mesh
            .sidecar("orders")
            .port("http", one.port())
            .start()
            .await;
        let second = mesh
            .sidecar("orders")
            .port("http", two.port())
            .start()
            .await;
        let (gone, left) = (first.instance(), second.instance());
        first.kill().await;
        until("the killed instance to be unconfirmed", async || {
            let instances = mesh.instances("orders").await;
            let state = |id: &str| {
                let found = instances.iter().find(|item| item["metadata"]["name"] == id);
                found
                    .and_then(|item| item["status"]["state"].as_str())
                    .map(str::to_owned)
            };
            let states = (state(&gone), state(&left));
            (states == (Some("Unconfirmed".into()), Some("Ready".into()))).then_some(())
        })
        .await;
    });
}

#[test]
fn calls_under_way_end_well_when_their_sidecar_is_asked_to_leave() {
    scenario(async |mesh| {
        let (go, gone) = tokio::sync::watch::channel(false);
        let app = weft_test::TcpApp::start(move |stream, _| {
            let mut gone = gone.clone();
            async move {
                use tokio::io::AsyncWriteExt;
                let mut wire = weft_test::http::Wire::new(stream);
                let Ok(Some(_)) = wire.head().await else {
                    return;
                };
                gone.wait_for(|go| *go).await.unwrap();
                wire.stream
                    .write_all(&weft_test::http_app::reply(200, &[], b"late"))
                    .await
                    .unwrap();
            }
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        caller.send("GET / HTTP/1.1\r\nHost: orders\r\n\r\n").await;
        until("the call to be under way", async || {
            (pair.callee.metrics().await.sum("weft_calls_active", &[]) == 1).then_some(())
        })
        .await;
        let leaving = pair.callee.end();
        let answering = async {
            until("the goodbye", async || {
                mesh.instances("orders").await.is_empty().then_some(())
            })
            .await;
            go.send(true).unwrap();
            caller.reply().await
        };
        let (code, reply) = tokio::join!(leaving, answering);
        assert_eq!((code, reply.text()), (Some(0), "late"));
    });
}

#[test]
fn an_app_that_dies_and_returns_is_called_again() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let port = app.port();
        let pair = mesh.pair("orders", "http", port).await;
        let mut caller = pair.caller.outbound().await;
        assert_eq!(caller.get("orders", "/").await.status, 200);
        app.stop().await;
        let reply = caller.get("orders", "/").await;
        assert_eq!(reply.status, 503, "{reply:?}");
        let _app = HttpApp::start_on(port, |_| weft_test::http_app::reply(200, &[], b"back")).await;
        until("a call to the app that returned", async || {
            let reply = caller.get("orders", "/").await;
            (reply.status == 200 && reply.text() == "back").then_some(())
        })
        .await;
    });
}

/// An app that counts its calls, and answers only from the second one on.
async fn app_that_answers_the_second_call() -> (weft_test::TcpApp, std::rc::Rc<std::cell::Cell<u32>>)
{
    use tokio::io::AsyncWriteExt;
    let count = std::rc::Rc::new(std::cell::Cell::new(0));
    let counted = std::rc::Rc::clone(&count);
    let app = weft_test::TcpApp::start(move |stream, _| {
        let counted = std::rc::Rc::clone(&counted);
        async move {
            let mut wire = weft_test::http::Wire::new(stream);
            while let Ok(Some(head)) = wire.head().await {
                let Ok(_) = wire
                    .message(head, weft_test::http::Framing::Length(0))
                    .await
                else {
                    return;
                };
                counted.set(counted.get() + 1);
                if counted.get() > 1
                    && wire
                        .stream
                        .write_all(&weft_test::http_app::reply(200, &[], b"second"))
                        .await
                        .is_err()
                {
                    return;
                }
            }
        }
    })
    .await;
    (app, count)
}

#[test]
fn a_post_under_way_when_the_callees_sidecar_is_killed_fails_and_is_not_repeated() {
    scenario(async |mesh| {
        let (app, count) = app_that_answers_the_second_call().await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        caller
            .send("POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 1\r\n\r\nx")
            .await;
        until("the app to have the call", async || {
            (count.get() == 1).then_some(())
        })
        .await;
        pair.callee.kill_process();
        caller
            .reply()
            .await
            .expect_failure(502, "link_lost", "mesh");
        assert_eq!(count.get(), 1, "a POST is handed to an app at most once");
        assert_eq!(caller.post("orders", "/", b"x").await.text(), "second");
    });
}

#[test]
fn a_get_under_way_when_a_callees_sidecar_is_killed_is_tried_again_at_another_instance() {
    scenario(async |mesh| {
        let mut instances = Vec::new();
        for _ in 0..2 {
            let (app, count) = app_that_answers_the_second_call().await;
            let sidecar = mesh
                .sidecar("orders")
                .port("http", app.port())
                .start()
                .await;
            instances.push((app, count, sidecar));
        }
        let web = mesh.sidecar("web").start().await;
        let mut caller = web.outbound().await;
        caller.send("GET / HTTP/1.1\r\nHost: orders\r\n\r\n").await;
        let first = until("an app to have the call", async || {
            instances.iter().position(|(_, count, _)| count.get() == 1)
        })
        .await;
        // The other app answers the call that it gets next.
        instances[1 - first].1.set(1);
        instances[first].2.kill_process();
        let reply = caller.reply().await;
        assert_eq!((reply.status, reply.text()), (200, "second"));
        web.expect_record(&[("code", "ok"), ("attempts", "2")])
            .await;
    });
}

#[test]
fn a_call_never_reaches_the_app_of_another_instance_at_the_same_address() {
    scenario(async |mesh| {
        let (right, wrong) = (HttpApp::echo("orders").await, HttpApp::echo("other").await);
        let address = format!("127.0.0.1:{}", free_port());
        let callee = mesh.sidecar("orders").port("http", right.port());
        let callee = callee.arg("--inbound").arg(&address).start().await;
        let web = mesh.sidecar("web").start().await;
        let mut caller = web.outbound().await;
        assert_eq!(caller.get("orders", "/").await.field("app"), Some("orders"));
        // The host of the instance dies without a word, and somebody else gets its address.
        callee.kill().await;
        let other = mesh.sidecar("other").port("http", wrong.port());
        other.arg("--inbound").arg(&address).start().await;
        for method in ["GET", "POST"] {
            let reply = caller
                .call(format!("{method} / HTTP/1.1\r\nHost: orders\r\n\r\n"))
                .await;
            reply.expect_failure(503, "wrong_instance", "mesh");
        }
        assert!(wrong.seen().is_empty());
        assert_eq!(caller.get("other", "/").await.field("app"), Some("other"));
    });
}

#[test]
fn an_address_at_which_no_sidecar_listens_any_more_is_passed_by() {
    scenario(async |mesh| {
        let (one, two) = (HttpApp::echo("one").await, HttpApp::echo("two").await);
        let port = free_port();
        let first = mesh.sidecar("orders").port("http", one.port());
        let first = first.arg("--inbound").arg(&format!("127.0.0.1:{port}"));
        let first = first.start().await;
        mesh.sidecar("orders")
            .port("http", two.port())
            .start()
            .await;
        let web = mesh.sidecar("web").start().await;
        first.kill().await;
        // An ordinary web server has the port now: it answers the link's first bytes with an error.
        let server =
            HttpApp::start_on(port, |_| weft_test::http_app::reply(400, &[], b"what?")).await;
        let mut caller = web.outbound().await;
        for at in 0..30 {
            let reply = caller.post("orders", "/", b"x").await;
            assert_eq!(
                (reply.status, reply.field("app")),
                (200, Some("two")),
                "call {at}: {reply:?}"
            );
        }
        drop(server);
    });
}

#[test]
fn a_center_that_returns_empty_fails_no_call_and_hears_of_all_again() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        assert_eq!(caller.get("orders", "/").await.status, 200);
        let address = mesh.kill_center();
        mesh.start_center(&address).await;
        until("the new center to know the instance", async || {
            // Not for a moment is the sidecar's view emptier than the world.
            let reply = caller.get("orders", "/").await;
            assert_eq!(
                (reply.status, reply.field("app")),
                (200, Some("orders")),
                "{reply:?}"
            );
            (mesh.states("orders").await == ["Ready"]).then_some(())
        })
        .await;
        // Who comes now is known to those who were there before.
        let stock = HttpApp::echo("stock").await;
        mesh.sidecar("stock")
            .port("http", stock.port())
            .start()
            .await;
        for _ in 0..20 {
            assert_eq!(caller.get("orders", "/").await.status, 200);
            assert_eq!(caller.get("stock", "/").await.field("app"), Some("stock"));
        }
    });
}

#[test]
fn a_sidecar_that_leaves_closes_kept_connections_after_their_call() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        assert_eq!(caller.get("orders", "/").await.status, 200);
        let (code, ()) = tokio::join!(pair.caller.end(), caller.expect_end());
        assert_eq!(code, Some(0), "an idle connection does not hold the end up");
    });
}

#[test]
fn no_get_fails_while_sidecars_are_killed_one_after_another_under_load() {
    scenario(async |mesh| {
        let (one, two) = (HttpApp::echo("one").await, HttpApp::echo("two").await);
        let instances = [
            mesh.sidecar("orders")
                .port("http", one.port())
                .start()
                .await,
            mesh.sidecar("orders")
                .port("http", two.port())
                .start()
                .await,
        ];
        let web = mesh.sidecar("web").start().await;
        let (enough, is_enough) = tokio::sync::watch::channel(false);
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let (mut caller, is_enough) = (web.outbound().await, is_enough.clone());
            callers.spawn_local(async move {
                let mut calls = 0;
                while !*is_enough.borrow() {
                    let reply = caller.get("orders", "/").await;
                    assert_eq!(reply.status, 200, "after {calls} calls: {reply:?}");
                    calls += 1;
                }
                calls
            });
        }
        for round in 0..6 {
            let instance = &instances[round % 2];
            let before = web.metrics().await.calls(&[("code", "ok")]);
            let killed = instance.kill_process();
            instance.successor_of(killed).await;
            until("the load to go on", async || {
                (web.metrics().await.calls(&[("code", "ok")]) > before + 100).then_some(())
            })
            .await;
        }
        enough.send_replace(true);
        let calls: u64 = callers.join_all().await.into_iter().sum();
        web.expect_calls(calls, &[("code", "ok")]).await;
    });
}

#[test]
fn a_sidecar_that_falls_silent_is_left_for_another_instance_and_used_again_when_it_wakes() {
    scenario(async |mesh| {
        let (one, two) = (HttpApp::echo("one").await, HttpApp::echo("two").await);
        let silent = mesh
            .sidecar("orders")
            .port("http", one.port())
            .start()
            .await;
        mesh.sidecar("orders")
            .port("http", two.port())
            .start()
            .await;
        let web = mesh.sidecar("web").arg("--workers").arg("1").start().await;
        let mut caller = web.outbound().await;
        until("a call at both instances", async || {
            assert_eq!(caller.get("orders", "/").await.status, 200);
            (!one.seen().is_empty() && !two.seen().is_empty()).then_some(())
        })
        .await;
        // It neither answers nor closes anything.
        let stopped = silent.pid().unwrap();
        freeze(stopped).await;
        let before = one.seen().len();
        for at in 0..6 {
            let reply = caller.get("orders", "/").await;
            assert_eq!(
                (reply.status, reply.field("app")),
                (200, Some("two")),
                "call {at}: {reply:?}"
            );
        }
        assert_eq!(one.seen().len(), before);
        thaw(stopped);
        until("a call at the one that woke", async || {
            assert_eq!(caller.get("orders", "/").await.status, 200);
            (one.seen().len() > before).then_some(())
        })
        .await;
    });
}
