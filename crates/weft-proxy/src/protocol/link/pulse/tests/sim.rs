//! Simulated minutes of links between callers and instances, in virtual time and by seed: frames are late,
//! links break, networks part and heal, workers stand still, apps die, sidecars leave and come back.
//!
//! After every step: the newest word of an instance wins whatever the order, who leaves gets no new call once
//! that is known, a parted instance is suspect in time and back in time, who was late himself suspects nobody,
//! and there is always somebody to try. What decides is the product's: [`Pulse`], `InstanceLoad`, `picked` and
//! `health::change`; what carries frames is a queue. `cargo xtask sim health` runs many seeds.
//!
//! | file | defines |
//! |---|---|
//! | `sim/link.rs` | a link with its two ends, frames under way |
//! | `sim/world.rs` | callers, instances and what happens to them |

mod link;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use world::{Counts, World};

/// Virtual time of one world.
const WORLD_MS: u64 = 60_000;

/// Seeds of a plain test run.
const SEEDS: u64 = 8;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// SplitMix64.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn is_one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

#[test]
fn no_order_of_frames_and_faults_misleads_callers_about_their_instances() {
    let only = number("WEFT_SIM_SEED");
    let first = only.unwrap_or(1);
    let seeds = only.map_or(number("WEFT_SIM_SEEDS").unwrap_or(SEEDS), |_| 1);
    let mut told = Counts::default();
    for seed in first..first + seeds {
        let run = catch_unwind(AssertUnwindSafe(|| {
            let mut world = World::new(seed, only.is_some());
            while world.now_ms() < WORLD_MS {
                world.step();
            }
            world.counts
        }));
        let Ok(counts) = run else {
            panic!("seed {seed}: replay it with: cargo xtask sim health --seed {seed}");
        };
        told.add(&counts);
    }
    println!("sim health: {seeds} seeds: {told:?}");
    // A simulation in which nothing goes wrong shows nothing.
    if only.is_none() {
        assert!(
            told.calls > 0 && told.suspected > 0 && told.partitions > 0,
            "{told:?}"
        );
        assert!(
            told.drains > 0 && told.late > 0 && told.deaths > 0,
            "{told:?}"
        );
    }
}
