//! HTTP/2 of apps, which is not carried yet: refused in its own words.

use weft_test::{HttpApp, HttpConnection, scenario};

/// What every HTTP/2 caller begins with, and empty SETTINGS.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// HEADERS of stream 1 that end the stream: GET / of http, from the static table.
const GET: &[u8] = b"\0\0\x03\x01\x05\0\0\0\x01\x82\x84\x86";

const GOAWAY: u8 = 7;
const HEADERS: u8 = 1;
const DATA: u8 = 0;

/// Type and payload of every frame until the end of the connection.
async fn frames(connection: &mut HttpConnection) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    loop {
        while connection.wire.bytes.len() < 9 {
            let more = weft_test::wait::within("a frame or the end", connection.wire.fill()).await;
            if !matches!(more, Ok(true)) {
                return frames;
            }
        }
        let head = connection.wire.take(9).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        frames.push((head[3], connection.wire.take(length).await.unwrap()));
    }
}

#[test]
fn an_app_that_speaks_http_2_gets_goaway_with_the_sentence() {
    scenario(async |mesh| {
        let web = mesh.sidecar("web").start().await;
        for port in [web.outbound_port(), web.http_proxy_port()] {
            let mut caller = HttpConnection::open(port).await;
            caller.send([PREFACE, GET].concat()).await;
            let frames = frames(&mut caller).await;
            let (_, goaway) = frames
                .iter()
                .find(|(kind, _)| *kind == GOAWAY)
                .expect("a GOAWAY");
            assert_eq!(
                goaway[..8],
                [0, 0, 0, 0, 0, 0, 0, 0xd],
                "no stream was served; HTTP_1_1_REQUIRED"
            );
            let sentence = String::from_utf8_lossy(&goaway[8..]);
            assert!(
                sentence.contains("HTTP/1.1") && sentence.contains("WFT-1007"),
                "{sentence}"
            );
        }
        assert_eq!(
            web.metrics()
                .await
                .sum("weft_connection_ends_total", &[("code", "not_implemented")]),
            2
        );
    });
}

#[test]
fn a_plain_http_2_caller_on_the_inbound_port_gets_501() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.callee.inbound().await;
        caller.send([PREFACE, GET].concat()).await;
        let frames = frames(&mut caller).await;
        let (_, headers) = frames
            .iter()
            .find(|(kind, _)| *kind == HEADERS)
            .expect("a reply");
        // Literal with incremental indexing, name of index 8 (:status), value of three bytes; plain or Huffman.
        let plain = headers.windows(4).any(|bytes| bytes == b"\x03501");
        let huffman = headers
            .windows(4)
            .any(|bytes| bytes == [0x48, 0x82, 0x6c, 0x01]);
        assert!(plain || huffman, "no :status 501 in {headers:02x?}");
        let (_, sentence) = frames
            .iter()
            .find(|(kind, _)| *kind == DATA)
            .expect("a sentence");
        assert!(String::from_utf8_lossy(sentence).contains("HTTP/1.1"));
        assert!(frames.iter().any(|(kind, _)| *kind == GOAWAY));
        assert!(app.seen().is_empty());
    });
}
