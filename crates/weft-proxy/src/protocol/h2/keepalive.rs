//! Whether the other side of an HTTP/2 connection lives, and how long nobody has called: looked at every now and then.
//! A side of which nothing comes is asked by a PING (RFC 9113 6.7), and what it answers must be taken before it can
//! be asked again. Never in here: what follows, which caller and app have differently.

use std::task::Context;
use std::time::Duration;

/// How often a connection is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(15);

/// What is known of one connection from its last looks.
pub(super) struct Keepalive {
    /// None when h2 has given it away before.
    ping: Option<h2::PingPong>,
    /// Bytes that had come.
    received: u64,
    /// Nothing had come, and a PING was sent.
    pinged: bool,
    /// How long there has been no call.
    idle: Duration,
}

impl Keepalive {
    pub(super) fn new(ping: Option<h2::PingPong>) -> Self {
        Self {
            ping,
            received: 0,
            pinged: false,
            idle: Duration::ZERO,
        }
    }

    /// There was a call since the last look.
    pub(super) fn called(&mut self) {
        self.idle = Duration::ZERO;
    }

    /// Looks once, [`LOOK_EVERY`] after the time before. `received` counts all bytes that came; `is_called` says whether
    /// calls are under way. How long there has been none; `None` when a PING was not answered.
    pub(super) fn look(
        &mut self,
        received: u64,
        is_called: bool,
        cx: &mut Context<'_>,
    ) -> Option<Duration> {
        let silent = received == std::mem::replace(&mut self.received, received);
        if silent && self.pinged {
            return None;
        }
        self.pinged = silent && self.send_ping(cx);
        self.idle = if is_called {
            Duration::ZERO
        } else {
            self.idle + LOOK_EVERY
        };
        Some(self.idle)
    }

    /// Whether a PING leaves: h2 sends none while the answer to the one before is not taken.
    fn send_ping(&mut self, cx: &mut Context<'_>) -> bool {
        self.ping.as_mut().is_some_and(|ping| {
            // Not there before the first one, and not needed: that one is free to leave.
            let _ = ping.poll_pong(cx);
            ping.send_ping(h2::Ping::opaque()).is_ok()
        })
    }
}

#[cfg(test)]
mod tests;
