//! Real clients, and a real server: curl, Python's requests, Node, wrk and nginx, through both sidecars.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::process::Command;
use weft_test::http::pattern;
use weft_test::http_app::reply;
use weft_test::mesh::Mesh;
use weft_test::peer;
use weft_test::process::Process;
use weft_test::tcp_app::free_port;
use weft_test::wait::{until, within_bound};
use weft_test::{HttpApp, TcpApp, scenario};

/// How long a client may take with its whole program.
const CLIENT_BOUND: Duration = Duration::from_secs(30);

/// Runs a client to its end.
pub(crate) async fn run(mut command: Command) -> Output {
    let text = format!("{:?}", command.as_std());
    command
        .stdin(Stdio::null())
        .env_remove("http_proxy")
        .env_remove("no_proxy")
        .kill_on_drop(true);
    within_bound(&text, CLIENT_BOUND, command.output())
        .await
        .unwrap_or_else(|error| panic!("running {text}: {error}"))
}

/// Runs a client that must end well; what it wrote.
pub(crate) async fn run_well(command: Command) -> String {
    let text = format!("{:?}", command.as_std());
    let output = run(command).await;
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{text} ended with {}:\n{stdout}\n{stderr}",
        output.status
    );
    stdout.into_owned()
}

pub(crate) fn command(program: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// An app that gives bodies back, says in fields what it saw, and has some pages of its own.
async fn app() -> HttpApp {
    HttpApp::start(|request| match request.target() {
        "/chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n".to_vec(),
        "/big" => reply(200, &[], &pattern(3_000_000)),
        "/missing" => reply(404, &[], b"not here"),
        _ => {
            let caller = request.field("x-weft-caller").unwrap_or_default().to_owned();
            reply(200, &[("method", request.method()), ("seen-caller", &caller)], &request.message.body)
        }
    })
    .await
}

#[test]
fn curl_calls_as_it_is_used() {
    let Some(curl) = peer::program("curl", "curl as a client") else {
        return;
    };
    scenario(async |mesh| {
        let app = app().await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let url = |path: &str| format!("http://127.0.0.1:{}{path}", pair.caller.outbound_port());
        let body = mesh.folder().join("body");
        std::fs::write(&body, pattern(2_000_000)).unwrap();
        let file = format!("@{}", body.display());
        let quiet = ["-sS", "--fail", "-H", "Host: orders"];
        let curl = |args: &[&str]| command(&curl, &[&quiet, args].concat());

        let head = run_well(curl(&["-I", &url("/")])).await;
        assert!(
            head.starts_with("HTTP/1.1 200") && head.contains("method: HEAD"),
            "{head}"
        );
        assert_eq!(run_well(curl(&["-d", "small", &url("/")])).await, "small");
        assert_eq!(run_well(curl(&[&url("/chunked")])).await, "abcdefg");
        // Above a mebibyte curl waits for a 100 first, and the app does not send one.
        let output = mesh.folder().join("came-back");
        let into = output.display().to_string();
        run_well(curl(&[
            "--expect100-timeout",
            "0.2",
            "--data-binary",
            &file,
            "-o",
            &into,
            &url("/"),
        ]))
        .await;
        assert!(
            std::fs::read(&output).unwrap() == pattern(2_000_000),
            "the body came back otherwise"
        );
        let chunks = [
            "-T",
            body.to_str().unwrap(),
            "-H",
            "Transfer-Encoding: chunked",
            "-o",
            &into,
            &url("/"),
        ];
        run_well(curl(
            &[&["--expect100-timeout", "0.2"], &chunks[..]].concat(),
        ))
        .await;
        assert!(
            std::fs::read(&output).unwrap() == pattern(2_000_000),
            "the chunked body came back otherwise"
        );
        // Two calls on one connection.
        let both = run_well(curl(&[
            "-d",
            "x",
            "-w",
            "%{num_connects}\n",
            &url("/"),
            &url("/"),
        ]))
        .await;
        assert_eq!(both, "x1\nx0\n");
        // As a forward proxy.
        let proxy = format!("http://127.0.0.1:{}", pair.caller.http_proxy_port());
        let proxied = ["-x", &proxy, "-d", "by proxy", "http://orders/"];
        assert_eq!(run_well(curl(&proxied)).await, "by proxy");
    });
}

#[test]
fn curl_is_told_why_an_old_version_is_refused_and_calls_in_a_new_one() {
    let Some(curl) = peer::program("curl", "curl as a client") else {
        return;
    };
    scenario(async |mesh| {
        let app = app().await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let url = format!("http://127.0.0.1:{}/", pair.caller.outbound_port());
        let old = run_well(command(
            &curl,
            &["-sS", "-i", "--http1.0", "-H", "Host: orders", &url],
        ))
        .await;
        assert!(
            old.starts_with("HTTP/1.1 505") && old.contains("proxy_http_version 1.1"),
            "{old}"
        );
        // Without prior knowledge curl offers an upgrade, which may be ignored (RFC 9110 7.8).
        let offered = run_well(command(
            &curl,
            &["-sS", "-i", "--http2", "-H", "Host: orders", &url],
        ))
        .await;
        assert!(offered.starts_with("HTTP/1.1 200"), "{offered}");
        let known = run_well(command(
            &curl,
            &[
                "-sS",
                "-i",
                "--http2-prior-knowledge",
                "-H",
                "Host: orders",
                &url,
            ],
        ))
        .await;
        assert!(known.starts_with("HTTP/2 200"), "{known}");
        assert!(app.seen().len() == 2);
    });
}

const REQUESTS: &str = r#"
import sys, requests
out, proxy, big = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = requests.Session(); s.trust_env = False
s.headers["Host"] = "orders"
base = "http://127.0.0.1:" + out
for i in range(100):
    r = s.post(base + "/", json={"i": i}); assert r.status_code == 200 and r.json() == {"i": i}, r
r = s.get(base + "/"); assert r.headers["seen-caller"] == "web", r.headers
r = s.get(base + "/chunked"); assert r.text == "abcdefg", r.text
r = s.get(base + "/missing"); assert r.status_code == 404 and r.text == "not here", r
r = s.head(base + "/"); assert r.status_code == 200 and r.headers["method"] == "HEAD", r.headers
r = s.post(base + "/", data=(b"x" * 1000 for _ in range(50))); assert r.content == b"x" * 50000
with s.get(base + "/big", stream=True) as r:
    assert sum(len(c) for c in r.iter_content(65536)) == big
for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
    r = s.request(method, base + "/", data=b"b"); assert r.headers["method"] == method and r.content == b"b", r
p = requests.Session(); p.trust_env = False
p.proxies = {"http": "http://127.0.0.1:" + proxy}
r = p.post("http://orders/", data=b"by proxy"); assert r.content == b"by proxy", r
r = p.get("http://orders/no/such", params={"q": "a b"}); assert r.status_code == 200, r
print("requests", requests.__version__, "well")
"#;

#[test]
fn python_requests_calls_as_it_is_used() {
    let Some(python) = peer::python_with("requests", "Python's requests as a client") else {
        return;
    };
    scenario(async |mesh| {
        let app = app().await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let ports = [pair.caller.outbound_port(), pair.caller.http_proxy_port()]
            .map(|port| port.to_string());
        let said = run_well(command(
            &python,
            &["-c", REQUESTS, &ports[0], &ports[1], "3000000"],
        ))
        .await;
        assert!(said.ends_with("well\n"), "{said}");
        pair.caller.expect_calls(0, &[("code", "cancelled")]).await;
    });
}

const NODE: &str = r"
const http = require('http'), assert = require('assert');
const port = process.argv[1], proxy = process.argv[2];
const agent = new http.Agent({ keepAlive: true, maxSockets: 10 });
function call(options, body) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: '127.0.0.1', port, agent, headers: { Host: 'orders' }, ...options }, (reply) => {
      const parts = [];
      reply.on('data', (part) => parts.push(part));
      reply.on('end', () => resolve({ status: reply.statusCode, headers: reply.headers, body: Buffer.concat(parts) }));
      reply.on('aborted', () => reject(new Error('aborted')));
    });
    request.on('error', reject);
    request.end(body);
  });
}
(async () => {
  const replies = await Promise.all(Array.from({ length: 200 }, (_, i) =>
    call({ method: 'PUT', path: '/' + i }, 'body ' + i).then((reply) => {
      assert.strictEqual(reply.status, 200); assert.strictEqual(reply.body.toString(), 'body ' + i);
      assert.strictEqual(reply.headers['seen-caller'], 'web');
    })));
  assert.strictEqual(replies.length, 200);
  assert.strictEqual((await call({ path: '/chunked' })).body.toString(), 'abcdefg');
  assert.strictEqual((await call({ path: '/big' })).body.length, 3000000);
  assert.strictEqual((await call({ method: 'HEAD', path: '/' })).headers.method, 'HEAD');
  const large = Buffer.alloc(1500000, 'y');
  const headers = { Host: 'orders', 'Transfer-Encoding': 'chunked' };
  assert.ok((await call({ method: 'POST', path: '/', headers }, large)).body.equals(large));
  // Node waits for the 100 that the app does not send, unless it goes on by itself: it does not.
  const byProxy = await call({ port: proxy, method: 'POST', path: 'http://orders/' }, 'by proxy');
  assert.strictEqual(byProxy.body.toString(), 'by proxy');
  agent.destroy();
  console.log('node', process.version, 'well');
})().catch((error) => { console.error(error); process.exit(1); });
";

#[test]
fn node_calls_over_kept_connections() {
    let Some(node) = peer::program("node", "Node's http as a client") else {
        return;
    };
    scenario(async |mesh| {
        let app = app().await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let ports = [pair.caller.outbound_port(), pair.caller.http_proxy_port()]
            .map(|port| port.to_string());
        let said = run_well(command(&node, &["-e", NODE, &ports[0], &ports[1]])).await;
        assert!(said.ends_with("well\n"), "{said}");
        let connections = pair
            .caller
            .metrics()
            .await
            .sum("weft_connections_total", &[]);
        assert!(
            connections <= 20,
            "205 calls took {connections} connections"
        );
    });
}

#[test]
fn a_short_load_of_wrk_meets_no_error() {
    let Some(wrk) = peer::program("wrk", "wrk as a client") else {
        return;
    };
    scenario(async |mesh| {
        // Reads no more than heads, so that the load is on the sidecars.
        let app = TcpApp::start(|stream, _| async move {
            let mut wire = weft_test::http::Wire::new(stream);
            while let Ok(Some(_)) = wire.head().await {
                let bytes = reply(200, &[], b"hello");
                if tokio::io::AsyncWriteExt::write_all(&mut wire.stream, &bytes)
                    .await
                    .is_err()
                {
                    return;
                }
            }
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let url = format!("http://127.0.0.1:{}/", pair.caller.outbound_port());
        let said = run_well(command(
            &wrk,
            &["-t1", "-c16", "-d2s", "-H", "Host: orders", &url],
        ))
        .await;
        assert!(
            !said.contains("Non-2xx") && !said.contains("Socket errors"),
            "{said}"
        );
        let calls: u64 = said
            .lines()
            .find_map(|line| line.trim().split_once(" requests in")?.0.parse().ok())
            .unwrap_or_else(|| panic!("wrk did not count: {said}"));
        assert!(calls > 100, "{said}");
        // What wrk had under way at its end was cut off by itself.
        let metrics = pair.caller.metrics().await;
        assert!(
            metrics.calls(&[("code", "ok")]) >= calls,
            "wrk counted {calls}, the sidecar:\n{metrics}"
        );
        let failed = metrics.calls(&[])
            - metrics.calls(&[("code", "ok")])
            - metrics.calls(&[("code", "cancelled")]);
        assert_eq!(failed, 0, "{metrics}");
    });
}

/// Starts nginx with these servers in its configuration, and waits until `ready` holds.
async fn nginx(mesh: &Mesh, nginx: &Path, servers: &str, ready: impl AsyncFn() -> bool) -> Process {
    let folder = mesh.folder().join("nginx");
    std::fs::create_dir_all(&folder).unwrap();
    let at = folder.display();
    let configuration = format!(
        "daemon off; master_process off; pid {at}/pid; error_log stderr;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/f;\n\
         uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n{servers}\n}}\n"
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, configuration).unwrap();
    let mut process = Process::program(
        "nginx",
        mesh.folder(),
        nginx,
        &["-e", "stderr", "-c", file.to_str().unwrap()],
    );
    until("nginx to serve", async || {
        if let Some(code) = process.ended() {
            panic!("nginx ended with {code:?}: {}", process.written());
        }
        ready().await.then_some(())
    })
    .await;
    process
}

async fn answers(port: u16) -> bool {
    tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .is_ok()
}

#[test]
fn nginx_as_a_client_works_with_http_1_1_and_is_told_so_without() {
    let Some(program) = peer::program("nginx", "nginx as a client") else {
        return;
    };
    scenario(async |mesh| {
        let app = app().await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let (port, outbound) = (free_port(), pair.caller.outbound_port());
        let servers = format!(
            "upstream sidecar {{ server 127.0.0.1:{outbound}; keepalive 8; }}\n\
             server {{ listen 127.0.0.1:{port}; client_max_body_size 10m;\n\
             location /old/ {{ proxy_pass http://sidecar/; proxy_http_version 1.0; proxy_set_header Host orders; }}\n\
             location /new/ {{ proxy_pass http://sidecar/; proxy_http_version 1.1; proxy_set_header Host orders;\n\
             proxy_set_header Connection \"\"; }} }}"
        );
        let _nginx = nginx(mesh, &program, &servers, async || answers(port).await).await;
        let mut caller = weft_test::HttpConnection::open(port).await;
        let old = caller.get("nginx", "/old/").await;
        assert_eq!(
            (old.status, old.field("x-weft-code")),
            (505, Some("version_not_supported"))
        );
        assert!(
            old.text().contains("proxy_http_version 1.1"),
            "{}",
            old.text()
        );
        for length in [0, 10, 500_000] {
            let body = pattern(length);
            let reply = caller.post("nginx", "/new/", &body).await;
            assert!(
                reply.status == 200 && reply.message.body == body,
                "{length} bytes: {}",
                reply.status
            );
        }
        for _ in 0..50 {
            assert_eq!(caller.get("nginx", "/new/chunked").await.text(), "abcdefg");
        }
        let calls = pair.caller.metrics().await;
        assert!(
            calls.sum("weft_connections_total", &[]) < 20,
            "nginx keeps its connections:\n{calls}"
        );
    });
}

#[test]
fn nginx_as_the_app_serves_pages_ranges_and_conditions() {
    let Some(program) = peer::program("nginx", "nginx as an app") else {
        return;
    };
    scenario(async |mesh| {
        let port = free_port();
        let pages = mesh.folder().join("pages");
        std::fs::create_dir_all(&pages).unwrap();
        std::fs::write(pages.join("page.txt"), pattern(1_500_000)).unwrap();
        let servers = format!(
            "server {{ listen 127.0.0.1:{port}; root {}; keepalive_requests 10; sendfile on;\n\
             location /hello {{ return 200 \"from nginx\"; }} }}",
            pages.display()
        );
        let _nginx = nginx(mesh, &program, &servers, async || answers(port).await).await;
        let pair = mesh.pair("orders", "http", port).await;
        let mut caller = pair.caller.outbound().await;
        // More calls than nginx serves on one connection.
        for at in 0..100 {
            let reply = caller.get("orders", "/hello").await;
            assert_eq!(
                (reply.status, reply.text()),
                (200, "from nginx"),
                "call {at}"
            );
        }
        let page = caller.get("orders", "/page.txt").await;
        assert!(
            page.message.body == pattern(1_500_000),
            "the page came otherwise"
        );
        let tag = page.field("etag").unwrap().to_owned();
        let conditional =
            format!("GET /page.txt HTTP/1.1\r\nHost: orders\r\nIf-None-Match: {tag}\r\n\r\n");
        assert_eq!(caller.call(conditional).await.status, 304);
        let range = caller
            .call("GET /page.txt HTTP/1.1\r\nHost: orders\r\nRange: bytes=10-19\r\n\r\n")
            .await;
        assert_eq!(
            (range.status, range.message.body.as_slice()),
            (206, &pattern(20)[10..])
        );
        let head = caller
            .call("HEAD /page.txt HTTP/1.1\r\nHost: orders\r\n\r\n")
            .await;
        assert_eq!(
            (head.status, head.field("content-length")),
            (200, Some("1500000"))
        );
        assert_eq!(caller.get("orders", "/missing").await.status, 404);
        assert_eq!(caller.post("orders", "/page.txt", b"x").await.status, 405);
    });
}

/// An echo server, and a client that speaks with it by the name of its service.
const WEBSOCKETS: &str = "
import asyncio, sys
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

async def echo(peer):
    async for message in peer:
        await peer.send(message)

async def served(port):
    async with serve(echo, '127.0.0.1', port, max_size=None):
        await asyncio.Future()

async def called(port):
    async with connect('ws://orders/', host='127.0.0.1', port=port, proxy=None, max_size=None) as peer:
        for message in ['text', b'bytes', 'x' * 1000000, b'y' * 1000000]:
            await peer.send(message)
            assert await peer.recv() == message, 'the message came back otherwise'
        await (await peer.ping())
        for number in range(1000):
            await peer.send(str(number))
        for number in range(1000):
            assert await peer.recv() == str(number), 'a message is missing'
    assert peer.close_code == 1000, peer.close_code
    print('spoken')

asyncio.run({'serve': served, 'call': called}[sys.argv[1]](int(sys.argv[2])))
";

#[test]
fn python_websockets_speaks_through_both_sidecars() {
    let Some(python) = peer::python_with("websockets", "Python's websockets, both ways") else {
        return;
    };
    scenario(async |mesh| {
        let port = free_port();
        let number = port.to_string();
        let words = ["-c", WEBSOCKETS, "serve", &number];
        let _server = Process::program("websockets", mesh.folder(), &python, &words);
        until("the WebSocket server to serve", async || {
            answers(port).await.then_some(())
        })
        .await;
        let pair = mesh.pair("orders", "http", port).await;
        let outbound = pair.caller.outbound_port().to_string();
        let client = command(&python, &["-c", WEBSOCKETS, "call", &outbound]);
        assert_eq!(run_well(client).await.trim(), "spoken");
        for sidecar in [&pair.caller, &pair.callee] {
            sidecar.expect_calls(1, &[("code", "ok")]).await;
        }
        pair.caller
            .expect_record(&[("status", "101"), ("protocol", "http")])
            .await;
    });
}
