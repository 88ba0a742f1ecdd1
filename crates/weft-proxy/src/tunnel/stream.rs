//! A tunnel that is one stream of a connection with many: its bytes come and go as bodies, and `Gate` knows of them
//! what it knows of a socket's. Never in here: how such a stream is ended or reset, which its protocol knows.

use crate::call::{Body, BodyStream, Piece};
use crate::tunnel::Gate;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};
use weft_model::Failure;

/// What a caller sends through its tunnel: nothing of it is taken before that is open.
pub(crate) struct CallerStream {
    gate: Rc<Gate>,
    bytes: Box<dyn BodyStream>,
}

impl CallerStream {
    /// The body of a request for a tunnel, and what opens it.
    pub(crate) fn body(bytes: Box<dyn BodyStream>) -> (Body, Rc<Gate>) {
        let gate = Rc::new(Gate::default());
        let stream = Self {
            gate: Rc::clone(&gate),
            bytes,
        };
        let body = Body::Stream {
            stream: Box::new(stream),
            length: None,
        };
        (body, gate)
    }
}

impl BodyStream for CallerStream {
    fn poll_piece(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Piece, Failure>> {
        ready!(self.gate.poll_open(cx));
        let piece = ready!(self.bytes.poll_piece(cx));
        self.gate.sees(&piece);
        // Bytes have no trailers.
        Poll::Ready(piece.map(|piece| match piece {
            Piece::Data(chunk) => Piece::Data(chunk),
            Piece::End(_) => Piece::End(None),
        }))
    }
}

/// What comes back through such a tunnel.
pub(crate) struct Returning {
    gate: Rc<Gate>,
    bytes: Box<dyn BodyStream>,
}

impl Returning {
    /// The body of a reply that grants a tunnel; `None` when it carries nothing back.
    pub(crate) fn body(gate: &Rc<Gate>, body: Body) -> Option<Body> {
        let Body::Stream { stream, .. } = body else {
            return None;
        };
        let returning = Self {
            gate: Rc::clone(gate),
            bytes: stream,
        };
        Some(Body::Stream {
            stream: Box::new(returning),
            length: None,
        })
    }
}

impl BodyStream for Returning {
    fn poll_piece(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Piece, Failure>> {
        let piece = ready!(self.bytes.poll_piece(cx))?;
        self.gate.moved.set(true);
        Poll::Ready(Ok(match piece {
            Piece::Data(chunk) => Piece::Data(chunk),
            Piece::End(_) => Piece::End(None),
        }))
    }

    fn poll_onward(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Failure>> {
        self.bytes.poll_onward(cx)
    }
}
