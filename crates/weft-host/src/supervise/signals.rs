//! Which signals the agent listens to, and which of them the terminal has already sent to the app.

use super::Event;
use rustix::process::Signal;
use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// What is forwarded to the app.
const FORWARDED: [Signal; 7] = [
    Signal::TERM,
    Signal::INT,
    Signal::QUIT,
    Signal::HUP,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
];

/// Listens to the signals that are forwarded, and to the ends of children.
pub(super) fn listen(events: &mpsc::Sender<Event>) -> io::Result<()> {
    let mut children = signal(SignalKind::child())?;
    let queue = events.clone();
    tokio::spawn(async move {
        while children.recv().await.is_some() {
            if queue.send(Event::Child).await.is_err() {
                return;
            }
        }
    });
    for forwarded in FORWARDED {
        let mut stream = signal(SignalKind::from_raw(forwarded.as_raw()))?;
        let queue = events.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if queue.send(Event::Signal(forwarded)).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(())
}

/// A terminal sends these to every process in its foreground group, the app included; forwarding them would
/// make one Ctrl-C two.
pub(super) fn terminal_has_sent(signal: Signal) -> bool {
    let by_terminal = [Signal::INT, Signal::QUIT, Signal::WINCH].contains(&signal);
    by_terminal && is_foreground()
}

fn is_foreground() -> bool {
    let own = rustix::process::getpgrp();
    rustix::termios::tcgetpgrp(io::stdin()).is_ok_and(|group| group == own)
}
