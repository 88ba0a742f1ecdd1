//! A peer on the `h2` crate, which answers as long as it is driven; the looks come as often as the test likes.

use super::{Keepalive, LOOK_EVERY};
use crate::protocol::h2::socket::Gathered;
use crate::protocol::motan2::tests::run;
use bytes::Bytes;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(5);

struct Side {
    h2: h2::server::Connection<Gathered<DuplexStream>, Bytes>,
    socket: Gathered<DuplexStream>,
    keepalive: Keepalive,
}

impl Side {
    /// This side, and the driver of the other one.
    async fn start() -> (Self, JoinHandle<()>) {
        let (here, there) = duplex(64 * 1024);
        let peer = tokio::task::spawn_local(async move {
            let (_requests, connection) = h2::client::handshake(there).await.unwrap();
            let _ = connection.await;
        });
        let socket = Gathered::new(here);
        let mut handshake = Box::pin(h2::server::handshake(socket.clone()));
        let h2 = poll_fn(|cx| {
            let done = std::pin::Pin::new(&mut handshake).poll(cx);
            let _ = socket.poll_send(cx);
            done
        });
        let mut h2 = timeout(SOON, h2).await.unwrap().unwrap();
        let keepalive = Keepalive::new(h2.ping_pong());
        let mut side = Self {
            h2,
            socket,
            keepalive,
        };
        // The acknowledgement of SETTINGS: what is said after that is asked for.
        let heard = side.socket.received();
        side.hears_more_than(heard).await;
        (side, peer)
    }

    async fn look(&mut self, is_called: bool) -> Option<Duration> {
        poll_fn(|cx| {
            let received = self.socket.received();
            Poll::Ready(self.keepalive.look(received, is_called, cx))
        })
        .await
    }

    async fn hears_more_than(&mut self, received: u64) {
        let heard = poll_fn(|cx| {
            assert!(self.h2.poll_accept(cx).is_pending());
            let _ = self.socket.poll_send(cx);
            if self.socket.received() > received {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        timeout(SOON, heard).await.expect("the peer says something");
    }
}

#[test]
fn a_peer_that_answers_lives_however_often_it_is_asked() {
    run(async {
        let (mut side, _peer) = Side::start().await;
        for _ in 0..5 {
            // Something came since the look before; then nothing, so it is asked.
            assert_eq!(side.look(true).await, Some(Duration::ZERO));
            let heard = side.socket.received();
            assert_eq!(side.look(true).await, Some(Duration::ZERO));
            side.hears_more_than(heard).await;
        }
    });
}

#[test]
fn a_peer_that_does_not_answer_is_gone_at_the_second_look() {
    run(async {
        let (mut side, peer) = Side::start().await;
        peer.abort();
        assert!(side.look(true).await.is_some());
        assert!(side.look(true).await.is_some());
        assert_eq!(side.look(true).await, None);
    });
}

#[test]
fn looks_without_a_call_add_up_until_there_is_one() {
    run(async {
        let (mut side, _peer) = Side::start().await;
        assert_eq!(side.look(false).await, Some(LOOK_EVERY));
        let heard = side.socket.received();
        assert_eq!(side.look(false).await, Some(2 * LOOK_EVERY));
        side.hears_more_than(heard).await;
        side.keepalive.called();
        assert_eq!(side.look(false).await, Some(LOOK_EVERY));
        assert_eq!(side.look(true).await, Some(Duration::ZERO));
    });
}
