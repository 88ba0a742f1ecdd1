//! The socket on which the CLI asks a host agent for something: a Unix socket in the sidecar's runtime folder,
//! for its user alone; one JSON line each way (messages: weft-api, `agent.rs`).
//!
//! Nothing on the path of a call uses it. An agent that cannot open it runs without, and says so.

use crate::folders::Folders;
use crate::runtime_file::RuntimeFile;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use weft_api::agent::{AgentAnswer, AgentRequest, LINE_BYTES_MAX};

/// Those who ask at the same time, at the most.
const ASKERS_MAX: usize = 8;
/// How long one may take to say what is wanted.
const REQUEST_MAX: Duration = Duration::from_secs(5);
/// How long an answer may take: a sidecar's start is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// How long an agent may take to end once it said that it does.
const END_MAX: Duration = Duration::from_mins(10);
/// After an accept that failed (no descriptors), the next one waits.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A request with the way back.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: AgentRequest,
    pub(crate) answer: oneshot::Sender<AgentAnswer>,
}

/// Listens at this path; requests go to the queue.
pub(crate) fn listen(path: &Path, queue: mpsc::Sender<Asked>) -> io::Result<()> {
    // Whoever claimed the slot is its only agent: what lies there is of one that died.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    let room = Arc::new(Semaphore::new(ASKERS_MAX));
    tokio::spawn(async move {
        while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let queue = queue.clone();
            tokio::spawn(async move {
                serve(stream, queue).await;
                drop(permit);
            });
        }
    });
    Ok(())
}

async fn serve(stream: UnixStream, queue: mpsc::Sender<Asked>) -> Option<()> {
    let mut stream = tokio::io::BufReader::new(stream);
    let mut line = Vec::new();
    let mut limited = (&mut stream).take(LINE_BYTES_MAX as u64);
    let read = limited.read_until(b'\n', &mut line);
    tokio::time::timeout(REQUEST_MAX, read).await.ok()?.ok()?;
    let request = serde_json::from_slice(&line).unwrap_or(AgentRequest::Unknown);
    let is_drain = request == AgentRequest::Drain;
    let (answer, answered) = oneshot::channel();
    queue.send(Asked { request, answer }).await.ok()?;
    let answer = answered.await.ok()?;
    let mut text = serde_json::to_vec(&answer).ok()?;
    text.push(b'\n');
    stream.get_mut().write_all(&text).await.ok()?;
    if is_drain {
        // Held open: its end is the agent's, which is what the asker waits for. One who leaves gives it back.
        let mut rest = [0_u8; 1];
        let _ = stream.read(&mut rest).await;
    }
    Some(())
}

/// Why an agent did not do what it was asked for: what was found, and what to do next.
#[derive(Debug)]
pub enum AskError {
    /// The instance that is meant is not on this machine, or not alone.
    NotHere(String),
    /// Its agent could not be asked, or refused.
    Refused(String),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::NotHere(text) | Self::Refused(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for AskError {}

/// Asks the agent of an instance on this machine; its answer. A drain is waited for to the agent's end.
/// `instance` is the instance's id, or its service when it is the only one here.
pub fn ask(folders: &Folders, instance: &str, request: &AgentRequest) -> Result<String, AskError> {
    let path = find(folders, instance)?;
    let failed = |error: io::Error| {
        AskError::Refused(format!(
            "cannot ask the host agent of {instance} at {}: {error}; is its \"weft run\" still there?",
            path.display()
        ))
    };
    let mut stream = StdStream::connect(&path).map_err(failed)?;
    stream.set_read_timeout(Some(ANSWER_MAX)).map_err(failed)?;
    let mut line = serde_json::to_vec(request).map_err(|error| failed(error.into()))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(failed)?;
    let mut text = String::new();
    let mut lines = BufReader::new(stream);
    (&mut lines)
        .take(LINE_BYTES_MAX as u64)
        .read_line(&mut text)
        .map_err(failed)?;
    let answer: AgentAnswer = serde_json::from_str(&text).map_err(|error| failed(error.into()))?;
    if !answer.done {
        return Err(AskError::Refused(format!("{instance}: {}", answer.text)));
    }
    if *request == AgentRequest::Drain {
        let stream = lines.get_ref();
        stream.set_read_timeout(Some(END_MAX)).map_err(failed)?;
        let mut rest = Vec::new();
        lines.read_to_end(&mut rest).map_err(failed)?;
    }
    Ok(answer.text)
}

/// The socket of the agent that is meant.
fn find(folders: &Folders, instance: &str) -> Result<PathBuf, AskError> {
    let entries = std::fs::read_dir(&folders.runtime).into_iter().flatten();
    let files: Vec<RuntimeFile> = entries
        .flatten()
        .filter_map(|entry| RuntimeFile::read(&entry.path()))
        .collect();
    let by_service = || files.iter().filter(|file| file.service == instance);
    let found = match (
        files.iter().find(|file| file.instance == instance),
        by_service().count(),
    ) {
        (Some(file), _) => Some(file),
        (None, 1) => by_service().next(),
        (None, _) => None,
    };
    let Some(file) = found else {
        let mut known: Vec<&str> = files.iter().map(|file| file.instance.as_str()).collect();
        known.sort_unstable();
        let known = if known.is_empty() {
            "none".into()
        } else {
            known.join(", ")
        };
        return Err(AskError::NotHere(format!(
            "no single instance \"{instance}\" on this machine; there are: {known}. Ask on the machine and as \
             the user of its \"weft run\""
        )));
    };
    file.socket.clone().ok_or_else(|| {
        AskError::Refused(format!(
            "the host agent of {instance} has no socket to be asked at; send SIGTERM to it (pid {}) to drain",
            file.pid
        ))
    })
}
