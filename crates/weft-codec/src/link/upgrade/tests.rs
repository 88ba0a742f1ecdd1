//! The opening over HTTP/1.1, in any split and any spelling.

use super::{Answer, REPLY_BYTES_MAX, answer, asks_for_link, write_agreement, write_upgrade};

fn upgrade() -> Vec<u8> {
    let mut out = Vec::new();
    write_upgrade("10.0.0.7:9982", &mut out);
    out
}

fn agreement() -> Vec<u8> {
    let mut out = Vec::new();
    write_agreement(&mut out);
    out
}

#[test]
fn the_request_is_what_the_page_says() {
    assert_eq!(
        String::from_utf8(upgrade()).unwrap(),
        "GET /weft.link.v1.Link/Open HTTP/1.1\r\nHost: 10.0.0.7:9982\r\n\
         Connection: upgrade\r\nUpgrade: weft-link\r\n\r\n"
    );
    assert!(asks_for_link(&upgrade()));
}

#[test]
fn a_middlebox_may_spell_and_add_as_it_likes() {
    for head in [
        "GET /x HTTP/1.1\r\nhost: a\r\nUPGRADE:weft-link\r\nvia: 1.1 b\r\nconnection: keep-alive, Upgrade\r\n\r\n",
        "GET /x HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: other, Weft-Link \r\n\r\n",
    ] {
        assert!(asks_for_link(head.as_bytes()), "{head}");
    }
}

#[test]
fn whatever_does_not_ask_for_it_is_an_ordinary_call() {
    for head in [
        "GET /weft.link.v1.Link/Open HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /x HTTP/1.1\r\nUpgrade: weft-link\r\n\r\n",
        "GET /x HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET /x HTTP/1.1\r\nConnection: upgrade\r\nX-Upgrade: weft-link\r\n\r\n",
        "GET /x HTTP/1.1\r\nConnection: upgrade\r\nUpgrades: weft-link\r\n\r\n",
        "GET /x HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: weft-link2\r\n\r\n",
        "",
    ] {
        assert!(!asks_for_link(head.as_bytes()), "{head}");
    }
}

#[test]
fn an_agreement_is_read_in_any_split_and_frames_may_follow_at_once() {
    let mut bytes = agreement();
    let head = bytes.len();
    for cut in 0..head {
        assert_eq!(answer(&bytes[..cut]), Answer::Need, "{cut} bytes");
    }
    bytes.extend_from_slice(&[0, 0, 0, 0, 2]);
    assert_eq!(answer(&bytes), Answer::Agreed(head));
}

#[test]
fn every_other_answer_is_told_apart() {
    for (reply, expected) in [
        ("HTTP/1.1 404 Not Found\r\n\r\n", Answer::Status(404)),
        (
            "HTTP/1.1 101\r\nUpgrade: websocket\r\n\r\n",
            Answer::Status(101),
        ),
        ("HTTP/1.0 200 OK\r\n\r\n", Answer::Garbage),
        ("HTTP/1.1 2x0 OK\r\n\r\n", Answer::Garbage),
        ("\0\0\x12\x04\0", Answer::Garbage),
        ("SSH-2.0", Answer::Garbage),
    ] {
        assert_eq!(answer(reply.as_bytes()), expected, "{reply:?}");
    }
    let endless = [b"HTTP/1.1 101 ".as_slice(), &[b'a'; REPLY_BYTES_MAX]].concat();
    assert_eq!(answer(&endless), Answer::Garbage);
}
