//! What hostile and clumsy HTTP/2 servers send, and what a client must do then, by section of RFC 9113.
//!
//! | file | sections |
//! |---|---|
//! | `frame_cases.rs` | 3 to 6: the preface, frames, streams, settings, windows |
//! | `message_cases.rs` | 8 and HPACK (4.3): replies, fields, bodies |
//!
//! Data only; `hostile.rs` plays them.

use super::wire::{END_STREAM, STATUS_200};
use super::wire::{data, frame, headers, settings};

/// The stream of the request that a case answers.
pub(super) const STREAM: u32 = 1;

/// The body of every good reply.
pub(super) const BODY: &[u8] = b"hello";

/// What a server does, and what must come of it.
pub(super) struct Case {
    pub(super) section: &'static str,
    pub(super) name: String,
    /// Sent as soon as the client's preface is there.
    pub(super) before: Vec<u8>,
    /// Sent when the whole request is there.
    pub(super) after: Vec<u8>,
    /// What the server does then.
    pub(super) end: End,
    pub(super) client: Client,
    pub(super) caller: Caller,
}

/// What a server does after its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Asks by PING whether the connection still stands, and serves on.
    Stays,
    /// Closes in order.
    Closes,
}

/// What the client must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// A connection error: it ends the connection, and may say one of these codes in a GOAWAY before.
    EndsConnection(&'static [u32]),
    /// A stream error: RST_STREAM with one of these codes. RFC 9113 5.4.1 allows to end the connection.
    ResetsStream(&'static [u32]),
    /// Nothing is wrong, or the stream is over anyway: the connection stands.
    GoesOn,
    /// Both are right.
    Any,
}

/// What the caller on the other side of the sidecar must get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// The whole reply, with this status.
    Gets(u16),
    /// A failure of the mesh: a status of 500 and more with the code, and the request was made once.
    Fails,
    /// The reply's head was right, its body is broken off; or the failure, when the head was not passed on yet.
    IsCut,
    /// Whole and well: the reply, or a failure.
    Clean,
}

impl Case {
    /// A server that begins well and sends this after the request.
    pub(super) fn after(
        section: &'static str,
        name: &str,
        after: Vec<u8>,
        client: Client,
        caller: Caller,
    ) -> Self {
        Self {
            section,
            name: name.to_owned(),
            before: settings(&[]),
            after,
            end: End::Stays,
            client,
            caller,
        }
    }

    /// A server that begins with this, and answers well if it comes to that.
    pub(super) fn before(
        section: &'static str,
        name: &str,
        before: Vec<u8>,
        client: Client,
        caller: Caller,
    ) -> Self {
        Self {
            before,
            ..Self::after(section, name, good_reply(STREAM), client, caller)
        }
    }

    /// The same server, which closes in the end.
    pub(super) fn and_closes(self) -> Self {
        Self {
            end: End::Closes,
            ..self
        }
    }
}

/// 200 and a body.
pub(super) fn good_reply(stream: u32) -> Vec<u8> {
    [
        headers(stream, 0, STATUS_200),
        data(stream, END_STREAM, BODY),
    ]
    .concat()
}

/// These bytes, then a good reply.
pub(super) fn then_replies(bytes: Vec<u8>) -> Vec<u8> {
    [bytes, good_reply(STREAM)].concat()
}

/// A frame that is wrong by itself, then a good reply.
pub(super) fn wrong(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    then_replies(frame(kind, flags, stream, payload))
}

/// Every case.
pub(super) fn all() -> Vec<Case> {
    let mut cases = super::frame_cases::all();
    cases.extend(super::message_cases::all());
    cases
}
