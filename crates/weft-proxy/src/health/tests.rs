//! Each change is told with a higher sequence; nothing follows draining.

use super::*;

#[test]
fn each_change_has_a_higher_sequence_and_nothing_follows_draining() {
    let first = initial();
    let (health, told) = watch::channel(first);
    change(&health, HealthState::Ready);
    assert_eq!(*told.borrow(), first);
    change(&health, HealthState::AppDead);
    assert_eq!(told.borrow().sequence, first.sequence + 1);
    change(&health, HealthState::Draining);
    change(&health, HealthState::Ready);
    assert_eq!(
        *told.borrow(),
        OwnHealth {
            sequence: first.sequence + 2,
            state: HealthState::Draining
        }
    );
}
