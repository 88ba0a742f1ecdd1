//! A list whose copies share what is equal: a change copies the chunk that it touches and no more.

use std::ops::Index;
use std::sync::Arc;

/// Values of one chunk. A change copies one chunk and the list of all, so this is about right for lists of some
/// hundreds.
pub const CHUNK: usize = 16;

/// A list in chunks that copies share.
#[derive(Clone, Debug)]
pub struct Chunked<T> {
    /// All full but the last.
    chunks: Vec<Arc<Vec<T>>>,
    length: usize,
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            length: 0,
        }
    }
}

impl<T> Chunked<T> {
    /// Values in the list.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The value at a position.
    pub fn get(&self, position: usize) -> Option<&T> {
        self.chunks.get(position / CHUNK)?.get(position % CHUNK)
    }

    /// All values in their order.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter {
            chunks: self.chunks.iter(),
            chunk: [].iter(),
        }
    }
}

impl<T: Clone> Chunked<T> {
    /// Adds a value at the end; returns its position.
    pub(super) fn push(&mut self, value: T) -> usize {
        let position = self.length;
        match self.chunks.last_mut() {
            Some(last) if !position.is_multiple_of(CHUNK) => {
                if Arc::get_mut(last).is_none() {
                    // Room as a list that grew by itself has it: a plain copy has none, and would then double.
                    let mut copy = Vec::with_capacity((last.len() + 1).next_power_of_two());
                    copy.extend_from_slice(last);
                    *last = Arc::new(copy);
                }
                Arc::make_mut(last).push(value);
            }
            _ => self.chunks.push(Arc::new(vec![value])),
        }
        self.length += 1;
        position
    }

    /// The value at a position, to be changed: its chunk is copied when another list has it too.
    pub(super) fn get_mut(&mut self, position: usize) -> Option<&mut T> {
        let chunk = self.chunks.get_mut(position / CHUNK)?;
        Arc::make_mut(chunk).get_mut(position % CHUNK)
    }

    /// Takes the last value out.
    fn pop(&mut self) -> Option<T> {
        let last = self.chunks.last_mut()?;
        let value = Arc::make_mut(last).pop()?;
        if last.is_empty() {
            self.chunks.pop();
        }
        self.length -= 1;
        Some(value)
    }

    /// Takes the value at a position out; the last value takes its place.
    pub(super) fn swap_remove(&mut self, position: usize) -> Option<T> {
        if position >= self.length {
            return None;
        }
        let last = self.pop()?;
        match self.get_mut(position) {
            Some(place) => Some(std::mem::replace(place, last)),
            None => Some(last),
        }
    }
}

impl<T> Index<usize> for Chunked<T> {
    type Output = T;

    fn index(&self, position: usize) -> &T {
        &self.chunks[position / CHUNK][position % CHUNK]
    }
}

impl<'a, T> IntoIterator for &'a Chunked<T> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// The values of a [`Chunked`] in their order.
#[derive(Debug)]
pub struct Iter<'a, T> {
    chunks: std::slice::Iter<'a, Arc<Vec<T>>>,
    chunk: std::slice::Iter<'a, T>,
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            if let Some(value) = self.chunk.next() {
                return Some(value);
            }
            self.chunk = self.chunks.next()?.iter();
        }
    }
}

#[cfg(test)]
mod tests;
