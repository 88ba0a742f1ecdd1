//! A peer that cannot be reached is passed over longer each time, up to a limit.

use super::*;

#[test]
fn a_pause_doubles_with_each_failure_up_to_its_limit_and_half_of_it_is_drawn() {
    for (failures, whole) in [(1, 50), (2, 100), (3, 200), (8, 5_000), (u32::MAX, 5_000)] {
        let doubt = Doubt { failures, at_ms: 0 };
        let mut seen = (u64::MAX, 0);
        for random in 0..10_000 {
            let pause = doubt.pause_ms(random);
            seen = (seen.0.min(pause), seen.1.max(pause));
        }
        assert_eq!(seen, (whole / 2, whole), "after {failures}");
    }
}
