//! Simulated years of a store: random histories of writes through the real writer, on a disk that crashes at
//! any write, loses, tears and reorders what was not synced, is full, fails syncs and flips bits.
//!
//! After every step: what was acknowledged is there, a set is there whole or not at all, what was refused does
//! not come back, revisions and epochs only grow, the history is bounded and in order, damage is told and
//! never believed. `cargo xtask sim store` runs many seeds; a seed replays exactly.
//!
//! | file | defines |
//! |---|---|
//! | `sim/disk.rs` | the disk |
//! | `sim/world.rs` | a center's store and what is known of it; the steps |
//! | `sim/random.rs` | numbers by lot |
//! | `sim/rows.rs`, `sim/counts.rs` | rows as they are compared; what happened |

mod counts;
mod disk;
mod random;
mod rows;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use world::World;

/// Steps of one history.
const STEPS: usize = 80;

/// Seeds of a plain test run.
const SEEDS: u64 = 32;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_history_of_writes_and_faults_loses_what_was_acknowledged() {
    let only = number("WEFT_SIM_SEED");
    let first = only.unwrap_or(1);
    let seeds = only.map_or(number("WEFT_SIM_SEEDS").unwrap_or(SEEDS), |_| 1);
    let mut told = counts::Counts::default();
    for seed in first..first + seeds {
        let run = catch_unwind(AssertUnwindSafe(|| {
            let mut world = World::new(seed, only.is_some());
            for _ in 0..STEPS {
                world.step();
            }
            world.counts
        }));
        let Ok(counts) = run else {
            panic!("seed {seed}: replay it with: cargo xtask sim store --seed {seed}");
        };
        told.add(&counts);
    }
    println!("sim store: {seeds} seeds: {told:?}");
    // A simulation in which nothing goes wrong shows nothing.
    if only.is_none() {
        assert!(
            told.crashes > 0 && told.refused > 0 && told.damaged > 0,
            "{told:?}"
        );
        assert!(
            told.commits > 0 && told.restores > 0 && told.full > 0,
            "{told:?}"
        );
    }
}
