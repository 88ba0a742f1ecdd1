//! Ordered, repeatable names and values (headers, attachments, metadata) in one flat buffer.
//!
//! One buffer and one list of positions instead of two allocations per field: a head is kept, moved and
//! re-used without touching the allocator. Names keep the case in which they came, for the sake of old
//! apps that compare them byte by byte; look-ups ignore ASCII case.

/// A piece of a [`Fields`] buffer. Only meaningful for the buffer it came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// Whether nothing is in it.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// A part of it. Not checked: a part that reaches beyond the buffer has no bytes.
    pub(crate) const fn part(self, offset: usize, len: usize) -> Self {
        Self {
            start: self.start.wrapping_add(offset as u32),
            len: len as u32,
        }
    }
}

/// Ordered, repeatable names and values, and other texts of the same head.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    pairs: Vec<(Span, Span)>,
}

impl Fields {
    /// An empty list; allocates nothing.
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            pairs: Vec::new(),
        }
    }

    /// Forgets everything, keeps the memory. Spans handed out before become meaningless.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.pairs.clear();
    }

    /// Keeps bytes beside the fields (a method, a path) and says where. At most 4 GiB in all; beyond that
    /// the empty span is returned (heads are limited to far less before they get here).
    pub fn store(&mut self, bytes: &[u8]) -> Span {
        let (Ok(start), Ok(len)) = (u32::try_from(self.bytes.len()), u32::try_from(bytes.len()))
        else {
            return Span::default();
        };
        self.bytes.extend_from_slice(bytes);
        Span { start, len }
    }

    /// The bytes of a span of this buffer; empty for a span of another one that does not fit.
    pub fn bytes(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        self.bytes
            .get(start..start.saturating_add(span.len as usize))
            .unwrap_or_default()
    }

    /// Appends a field.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let name = self.store(name);
        let value = self.store(value);
        self.pairs.push((name, value));
    }

    /// Appends a field whose bytes are kept already: a parsed head is copied once, not field by field.
    pub(crate) fn push_spans(&mut self, name: Span, value: Span) {
        self.pairs.push((name, value));
    }

    /// The fields in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pairs
            .iter()
            .map(|(name, value)| (self.bytes(*name), self.bytes(*value)))
    }

    /// The value of the first field with this name, ignoring ASCII case.
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The value of the last field with exactly this name (RPC metadata: the last wins).
    pub fn last_exact(&self, name: &str) -> Option<&[u8]> {
        self.pairs
            .iter()
            .rev()
            .find(|(known, _)| self.bytes(*known) == name.as_bytes())
            .map(|(_, value)| self.bytes(*value))
    }

    /// Removes the fields for which `gone` holds.
    pub fn remove(&mut self, mut gone: impl FnMut(&[u8], &[u8]) -> bool) {
        let Self { bytes, pairs } = self;
        let piece = |span: Span| {
            let start = span.start as usize;
            bytes
                .get(start..start.saturating_add(span.len as usize))
                .unwrap_or_default()
        };
        pairs.retain(|(name, value)| !gone(piece(*name), piece(*value)));
    }

    /// Replaces every field of this name (ignoring ASCII case) by one, at the end.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        self.remove(|known, _| known.eq_ignore_ascii_case(name.as_bytes()));
        self.push(name.as_bytes(), value);
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The bytes held, fields and other texts together.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests;
