//! The floods of frames against others, in the full form: Envoy as a sidecar of the same app, and the h2 crate as an
//! origin, on the settings they come with. Columns beside weft's, shown and never judged.
//!
//! What these have processed they do not tell; so a column says whether the attacker was cut off, what memory it cost,
//! what reached the app, and what who stood by saw.

use super::bystander::Seen;
use super::http2::attackers;
use super::plans::{self, Plan};
use super::slow::stall;
use super::stand::{Stand, watch};
use crate::bench::envoy::{Envoy, Next};
use crate::bench::processes::{Backend, wait_for};
use crate::drill::rows::Rows;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long the app may take to end what one attack has begun, before the next one.
const QUIET_WITHIN: Duration = Duration::from_secs(20);

/// What one attack did to one of them.
pub(super) struct Figures {
    /// Attackers that were cut off, of so many; none where that is not asked.
    pub(super) closed: Option<(usize, usize)>,
    pub(super) peak_kib: f64,
    /// Requests that the app saw; none where there is no app behind.
    pub(super) reached: Option<f64>,
    /// None where nobody can stand by.
    pub(super) seen: Option<Seen>,
}

impl Figures {
    fn told(&self) -> String {
        let closed = self
            .closed
            .map_or_else(String::new, |(closed, of)| format!("{closed}/{of} cut, "));
        let reached = self
            .reached
            .map_or_else(String::new, |reached| format!(", {reached} reached"));
        let seen = self.seen.as_ref().map_or_else(String::new, |seen| {
            format!(", p99 {:.1} ms, {} errors", seen.p99_ms, seen.errors)
        });
        format!("{closed}{:+.1} MB{reached}{seen}", self.peak_kib / 1000.0)
    }
}

/// A process that is attacked in weft's place.
struct Peer<'a> {
    name: &'static str,
    address: SocketAddr,
    pid: u32,
    /// The stand whose app is behind it; none where it is the app.
    behind: Option<&'a Stand>,
}

/// Attacks the others, and notes a line for each attack with a column for each.
pub(super) fn run(stand: &Stand, rows: &mut Rows) -> Result<(), String> {
    let envoy = Envoy::start("attack-envoy", Next::App(stand.app_port()))?;
    let origin = Backend::start("0-1", "h2")?;
    let peers = [
        Peer {
            name: "Envoy",
            address: envoy.address,
            pid: envoy.pid(),
            behind: Some(stand),
        },
        Peer {
            name: "the h2 crate",
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, origin.port)),
            pid: origin.pid(),
            behind: None,
        },
    ];
    for (title, weft) in stand.take_figures() {
        let mut columns = vec![format!("{title} | weft: {}", weft.told())];
        for peer in &peers {
            let column = match plans::all().iter().find(|plan| plan.title() == title) {
                Some(plan) => peer.flood(plan),
                // A reply that its origin has whole in memory says nothing.
                None if peer.behind.is_none() => continue,
                None => peer.stall(&title),
            };
            let column = column.map_or_else(|error| error, |figures| figures.told());
            columns.push(format!("{}: {column}", peer.name));
        }
        rows.note(columns.join(" | "));
    }
    Ok(())
}

impl Peer<'_> {
    fn flood(&self, plan: &Plan) -> Result<Figures, String> {
        let connections = plan.connections.0;
        self.figures(|| attackers(self.address, plan, plan.units.0, connections))
            .map(|(closed, figures)| Figures {
                closed: Some((closed, connections)),
                ..figures
            })
    }

    fn stall(&self, title: &str) -> Result<Figures, String> {
        let window = u32::from(title.starts_with("A10b"));
        self.figures(|| stall(self.address, window, 20))
            .map(|((), figures)| figures)
    }

    fn figures<T>(
        &self,
        attack: impl FnOnce() -> Result<T, String>,
    ) -> Result<(T, Figures), String> {
        let app = self.behind.map(|stand| &stand.app);
        let before = app.map(|app| app.reached.load(Relaxed));
        let (result, watched) = watch(self.pid, app.map(|_| self.address), attack)?;
        if let Some(app) = app {
            // What is still under way belongs to this attack, whoever waits for it.
            let _ = wait_for("the end of what an attack began", QUIET_WITHIN, || {
                (app.under_way.load(Relaxed) == 0).then_some(())
            });
        }
        let reached = app
            .zip(before)
            .map(|(app, before)| (app.reached.load(Relaxed) - before) as f64);
        let figures = Figures {
            closed: None,
            peak_kib: watched.peak_kib,
            reached,
            seen: watched.seen,
        };
        Ok((result, figures))
    }
}
