//! What counts as being kept from a core.

use super::*;

fn thread(id: u64, wants_core: bool, ran_ms: u64, waited_ms: u64) -> Thread {
    Thread {
        id,
        wants_core,
        ran: Duration::from_millis(ran_ms),
        waited: Duration::from_millis(waited_ms),
    }
}

#[test]
fn only_a_thread_that_wanted_a_core_was_kept_from_it() {
    let before = [thread(1, false, 100, 50)];
    for (what, after, kept_ms) in [
        ("stopped, or asleep for ever", thread(1, false, 100, 50), 0),
        (
            "turns round and round on its own core",
            thread(1, true, 350, 50),
            0,
        ),
        (
            "turns round, with a tenth of a core",
            thread(1, true, 125, 275),
            225,
        ),
        (
            "waits and has not had its turn",
            thread(1, true, 100, 50),
            250,
        ),
        (
            "waited long, has run, sleeps",
            thread(1, false, 101, 9_000),
            250,
        ),
        ("is new", thread(2, true, 0, 0), 0),
    ] {
        let kept = kept_waiting(&before, &[after], Duration::from_millis(250));
        assert_eq!(kept, Duration::from_millis(kept_ms), "{what}");
    }
}

#[test]
fn the_thread_that_fares_worst_counts() {
    let before = [thread(1, false, 0, 0), thread(2, false, 0, 0)];
    let after = [thread(1, false, 10, 1), thread(2, true, 0, 0)];
    let between = Duration::from_millis(250);
    assert_eq!(kept_waiting(&before, &after, between), between);
    assert_eq!(kept_waiting(&before, &[], between), Duration::ZERO);
}

#[test]
fn the_threads_of_this_process_are_read() {
    let threads = of(rustix::process::getpid());
    assert!(
        threads.iter().any(|thread| thread.ran > Duration::ZERO),
        "{threads:?}"
    );
}
