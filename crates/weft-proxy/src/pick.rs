//! Stage 6: which instance. Takes the instance's permit: one more call outstanding there.

use crate::admit::Admitted;
use crate::call::{Body, BodyStream, Call, Piece};
use crate::clock;
use crate::context::Context;
use crate::record::CallRecord;
use crate::route::Destination;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use weft_model::instance::InstanceLoad;
use weft_model::{Code, Failure, Instance};
use weft_policy::balance::{Candidate, picked};
use weft_policy::retry::{ATTEMPTS_MAX, Attempted, may_move_on, method_fits};

/// How long an instance is passed over after its app refused a connection.
const AVOID_FOR: Duration = Duration::from_secs(1);

/// What was tried for a call so far.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    members: [usize; ATTEMPTS_MAX],
    count: usize,
    last: Option<Failure>,
    /// Whether an instance that was tried declares the method idempotent.
    idempotent: bool,
    /// Whether a hop before this one retries the call.
    is_retry: bool,
}

impl Tried {
    /// Nothing yet, for this call.
    pub(crate) fn nothing(call: &Call) -> Self {
        Self {
            is_retry: call.head.attempt > 0,
            ..Self::default()
        }
    }

    /// What is known of the call, should its last attempt have failed before any of the reply came.
    pub(crate) fn attempted(&self, call: &Call) -> Attempted {
        Attempted {
            attempts: self.count,
            is_retry: self.is_retry,
            idempotent: call.head.idempotent || self.idempotent,
            replayable: !matches!(call.body, Body::Spent),
            reply_begun: false,
        }
    }

    /// Why the last attempt failed.
    pub(crate) fn failed_with(&mut self, failure: Failure) {
        self.last = Some(failure);
    }

    /// One more attempt where there is only one place to try: again only after a broken connection, not after
    /// one that was refused.
    fn once_more(&mut self, record: &mut CallRecord) -> Result<(), Failure> {
        if let Some(failure) = self
            .last
            .take_if(|failure| failure.code.proves_not_dispatched())
        {
            return Err(failure);
        }
        self.add(0);
        record.attempt(None);
        Ok(())
    }

    fn members(&self) -> &[usize] {
        self.members.get(..self.count).unwrap_or_default()
    }

    fn add(&mut self, member: usize) {
        if let Some(place) = self.members.get_mut(self.count) {
            *place = member;
        }
        self.count += 1;
    }
}

/// The other instances to which a call may go. Asked when its own falls silent or is hard to reach, never on the
/// ordinary way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Others<'a> {
    destination: &'a Destination<'a>,
    tried: &'a Tried,
}

impl<'a> Others<'a> {
    pub(crate) fn new(admitted: &'a Admitted<'_>, tried: &'a Tried) -> Self {
        Self {
            destination: &admitted.destination,
            tried,
        }
    }

    /// Whether the call, should it fail with this code now, has another instance that takes it.
    pub(crate) fn take(&self, call: &Call, code: Code, now_ms: u64) -> bool {
        let Destination::Service {
            service,
            member: None,
            ..
        } = self.destination
        else {
            return false;
        };
        let mut members = service.members.iter().enumerate();
        may_move_on(code, self.tried.attempted(call))
            && members.any(|(at, member)| {
                !self.tried.members().contains(&at) && member.load.is_eligible(now_ms)
            })
    }
}

/// Where an attempt goes.
#[derive(Debug)]
pub(crate) enum Picked<'a> {
    /// Over a link to an instance's sidecar.
    Peer {
        /// The instance.
        instance: Arc<Instance>,
        /// The name of its port.
        port: &'a str,
        /// Its permit.
        permit: Outstanding,
    },
    /// To the app of an instance without a sidecar.
    Plain {
        /// The instance.
        instance: Arc<Instance>,
        /// The name of its port.
        port: &'a str,
        /// Its permit.
        permit: Outstanding,
    },
    /// To the own app.
    App {
        /// The port on which it listens.
        number: u16,
    },
    /// To an external host.
    External {
        /// The host and port.
        authority: Rc<str>,
    },
}

/// One call outstanding at an instance, until dropped.
#[derive(Debug)]
pub(crate) struct Outstanding(Arc<InstanceLoad>);

impl Outstanding {
    /// What is known of the instance.
    pub(crate) fn load(&self) -> &Arc<InstanceLoad> {
        &self.0
    }

    /// Passes the instance over for a while: its app takes no connections.
    pub(crate) fn avoid(&self) {
        self.0
            .avoid_until(clock::now_ms() + AVOID_FOR.as_millis() as u64);
    }
}

/// Keeps the instance's permit as long as its reply streams.
pub(crate) fn hold(body: Body, permit: Outstanding) -> Body {
    match body {
        Body::Stream { stream, length } => Body::Stream {
            stream: Box::new(Held {
                stream,
                _permit: permit,
            }),
            length,
        },
        other @ (Body::Empty | Body::Full(_) | Body::Spent) => other,
    }
}

struct Held {
    stream: Box<dyn BodyStream>,
    _permit: Outstanding,
}

impl BodyStream for Held {
    fn poll_piece(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Piece, Failure>> {
        self.stream.poll_piece(cx)
    }

    fn poll_onward(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Failure>> {
        self.stream.poll_onward(cx)
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.0.outstanding.fetch_sub(1, Relaxed);
    }
}

/// Picks an instance that was not tried yet.
pub(crate) fn pick<'a>(
    ctx: &Rc<Context>,
    admitted: &Admitted<'a>,
    method: &[u8],
    tried: &mut Tried,
    record: &mut CallRecord,
) -> Result<Picked<'a>, Failure> {
    let (service, port, only) = match &admitted.destination {
        Destination::Service {
            service,
            port,
            member,
        } => (*service, *port, *member),
        Destination::App { number } => {
            tried.once_more(record)?;
            return Ok(Picked::App { number: *number });
        }
        Destination::External { authority } => {
            tried.once_more(record)?;
            return Ok(Picked::External {
                authority: Rc::clone(authority),
            });
        }
    };
    let now_ms = ctx.deadlines.now_ms();
    let candidate = |at: usize| match service.members.get(at) {
        Some(member) => Candidate {
            outstanding: member.load.outstanding.load(Relaxed),
            weight: member.instance.weight.saturating_mul(member.load.share()),
            eligible: member.load.is_eligible(now_ms),
        },
        None => Candidate {
            outstanding: u32::MAX,
            weight: 0,
            eligible: false,
        },
    };
    let count = service.members.len();
    let fresh = match only {
        Some(member) => (tried.count == 0).then_some(member),
        None => picked(count, candidate, tried.members(), ctx.random()),
    };
    // With nobody else to try: once more where the link broke or is left (that it may be tried again is decided
    // already), for a sidecar's successor listens on the same socket. Not where the instance itself refused.
    let broke = tried
        .last
        .as_ref()
        .is_some_and(|last| !last.code.proves_not_dispatched() || last.code == Code::NotDispatched);
    let position = fresh.or_else(|| match only {
        _ if !broke => None,
        Some(member) => Some(member),
        None => picked(count, candidate, &[], ctx.random()),
    });
    let Some(member) = position.and_then(|at| service.members.get(at)) else {
        return Err(tried.last.take().unwrap_or_else(|| {
            Failure::with(Code::NoInstance, format!("service \"{}\"", service.name))
        }));
    };
    tried.add(position.unwrap_or_default());
    let declared = &member.instance.idempotent;
    tried.idempotent |= declared.iter().any(|pattern| method_fits(pattern, method));
    record.attempt(Some(ctx.name(member.instance.id.as_str())));
    member.load.outstanding.fetch_add(1, Relaxed);
    let instance = Arc::clone(&member.instance);
    let permit = Outstanding(Arc::clone(&member.load));
    let port = &*port.name;
    Ok(match instance.check {
        None => Picked::Peer {
            instance,
            port,
            permit,
        },
        Some(_) => Picked::Plain {
            instance,
            port,
            permit,
        },
    })
}
