//! Whether an app still works, when a person named a check: a connection that is taken, or an HTTP answer. An app
//! that stands still without ending is found by this alone.
//!
//! Of an answer only the status line is looked at. Never in here: what follows from it (`supervise/checking.rs`).

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one look may take; one that takes longer has failed.
const LOOK_MAX: Duration = Duration::from_secs(1);
/// How often an app is looked at that has not passed yet; `interval` holds after that.
const LOOK_FAST: Duration = Duration::from_millis(250);
/// Bytes of a status line that are looked at: `HTTP/1.1 200`.
const STATUS_BYTES: usize = 12;

/// How an app is checked, and how patiently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// How it is looked at.
    pub probe: Probe,
    /// The port, when the probe names none.
    pub port: u16,
    /// The time from one look to the next.
    pub interval: Duration,
    /// Looks in a row that must fail before the app counts as dead.
    pub failures: u32,
    /// How long an app that was started may take until it passes for the first time.
    pub grace: Duration,
}

/// How an app is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It takes a connection.
    Tcp {
        /// At this port; by default the first one declared.
        port: Option<u16>,
    },
    /// It answers this path with a status from 200 to 399.
    Http {
        /// At this port; by default the first one declared.
        port: Option<u16>,
        /// The path.
        path: String,
    },
}

impl Probe {
    /// The port that it names.
    pub fn port(&self) -> Option<u16> {
        let (Self::Tcp { port } | Self::Http { port, .. }) = self;
        *port
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.port()) {
            (Self::Tcp { .. }, None) => write!(f, "tcp"),
            (Self::Tcp { .. }, Some(port)) => write!(f, "tcp:{port}"),
            (Self::Http { path, .. }, None) => write!(f, "http:{path}"),
            (Self::Http { path, .. }, Some(port)) => write!(f, "http:{port}{path}"),
        }
    }
}

impl FromStr for Probe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write tcp, tcp:8080, http:/live or http:8080/live".to_owned();
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let slash = rest.find('/').unwrap_or(rest.len());
        let (port, path) = rest.split_at(slash);
        let port = match port {
            "" => None,
            digits => Some(digits.parse().ok().filter(|p| *p != 0).ok_or_else(wrong)?),
        };
        let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
        match kind {
            "tcp" if path.is_empty() && (port.is_some() || !text.contains(':')) => {
                Ok(Self::Tcp { port })
            }
            "http" if is_path => Ok(Self::Http {
                port,
                path: path.to_owned(),
            }),
            _ => Err(wrong()),
        }
    }
}

impl Check {
    /// Looks once; what was found when it fails.
    pub(crate) async fn look(&self) -> Result<(), String> {
        match timeout(LOOK_MAX, self.ask()).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer in {LOOK_MAX:?}")),
        }
    }

    /// The time until the next look.
    pub(crate) fn pause(&self, has_passed: bool) -> Duration {
        if has_passed {
            self.interval
        } else {
            self.interval.min(LOOK_FAST)
        }
    }

    async fn ask(&self) -> Result<(), String> {
        let port = self.probe.port().unwrap_or(self.port);
        let failed = |error: io::Error| error.to_string();
        let mut stream = match connect(Ipv4Addr::LOCALHOST.into(), port).await {
            Ok(stream) => stream,
            Err(error) => connect(Ipv6Addr::LOCALHOST.into(), port)
                .await
                .map_err(|_| failed(error))?,
        };
        let Probe::Http { path, .. } = &self.probe else {
            return Ok(());
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: weft-check\r\nAccept: */*\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        let mut status = [0; STATUS_BYTES];
        stream.read_exact(&mut status).await.map_err(failed)?;
        match status.strip_prefix(b"HTTP/1.") {
            Some([b'0' | b'1', b' ', b'2' | b'3', _, _]) => Ok(()),
            Some([_, b' ', code @ ..]) => Err(format!("status {}", code.escape_ascii())),
            _ => Err("no HTTP answer".into()),
        }
    }
}

async fn connect(address: IpAddr, port: u16) -> io::Result<TcpStream> {
    TcpStream::connect(SocketAddr::new(address, port)).await
}

/// What the looks at one app come to.
#[derive(Debug)]
pub(crate) struct Verdicts {
    failures_max: u32,
    /// Failures do not count before the app passed, until then.
    grace_until: Instant,
    failures: u32,
    has_passed: bool,
}

impl Verdicts {
    /// Of an app that starts now.
    pub(crate) fn begin(check: &Check, now: Instant) -> Self {
        Self {
            failures_max: check.failures.max(1),
            grace_until: now + check.grace,
            failures: 0,
            has_passed: false,
        }
    }

    /// One more look; whether the app counts as dead now.
    pub(crate) fn take(&mut self, passed: bool, now: Instant) -> bool {
        if passed {
            self.has_passed = true;
            self.failures = 0;
            return false;
        }
        if self.has_passed || now >= self.grace_until {
            self.failures = self.failures.saturating_add(1);
        }
        self.failures >= self.failures_max
    }
}

#[cfg(test)]
mod tests;
