//! Changes of objects as they come: `?watch=true` on a list answers with JSON lines, one for each change after a
//! version, in order and once.
//!
//! A watcher has no queue of its own: it reads the last changes (`declared/recent.rs`) from where it is. One that
//! falls behind them, or asks for what came before them, gets an ERROR line with 410 and lists anew. Never in
//! here: what is declared, who may ask.

use crate::declared::{Declared, Deed};
use crate::objects_api::object;
use crate::reply::{refusal, resource_version};
use crate::{Center, log};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::channel::{Channel, Sender};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use weft_api::kinds::Kind;
use weft_api::sync::Version;

/// Watchers at a time.
pub(crate) const WATCHERS_MAX: usize = 256;

/// Changes told in one piece.
const CHANGES_AT_ONCE_MAX: usize = 256;

/// Pieces on the way to one watcher.
const QUEUE_MAX: usize = 2;

/// A watcher that takes nothing for this long is let go.
const TAKE_WAIT_MAX: Duration = Duration::from_secs(20);

/// A watcher to whom nothing happens learns the version this often.
const BOOKMARK_EVERY: Duration = Duration::from_secs(30);

/// Who watches, and when to look.
pub(crate) struct Watchers {
    permits: Arc<Semaphore>,
    changed: watch::Sender<()>,
}

impl Default for Watchers {
    fn default() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(WATCHERS_MAX)),
            changed: watch::Sender::new(()),
        }
    }
}

impl Watchers {
    /// There are new changes.
    pub(crate) fn changed(&self) {
        self.changed.send_replace(());
    }
}

/// Answers with the changes of a kind in a namespace after a version; without one with all objects first.
pub(crate) fn watch(
    center: &Arc<Center>,
    kind: Kind,
    namespace: String,
    from: Option<&str>,
) -> Response {
    let from = match from.filter(|from| !matches!(*from, "" | "0")).map(version) {
        None => None,
        Some(Some(version)) => Some(version),
        Some(None) => {
            let message = "resourceVersion is none of this center; take it from a list, like 1700000000000.42";
            return refusal(StatusCode::BAD_REQUEST, "BadRequest", message);
        }
    };
    let Ok(permit) = Arc::clone(&center.watchers.permits).try_acquire_owned() else {
        let message =
            format!("this center already has {WATCHERS_MAX} watchers, its limit; try again later");
        return refusal(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", &message);
    };
    let (sender, body) = Channel::<Bytes>::new(QUEUE_MAX);
    let cursor = Cursor {
        kind,
        namespace,
        position: Position::At(from),
    };
    let center = Arc::clone(center);
    tokio::spawn(async move {
        run(&center, cursor, sender).await;
        drop(permit);
    });
    let mut response = Response::new(Body::new(body));
    let value = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}

/// `<epoch>.<revision>`.
fn version(text: &str) -> Option<Version> {
    let (epoch, revision) = text.split_once('.')?;
    Some(Version {
        epoch: epoch.parse().ok()?,
        revision: revision.parse().ok()?,
    })
}

/// How far a watcher is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// It has all up to this version; none: nothing yet.
    At(Option<Version>),
    /// What it needs is forgotten.
    Lost,
}

/// What one watcher wants, and how far it is.
struct Cursor {
    kind: Kind,
    namespace: String,
    position: Position,
}

async fn run(center: &Center, mut cursor: Cursor, mut sender: Sender<Bytes>) {
    let mut changed = center.watchers.changed.subscribe();
    let mut stop = center.stop.clone();
    loop {
        // Before the look: what comes after it is seen by the next one.
        changed.mark_unchanged();
        let given = center.catalog().version();
        let mut lines = cursor.lines(&center.declared(), given);
        if lines.is_empty() {
            tokio::select! {
                _ = changed.changed() => continue,
                () = sleep(BOOKMARK_EVERY) => lines = cursor.bookmark(),
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
        match timeout(TAKE_WAIT_MAX, sender.send_data(lines.into())).await {
            Ok(Ok(())) if cursor.position == Position::Lost => return,
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                let waited = TAKE_WAIT_MAX.as_secs().to_string();
                let fields = [("kind", cursor.kind.name()), ("seconds", waited.as_str())];
                log::line("warn", "a watcher that took nothing was let go", &fields);
                return;
            }
        }
    }
}

impl Cursor {
    /// What comes next, at most [`CHANGES_AT_ONCE_MAX`] changes; empty: nothing yet. `given` is the last version
    /// that this center has given away.
    fn lines(&mut self, declared: &Declared, given: Version) -> String {
        let recent = declared.recent();
        let mut lines = String::new();
        let Position::At(held) = self.position else {
            return lines;
        };
        let Some(mut seen) = held else {
            for stored in declared.objects(self.kind, &self.namespace) {
                line(
                    &mut lines,
                    "ADDED",
                    &object(stored, &declared.status(stored)),
                );
            }
            self.position = Position::At(Some(recent.version()));
            lines.push_str(&self.bookmark());
            return lines;
        };
        let is_known = seen.epoch == given.epoch && seen.revision <= given.revision;
        let Some(changes) = is_known.then(|| recent.after(seen.revision)).flatten() else {
            self.position = Position::Lost;
            line(&mut lines, "ERROR", &expired(seen));
            return lines;
        };
        let mut told = 0;
        for change in changes {
            seen = change.object.version;
            let key = &change.object.key;
            if key.kind == self.kind && key.namespace == self.namespace {
                let status = declared.status(&change.object);
                line(
                    &mut lines,
                    word(change.deed),
                    &object(&change.object, &status),
                );
                told += 1;
            }
            if told == CHANGES_AT_ONCE_MAX {
                break;
            }
        }
        self.position = Position::At(Some(seen));
        lines
    }

    /// The version up to which all was told.
    fn bookmark(&self) -> String {
        let mut lines = String::new();
        if let Position::At(Some(version)) = self.position {
            let object = json!({
                "apiVersion": crate::reply::MESH_VERSION,
                "kind": self.kind.name(),
                "metadata": { "resourceVersion": resource_version(version) },
            });
            line(&mut lines, "BOOKMARK", &object);
        }
        lines
    }
}

fn word(deed: Deed) -> &'static str {
    match deed {
        Deed::Created => "ADDED",
        Deed::Changed => "MODIFIED",
        Deed::Deleted => "DELETED",
    }
}

fn line(lines: &mut String, word: &str, object: &Value) {
    lines.push_str(&json!({ "type": word, "object": object }).to_string());
    lines.push('\n');
}

fn expired(held: Version) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": "Expired",
        "code": StatusCode::GONE.as_u16(),
        "message": format!(
            "the changes after {} are no longer remembered; list anew and watch from the list's resourceVersion",
            resource_version(held)
        ),
    })
}

#[cfg(test)]
mod tests;
