//! gRPC through both sidecars: unary and streams, results in trailers, deadlines, failures in its own words.

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;
use weft_test::h2::{read_reply, send_body};
use weft_test::tcp_app::TcpApp;
use weft_test::wait::{until, within};
use weft_test::{H2App, H2Connection, H2Message, scenario};

/// One message: no compression, two bytes.
const MESSAGE: &[u8] = b"\0\0\0\0\x02hi";

fn unary(authority: &str) -> H2Message {
    H2Message::request("POST", authority, "/a.b.Stock/Take", MESSAGE)
        .with("content-type", "application/grpc")
        .with("te", "trailers")
}

/// An app that gives the message back with the status that the request asks for.
async fn stock() -> H2App {
    H2App::start(|request| {
        let status = request.field("status").unwrap_or("0").to_owned();
        let reply = H2Message::reply(200, &request.body).with("content-type", "application/grpc");
        match request.field("trailers-only") {
            Some(_) => H2Message::reply(200, b"")
                .with("content-type", "application/grpc")
                .with("grpc-status", &status),
            None => reply.with_trailer("grpc-status", &status),
        }
    })
    .await
}

/// A head of a gRPC stream.
fn stream_head(authority: &str) -> Request<()> {
    unary(authority).request_head()
}

fn grpc_response() -> Response<()> {
    let response = Response::builder().header("content-type", "application/grpc");
    response.body(()).unwrap()
}

fn status(code: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.parse().unwrap());
    trailers
}

#[test]
fn the_result_of_a_call_stands_in_its_trailers_and_counts() {
    scenario(async |mesh| {
        let app = stock().await;
        let pair = mesh.pair("stock", "grpc", app.port()).await;
        let caller = H2Connection::open(pair.caller.outbound_port()).await;
        for (asked, trailers_only) in [
            ("0", false),
            ("5", false),
            ("13", false),
            ("0", true),
            ("14", true),
        ] {
            let mut request = unary("stock").with("status", asked);
            if trailers_only {
                request = request.with("trailers-only", "yes");
            }
            let reply = caller.call(&request).await;
            assert_eq!(reply.status, 200);
            let result = if trailers_only {
                assert!(reply.trailers.is_none() && reply.body.is_empty());
                reply.field("grpc-status")
            } else {
                assert_eq!(reply.body, MESSAGE);
                reply.trailer("grpc-status")
            };
            assert_eq!(result, Some(asked));
        }
        assert!(
            app.seen()
                .iter()
                .all(|seen| seen.field("te") == Some("trailers"))
        );
        for sidecar in [&pair.caller, &pair.callee] {
            sidecar.expect_calls(3, &[("code", "ok")]).await;
            sidecar.expect_calls(2, &[("code", "app_error")]).await;
        }
    });
}

#[test]
fn both_ways_of_a_stream_run_at_the_same_time() {
    scenario(async |mesh| {
        let app = H2App::streams(|request, mut respond| async move {
            let mut stream = respond.send_response(grpc_response(), false).unwrap();
            let mut body = request.into_body();
            while let Some(Ok(piece)) = body.data().await {
                let _ = body.flow_control().release_capacity(piece.len());
                stream.send_data(piece, false).unwrap();
            }
            stream.send_trailers(status("0")).unwrap();
        })
        .await;
        let pair = mesh.pair("stock", "grpc", app.port()).await;
        let caller = H2Connection::open(pair.caller.outbound_port()).await;
        let (response, mut stream) = caller.begin(stream_head("stock"), false).await.unwrap();
        // The head comes although nothing of the request was sent, let alone its end.
        let response = within("the reply's head", response).await.unwrap();
        let mut body = response.into_body();
        for number in 0..20_u8 {
            stream
                .send_data(Bytes::copy_from_slice(&[number; 7]), false)
                .unwrap();
            let mut came = Vec::new();
            while came.len() < 7 {
                let piece = within("a message back", body.data())
                    .await
                    .unwrap()
                    .unwrap();
                body.flow_control().release_capacity(piece.len()).unwrap();
                came.extend_from_slice(&piece);
            }
            assert_eq!(came, [number; 7]);
        }
        stream.send_data(Bytes::new(), true).unwrap();
        assert!(within("the end", body.data()).await.is_none());
        let trailers = body.trailers().await.unwrap().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
    });
}

#[test]
fn a_deadline_travels_with_the_time_spent_taken_off() {
    scenario(async |mesh| {
        let app = stock().await;
        let pair = mesh.pair("stock", "grpc", app.port()).await;
        let caller = H2Connection::open(pair.caller.outbound_port()).await;
        let reply = caller
            .call(&unary("stock").with("grpc-timeout", "20S"))
            .await;
        assert_eq!(reply.trailer("grpc-status"), Some("0"));
        let seen = app.only();
        let left = seen.field("grpc-timeout").expect("the app gets a deadline");
        let left: u64 = left.strip_suffix('u').unwrap().parse().unwrap();
        assert!((1..20_000_000).contains(&left), "{left} microseconds left");
    });
}

#[test]
fn a_deadline_that_passes_is_told_as_deadline_exceeded_and_cancels_the_app() {
    scenario(async |mesh| {
        let reason: Rc<RefCell<Option<Reason>>> = Rc::default();
        let told = Rc::clone(&reason);
        let app = H2App::streams(move |_, mut respond: SendResponse<Bytes>| {
            let told = Rc::clone(&told);
            async move {
                let reset = poll_fn(|cx| respond.poll_reset(cx)).await;
                *told.borrow_mut() = reset.ok();
            }
        })
        .await;
        let pair = mesh.pair("stock", "grpc", app.port()).await;
        let caller = H2Connection::open(pair.caller.outbound_port()).await;
        let reply = caller
            .call(&unary("stock").with("grpc-timeout", "300m"))
            .await;
        assert_eq!(
            (reply.field("grpc-status"), reply.field("x-weft-code")),
            (Some("4"), Some("deadline_passed"))
        );
        let reason = until("the app to be told", async || *reason.borrow()).await;
        assert_eq!(reason, Reason::CANCEL);
    });
}

#[test]
fn a_failure_of_the_mesh_is_a_status_with_its_code_and_blame() {
    scenario(async |mesh| {
        let app = stock().await;
        let pair = mesh.pair("stock", "grpc", app.port()).await;
        let caller = H2Connection::open(pair.caller.outbound_port()).await;
        assert_eq!(
            caller.call(&unary("stock")).await.trailer("grpc-status"),
            Some("0")
        );
        app.stop().await;
        let reply = caller.call(&unary("stock")).await;
        assert_eq!(
            (reply.status, reply.field("grpc-status")),
            (200, Some("14"))
        );
        assert!(reply.field("x-weft-code").is_some());
        let message = reply.field("grpc-message").expect("a sentence");
        assert!(message.contains("WFT-"), "{message}");
    });
}

#[test]
fn a_stream_that_breaks_off_ends_with_a_status() {
    scenario(async |mesh| {
        let app = H2App::streams(|_: Request<RecvStream>, mut respond| async move {
            let mut stream = respond.send_response(grpc_response(), false).unwrap();
            let _ = send_head_of_body(&mut stream).await;
            stream.send_reset(Reason::INTERNAL_ERROR);
        })
        .await;
        let pair = mesh.pair("stock", "grpc", app.port()).await;
        let caller = H2Connection::open(pair.caller.outbound_port()).await;
        let reply = caller.call(&unary("stock")).await;
        assert_eq!(reply.trailer("grpc-status"), Some("14"));
        assert!(reply.trailer("x-weft-code").is_some(), "{reply:?}");
    });
}

async fn send_head_of_body(stream: &mut h2::SendStream<Bytes>) -> Result<(), h2::Error> {
    stream.send_data(Bytes::from_static(MESSAGE), false)?;
    // So that the head and the bytes leave before the reset.
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(())
}

#[test]
fn a_caller_that_cancels_is_told_to_the_app_at_once() {
    scenario(async |mesh| {
        let reason: Rc<RefCell<Option<Reason>>> = Rc::default();
        let told = Rc::clone(&reason);
        let app = H2App::streams(move |_, mut respond: SendResponse<Bytes>| {
            let told = Rc::clone(&told);
            async move {
                let mut stream = respond.send_response(grpc_response(), false).unwrap();
                let reset = poll_fn(|cx| stream.poll_reset(cx)).await;
                *told.borrow_mut() = reset.ok();
            }
        })
        .await;
        let pair = mesh.pair("stock", "grpc", app.port()).await;
        let caller = H2Connection::open(pair.caller.outbound_port()).await;
        let (response, mut stream) = caller.begin(stream_head("stock"), false).await.unwrap();
        let response = within("the reply's head", response).await.unwrap();
        stream.send_reset(Reason::CANCEL);
        let reason = until("the app to be told", async || *reason.borrow()).await;
        assert_eq!(reason, Reason::CANCEL);
        drop(response);
        for sidecar in [&pair.caller, &pair.callee] {
            sidecar.expect_calls(1, &[("code", "cancelled")]).await;
        }
    });
}

#[test]
fn a_client_stream_is_answered_after_its_end_and_a_server_stream_before() {
    scenario(async |mesh| {
        let app = H2App::start(|request| {
            let count = request.body.len() / MESSAGE.len();
            H2Message::reply(200, &MESSAGE.repeat(count))
                .with("content-type", "application/grpc")
                .with_trailer("grpc-status", "0")
        })
        .await;
        let pair = mesh.pair("stock", "grpc", app.port()).await;
        let caller = H2Connection::open(pair.caller.outbound_port()).await;
        let (response, mut stream) = caller.begin(stream_head("stock"), false).await.unwrap();
        send_body(&mut stream, &MESSAGE.repeat(20_000), None)
            .await
            .unwrap();
        let reply = within("the reply", read_reply(response)).await.unwrap();
        assert_eq!(reply.body.len(), MESSAGE.len() * 20_000);
        assert_eq!(reply.trailer("grpc-status"), Some("0"));
    });
}

/// An app that takes a call and is gone before it says anything, each time.
async fn gone_in_the_middle() -> TcpApp {
    TcpApp::start(|stream, _| async move {
        if let Ok(mut connection) = h2::server::handshake(stream).await {
            // Kept until the connection is dropped with it.
            let _call = connection.accept().await;
        }
    })
    .await
}

#[test]
fn a_call_that_is_declared_idempotent_by_its_path_moves_on_when_its_app_is_gone() {
    scenario(async |mesh| {
        let (gone, good) = (gone_in_the_middle().await, stock().await);
        for (port, pattern) in [(gone.port(), "*/Take"), (good.port(), "/a.b.Stock/Take")] {
            let instance = mesh.sidecar("stock").port("grpc", port);
            instance.arg("--idempotent").arg(pattern).start().await;
        }
        let web = mesh.sidecar("web").start().await;
        let caller = H2Connection::open(web.outbound_port()).await;
        // Without a message: one that comes behind its head is spent by the first attempt.
        let request = H2Message {
            body: Vec::new(),
            ..unary("stock").with("status", "0")
        };
        // Whichever instance is picked first, its turn comes.
        until("a call that met the app that goes", async || {
            let reply = caller.call(&request).await;
            assert_eq!(
                (reply.status, reply.trailer("grpc-status")),
                (200, Some("0"))
            );
            (web.records().iter())
                .any(|record| record["attempts"] == 2)
                .then_some(())
        })
        .await;
    });
}
