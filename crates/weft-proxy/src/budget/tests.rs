//! The count, over workers and steps.

use super::{Pressure, STEP_BYTES, held, hold, pressure_of, release};
use crate::buffer::{BUFFER_BYTES, Buffer, Chunk};

#[test]
fn a_third_of_the_budget_ends_growth_and_all_of_it_ends_reading() {
    for (held, expected) in [
        (0, Pressure::Easy),
        (29, Pressure::Easy),
        (30, Pressure::Tight),
        (89, Pressure::Tight),
        (90, Pressure::Full),
        (900, Pressure::Full),
    ] {
        assert_eq!(pressure_of(held, 90), expected, "{held} of 90");
    }
}

/// What this thread holds, as far as it differs from what it held at first.
fn own() -> usize {
    super::OWN.with(|own| own.held.get()).cast_unsigned()
}

#[test]
fn every_buffer_counts_as_long_as_it_lives_and_as_large_as_it_is() {
    let before = own();
    let mut buffer = Buffer::take();
    assert!(own() >= before + BUFFER_BYTES);
    buffer.resize(10 * BUFFER_BYTES, 0);
    buffer.recount();
    assert!(own() >= before + 10 * BUFFER_BYTES);
    let chunk = Chunk::copy_of(b"little");
    let with_little = own();
    drop(buffer);
    assert!(own() <= before + 64 && own() > before, "{with_little}");
    drop(chunk);
    assert_eq!(own(), before);
}

#[test]
fn the_process_hears_of_whole_steps_and_of_their_end() {
    // In threads of their own: what other tests of this process hold meanwhile is less than what these do.
    let step = STEP_BYTES.cast_unsigned();
    let many = 4_000 * step;
    let before = held();
    std::thread::spawn(move || {
        hold(many);
        assert!(held() >= many);
        hold(step - 1);
        release(many + step - 1);
    })
    .join()
    .unwrap();
    let after = held();
    assert!(after < before + many, "{before} before, {after} after");
}
