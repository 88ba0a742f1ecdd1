//! A wait ends with what it waits for, or with its limit.

use super::*;
use std::future::{pending, ready};

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(test);
}

/// Sweeps until `wait` ends, at most a hundred times.
async fn swept<T>(deadlines: &Deadlines, wait: impl Future<Output = T>) -> T {
    let mut wait = pin!(wait);
    for _ in 0..100 {
        tokio::select! {
            biased;
            output = &mut wait => return output,
            () = tokio::time::sleep(Duration::from_millis(10)) => deadlines.sweep(),
        }
    }
    panic!("the wait did not end");
}

#[test]
fn a_wait_that_is_over_does_not_expire() {
    run(async {
        let deadlines = Deadlines::new();
        let limit = deadlines.limit();
        let waited = deadlines.within(&limit, Duration::ZERO, ready(7)).await;
        assert_eq!(waited, Ok(7));
        assert_eq!(limit.at_ms.get(), 0);
    });
}

#[test]
fn a_wait_without_end_expires_and_the_limit_serves_again() {
    run(async {
        let deadlines = Deadlines::new();
        let limit = deadlines.limit();
        for _ in 0..2 {
            let wait = deadlines.within(&limit, Duration::from_millis(1), pending::<()>());
            assert_eq!(swept(&deadlines, wait).await, Err(Expired));
        }
    });
}

#[test]
fn a_stall_is_told_once_nothing_has_moved_and_not_before() {
    run(async {
        let deadlines = Deadlines::new();
        let limit = deadlines.limit();
        let stalled = poll_fn(|cx| deadlines.poll_stalled(&limit, Duration::from_millis(20), cx));
        swept(&deadlines, stalled).await;
        assert_eq!(limit.at_ms.get(), 0, "the limit starts anew");
    });
}

#[test]
fn only_waits_for_a_next_call_are_ended_early() {
    run(async {
        let deadlines = Deadlines::new();
        let (idle, busy) = (deadlines.limit(), deadlines.limit());
        idle.idle(true);
        let long = Duration::from_mins(10);
        let mut of_idle = pin!(deadlines.within(&idle, long, pending::<()>()));
        let mut of_busy = pin!(deadlines.within(&busy, long, pending::<()>()));
        let mut turn = async || {
            tokio::select! {
                biased;
                ended = &mut of_idle => Some(("idle", ended)),
                ended = &mut of_busy => Some(("busy", ended)),
                () = tokio::time::sleep(Duration::from_millis(5)) => None,
            }
        };
        assert_eq!(turn().await, None);
        deadlines.end_idle();
        assert_eq!(turn().await, Some(("idle", Err(Expired))));
    });
}

#[test]
fn limits_of_connections_that_are_gone_are_forgotten() {
    let deadlines = Deadlines::new();
    let kept = deadlines.limit();
    drop(deadlines.limit());
    deadlines.sweep();
    assert_eq!(deadlines.limits.borrow().len(), 1);
    drop(kept);
}
