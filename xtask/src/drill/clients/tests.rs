//! How failures are told.

use super::*;
use std::time::Duration;

#[test]
fn sentences_that_are_alike_are_told_once_with_their_number_the_most_first() {
    let sentences = ["a| (1 ms)", "b| (2 ms)", "b| (3 ms)"].map(str::to_owned);
    assert_eq!(
        summed_up(sentences.to_vec()),
        ["2 x b (2 ms)", "1 x a (1 ms)"]
    );
}

#[test]
fn a_failure_tells_who_called_and_how_long_after_which_event() {
    let began = crate::bench::processes::now();
    let at = began + Duration::from_millis(3);
    let failure = Failure {
        kind: Kind {
            protocol: Protocol::Http1,
            idempotent: true,
            keeps: false,
            retries: false,
        },
        began,
        ended: at + Duration::from_millis(2),
        why: "it broke".to_owned(),
    };
    assert_eq!(
        told(&failure, [at].into_iter(), "a kill"),
        "Http1 [idempotent, new connection] it broke| (-3 to 2 ms after a kill)"
    );
}

#[test]
fn of_the_clients_of_a_protocol_half_are_idempotent_and_a_quarter_connects_anew() {
    let clients = both(false);
    let count = |which: fn(&Kind) -> bool| clients.iter().filter(|kind| which(kind)).count();
    assert_eq!(clients.len(), 2 * CLIENTS);
    assert_eq!(count(|kind| kind.idempotent), CLIENTS);
    assert_eq!(count(|kind| !kind.keeps), CLIENTS / 2);
    assert_eq!(count(|kind| kind.retries), 0);
}
