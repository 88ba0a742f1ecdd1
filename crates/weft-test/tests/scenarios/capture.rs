//! A link as an outsider sees it: what was captured on the wire is read by tshark.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use weft_codec::Fields;
use weft_codec::link::{Frame, Step, decode};
use weft_test::wait::{until, within_bound};
use weft_test::{HttpApp, Mesh, Sidecar, peer, scenario};

/// How long tshark may take.
const READING_BOUND: Duration = Duration::from_mins(1);

/// Connections of a capture that are looked at.
const STREAMS_LOOKED_AT: usize = 4;

/// Where the messages are defined.
const PROTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../weft-api/proto");

/// Captures what goes to and from a port of this machine.
async fn capture(program: &Path, port: u16, file: &Path) -> Child {
    let child = Command::new(program)
        .args(["-q", "-i", "lo", "-f", &format!("tcp port {port}"), "-w"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // Its header is written when it listens.
    until("dumpcap to listen (it needs the right to)", async || {
        let written = std::fs::metadata(file).is_ok_and(|file| file.len() > 0);
        written.then_some(())
    })
    .await;
    child
}

/// What tshark says of a capture, in full.
async fn read(program: &Path, file: &Path, arguments: &[&str]) -> String {
    // tshark looks for files by their whole path, and does not know "..".
    let proto = Path::new(PROTO).canonicalize().unwrap();
    let search = format!("uat:protobuf_search_paths:\"{}\",\"TRUE\"", proto.display());
    let mut command = Command::new(program);
    command
        .arg("-r")
        .arg(file)
        .args(["-V", "-o", &search])
        .args(arguments)
        .env("WIRESHARK_CONFIG_DIR", file.parent().unwrap())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = within_bound("tshark to read", READING_BOUND, command.output())
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "tshark: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A call between two sidecars, captured until tshark sees all of these words.
async fn expect_seen(
    (dumpcap, tshark): (&Path, &Path),
    mesh: &Mesh,
    callee: &Sidecar,
    arguments: &[&str],
    words: &[&str],
) -> PathBuf {
    let file = mesh.folder().join("link.pcapng");
    let mut capture = capture(dumpcap, callee.inbound_port(), &file).await;
    let caller = mesh.sidecar("web").arg("--workers").arg("1").start().await;
    let reply = caller
        .outbound()
        .await
        .get("orders", "/seen?by=tshark")
        .await;
    assert_eq!(reply.status, 200);
    let missing = |seen: &str| -> Vec<String> {
        let missing = words.iter().filter(|word| !seen.contains(**word));
        missing.map(|word| (*word).to_owned()).collect()
    };
    let mut last = Vec::new();
    until("tshark to see the link's opening and a call", async || {
        last = missing(&read(tshark, &file, arguments).await);
        last.is_empty().then_some(())
    })
    .await;
    capture.kill().await.unwrap();
    file
}

/// The bytes of one connection behind the heads of its upgrade, as tshark puts them together: of the caller, and back.
fn behind_upgrade(followed: &str) -> Option<[Vec<u8>; 2]> {
    let mut ways = [Vec::new(), Vec::new()];
    for line in followed.lines() {
        let (way, hex) = match line.strip_prefix('\t') {
            Some(hex) => (1, hex),
            None => (0, line),
        };
        let digits: Option<Vec<u8>> = hex
            .chars()
            .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
            .collect();
        // Titles and rules are no digits.
        if let Some(digits) = digits.filter(|digits| digits.len().is_multiple_of(2)) {
            ways[way].extend(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]));
        }
    }
    let behind = |bytes: Vec<u8>| {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        Some(bytes[end + 4..].to_vec())
    };
    let [out, back] = ways;
    Some([behind(out)?, behind(back)?])
}

/// The frames of one way of a link, each by its name; nothing may be left but a part of one.
fn frames(bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let (mut rest, mut fields) = (bytes, Fields::new());
    while let Step::Frame(frame, count) = decode(rest, &mut fields).expect("a frame of a link") {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        names.push(match frame {
            Frame::Hello(_) => "Hello".to_owned(),
            Frame::Open(open) => format!("Open {}", text(open.path)),
            Frame::Reply(reply) => format!("Reply {}", reply.status),
            Frame::Unknown => panic!("an unknown frame behind {names:?}"),
            _ => "another".to_owned(),
        });
        rest = &rest[count..];
    }
    names
}

/// The programs; none when this machine lacks them.
fn programs() -> Option<(PathBuf, PathBuf)> {
    let why = "tshark as a reader of links";
    Some((
        peer::program("dumpcap", why)?,
        peer::program("tshark", why)?,
    ))
}

#[test]
fn a_captured_link_over_http_2_decodes_down_to_the_fields_of_a_call() {
    let Some((dumpcap, tshark)) = programs() else {
        return;
    };
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let callee = mesh
            .sidecar("orders")
            .port("http", app.port())
            .start()
            .await;
        let decode = format!("tcp.port=={},http2", callee.inbound_port());
        expect_seen(
            (&dumpcap, &tshark),
            mesh,
            &callee,
            &["-d", &decode],
            &[
                "Header: :path: /weft.link.v1.Link/Open",
                "GRPC Message: /weft.link.v1.Link/Open, Request",
                "GRPC Message: /weft.link.v1.Link/Open, Response",
                "Message: weft.link.v1.Hello",
                "Message: weft.link.v1.Open",
                "Message: weft.link.v1.Reply",
                // The path, as tshark shows bytes.
                "Value: 2f7365656e3f62793d74736861726b",
            ],
        )
        .await;
    });
}

#[test]
fn a_captured_link_over_http_1_decodes_as_an_upgrade_and_what_follows() {
    let Some((dumpcap, tshark)) = programs() else {
        return;
    };
    scenario(async |mesh| {
        mesh.apply(
            "{apiVersion: mesh.weft.dev/v1alpha1, kind: Mesh, metadata: {name: default}, spec: {meshHop: {prefer: [http1]}}}",
        )
        .await;
        let app = HttpApp::echo("orders").await;
        let callee = mesh
            .sidecar("orders")
            .port("http", app.port())
            .start()
            .await;
        let decode = format!("tcp.port=={},http", callee.inbound_port());
        let file = expect_seen(
            (&dumpcap, &tshark),
            mesh,
            &callee,
            &["-d", &decode],
            &[
                "GET /weft.link.v1.Link/Open HTTP/1.1",
                "HTTP/1.1 101 Switching Protocols",
                "Upgrade: weft-link",
            ],
        )
        .await;
        // Whoever else connects to the port is no link.
        let mut links = Vec::new();
        for stream in 0..STREAMS_LOOKED_AT {
            let follow = format!("follow,tcp,raw,{stream}");
            let followed = read(&tshark, &file, &["-q", "-z", &follow]).await;
            links.extend(behind_upgrade(&followed));
        }
        let [out, back] = links.first().expect("a link was captured");
        let (out, back) = (frames(out), frames(back));
        let has = |names: &[String], name: &str| names.iter().any(|known| known == name);
        assert_eq!((&*out[0], &*back[0]), ("Hello", "Hello"));
        assert!(has(&out, "Open /seen?by=tshark"), "{out:?}");
        assert!(has(&back, "Reply 200"), "{back:?}");
    });
}
