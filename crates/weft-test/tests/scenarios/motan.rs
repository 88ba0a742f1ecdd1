//! Motan2 from a caller over the link to an app: frames arrive as they were meant, in any order.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use weft_test::http::pattern;
use weft_test::mesh::{Mesh, Pair};
use weft_test::wait::until;
use weft_test::{Frame, HttpApp, MotanApp, MotanConnection, scenario, scenario_without_center};

/// The interface of the service of these scenarios.
const STOCK: &str = "com.acme.Stock";

/// A caller's sidecar and one beside an app that serves [`STOCK`].
async fn stock(mesh: &Mesh, port: u16) -> Pair {
    let callee = mesh
        .sidecar("stock")
        .port_spec(&format!("motan={port},interface={STOCK}"))
        .start()
        .await;
    let caller = mesh.sidecar("web").start().await;
    Pair { caller, callee }
}

async fn outbound(pair: &Pair) -> MotanConnection {
    MotanConnection::open(pair.caller.outbound_port()).await
}

async fn echo() -> MotanApp {
    MotanApp::start(|frame| (!frame.header.one_way).then(|| frame.reply(&frame.body))).await
}

#[test]
fn a_call_is_answered_through_both_sidecars() {
    scenario(async |mesh| {
        let app = echo().await;
        let pair = stock(mesh, app.port()).await;
        let reply = outbound(&pair)
            .await
            .call(&Frame::call(7, STOCK, "count", b"body"))
            .await;
        assert_eq!(
            (reply.body.as_slice(), reply.header.exception),
            (b"body".as_slice(), false)
        );
        pair.caller
            .expect_calls(
                1,
                &[("service", "stock"), ("protocol", "motan"), ("code", "ok")],
            )
            .await;
        pair.callee
            .expect_calls(
                1,
                &[("caller", "web"), ("protocol", "motan"), ("code", "ok")],
            )
            .await;
    });
}

#[test]
fn a_plain_caller_reaches_the_app_by_the_inbound_port() {
    scenario(async |mesh| {
        let app = echo().await;
        let pair = stock(mesh, app.port()).await;
        let mut caller = MotanConnection::open(pair.callee.inbound_port()).await;
        let reply = caller.call(&Frame::call(7, STOCK, "count", b"body")).await;
        assert_eq!(reply.body, b"body");
        pair.callee
            .expect_calls(
                1,
                &[("direction", "inbound"), ("caller", ""), ("code", "ok")],
            )
            .await;
    });
}

#[test]
fn the_app_sees_the_metadata_of_its_caller_and_where_it_came_from() {
    scenario(async |mesh| {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let list = Rc::clone(&seen);
        let app = MotanApp::start(move |frame| {
            list.borrow_mut().push(frame.clone());
            Some(
                frame
                    .reply(b"")
                    .with("from-app", "kept")
                    .with("x-weft-code", "forged"),
            )
        })
        .await;
        let pair = stock(mesh, app.port()).await;
        let call = Frame::call(7, STOCK, "count", b"")
            .with("user", "ann")
            .with("x-weft-caller", "forged");
        let reply = outbound(&pair).await.call(&call).await;
        let seen = seen.borrow();
        let value = |key: &str| seen[0].value(key).map(str::to_owned);
        assert_eq!(
            (value("M_p").as_deref(), value("M_m").as_deref()),
            (Some(STOCK), Some("count"))
        );
        assert_eq!(
            (value("user").as_deref(), value("host").as_deref()),
            (Some("ann"), Some("127.0.0.1"))
        );
        assert_ne!(value("x-weft-caller").as_deref(), Some("forged"));
        assert_eq!(reply.value("from-app"), Some("kept"));
        assert_eq!(
            reply.value("x-weft-code"),
            None,
            "only the mesh says x-weft"
        );
    });
}

/// Calls that an app holds, with the way back to their connections.
type Held = Rc<RefCell<Vec<(Frame, mpsc::UnboundedSender<Frame>)>>>;

/// An app that holds the calls for which `holds` says so, until the test releases them, and echoes the others. A
/// sidecar may use more than one connection to it.
async fn app_that_holds(holds: fn(&Frame) -> bool) -> (MotanApp, Held) {
    let held = Held::default();
    let list = Rc::clone(&held);
    let app = MotanApp::serve(move |mut connection| {
        let list = Rc::clone(&list);
        async move {
            let (sender, mut released) = mpsc::unbounded_channel();
            loop {
                tokio::select! {
                    frame = connection.next() => match frame {
                        None => return,
                        Some(frame) if holds(&frame) => list.borrow_mut().push((frame, sender.clone())),
                        Some(frame) => connection.send(&frame.reply(&frame.body)).await,
                    },
                    Some(reply) = released.recv() => connection.send(&reply).await,
                }
            }
        }
    })
    .await;
    (app, held)
}

/// Waits until so many calls are held.
async fn holding(held: &Held, count: usize) {
    until(&format!("{count} calls to be held"), async || {
        (held.borrow().len() == count).then_some(())
    })
    .await;
}

#[test]
fn sixteen_frames_in_one_write_get_their_replies_as_they_are_done() {
    scenario(async |mesh| {
        let (app, held) = app_that_holds(|_| true).await;
        let pair = stock(mesh, app.port()).await;
        let mut caller = outbound(&pair).await;
        for round in 0..4_u64 {
            let ids: Vec<u64> = (0..16).map(|at| round * 1000 + at).collect();
            let frames: Vec<Vec<u8>> = ids
                .iter()
                .map(|id| Frame::call(*id, STOCK, "count", &id.to_be_bytes()).bytes())
                .collect();
            caller
                .wire
                .stream
                .write_all(&frames.concat())
                .await
                .unwrap();
            holding(&held, 16).await;
            // The last one first, each once the one before has arrived.
            let mut waiting = held.take();
            waiting.sort_by_key(|(frame, _)| {
                frame
                    .value("M_rid")
                    .map(str::to_owned)
                    .map(|id| id.parse::<u64>().unwrap())
            });
            for (id, (frame, way_back)) in ids.iter().zip(waiting).rev() {
                assert_eq!(frame.body, id.to_be_bytes());
                way_back.send(frame.reply(&frame.body)).unwrap();
                let reply = caller.reply().await;
                assert_eq!(
                    (reply.header.request_id, reply.body.as_slice()),
                    (*id, &id.to_be_bytes()[..])
                );
            }
        }
    });
}

#[test]
fn replies_that_are_done_at_once_find_their_callers_in_any_order() {
    scenario(async |mesh| {
        let (app, held) = app_that_holds(|_| true).await;
        let pair = stock(mesh, app.port()).await;
        let mut caller = outbound(&pair).await;
        for id in 0..200_u64 {
            caller
                .send(&Frame::call(id, STOCK, "count", &id.to_be_bytes()))
                .await;
        }
        holding(&held, 200).await;
        for (frame, way_back) in held.take().into_iter().rev() {
            way_back.send(frame.reply(&frame.body)).unwrap();
        }
        let mut answered = HashSet::new();
        for _ in 0..200 {
            let reply = caller.reply().await;
            assert_eq!(
                reply.body,
                reply.header.request_id.to_be_bytes(),
                "somebody else's reply"
            );
            answered.insert(reply.header.request_id);
        }
        assert_eq!(answered.len(), 200);
    });
}

#[test]
fn a_slow_call_does_not_hold_those_behind_it_back() {
    scenario(async |mesh| {
        let (app, held) = app_that_holds(|frame| frame.value("M_m") == Some("slow")).await;
        let pair = stock(mesh, app.port()).await;
        let mut caller = outbound(&pair).await;
        caller.send(&Frame::call(1, STOCK, "slow", b"")).await;
        holding(&held, 1).await;
        for id in 2..50 {
            assert_eq!(
                caller
                    .call(&Frame::call(id, STOCK, "fast", b"fast"))
                    .await
                    .body,
                b"fast"
            );
        }
        let (frame, way_back) = held.take().pop().unwrap();
        way_back.send(frame.reply(b"slow")).unwrap();
        let reply = caller.reply().await;
        assert_eq!(
            (reply.header.request_id, reply.body.as_slice()),
            (1, b"slow".as_slice())
        );
    });
}

#[test]
fn a_one_way_call_reaches_the_app_and_is_not_answered() {
    scenario(async |mesh| {
        let seen = Rc::new(Cell::new(0));
        let count = Rc::clone(&seen);
        let app = MotanApp::start(move |frame| {
            if frame.header.one_way {
                count.set(count.get() + 1);
                return None;
            }
            Some(frame.reply(b"two ways"))
        })
        .await;
        let pair = stock(mesh, app.port()).await;
        let mut caller = outbound(&pair).await;
        for id in 1..=10 {
            let mut frame = Frame::call(id, STOCK, "note", b"x");
            frame.header.one_way = true;
            caller.send(&frame).await;
        }
        // The next reply is that of the next two-way call.
        let reply = caller.call(&Frame::call(11, STOCK, "count", b"")).await;
        assert_eq!(reply.body, b"two ways");
        until("ten one-way calls to arrive", async || {
            (seen.get() == 10).then_some(())
        })
        .await;
        pair.caller.expect_calls(11, &[("code", "ok")]).await;
        pair.callee.expect_calls(11, &[("code", "ok")]).await;
    });
}

#[test]
fn heartbeats_are_answered_on_both_ports_and_are_no_calls() {
    scenario(async |mesh| {
        let app = echo().await;
        let pair = stock(mesh, app.port()).await;
        for port in [pair.caller.outbound_port(), pair.callee.inbound_port()] {
            let mut caller = MotanConnection::open(port).await;
            for id in 1..=3 {
                let reply = caller.call(&Frame::heartbeat(id)).await;
                assert!(
                    reply.header.heartbeat && !reply.header.exception,
                    "{reply:?}"
                );
            }
        }
        pair.caller.expect_calls(0, &[]).await;
        pair.callee.expect_calls(0, &[]).await;
    });
}

#[test]
fn an_exception_of_the_app_is_relayed_as_it_is() {
    scenario(async |mesh| {
        let app = MotanApp::start(|frame| {
            Some(
                frame
                    .exception(503, "out of \"stock\"", 2)
                    .with("hint", "later"),
            )
        })
        .await;
        let pair = stock(mesh, app.port()).await;
        let reply = outbound(&pair)
            .await
            .call(&Frame::call(7, STOCK, "count", b""))
            .await;
        let failure = reply.failure();
        assert_eq!(
            (&failure["errcode"], &failure["errtype"]),
            (&503.into(), &2.into())
        );
        assert_eq!(
            (failure["errmsg"].as_str(), reply.value("hint")),
            (Some("out of \"stock\""), Some("later"))
        );
        pair.caller.expect_calls(1, &[("code", "app_error")]).await;
        pair.callee.expect_calls(1, &[("code", "app_error")]).await;
    });
}

#[test]
fn an_unknown_interface_is_404_provider_not_exist() {
    scenario(async |mesh| {
        let app = echo().await;
        let pair = stock(mesh, app.port()).await;
        let mut caller = outbound(&pair).await;
        let failure = caller
            .call(&Frame::call(7, "com.acme.Nobody", "count", b""))
            .await
            .failure();
        assert_eq!(failure["errcode"], 404);
        let message = failure["errmsg"].as_str().unwrap();
        assert!(
            message.starts_with("provider not exist") && message.contains("WFT-1102"),
            "{message}"
        );
        // The connection serves on.
        assert_eq!(
            caller
                .call(&Frame::call(8, STOCK, "count", b"x"))
                .await
                .body,
            b"x"
        );
        pair.caller
            .expect_record(&[
                ("code", "no_service"),
                ("protocol", "motan"),
                ("blame", "caller"),
            ])
            .await;
    });
}

#[test]
fn an_unknown_group_is_refused_and_an_absent_one_finds_the_only_service() {
    scenario(async |mesh| {
        let app = echo().await;
        let spec = format!(
            "motan={},interface={STOCK},group=main,version=1.0",
            app.port()
        );
        mesh.sidecar("stock").port_spec(&spec).start().await;
        let web = mesh.sidecar("web").start().await;
        let mut caller = MotanConnection::open(web.outbound_port()).await;
        let call = |id| Frame::call(id, STOCK, "count", b"x");
        assert_eq!(caller.call(&call(1)).await.body, b"x");
        assert_eq!(
            caller
                .call(&call(2).with("M_g", "main").with("M_v", "1.0"))
                .await
                .body,
            b"x"
        );
        for frame in [
            call(3).with("M_g", "other"),
            call(4).with("M_g", "main").with("M_v", "2.0"),
        ] {
            assert_eq!(caller.call(&frame).await.failure()["errcode"], 404);
        }
    });
}

#[test]
fn two_groups_of_one_interface_are_two_services() {
    scenario(async |mesh| {
        let (red, blue) = (
            MotanApp::start(|frame| Some(frame.reply(b"red"))).await,
            MotanApp::start(|frame| Some(frame.reply(b"blue"))).await,
        );
        for (service, port) in [("red", red.port()), ("blue", blue.port())] {
            let spec = format!("motan={port},interface={STOCK},group={service}");
            mesh.sidecar(service).port_spec(&spec).start().await;
        }
        let web = mesh.sidecar("web").start().await;
        let mut caller = MotanConnection::open(web.outbound_port()).await;
        for (id, group) in [(1, "red"), (2, "blue")] {
            let reply = caller
                .call(&Frame::call(id, STOCK, "count", b"").with("M_g", group))
                .await;
            assert_eq!(reply.body, group.as_bytes());
        }
        let message = caller
            .call(&Frame::call(3, STOCK, "count", b""))
            .await
            .failure()["errmsg"]
            .to_string();
        assert!(
            message.contains("red") && message.contains("blue"),
            "a list of the groups: {message}"
        );
    });
}

#[test]
fn gzip_flag_and_serialize_byte_are_not_touched() {
    scenario(async |mesh| {
        let app = MotanApp::start(|frame| {
            // What came, as the app saw it; and the same on the way back.
            let seen = [frame.header.serialize, u8::from(frame.header.gzip)];
            Some(frame.reply(&[&seen[..], &frame.body].concat()))
        })
        .await;
        let pair = stock(mesh, app.port()).await;
        let mut caller = outbound(&pair).await;
        // Not gzip at all: nobody may look into it.
        let body = [0x1f, 0x8b, 0xff, 0x00, 0x0a];
        for (id, code) in (0..32_u8).enumerate() {
            for gzip in [false, true] {
                let mut frame = Frame::call(id as u64 * 2 + u64::from(gzip), STOCK, "count", &body);
                (frame.header.serialize, frame.header.gzip) = (code << 3, gzip);
                let reply = caller.call(&frame).await;
                assert_eq!(
                    reply.body,
                    [&[code << 3, u8::from(gzip)][..], &body].concat()
                );
                assert_eq!(
                    (reply.header.serialize, reply.header.gzip),
                    (code << 3, gzip)
                );
            }
        }
    });
}

#[test]
fn a_body_of_a_mebibyte_passes_both_ways() {
    scenario(async |mesh| {
        let app = echo().await;
        let pair = stock(mesh, app.port()).await;
        let mut caller = outbound(&pair).await;
        for (id, length) in [
            (1, 1024 * 1024),
            (2, 1024 * 1024 + 1),
            (3, 16 * 1024),
            (4, 9 * 1024 * 1024),
            (5, 0),
        ] {
            let body = pattern(length);
            let reply = caller.call(&Frame::call(id, STOCK, "count", &body)).await;
            assert!(reply.body == body, "{length} bytes came back otherwise");
        }
    });
}

#[test]
fn a_connection_to_the_app_is_shared_by_many_calls() {
    scenario(async |mesh| {
        let calls = Rc::new(RefCell::new(Vec::<usize>::new()));
        let list = Rc::clone(&calls);
        let app = MotanApp::serve(move |mut connection| {
            let list = Rc::clone(&list);
            async move {
                let mut served = 0;
                while let Some(frame) = connection.next().await {
                    connection.send(&frame.reply(&frame.body)).await;
                    served += 1;
                }
                if served > 0 {
                    list.borrow_mut().push(served);
                }
            }
        })
        .await;
        let pair = stock(mesh, app.port()).await;
        let port = pair.caller.outbound_port();
        let mut callers = JoinSet::new();
        for caller in 0..32_u64 {
            callers.spawn_local(async move {
                let mut connection = MotanConnection::open(port).await;
                for call in 0..10 {
                    // Every caller counts for itself: request ids are the same on all connections.
                    let body = format!("{caller} {call}");
                    let reply = connection
                        .call(&Frame::call(call, STOCK, "count", body.as_bytes()))
                        .await;
                    assert_eq!(reply.body, body.as_bytes());
                }
            });
        }
        callers.join_all().await;
        pair.caller.expect_calls(320, &[("code", "ok")]).await;
        pair.callee.kill_process();
        until("the app to lose its connections", async || {
            (calls.borrow().iter().sum::<usize>() == 320).then_some(())
        })
        .await;
        let connections = calls.borrow().len();
        assert!(
            connections <= 8,
            "320 calls of 32 callers took {connections} connections"
        );
    });
}

#[test]
fn calls_of_an_app_that_dies_are_exceptions_until_it_returns() {
    scenario(async |mesh| {
        let app = echo().await;
        let port = app.port();
        let pair = stock(mesh, port).await;
        let mut caller = outbound(&pair).await;
        assert_eq!(
            caller
                .call(&Frame::call(1, STOCK, "count", b"x"))
                .await
                .body,
            b"x"
        );
        app.stop().await;
        let failure = caller
            .call(&Frame::call(2, STOCK, "count", b"x"))
            .await
            .failure();
        assert!(
            failure["errmsg"].as_str().unwrap().contains("WFT-"),
            "{failure}"
        );
        let _app = MotanApp::start_on(port, |frame| Some(frame.reply(b"back"))).await;
        let mut id = 2;
        until("a call to the app that returned", async || {
            id += 1;
            let reply = caller.call(&Frame::call(id, STOCK, "count", b"x")).await;
            (!reply.header.exception && reply.body == b"back").then_some(())
        })
        .await;
    });
}

#[test]
fn calls_under_way_are_exceptions_when_the_app_breaks_its_connection() {
    scenario(async |mesh| {
        let app = MotanApp::serve(|mut connection| async move {
            // Eight calls, no reply, the end.
            for _ in 0..8 {
                if connection.next().await.is_none() {
                    return;
                }
            }
        })
        .await;
        let pair = stock(mesh, app.port()).await;
        let mut caller = outbound(&pair).await;
        for id in 0..8 {
            caller.send(&Frame::call(id, STOCK, "count", b"x")).await;
        }
        for _ in 0..8 {
            let failure = caller.reply().await.failure();
            assert!(
                failure["errmsg"].as_str().unwrap().contains("WFT-1303"),
                "{failure}"
            );
        }
        pair.caller
            .expect_calls(8, &[("code", "upstream_closed")])
            .await;
    });
}

#[test]
fn a_caller_that_leaves_cancels_its_calls() {
    scenario(async |mesh| {
        let app = MotanApp::start(|_| None).await;
        let pair = stock(mesh, app.port()).await;
        let mut caller = outbound(&pair).await;
        for id in 0..4 {
            caller.send(&Frame::call(id, STOCK, "count", b"x")).await;
        }
        until("four calls to be under way", async || {
            (pair.callee.metrics().await.sum("weft_calls_active", &[]) == 4).then_some(())
        })
        .await;
        weft_test::http::reset(caller.wire.stream);
        for sidecar in [&pair.caller, &pair.callee] {
            sidecar.expect_calls(4, &[("code", "cancelled")]).await;
        }
    });
}

#[test]
fn a_refused_connection_moves_on_to_another_instance() {
    scenario(async |mesh| {
        let (one, two) = (echo().await, echo().await);
        for port in [one.port(), two.port()] {
            mesh.sidecar("stock")
                .port_spec(&format!("motan={port},interface={STOCK}"))
                .start()
                .await;
        }
        let web = mesh.sidecar("web").start().await;
        one.stop().await;
        let mut caller = MotanConnection::open(web.outbound_port()).await;
        for id in 0..100 {
            let reply = caller.call(&Frame::call(id, STOCK, "count", b"x")).await;
            assert_eq!(
                (reply.body.as_slice(), reply.header.exception),
                (b"x".as_slice(), false),
                "call {id}"
            );
        }
    });
}

#[test]
fn before_any_center_was_heard_a_call_is_an_exception_that_says_so() {
    scenario_without_center(async |mesh| {
        let web = mesh.sidecar("web").start().await;
        let mut caller = MotanConnection::open(web.outbound_port()).await;
        let failure = caller
            .call(&Frame::call(1, STOCK, "count", b""))
            .await
            .failure();
        assert!(
            failure["errmsg"].as_str().unwrap().contains("WFT-1104"),
            "{failure}"
        );
    });
}

#[test]
fn one_port_takes_both_protocols() {
    scenario(async |mesh| {
        let (http, motan) = (HttpApp::echo("stock").await, echo().await);
        let stock = mesh.sidecar("stock").port("http", http.port());
        stock
            .port_spec(&format!("motan={},interface={STOCK}", motan.port()))
            .start()
            .await;
        let web = mesh.sidecar("web").start().await;
        let mut rpc = MotanConnection::open(web.outbound_port()).await;
        let mut plain = web.outbound().await;
        for id in 0..10 {
            assert_eq!(
                rpc.call(&Frame::call(id, STOCK, "count", b"x")).await.body,
                b"x"
            );
            assert_eq!(plain.get("stock", "/").await.status, 200);
        }
        web.expect_calls(10, &[("protocol", "motan"), ("code", "ok")])
            .await;
        web.expect_calls(10, &[("protocol", "http"), ("code", "ok")])
            .await;
    });
}

#[test]
fn a_frame_beyond_the_limit_is_an_exception_and_ends_its_connection() {
    scenario(async |mesh| {
        let app = echo().await;
        let pair = stock(mesh, app.port()).await;
        let mut caller = outbound(&pair).await;
        let frame = Frame::call(9, STOCK, "count", b"");
        let mut bytes = frame.bytes();
        let end = bytes.len();
        // Declares a body of a gibibyte, of which not a byte comes.
        bytes[end - 4..].copy_from_slice(&(1_u32 << 30).to_be_bytes());
        caller.wire.stream.write_all(&bytes).await.unwrap();
        let reply = caller.reply().await;
        assert_eq!(reply.header.request_id, 9);
        assert!(
            reply.failure()["errmsg"]
                .as_str()
                .unwrap()
                .contains("WFT-1003"),
            "{reply:?}"
        );
        assert!(
            weft_test::wait::within("the end", caller.next())
                .await
                .is_none()
        );
    });
}

#[test]
fn a_caller_that_takes_no_replies_holds_nobody_else_back() {
    scenario(async |mesh| {
        let app = echo().await;
        let callee = mesh
            .sidecar("stock")
            .port_spec(&format!("motan={},interface={STOCK}", app.port()));
        callee.arg("--workers").arg("1").start().await;
        let web = mesh.sidecar("web").arg("--workers").arg("1").start().await;
        let mut fast = MotanConnection::open(web.outbound_port()).await;
        assert_eq!(
            fast.call(&Frame::call(1, STOCK, "count", b"x")).await.body,
            b"x"
        );
        let mut stuck = MotanConnection::open(web.outbound_port()).await;
        let body = pattern(100_000);
        let mut id = 0;
        // Sends as long as anything moves, and reads nothing.
        let limit = std::time::Duration::from_millis(300);
        while let Ok(sent) = tokio::time::timeout(
            limit,
            stuck.try_send(&Frame::call(id, STOCK, "count", &body)),
        )
        .await
        {
            sent.unwrap();
            id += 1;
            assert!(
                id < 5_000,
                "half a gigabyte was taken of a caller that reads nothing"
            );
        }
        let calls = async {
            for id in 2..200 {
                assert_eq!(
                    fast.call(&Frame::call(id, STOCK, "count", b"x")).await.body,
                    b"x"
                );
            }
        };
        weft_test::wait::within("198 calls beside a caller that reads nothing", calls).await;
        weft_test::http::reset(stuck.wire.stream);
    });
}
