//! `drill health`: how fast callers know, from sidecar to sidecar, without the center.
//!
//! An app is killed while a thousand callers have a link to its sidecar: light links of this process, which only
//! listen. And a sidecar is stopped with its agent under load, which to its callers is a black hole: the kernel takes
//! their bytes, and nothing comes back. Packets that are really dropped are in `lost.rs`.

use super::clients::{RATE, both, summed_up, told, warm_up};
use super::load::{Load, Target};
use super::mesh::{Mesh, READY_WITHIN, SERVICE, app_words, ends_at_once, port_flags};
use super::rows::Rows;
use crate::bench::processes::{free_port, now, signal_to, wait_for};
use bytes::Bytes;
use rustix::process::Signal;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;
use tokio::time::timeout;
use weft_codec::Fields;
use weft_codec::link::{Frame, HealthState, Hello, LINK_VERSION, Step, decode, write_hello};

/// Links that hear of the app's death.
const CALLERS: usize = 1000;

/// Called instances while one of them is silent.
const CALLEES: usize = 3;

/// How long it is silent: shorter than links live in silence.
const SILENT_FOR: Duration = Duration::from_secs(3);

/// Rounds whose median counts in the full form.
const ROUNDS_FULL: usize = 5;

const KNOWN_MS_MAX: f64 = 100.0;
const LEFT_MS_MAX: f64 = 500.0;

/// Runs the drill.
pub(super) fn run(binary: &Path, rows: &mut Rows) -> Result<(), String> {
    let rounds = if rows.full() { ROUNDS_FULL } else { 1 };
    for _ in 0..rounds {
        let mesh = Mesh::new(binary, "health")?;
        app_killed(&mesh, rows).map_err(|error| format!("{error}\n{}", mesh.logs()))?;
        let mesh = Mesh::new(binary, "health-silent")?;
        silent(&mesh, rows).map_err(|error| format!("{error}\n{}", mesh.logs()))?;
    }
    super::lost::run(binary, rows)
}

fn app_killed(mesh: &Mesh, rows: &mut Rows) -> Result<(), String> {
    let (http, motan) = (free_port()?, free_port()?);
    let restarts = ["--restart", "always"].map(str::to_owned).to_vec();
    let flags = [port_flags(http, motan), ends_at_once(), restarts].concat();
    let _center = mesh.start_center()?;
    let instance = mesh.start_instance(SERVICE, &flags, &app_words(http, motan, "app"))?;
    mesh.wait_for("the app", || {
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, motan)).ok()
    })?;
    let sidecar = instance.sidecar_pid();
    let agent = instance.agent.pid();
    let path = format!("/proc/{agent}/task/{agent}/children");
    let children = fs::read_to_string(&path).map_err(|error| format!("read {path}: {error}"))?;
    let mut children = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    let app = children.find(|pid| Some(*pid) != sidecar);
    let app: u32 = app.ok_or("the agent has no app")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("start a runtime: {error}"))?;
    let took = LocalSet::new().block_on(&runtime, async {
        let known = killed_to_known(instance.address("inbound"), app);
        timeout(READY_WITHIN, known)
            .await
            .unwrap_or_else(|_| Err("not every caller heard of the app's death".to_owned()))
    })?;
    let name = format!("app killed: {CALLERS} callers know, ms");
    rows.time(&name, took.as_secs_f64() * 1000.0, KNOWN_MS_MAX);
    Ok(())
}

/// Opens the links, kills the app; how long until the last one has heard of it.
async fn killed_to_known(inbound: SocketAddr, app: u32) -> Result<Duration, String> {
    let (greeted, mut greetings) = unbounded_channel();
    let (heard, mut hearings) = unbounded_channel();
    for _ in 0..CALLERS {
        let link = link(inbound, greeted.clone(), heard.clone());
        tokio::task::spawn_local(async move {
            // One that breaks is missed by those who count.
            let _ = link.await;
        });
        // One after the other: a thousand connects at once would only measure the queue.
        greetings.recv().await.ok_or("a link said nothing")?;
    }
    let killed = now();
    signal_to(app, Signal::KILL);
    let mut last = killed;
    for _ in 0..CALLERS {
        last = last.max(hearings.recv().await.ok_or("a link has ended")?);
    }
    Ok(last - killed)
}

/// One link: tells once that it is open, and once when it heard that the instance takes no calls.
async fn link(
    inbound: SocketAddr,
    greeted: UnboundedSender<()>,
    heard: UnboundedSender<Instant>,
) -> Result<(), Box<dyn std::error::Error>> {
    let stream = TcpStream::connect(inbound).await?;
    let (client, connection) = h2::client::handshake(stream).await?;
    tokio::task::spawn_local(async move {
        // How it ends is told by its stream.
        let _ = connection.await;
    });
    let mut client = client.ready().await?;
    let request = http::Request::post(format!("http://{inbound}/weft.link.v1.Link/Open"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let (response, mut send) = client.send_request(request, false)?;
    let said = Hello {
        version: LINK_VERSION,
        namespace: b"default",
        service: b"caller",
        instance: b"caller-1",
        incarnation: 1,
        ..Hello::default()
    };
    let mut hello = Vec::new();
    write_hello(&said, &mut hello);
    send.send_data(Bytes::from(hello), false)?;
    let mut body = response.await?.into_body();
    let (mut bytes, mut fields) = (Vec::new(), Fields::new());
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        bytes.extend_from_slice(&piece);
        let mut taken = 0;
        while let Ok(Step::Frame(frame, count)) = decode(&bytes[taken..], &mut fields) {
            taken += count;
            match frame {
                Frame::Hello(_) => greeted.send(())?,
                Frame::Health(health) if health.state == HealthState::AppDead => {
                    heard.send(now())?;
                }
                _ => {}
            }
        }
        bytes.drain(..taken);
    }
    Ok(())
}

fn silent(mesh: &Mesh, rows: &mut Rows) -> Result<(), String> {
    let _center = mesh.start_center()?;
    let mut apps = Vec::new();
    let mut callees = Vec::new();
    for index in 0..CALLEES {
        let app = mesh.start_app(&format!("app-{index}"))?;
        let flags = [app.flags(), ends_at_once()].concat();
        callees.push(mesh.start_instance(SERVICE, &flags, &[])?);
        apps.push(app);
    }
    let caller = mesh.start_instance("caller", &ends_at_once(), &[])?;
    let target = Target::at(caller.address("outbound"));
    warm_up(&target)?;
    let load = Load::start(target, both(false), RATE)?;
    wait_for("calls for every instance", READY_WITHIN, || {
        (load.counts().answered_by.len() >= CALLEES).then_some(())
    })?;
    std::thread::sleep(Duration::from_secs(1));
    let agent = callees[0].agent.pid();
    let sidecar = callees[0]
        .sidecar_pid()
        .ok_or("the sidecar is not running")?;
    load.counts().take_slowest();
    let stopped = now();
    // The agent first: it would kill a sidecar that hangs.
    for pid in [agent, sidecar] {
        signal_to(pid, Signal::STOP);
    }
    std::thread::sleep(SILENT_FOR);
    let slowest = load.counts().take_slowest();
    // What still waits for the silent one is told when it speaks again.
    for pid in [sidecar, agent] {
        signal_to(pid, Signal::CONT);
    }
    let counts = load.end();
    let left_after = stopped + Duration::from_secs_f64(LEFT_MS_MAX / 1000.0);
    let failed = |which: &dyn Fn(&super::load::Failure) -> bool| {
        counts
            .failures
            .iter()
            .filter(|failure| which(failure))
            .count() as f64
    };
    let idempotent = failed(&|failure| failure.kind.idempotent);
    let late = failed(&|failure| failure.began > left_after);
    rows.time(
        "silent sidecar: slowest idempotent call, ms",
        slowest.as_secs_f64() * 1000.0,
        LEFT_MS_MAX,
    );
    rows.count("silent sidecar: idempotent calls failed", idempotent, 0.0);
    rows.count("silent sidecar: calls failed that began later", late, 0.0);
    let why = counts.failures.iter();
    let why = why.map(|failure| told(failure, [stopped].into_iter(), "the stop"));
    for why in summed_up(why.collect()) {
        rows.note(why);
    }
    Ok(())
}
