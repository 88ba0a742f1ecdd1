//! Stage 8: one record per call and per connection, closed exactly once, also when cancelled.
//!
//! Both are guards. A connection's is opened in accept; a call's at the first byte of its head, and it travels
//! with the reply's body: it closes with the last byte, with a failure, or, when it is dropped before, as
//! cancelled.

use crate::call::CallHead;
use crate::clock::{self, Instant};
use crate::context::Context;
use crate::sources::Visit;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use weft_api::sidecar::AccessLog;
use weft_model::{Code, Failure};
use weft_telemetry::series::bump;
use weft_telemetry::{Direction, Outcome, SeriesKey};

/// What the access log says of a call beside the labels of its series.
#[derive(Debug)]
struct Description {
    id: Box<str>,
    method: Box<str>,
    path: Box<str>,
    /// The name that the bytes of the call ask for, where they do.
    server_name: Box<str>,
}

/// The record of one call.
pub(crate) struct CallRecord {
    ctx: Rc<Context>,
    direction: Direction,
    protocol: &'static str,
    caller: Rc<str>,
    service: Rc<str>,
    instance: Option<Rc<str>>,
    started: Instant,
    head_after: Option<Duration>,
    status: u16,
    attempts: u32,
    outcome: Option<Outcome>,
    finished: bool,
    streams: bool,
    detail: Option<Box<str>>,
    description: Option<Box<Description>>,
}

impl CallRecord {
    /// Opens a record at the first byte of a call's head.
    pub(crate) fn open(
        ctx: &Rc<Context>,
        direction: Direction,
        protocol: &'static str,
        started: Instant,
    ) -> Self {
        bump(&ctx.counters.calls_opened, 1);
        if direction == Direction::Inbound {
            ctx.inbound_calls.set(ctx.inbound_calls.get() + 1);
        }
        Self {
            ctx: Rc::clone(ctx),
            direction,
            protocol,
            caller: Rc::clone(&ctx.unknown),
            service: Rc::clone(&ctx.unknown),
            instance: None,
            started,
            head_after: None,
            status: 0,
            attempts: 0,
            outcome: None,
            finished: false,
            streams: false,
            detail: None,
            description: None,
        }
    }

    /// Who calls whom.
    pub(crate) fn between(&mut self, caller: Rc<str>, service: Rc<str>) {
        self.caller = caller;
        self.service = service;
    }

    /// Whose call it is.
    pub(crate) fn direction(&self) -> Direction {
        self.direction
    }

    /// One more attempt, at this instance.
    pub(crate) fn attempt(&mut self, instance: Option<Rc<str>>) {
        self.attempts += 1;
        self.instance = instance;
    }

    /// The head of the reply came.
    pub(crate) fn reply_head(&mut self, status: u16, app_error: bool) {
        self.status = status;
        self.head_after = Some(clock::now().saturating_duration_since(self.started));
        self.outcome = Some(if app_error {
            Outcome::AppError
        } else {
            Outcome::Ok
        });
    }

    /// The app itself says, behind the head of its reply, that it failed.
    pub(crate) fn app_error(&mut self) {
        if self.outcome == Some(Outcome::Ok) {
            self.outcome = Some(Outcome::AppError);
        }
    }

    /// The call failed; the first failure counts.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        if !matches!(self.outcome, Some(Outcome::Failed(_))) {
            self.outcome = Some(Outcome::Failed(failure.code));
            self.detail = Some(failure.detail.as_ref().into());
        }
    }

    /// Keeps what the log says of the call, while its head is there; only when a line may be written.
    pub(crate) fn describe(&mut self, head: &CallHead) {
        if self.ctx.settings.access_log == AccessLog::Off || self.description.is_some() {
            return;
        }
        self.description = Some(Box::new(Description {
            id: head.text(head.trace).into(),
            method: String::from_utf8_lossy(head.bytes(head.method)).into(),
            path: String::from_utf8_lossy(head.bytes(head.path)).into(),
            server_name: "".into(),
        }));
    }

    /// The name that the bytes of the call ask for, for the log; the call was described before.
    pub(crate) fn server_name(&mut self, name: &str) {
        if let Some(description) = &mut self.description {
            description.server_name = name.into();
        }
    }

    /// The reply's body streams: until the record closes the call counts as an open stream.
    pub(crate) fn streams(&mut self) {
        if !std::mem::replace(&mut self.streams, true) {
            bump(self.streams_active(), 1);
        }
    }

    fn streams_active(&self) -> &AtomicU64 {
        match self.direction {
            Direction::Outbound => &self.ctx.counters.streams_out,
            Direction::Inbound => &self.ctx.counters.streams_in,
        }
    }

    /// Whether a line is written even when all goes well.
    pub(crate) fn logs_all(&self) -> bool {
        self.ctx.settings.access_log == AccessLog::All
    }

    /// The last byte of the reply was handed to the caller.
    pub(crate) fn finish(mut self) {
        self.finished = true;
    }

    fn log_line(&self, outcome: Outcome, duration: Duration) -> String {
        let description = self.description.as_deref();
        let text = |pick: fn(&Description) -> &str| description.map(pick).unwrap_or_default();
        let blame = match outcome {
            Outcome::Ok => "",
            Outcome::AppError => "upstream",
            Outcome::Failed(code) => code.blame().text(),
        };
        serde_json::json!({
            "kind": "call",
            "direction": self.direction.text(),
            "caller": &*self.caller,
            "service": &*self.service,
            "instance": self.instance.as_deref().unwrap_or_default(),
            "protocol": self.protocol,
            "id": text(|description| &description.id),
            "method": text(|description| &description.method),
            "path": text(|description| &description.path),
            "server_name": text(|description| &description.server_name),
            "status": self.status,
            "code": outcome.text(),
            "blame": blame,
            "detail": self.detail.as_deref().unwrap_or_default(),
            "attempts": self.attempts,
            "head_us": self.head_after.map(|after| after.as_micros() as u64),
            "duration_us": duration.as_micros() as u64,
        })
        .to_string()
    }
}

impl Drop for CallRecord {
    fn drop(&mut self) {
        let duration = clock::now().saturating_duration_since(self.started);
        let outcome = match (self.outcome, self.finished) {
            (Some(Outcome::Failed(code)), _) => Outcome::Failed(code),
            (Some(outcome), true) => outcome,
            // Dropped under way: a head that came and a body that did not is a cancelled call.
            (_, false) => Outcome::Failed(Code::Cancelled),
            (None, true) => Outcome::Failed(Code::Internal),
        };
        let key = SeriesKey {
            direction: self.direction,
            caller: &self.caller,
            service: &self.service,
            protocol: self.protocol,
            outcome,
        };
        self.ctx
            .series
            .borrow_mut()
            .record(key, duration.as_micros() as u64);
        bump(&self.ctx.counters.calls_recorded, 1);
        if self.streams {
            bump(self.streams_active(), -1);
        }
        if self.direction == Direction::Inbound {
            let open = &self.ctx.inbound_calls;
            open.set(open.get().saturating_sub(1));
        }
        let logged = match self.ctx.settings.access_log {
            AccessLog::Off => false,
            AccessLog::Failed => matches!(outcome, Outcome::Failed(_)),
            AccessLog::All => true,
        };
        if logged {
            self.ctx.log(self.log_line(outcome, duration));
        }
    }
}

/// The record of one accepted connection.
pub(crate) struct ConnectionRecord {
    ctx: Rc<Context>,
    code: Option<Code>,
    /// Ends with the connection.
    _visit: Visit,
}

impl ConnectionRecord {
    /// Opens a record for a connection.
    pub(crate) fn open(ctx: &Rc<Context>, visit: Visit) -> Self {
        bump(&ctx.counters.connections_opened, 1);
        Self {
            ctx: Rc::clone(ctx),
            code: None,
            _visit: visit,
        }
    }

    /// Why the connection ended, when not in the ordinary way.
    pub(crate) fn fail(&mut self, code: Code) {
        self.code = Some(code);
    }
}

impl Drop for ConnectionRecord {
    fn drop(&mut self) {
        self.ctx.counters.connection_ends.add(self.code);
        bump(&self.ctx.counters.connections_recorded, 1);
        self.ctx.connection_ended();
    }
}
