//! Sends a body over a link, within the call's credit and in turn with other calls.

use crate::buffer::Chunk;
use crate::call::{Body, BodyStream, Piece};
use crate::protocol::link::OUT_BYTES_MAX;
use crate::protocol::link::slot::{Slot, register};
use crate::protocol::link::wire::Core;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use weft_codec::Fields;
use weft_codec::link::{self as codec, DATA_BYTES_MAX};
use weft_model::Failure;

/// Sends a body as frames, within the call's credit and in turn with other calls.
pub(crate) struct Sender {
    core: Rc<Core>,
    id: u64,
    slot: Rc<Slot>,
    body: Option<Box<dyn BodyStream>>,
    pending: Option<Chunk>,
    trailers: Option<Fields>,
    /// Something of the body was taken.
    begun: bool,
    /// Its last byte is in the link's buffer; the body may still have something to move the other way.
    ended: bool,
}

impl Sender {
    /// Sends `body`; nothing of it has been sent.
    pub(crate) fn new(core: &Rc<Core>, id: u64, slot: &Rc<Slot>, body: Body) -> Self {
        let (body, pending) = match body {
            Body::Empty | Body::Spent => (None, None),
            Body::Full(chunk) => (None, Some(chunk)),
            Body::Stream { stream, .. } => (Some(stream), None),
        };
        Self {
            core: Rc::clone(core),
            id,
            slot: Rc::clone(slot),
            body,
            pending,
            trailers: None,
            begun: false,
            ended: false,
        }
    }

    /// The trailers that were sent.
    pub(crate) fn trailers(&self) -> Option<&Fields> {
        self.trailers.as_ref()
    }

    /// The body, when nothing was taken of it: it can be sent elsewhere.
    pub(crate) fn untouched(self) -> Option<Body> {
        let stream = self.body.filter(|_| !self.begun)?;
        Some(Body::Stream {
            stream,
            length: None,
        })
    }

    /// Nothing can be sent now; what the body moves the other way goes on.
    fn poll_onward(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Failure>> {
        match &mut self.body {
            Some(body) => match body.poll_onward(cx) {
                Poll::Ready(Err(failure)) => Poll::Ready(Err(failure)),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
            },
            None => Poll::Pending,
        }
    }

    /// Ready when all of it, its end included, is in the link's buffer, and nothing is left to move the other way.
    pub(crate) fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Failure>> {
        loop {
            if let Some(failure) = &*self.core.closed.borrow() {
                return Poll::Ready(Err(failure.clone()));
            }
            if self.ended {
                return match &mut self.body {
                    Some(body) => body.poll_onward(cx),
                    None => Poll::Ready(Ok(())),
                };
            }
            if self.core.out.borrow().len() >= OUT_BYTES_MAX {
                register(&self.slot.sender, cx);
                if !self.slot.waiting.replace(true) {
                    self.core
                        .waiting
                        .borrow_mut()
                        .push_back(Rc::clone(&self.slot));
                }
                return self.poll_onward(cx);
            }
            if let Some(chunk) = &mut self.pending {
                let credit = self.slot.credit.get();
                if credit == 0 {
                    register(&self.slot.sender, cx);
                    return self.poll_onward(cx);
                }
                let bytes = chunk.bytes();
                let count = bytes.len().min(credit as usize).min(DATA_BYTES_MAX);
                let last = count == bytes.len();
                let end = last && self.body.is_none();
                let id = self.id;
                let bytes = bytes.get(..count).unwrap_or_default();
                self.core.send(|out| codec::write_data(id, bytes, end, out));
                self.slot.credit.set(credit - count as u32);
                chunk.advance(count);
                if last {
                    self.pending = None;
                }
                if end {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            let Some(body) = &mut self.body else {
                return Poll::Ready(Ok(()));
            };
            match body.poll_piece(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Ready(Ok(Piece::Data(chunk))) => {
                    self.begun = true;
                    self.pending = Some(chunk);
                }
                Poll::Ready(Ok(Piece::End(trailers))) => {
                    self.begun = true;
                    let id = self.id;
                    match trailers {
                        Some(trailers) => {
                            self.core
                                .send(|out| codec::write_trailers(id, &trailers, out));
                            self.trailers = Some(trailers);
                        }
                        None => self.core.send(|out| codec::write_data(id, b"", true, out)),
                    }
                    self.ended = true;
                }
            }
        }
    }
}
