//! Each change is told with a higher sequence; out of use is like leaving, but for coming back.

use super::*;

#[test]
fn each_change_has_a_higher_sequence() {
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
            sequence: first.sequence + 3,
            state: HealthState::Ready
        }
    );
}

#[test]
fn one_out_of_use_tells_that_it_takes_no_calls_and_a_dead_app_is_dead_all_the_same() {
    let up = AppState::Up { incarnation: 1 };
    assert_eq!(state_of(up, false), HealthState::Ready);
    assert_eq!(state_of(up, true), HealthState::Draining);
    assert_eq!(state_of(AppState::Dead, true), HealthState::AppDead);
    assert_eq!(state_of(AppState::Dead, false), HealthState::AppDead);
}
