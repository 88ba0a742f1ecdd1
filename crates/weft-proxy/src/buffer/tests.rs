//! An inbox holds a buffer only while it holds bytes, and hands bytes on without a copy where it can.

use super::*;

#[test]
fn an_empty_inbox_holds_no_buffer() {
    let mut inbox = Inbox::default();
    assert!(inbox.buffer.is_none());
    inbox.push(b"abc");
    inbox.consume(2);
    assert_eq!(inbox.bytes(), b"c");
    inbox.consume(1);
    assert!(inbox.buffer.is_none());
    assert!(inbox.is_empty());
}

#[test]
fn taking_all_moves_the_buffer_and_taking_some_copies() {
    let mut inbox = Inbox::default();
    inbox.push(b"headbody");
    inbox.consume(4);
    let place = inbox.bytes().as_ptr();
    let some = inbox.take(2);
    assert_eq!(some.bytes(), b"bo");
    assert_ne!(some.bytes().as_ptr(), place);
    let place = inbox.bytes().as_ptr();
    let all = inbox.take(100);
    assert_eq!(all.bytes(), b"dy");
    assert_eq!(all.bytes().as_ptr(), place);
    assert!(inbox.buffer.is_none());
}

#[test]
fn a_buffer_comes_back_empty_and_a_large_one_is_freed() {
    let mut buffer = Buffer::take();
    buffer.extend_from_slice(b"secret");
    let place = buffer.as_ptr();
    drop(buffer);
    let again = Buffer::take();
    assert_eq!(again.as_ptr(), place);
    assert!(again.is_empty());
    drop(again);
    let mut large = Buffer::take();
    large.resize(LARGE_BYTES_MAX + 1, 0);
    drop(large);
    assert!(Buffer::take().capacity() <= POOLED_BYTES_MAX);
    assert!(Buffer::take_large().capacity() <= LARGE_BYTES_MAX);
}

#[test]
fn a_little_copy_takes_little_memory_and_grows_by_what_is_appended() {
    let mut chunk = Chunk::copy_of(b"a");
    assert!(chunk.buffer.capacity() < 64);
    assert!(chunk.try_append(b"bc"));
    assert_eq!(chunk.bytes(), b"abc");
    assert!(!chunk.try_append(&[0; BUFFER_BYTES]));
    assert_eq!(chunk.bytes(), b"abc");
}

#[test]
fn a_chunk_advances_to_its_end_and_no_further() {
    let mut chunk = Chunk::copy_of(b"abc");
    chunk.advance(2);
    assert_eq!(chunk.bytes(), b"c");
    chunk.advance(9);
    assert_eq!(chunk.bytes(), b"");
}

#[test]
fn a_few_bytes_that_wait_lie_in_a_little_buffer() {
    let mut inbox = Inbox::default();
    inbox.push(b"GET / HT");
    inbox.consume(4);
    inbox.shrink();
    assert_eq!(inbox.bytes(), b"/ HT");
    assert!(inbox.buffer.as_ref().unwrap().capacity() < READ_ROOM_MIN);
    inbox.push(b"TP/1.1\r\n");
    assert_eq!(inbox.bytes(), b"/ HTTP/1.1\r\n");
    // Much is left where it is.
    let mut inbox = Inbox::default();
    inbox.push(&[0; LITTLE_BYTES_MAX + 1]);
    inbox.shrink();
    assert!(inbox.buffer.as_ref().unwrap().capacity() >= BUFFER_BYTES);
}
