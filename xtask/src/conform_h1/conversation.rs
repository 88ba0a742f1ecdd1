//! Reads one direction of a connection with the codec, as a proxy does, and tells what was read.

use weft_codec::fields::Fields;
use weft_codec::http1::{
    BodyDecoder, BodyStep, Framing, Limits, Parsed, Refusal, ReplyHead, RequestHead, RequestLine,
    StatusLine, parse_reply, parse_request, write_chunk_end, write_chunk_line, write_last_chunk,
    write_reply, write_request,
};

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Requests,
    /// Replies, all to requests of one method.
    Replies {
        to_head: bool,
    },
}

/// Names (lower case) and values.
pub(super) type List = Vec<(Vec<u8>, Vec<u8>)>;

/// What a message says, apart from how it is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Meaning {
    /// Method, target and authority, or the status.
    pub(super) start: String,
    pub(super) fields: List,
    pub(super) body: Vec<u8>,
    pub(super) trailers: List,
    /// Where it ends in the input.
    pub(super) end: usize,
    /// The message as the codec writes it anew.
    pub(super) written: Vec<u8>,
    /// Whether nothing may be read behind it.
    pub(super) closes: bool,
}

impl Meaning {
    /// Whether it is a request or a final reply, not a 1xx one.
    pub(super) fn is_final(&self) -> bool {
        self.start.len() != 3 || !self.start.starts_with('1')
    }

    /// Whether both say the same. Order counts among fields of one name alone (RFC 9110 5.3).
    pub(super) fn means_the_same(&self, other: &Self) -> bool {
        self.start == other.start
            && sorted(&self.fields) == sorted(&other.fields)
            && self.body == other.body
            && sorted(&self.trailers) == sorted(&other.trailers)
    }

    /// As one line: `POST / at a [x=1] <body> {trailer=1}`; empty parts are left out.
    pub(super) fn told(&self) -> String {
        let list = |list: &List| {
            let pairs = list
                .iter()
                .map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()));
            pairs.collect::<Vec<_>>().join(" ")
        };
        let mut told = self.start.clone();
        for (open, text, close) in [
            ("[", list(&self.fields), "]"),
            ("<", self.body.escape_ascii().to_string(), ">"),
            ("{", list(&self.trailers), "}"),
        ] {
            if !text.is_empty() {
                told.extend([" ", open, text.as_str(), close]);
            }
        }
        told
    }
}

fn sorted(list: &List) -> List {
    let mut list = list.clone();
    list.sort_by(|(left, _), (right, _)| left.cmp(right));
    list
}

/// All that was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Conversation {
    pub(super) messages: Vec<Meaning>,
    pub(super) refused: Option<Refusal>,
    /// Whether the input ended within a message.
    pub(super) cut: bool,
}

/// The messages with ` | ` between them, and how it ended when it did not end well.
pub(super) fn told(conversation: &Conversation) -> String {
    let mut parts: Vec<String> = conversation.messages.iter().map(Meaning::told).collect();
    if let Some(refusal) = conversation.refused {
        parts.push(format!("refused {}", refusal.status));
    }
    if conversation.cut {
        parts.push("cut".to_owned());
    }
    parts.join(" | ")
}

/// Reads the pieces as they come; behind the last one the connection ends.
pub(super) fn read<'a>(
    direction: Direction,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Conversation {
    let mut reader = Reader::new(direction);
    for piece in pieces {
        if !reader.feed(piece) {
            return reader.conversation;
        }
    }
    reader.finish();
    reader.conversation
}

/// A message whose head was read.
struct Open {
    meaning: Meaning,
    decoder: BodyDecoder,
    framing: Framing,
    /// Whether another message may follow.
    persists: bool,
}

/// One direction of one connection.
pub(super) struct Reader {
    direction: Direction,
    limits: Limits,
    buffer: Vec<u8>,
    /// Bytes that left the buffer so far.
    consumed: usize,
    /// The message whose body is being read.
    open: Option<Open>,
    pub(super) conversation: Conversation,
}

impl Reader {
    pub(super) fn new(direction: Direction) -> Self {
        Self {
            direction,
            limits: Limits::default(),
            buffer: Vec::new(),
            consumed: 0,
            open: None,
            conversation: Conversation::default(),
        }
    }

    /// One that takes what the mesh adds to a head that is as large as it may be.
    pub(super) fn with_more_fields(direction: Direction) -> Self {
        let mut reader = Self::new(direction);
        reader.limits.fields_max = 128;
        reader
    }

    /// Takes bytes. Whether more can follow.
    pub(super) fn feed(&mut self, piece: &[u8]) -> bool {
        self.buffer.extend_from_slice(piece);
        match self.advance() {
            Ok(open) => open,
            Err(refusal) => {
                self.conversation.refused = Some(refusal);
                false
            }
        }
    }

    /// The connection ended.
    fn finish(&mut self) {
        match self.open.take() {
            None => self.conversation.cut = !self.buffer.is_empty(),
            Some(mut open) => {
                if open.decoder.finish() {
                    self.complete(open);
                } else {
                    self.conversation.cut = true;
                }
            }
        }
    }

    /// Reads on as far as the buffer goes.
    fn advance(&mut self) -> Result<bool, Refusal> {
        loop {
            let Some(mut open) = self.open.take() else {
                self.open = self.head()?;
                if self.open.is_none() {
                    return Ok(true);
                }
                continue;
            };
            match open.decoder.decode(&self.buffer)? {
                BodyStep::Data { skip, len } => {
                    self.drop_front(skip);
                    let bytes = self.buffer.get(..len).unwrap_or_default();
                    open.meaning.body.extend_from_slice(bytes);
                    if open.framing == Framing::Chunked {
                        write_chunk_line(len, &mut open.meaning.written);
                    }
                    open.meaning.written.extend_from_slice(bytes);
                    if open.framing == Framing::Chunked {
                        write_chunk_end(&mut open.meaning.written);
                    }
                    self.drop_front(len);
                    self.open = Some(open);
                }
                BodyStep::Need { skip } => {
                    self.drop_front(skip);
                    self.open = Some(open);
                    return Ok(true);
                }
                BodyStep::End { skip } => {
                    self.drop_front(skip);
                    let persists = open.persists;
                    self.complete(open);
                    if !persists {
                        return Ok(false);
                    }
                }
            }
        }
    }

    fn drop_front(&mut self, len: usize) {
        self.buffer.drain(..len);
        self.consumed += len;
    }

    fn complete(&mut self, open: Open) {
        let Open {
            mut meaning,
            mut decoder,
            framing,
            persists,
        } = open;
        let trailers = decoder.take_trailers();
        if framing == Framing::Chunked {
            write_last_chunk(trailers.as_ref(), &mut meaning.written);
        }
        meaning.trailers = trailers.map(|fields| list(&fields)).unwrap_or_default();
        meaning.end = self.consumed;
        meaning.closes = !persists;
        self.conversation.messages.push(meaning);
    }

    /// The next head, once it is there.
    fn head(&mut self) -> Result<Option<Open>, Refusal> {
        let (meaning, framing, persists, len) = match self.direction {
            Direction::Requests => {
                let mut head = RequestHead::default();
                let parsed = parse_request(&self.buffer, &self.limits, &mut head)?;
                let Parsed::Complete(len) = parsed else {
                    return Ok(None);
                };
                (request(&head), head.framing, head.keep_alive, len)
            }
            Direction::Replies { to_head } => {
                let mut head = ReplyHead::default();
                let parsed = parse_reply(&self.buffer, to_head, &self.limits, &mut head)?;
                let Parsed::Complete(len) = parsed else {
                    return Ok(None);
                };
                // A 1xx reply ends nothing.
                let persists = head.keep_alive || head.status < 200;
                (reply(&head), head.framing, persists, len)
            }
        };
        self.drop_front(len);
        let decoder = BodyDecoder::new(framing, &self.limits);
        Ok(Some(Open {
            meaning,
            decoder,
            framing,
            persists,
        }))
    }
}

fn request(head: &RequestHead) -> Meaning {
    let part = |span| head.fields.bytes(span);
    let (method, target, authority) = (part(head.method), part(head.target), part(head.authority));
    let mut written = Vec::new();
    let line = RequestLine {
        method,
        target,
        authority,
        framing: head.framing,
        close: !head.keep_alive,
        expect_continue: head.expect_continue,
        upgrade: b"",
    };
    write_request(line, &head.fields, &mut written);
    let [method, target, authority] = [method, target, authority].map(|part| part.escape_ascii());
    Meaning {
        start: format!("{method} {target} at {authority}"),
        fields: list(&head.fields),
        written,
        ..Meaning::default()
    }
}

fn reply(head: &ReplyHead) -> Meaning {
    let mut written = Vec::new();
    let line = StatusLine {
        status: head.status,
        reason: head.fields.bytes(head.reason),
        framing: head.framing,
        declared_length: head.declared_length,
        close: !head.keep_alive,
        upgrade: b"",
    };
    write_reply(line, &head.fields, &mut written);
    Meaning {
        start: head.status.to_string(),
        fields: list(&head.fields),
        written,
        ..Meaning::default()
    }
}

fn list(fields: &Fields) -> List {
    fields
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()))
        .collect()
}
