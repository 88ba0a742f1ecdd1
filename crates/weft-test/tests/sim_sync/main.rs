//! Simulated hours of a center and its sidecars, in virtual time and by seed: messages are late, streams break,
//! the center crashes, stops, comes back and is restored, sidecars come back from what they saved.
//!
//! After every step: versions that a sidecar uses only grow, what it knows of a service is what the center had at
//! some revision, nothing is told that was not durable, a mass removal is held while instances answer. After
//! quiet all know what is true. `cargo xtask sim sync` runs many seeds.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test: an expectation that does not hold is a failed test, told on the terminal"
)]

mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use world::{Counts, World};

/// Steps of one world before it becomes quiet.
const STEPS: usize = 600;

/// Seeds of a plain test run.
const SEEDS: u64 = 8;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_order_of_messages_and_faults_leaves_a_sidecar_with_a_world_that_never_was() {
    let only = number("WEFT_SIM_SEED");
    let first = only.unwrap_or(1);
    let seeds = only.map_or(number("WEFT_SIM_SEEDS").unwrap_or(SEEDS), |_| 1);
    let mut told = Counts::default();
    for seed in first..first + seeds {
        let run = catch_unwind(AssertUnwindSafe(|| {
            let mut world = World::new(seed, only.is_some());
            for _ in 0..STEPS {
                world.step();
            }
            world.settle();
            world.counts
        }));
        let Ok(counts) = run else {
            panic!("seed {seed}: replay it with: cargo xtask sim sync --seed {seed}");
        };
        told.add(&counts);
    }
    println!("sim sync: {seeds} seeds: {told:?}");
    // A simulation in which nothing goes wrong shows nothing.
    if only.is_none() {
        assert!(
            told.updates > 0 && told.center_crashes > 0 && told.restores > 0,
            "{told:?}"
        );
        assert!(
            told.lost_streams > 0 && told.restarts > 0 && told.clean_stops > 0,
            "{told:?}"
        );
    }
}
