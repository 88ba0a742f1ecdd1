//! The own cases once more, through two real sidecars and the link between them, in both directions.
//!
//! Requests go from a caller to an app that records what arrives; replies from an app that says any bytes to a
//! caller. Judged is what comes out at the other end: nothing that the codec refuses, and of the rest the same
//! meaning, apart from the fields that the mesh adds. Never looks inside of a sidecar.

use super::cases::{self, Case};
use super::conversation::{Conversation, Direction, Meaning, Reader, read};
use crate::conform::rows::Report;
use crate::drill::mesh::{Instance, Mesh, ends_at_once};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use weft_codec::http1::http1_prefix;
use weft_codec::sniff::Prefix;

/// How long one side waits for bytes of the other.
const WITHIN: Duration = Duration::from_secs(5);

/// What the own cases call: each is a service here, or they would leave the mesh.
const SERVICES: [&str; 2] = ["a", "b"];

/// The service whose app says the replies of the cases.
const SPEAKER: &str = "speaker";

/// What the mesh adds to a request or a reply, or takes from it.
const OF_THE_MESH: [&str; 4] = ["x-forwarded-for", "x-request-id", "x-weft-caller", "date"];

/// What the app replies to every request.
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What went wrong, counted.
#[derive(Default)]
struct Count {
    cases: u64,
    /// Refused by the codec, and yet something arrived.
    through: u64,
    /// Arrived with another meaning, or not at all.
    otherwise: u64,
    /// The other side was not told, or not cleanly.
    told_otherwise: u64,
}

/// Runs both directions.
pub(super) fn run(binary: &Path, report: &mut Report) -> Result<(), String> {
    let recorder = Recorder::start()?;
    let speaker = Speaker::start()?;
    let mesh = Mesh::new(binary, "conform-h1")?;
    let _center = mesh.start_center()?;
    let mut called = Vec::new();
    for (service, port) in SERVICES
        .map(|service| (service, recorder.port))
        .into_iter()
        .chain([(SPEAKER, speaker.port)])
    {
        let mut flags = ends_at_once();
        flags.extend(["--port".to_owned(), format!("http={port}")]);
        called.push(mesh.start_instance(service, &flags, &[])?);
    }
    let caller = mesh.start_instance("web", &ends_at_once(), &[])?;
    let outbound = caller.address("outbound");
    speaker.say(OK);
    for service in SERVICES.into_iter().chain([SPEAKER]) {
        let request = format!("GET / HTTP/1.1\r\nHost: {service}\r\n\r\n");
        mesh.wait_for("a reply through both sidecars", || {
            let replies = exchange(outbound, request.as_bytes(), 1, false).ok()?;
            replies
                .messages
                .iter()
                .any(|reply| reply.start == "200")
                .then_some(())
        })?;
    }
    let (mut requests, mut replies) = (Count::default(), Count::default());
    for case in cases::all() {
        let faults = match case.direction {
            Direction::Requests => request(&case, outbound, &recorder, &mut requests)?,
            Direction::Replies { to_head } => {
                reply(&case, to_head, outbound, &speaker, &mut replies)?
            }
        };
        let tell = |fault| format!("over the link, \"{}\": {fault}", case.name);
        report.faults.extend(faults.into_iter().map(tell));
    }
    requests.tell("requests", report);
    replies.tell("replies", report);
    let ready = called.iter().chain([&caller]).all(Instance::is_ready);
    report.at_most(
        "over the link: sidecars not ready at the end",
        u64::from(!ready),
        0,
    );
    Ok(())
}

impl Count {
    fn tell(&self, what: &str, report: &mut Report) {
        report.at_least(&format!("over the link: {what}"), self.cases, 100);
        for (name, count) in [
            ("invalid through", self.through),
            ("arrived with another meaning", self.otherwise),
            ("told otherwise", self.told_otherwise),
        ] {
            report.at_most(&format!("over the link: {what}, {name}"), count, 0);
        }
    }
}

/// Sends the requests of a case, and compares what the app saw.
fn request(
    case: &Case,
    outbound: SocketAddr,
    recorder: &Recorder,
    count: &mut Count,
) -> Result<Vec<String>, String> {
    let expected = read(case.direction, [case.input.as_slice()]);
    // What is asked of a HEAD, and of a name that is no service here, is another suite's.
    let is_ours = |message: &Meaning| {
        !message.start.starts_with("HEAD ")
            && SERVICES
                .iter()
                .any(|service| message.start.ends_with(&format!(" at {service}")))
    };
    if !expected.messages.iter().all(is_ours) {
        return Ok(Vec::new());
    }
    count.cases += 1;
    recorder.forget();
    // Bytes that begin no request belong to no protocol: a port that detects closes without a word.
    if http1_prefix(&case.input) == Prefix::Mismatch {
        let replies = exchange(outbound, &case.input, 1, false)?;
        let silent = replies.messages.is_empty() && recorder.seen().is_empty();
        count.through += u64::from(!silent);
        return Ok((!silent)
            .then(|| "it went on".to_owned())
            .into_iter()
            .collect());
    }
    let mut faults = Vec::new();
    let awaited = expected.messages.len() + usize::from(expected.refused.is_some());
    let replies = exchange(outbound, &case.input, awaited, expected.cut)?;
    let arrived = recorder.seen();
    if arrived.len() > expected.messages.len() {
        count.through += 1;
        faults.push(format!(
            "the app got {:?}",
            arrived.last().map(Meaning::told)
        ));
    }
    let same = expected
        .messages
        .iter()
        .zip(&arrived)
        .all(|(one, other)| arrives_as(one, other));
    if !same || arrived.len() < expected.messages.len() {
        count.otherwise += 1;
        let told: Vec<String> = arrived.iter().map(Meaning::told).collect();
        faults.push(format!(
            "expected `{}`, the app got `{}`",
            case.expect,
            told.join(" | ")
        ));
    }
    let statuses: Vec<&str> = finals(&replies).map(|reply| reply.start.as_str()).collect();
    let well = statuses
        .iter()
        .take_while(|status| **status == "200")
        .count();
    let refused = statuses.get(well..).unwrap_or_default();
    // Which 4xx or 5xx it is, the table of failures says, and not the codec.
    let is_right = match (refused, expected.refused) {
        ([], None) => true,
        ([status], Some(_)) => status.starts_with(['4', '5']),
        _ => false,
    };
    if !expected.cut && (well != expected.messages.len() || !is_right) {
        count.told_otherwise += 1;
        faults.push(format!(
            "expected replies to `{}`, got {statuses:?}",
            case.expect
        ));
    }
    Ok(faults)
}

/// Has the app say the replies of a case to one call, and compares what the caller got.
fn reply(
    case: &Case,
    to_head: bool,
    outbound: SocketAddr,
    speaker: &Speaker,
    count: &mut Count,
) -> Result<Vec<String>, String> {
    count.cases += 1;
    let expected = read(case.direction, [case.input.as_slice()]);
    speaker.say(&case.input);
    let method = if to_head { "HEAD" } else { "POST" };
    let request = format!(
        "{method} / HTTP/1.1\r\nHost: {SPEAKER}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let got = exchange_as(
        case.direction,
        outbound,
        request.as_bytes(),
        usize::MAX,
        false,
    )?;
    let right = finals(&expected).next();
    let found = finals(&got).next();
    let told = || {
        format!(
            "expected `{}`, the caller got `{}`",
            case.expect,
            super::told(&got)
        )
    };
    Ok(match (right, found) {
        (Some(right), Some(found)) if right.start == found.start => {
            if arrives_as(right, found) {
                Vec::new()
            } else {
                count.otherwise += 1;
                vec![told()]
            }
        }
        (Some(_), _) => {
            count.otherwise += 1;
            vec![told()]
        }
        // Nothing final was right: a failure, or what had begun is cut.
        (None, Some(found)) if is_failure(found) => Vec::new(),
        (None, Some(_)) => {
            count.through += 1;
            vec![told()]
        }
        (None, None) if got.cut => Vec::new(),
        (None, None) => {
            count.told_otherwise += 1;
            vec![told()]
        }
    })
}

fn finals(conversation: &Conversation) -> impl Iterator<Item = &Meaning> {
    conversation
        .messages
        .iter()
        .filter(|message| message.is_final())
}

fn is_failure(reply: &Meaning) -> bool {
    reply.start.starts_with('5') && reply.fields.iter().any(|(name, _)| name == b"x-weft-code")
}

/// Whether a message came out as it went in, but for what the mesh adds.
fn arrives_as(sent: &Meaning, arrived: &Meaning) -> bool {
    let strip = |message: &Meaning| {
        let mut message = message.clone();
        message.fields.retain(|(name, _)| {
            let name = String::from_utf8_lossy(name).into_owned();
            !OF_THE_MESH.contains(&name.as_str()) && !name.starts_with("x-weft-")
        });
        message
    };
    strip(sent).means_the_same(&strip(arrived))
}

/// Says bytes to a sidecar and reads what it answers, until so many final replies have come or it ends.
fn exchange(
    to: SocketAddr,
    bytes: &[u8],
    replies: usize,
    ends: bool,
) -> Result<Conversation, String> {
    let direction = Direction::Replies { to_head: false };
    exchange_as(direction, to, bytes, replies, ends)
}

fn exchange_as(
    direction: Direction,
    to: SocketAddr,
    bytes: &[u8],
    replies: usize,
    ends: bool,
) -> Result<Conversation, String> {
    let told = |error: std::io::Error| format!("exchange with {to}: {error}");
    let mut stream = TcpStream::connect(to).map_err(told)?;
    stream.set_read_timeout(Some(WITHIN)).map_err(told)?;
    // A sidecar may refuse and close before it has read all.
    let _ = stream.write_all(bytes);
    if ends {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut all = Vec::new();
    let mut reader = Reader::new(direction);
    let mut chunk = [0; 16 * 1024];
    while finals(&reader.conversation).count() < replies {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => {
                all.extend_from_slice(&chunk[..count]);
                if !reader.feed(&chunk[..count]) {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => return Err(told(error)),
        }
    }
    Ok(read(direction, [all.as_slice()]))
}

/// An app that answers every request with 200 and keeps what it read.
struct Recorder {
    port: u16,
    seen: Arc<Mutex<Vec<Meaning>>>,
}

impl Recorder {
    fn start() -> Result<Self, String> {
        let seen: Arc<Mutex<Vec<Meaning>>> = Arc::default();
        let kept = Arc::clone(&seen);
        let port = serve(move |mut stream| {
            let mut reader = Reader::with_more_fields(Direction::Requests);
            let mut chunk = [0; 16 * 1024];
            let mut told = 0;
            while let Ok(count) = stream.read(&mut chunk) {
                if count == 0 {
                    return;
                }
                let goes_on = reader.feed(&chunk[..count]);
                for message in reader.conversation.messages.iter().skip(told) {
                    lock(&kept).push(message.clone());
                    told += 1;
                    if stream.write_all(OK).is_err() {
                        return;
                    }
                }
                if !goes_on {
                    return;
                }
            }
        })?;
        Ok(Self { port, seen })
    }

    fn forget(&self) {
        lock(&self.seen).clear();
    }

    fn seen(&self) -> Vec<Meaning> {
        lock(&self.seen).clone()
    }
}

/// An app that says any bytes to each request, and closes.
struct Speaker {
    port: u16,
    says: Arc<Mutex<Vec<u8>>>,
}

impl Speaker {
    fn start() -> Result<Self, String> {
        let says: Arc<Mutex<Vec<u8>>> = Arc::default();
        let said = Arc::clone(&says);
        let port = serve(move |mut stream| {
            let mut reader = Reader::new(Direction::Requests);
            let mut chunk = [0; 16 * 1024];
            while reader.conversation.messages.is_empty() {
                match stream.read(&mut chunk) {
                    Ok(0) | Err(_) => return,
                    Ok(count) => {
                        reader.feed(&chunk[..count]);
                    }
                }
            }
            let bytes = lock(&said).clone();
            // Whoever has read enough closes first.
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(Shutdown::Write);
            while matches!(stream.read(&mut chunk), Ok(count) if count > 0) {}
        })?;
        Ok(Self { port, says })
    }

    fn say(&self, bytes: &[u8]) {
        *lock(&self.says) = bytes.to_vec();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves each connection on a thread of its own until this process ends; the port.
fn serve(connection: impl Fn(TcpStream) + Send + Sync + 'static) -> Result<u16, String> {
    let told = |error| format!("listen as an app: {error}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(told)?;
    let port = listener.local_addr().map_err(told)?.port();
    let connection = Arc::new(connection);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = Arc::clone(&connection);
            let limits = stream.set_read_timeout(Some(WITHIN));
            std::thread::spawn(move || {
                if limits.is_ok() {
                    connection(stream);
                }
            });
        }
    });
    Ok(port)
}
