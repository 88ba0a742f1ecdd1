//! Tests of the test app, which others rely on.

use super::*;
use crate::http_server::tests::answer_of;

async fn check(request: &str, expected: impl Fn(&str) -> bool) {
    let serve = |stream| async move {
        let _ = serve(stream).await;
    };
    let answer = answer_of(serve, request.as_bytes()).await;
    assert!(expected(&answer), "{request:?} was answered {answer:?}");
}

#[tokio::test]
async fn the_request_is_described() {
    check("GET /a?b=1 HTTP/1.1\r\nHost: x\r\nA: 1\r\n\r\n", |answer| {
        answer.starts_with("HTTP/1.1 200 ")
            && answer.contains(r#""target":"/a?b=1""#)
            && answer.contains(r#"["A","1"]"#)
            && answer.contains(r#""host":"x""#)
    })
    .await;
}

#[tokio::test]
async fn bodies_are_made_in_every_framing() {
    let first = "\0\u{1}\u{2}\u{3}";
    check("GET /bytes/4 HTTP/1.1\r\nHost: x\r\n\r\n", |answer| {
        answer.ends_with(&format!("\r\n\r\n{first}"))
    })
    .await;
    check("GET /chunked/4 HTTP/1.1\r\nHost: x\r\n\r\n", |answer| {
        answer.ends_with(&format!("\r\n\r\n4\r\n{first}\r\n0\r\n\r\n"))
    })
    .await;
    check(
        "GET /close-delimited/4 HTTP/1.1\r\nHost: x\r\n\r\n",
        |answer| {
            answer.ends_with(&format!("\r\n\r\n{first}"))
                && !answer.to_lowercase().contains("length")
        },
    )
    .await;
    check("HEAD /bytes/4 HTTP/1.1\r\nHost: x\r\n\r\n", |answer| {
        answer.to_lowercase().contains("content-length: 4") && answer.ends_with("\r\n\r\n")
    })
    .await;
}

#[tokio::test]
async fn a_body_comes_back_in_its_own_framing_and_requests_may_follow_each_other() {
    check(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc\
         POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n\
         GET /status/404 HTTP/1.1\r\nHost: x\r\n\r\n",
        |answer| {
            answer.contains("\r\n\r\nabc")
                && answer.contains("2\r\nde\r\n0\r\n\r\n")
                && answer.contains("HTTP/1.1 404 ")
        },
    )
    .await;
}

#[tokio::test]
async fn a_caller_that_waits_for_a_100_gets_it() {
    check(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
        |answer| answer.contains("HTTP/1.1 100 Continue\r\n\r\n") && answer.ends_with("abc"),
    )
    .await;
}
