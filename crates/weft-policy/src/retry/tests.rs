//! Only what is proven safe is tried again.

use super::*;

const FRESH: Attempted = Attempted {
    attempts: 1,
    is_retry: false,
    idempotent: false,
    replayable: true,
    reply_begun: false,
};

#[test]
fn what_was_not_dispatched_moves_on_and_nothing_else_does() {
    for code in Code::ALL {
        assert_eq!(
            may_move_on(*code, FRESH),
            code.proves_not_dispatched(),
            "{}",
            code.text()
        );
    }
}

#[test]
fn an_idempotent_call_is_tried_once_more_after_a_broken_connection() {
    let idempotent = Attempted {
        idempotent: true,
        ..FRESH
    };
    assert!(may_move_on(Code::UpstreamClosed, idempotent));
    assert!(may_move_on(Code::LinkLost, idempotent));
    assert!(!may_move_on(Code::UpstreamTimeout, idempotent));
    assert!(!may_move_on(
        Code::LinkLost,
        Attempted {
            attempts: 2,
            ..idempotent
        }
    ));
    assert!(!may_move_on(
        Code::LinkLost,
        Attempted {
            reply_begun: true,
            ..idempotent
        }
    ));
}

#[test]
fn a_pattern_is_open_where_its_star_stands() {
    for (pattern, method, fits) in [
        ("query", "query", true),
        ("query", "queryAll", false),
        ("query*", "queryAll", true),
        ("query*", "requery", false),
        ("*All", "queryAll", true),
        ("*All", "queryAllOf", false),
        ("*er*", "query", true),
        ("*xx*", "query", false),
        ("*", "anything", true),
        ("", "query", false),
    ] {
        assert_eq!(
            method_fits(pattern, method.as_bytes()),
            fits,
            "{pattern} {method}"
        );
    }
}

#[test]
fn a_retry_ends_with_its_attempts_its_body_or_an_earlier_hop() {
    assert!(may_move_on(
        Code::ConnectRefused,
        Attempted {
            attempts: 2,
            ..FRESH
        }
    ));
    assert!(!may_move_on(
        Code::ConnectRefused,
        Attempted {
            attempts: 3,
            ..FRESH
        }
    ));
    assert!(!may_move_on(
        Code::ConnectRefused,
        Attempted {
            replayable: false,
            ..FRESH
        }
    ));
    assert!(!may_move_on(
        Code::ConnectRefused,
        Attempted {
            is_retry: true,
            ..FRESH
        }
    ));
}
