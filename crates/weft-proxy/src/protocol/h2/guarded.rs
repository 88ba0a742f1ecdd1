//! The socket below an HTTP/2 connection, with the meter of weft-codec on both directions.
//!
//! It stands directly on the socket (below whatever gathers writes), so that it counts what was read and written
//! and nothing else. Above its limit of debt a peer is to be asked to go, which whoever drives the connection
//! learns from the [`Guard`]; at twice the limit the peer reads a GOAWAY with ENHANCE_YOUR_CALM, and the connection ends before
//! another of its bytes is looked at. The same for callers and for upstreams. Never in here: streams and their calls.

use crate::context::Context;
use crate::deadline;
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use weft_codec::h2::{Meter, PeerSide, Verdict};
use weft_model::{Code, Failure, Limit};
use weft_telemetry::series::bump;

/// RFC 9113 7: ENHANCE_YOUR_CALM.
const ENHANCE_YOUR_CALM: u32 = 0xb;

/// Frames that are handed on in one turn, so that whoever reads their payload has its turn before more of them lie
/// about: h2 closes a connection with too many little ones that nobody has read. One read may go beyond it.
const FRAMES_PER_TURN: u64 = 256;

/// A socket that is metered.
pub(crate) struct Guarded<T> {
    io: T,
    guard: Guard,
}

/// What is known of a metered connection, for whoever drives it.
#[derive(Clone)]
pub(crate) struct Guard(Rc<State>);

struct State {
    ctx: Rc<Context>,
    side: PeerSide,
    meter: RefCell<Meter>,
    /// The frames that the metrics know of.
    counted: Cell<u64>,
    /// Of these, those of earlier turns.
    turn_began: Cell<u64>,
    must_go: Cell<bool>,
    cut: RefCell<Option<Failure>>,
    /// Made with the first header block that does not come at once.
    limit: RefCell<Option<Rc<deadline::Limit>>>,
}

impl<T> Guarded<T> {
    /// Meters `io`, at whose other end is `side`. Its first byte is the first of the connection, preface included.
    pub(crate) fn new(ctx: &Rc<Context>, side: PeerSide, io: T) -> (Self, Guard) {
        let meter = Meter::new(side, ctx.settings.limits.h2, ctx.deadlines.now_ms());
        let guard = Guard(Rc::new(State {
            ctx: Rc::clone(ctx),
            side,
            meter: RefCell::new(meter),
            counted: Cell::new(0),
            turn_began: Cell::new(0),
            must_go: Cell::new(false),
            cut: RefCell::new(None),
            limit: RefCell::new(None),
        }));
        let guarded = Self {
            io,
            guard: guard.clone(),
        };
        (guarded, guard)
    }
}

impl Guard {
    /// Whether the peer owes so much that the connection is to take (or open) no more streams, while those that are open
    /// may end. To be asked after each turn: the task that read the bytes is woken once more when it becomes so.
    pub(crate) fn must_go(&self) -> bool {
        self.0.must_go.get()
    }

    /// Why the connection was cut off, when it was: the reason behind the error that its driver saw.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.0.cut.borrow().clone()
    }

    /// Takes the verdict on what was read or written; whether the connection goes on.
    fn goes_on(&self, verdict: Verdict, cx: &TaskContext<'_>) -> bool {
        let state = &*self.0;
        match verdict {
            Verdict::Fine => true,
            Verdict::GoAway => {
                if !state.must_go.replace(true) {
                    state.ctx.counters.limits_hit.add(Limit::H2Debt);
                    cx.waker().wake_by_ref();
                }
                true
            }
            Verdict::Close | Verdict::BlockTooLarge => false,
        }
    }

    /// The error by which the connection ends, and why, once.
    fn cut(&self, verdict: Verdict) -> Failure {
        if let Some(failure) = &*self.0.cut.borrow() {
            return failure.clone();
        }
        let state = &*self.0;
        let hit = &state.ctx.counters.limits_hit;
        let is_caller = state.side == PeerSide::Caller;
        let failure = match verdict {
            Verdict::BlockTooLarge => {
                hit.add(Limit::H2Block);
                Failure::with(
                    if is_caller {
                        Code::HeadTooLarge
                    } else {
                        Code::UpstreamMalformed
                    },
                    "a header block without end",
                )
            }
            // What remains is a block that did not come in time.
            Verdict::Fine | Verdict::GoAway => {
                hit.add(Limit::Head);
                Failure::with(
                    if is_caller {
                        Code::HeadTimeout
                    } else {
                        Code::UpstreamTimeout
                    },
                    "a header block that does not end",
                )
            }
            Verdict::Close => {
                if !state.must_go.replace(true) {
                    hit.add(Limit::H2Debt);
                }
                let debt = state.meter.borrow().debt();
                Failure::with(
                    if is_caller {
                        Code::Flood
                    } else {
                        Code::UpstreamFlood
                    },
                    format!("{debt} frames without progress"),
                )
            }
        };
        *state.cut.borrow_mut() = Some(failure.clone());
        failure
    }

    /// The frames that were read since the metrics were told.
    fn count(&self) {
        let frames = self.0.meter.borrow().frames();
        let new = frames - self.0.counted.replace(frames);
        if new > 0 {
            let counters = &self.0.ctx.counters;
            let counter = match self.0.side {
                PeerSide::Caller => &counters.h2_frames_caller,
                PeerSide::Upstream => &counters.h2_frames_upstream,
            };
            bump(counter, new.cast_signed());
        }
    }

    /// Whether so many frames came in this turn that others are to have theirs.
    fn is_turn_over(&self) -> bool {
        let state = &*self.0;
        let is_over = state.counted.get() - state.turn_began.get() >= FRAMES_PER_TURN;
        if is_over {
            state.turn_began.set(state.counted.get());
        }
        is_over
    }

    /// Ready when a header block is under way for longer than a head may take.
    fn poll_late(&self, cx: &TaskContext<'_>) -> Poll<()> {
        let state = &*self.0;
        let Some(since) = state.meter.borrow().block_since_ms() else {
            return Poll::Pending;
        };
        let mut limit = state.limit.borrow_mut();
        let limit = limit.get_or_insert_with(|| state.ctx.deadlines.limit());
        limit.rest();
        let taken = state.ctx.deadlines.now_ms().saturating_sub(since);
        let head = state.ctx.settings.limits.head;
        let left = head.saturating_sub(std::time::Duration::from_millis(taken));
        if left.is_zero() {
            return Poll::Ready(());
        }
        state.ctx.deadlines.poll_stalled(limit, left, cx)
    }
}

impl<T: AsyncWrite + Unpin> Guarded<T> {
    /// Ends the connection: the peer reads why, where that breaks no frame and the socket takes it at once.
    fn end(&mut self, verdict: Verdict, cx: &mut TaskContext<'_>) -> io::Error {
        let is_first = self.guard.failure().is_none();
        let failure = self.guard.cut(verdict);
        let error = io::Error::new(io::ErrorKind::ConnectionAborted, failure.to_string());
        let (may_write, newest) = {
            let meter = self.guard.0.meter.borrow();
            (meter.may_write(), meter.newest_stream())
        };
        if is_first && may_write {
            // Streams that an upstream opens do not exist.
            let newest = match self.guard.0.side {
                PeerSide::Caller => newest,
                PeerSide::Upstream => 0,
            };
            let goaway = goaway(newest, &failure.to_string());
            let _ = Pin::new(&mut self.io).poll_write(cx, &goaway);
        }
        error
    }

    /// The error, once the connection was cut off.
    fn poll_cut(&mut self, cx: &mut TaskContext<'_>) -> Option<io::Error> {
        let verdict = self.guard.0.meter.borrow().verdict();
        let is_cut = verdict.ends() || self.guard.0.cut.borrow().is_some();
        is_cut.then(|| self.end(verdict, cx))
    }

    fn sent(&self, bytes: &[u8], cx: &TaskContext<'_>) {
        let state = &*self.guard.0;
        let now_ms = state.ctx.deadlines.now_ms();
        let verdict = state.meter.borrow_mut().sent(bytes, now_ms);
        if !self.guard.goes_on(verdict, cx) {
            // The next look at the socket says so.
            cx.waker().wake_by_ref();
        }
    }
}

/// A GOAWAY frame (RFC 9113 6.8).
fn goaway(last_stream: u32, debug: &str) -> Vec<u8> {
    let length = (8 + debug.len() as u32).to_be_bytes();
    let mut out = length.get(1..).unwrap_or_default().to_vec();
    out.extend_from_slice(&[weft_codec::h2::frames::GOAWAY, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&last_stream.to_be_bytes());
    out.extend_from_slice(&ENHANCE_YOUR_CALM.to_be_bytes());
    out.extend_from_slice(debug.as_bytes());
    out
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(error) = this.poll_cut(cx) {
            return Poll::Ready(Err(error));
        }
        if this.guard.is_turn_over() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = into.filled().len();
        let Poll::Ready(read) = Pin::new(&mut this.io).poll_read(cx, into) else {
            // All that had come was read.
            this.guard.0.turn_began.set(this.guard.0.counted.get());
            ready!(this.guard.poll_late(cx));
            return Poll::Ready(Err(this.end(Verdict::Fine, cx)));
        };
        read?;
        let state = &*this.guard.0;
        let came = into.filled().get(before..).unwrap_or_default();
        let now_ms = state.ctx.deadlines.now_ms();
        let verdict = state.meter.borrow_mut().received(came, now_ms);
        this.guard.count();
        if this.guard.goes_on(verdict, cx) {
            return Poll::Ready(Ok(()));
        }
        // What came in the same read serves nothing any more.
        into.set_filled(before);
        Poll::Ready(Err(this.end(verdict, cx)))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(error) = this.poll_cut(cx) {
            return Poll::Ready(Err(error));
        }
        let count = ready!(Pin::new(&mut this.io).poll_write(cx, bytes))?;
        this.sent(bytes.get(..count).unwrap_or_default(), cx);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(error) = this.poll_cut(cx) {
            return Poll::Ready(Err(error));
        }
        let count = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, slices))?;
        let mut left = count;
        for slice in slices {
            let part = left.min(slice.len());
            this.sent(slice.get(..part).unwrap_or_default(), cx);
            left -= part;
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
