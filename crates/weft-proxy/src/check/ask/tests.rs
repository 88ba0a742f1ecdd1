//! What counts as an answer, in any split.

use super::*;
use tokio::net::TcpListener;

#[test]
fn a_status_from_200_to_399_is_well() {
    for (line, well) in [
        (&b"HTTP/1.1 200 OK\r\n"[..], true),
        (b"HTTP/1.0 204\r\n", true),
        (b"HTTP/1.1 399 x", true),
        (b"HTTP/1.1 400 x", false),
        (b"HTTP/1.1 503 x", false),
        (b"HTTP/1.1 199 x", false),
        (b"SSH-2.0-OpenSSH", false),
        (b"HTTP/1.1-200 x", false),
    ] {
        assert_eq!(is_well(line), Some(well), "{}", line.escape_ascii());
        for short in 0..STATUS_BYTES {
            assert_eq!(is_well(&line[..short]), None);
        }
    }
}

#[test]
fn a_heartbeat_is_answered_by_a_response_with_its_id() {
    let frame = |header| {
        let mut out = Vec::new();
        motan2::write_head(header, &Fields::new(), 0, &mut out);
        out
    };
    let answer = Header {
        heartbeat: true,
        response: true,
        request_id: HEARTBEAT_ID,
        ..Header::default()
    };
    let bytes = frame(answer);
    assert_eq!(is_beat(&bytes), Some(true));
    assert_eq!(is_beat(&bytes[..bytes.len() - 1]), None);
    let other = Header {
        request_id: 9,
        ..answer
    };
    assert_eq!(is_beat(&frame(other)), Some(false));
    assert_eq!(is_beat(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Some(false));
}

#[test]
fn who_takes_no_connection_or_never_answers_fails() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let (ip, port) = (address.ip(), address.port());
        let limit = Duration::from_millis(50);
        let http = Check::Http {
            port,
            path: "/".into(),
        };
        let long = Duration::from_secs(10);
        assert!(passes(ip, &Check::Tcp { port }, long).await);
        assert!(!passes(ip, &http, limit).await);
        assert!(!passes(ip, &Check::Motan { port }, limit).await);
        drop(silent);
        assert!(!passes(ip, &Check::Tcp { port }, long).await);
    });
}
