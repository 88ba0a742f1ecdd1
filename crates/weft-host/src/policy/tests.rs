//! When the policies decide, and what they are called.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_death_after_five_in_a_minute_is_too_many_and_counting_begins_anew() {
    let now = crate::clock::now();
    let mut deaths = Deaths::default();
    let answers: Vec<bool> = (0..12)
        .map(|number| deaths.are_too_many(now + SECOND * number))
        .collect();
    let sixth = [false, false, false, false, false, true];
    assert_eq!(answers, [sixth, sixth].concat());
}

#[test]
fn deaths_that_are_a_minute_old_do_not_count() {
    let now = crate::clock::now();
    let mut deaths = Deaths::default();
    assert!((0..60).all(|number| !deaths.are_too_many(now + SECOND * 12 * number)));
}

#[test]
fn an_app_is_started_again_as_its_policy_says() {
    let applies = |policy: AppRestart| [policy.applies(0), policy.applies(1)];
    assert_eq!(applies(AppRestart::Never), [false, false]);
    assert_eq!(applies(AppRestart::OnFailure), [false, true]);
    assert_eq!(applies(AppRestart::Always), [true, true]);
}

#[test]
fn policies_are_named_as_on_the_command_line() {
    assert_eq!("give-up".parse(), Ok(SidecarFailure::GiveUp));
    assert_eq!("restart-app".parse(), Ok(SidecarFailure::default()));
    assert_eq!("on-failure".parse(), Ok(AppRestart::OnFailure));
    assert!("sometimes".parse::<AppRestart>().is_err());
    assert!("sometimes".parse::<SidecarFailure>().is_err());
}

#[test]
fn what_the_agent_was_started_with_goes_before_what_the_mesh_declares() {
    use SidecarFailure::{GiveUp, KeepTrying, RestartApp};
    for (said_here, declared, made) in [
        (None, None, RestartApp),
        (None, Some(OnDeath::RestartInPlace), KeepTrying),
        (None, Some(OnDeath::RestartApp), RestartApp),
        (None, Some(OnDeath::GiveUp), GiveUp),
        (Some(KeepTrying), Some(OnDeath::GiveUp), KeepTrying),
    ] {
        let decision = Decision {
            said_here,
            declared,
        };
        assert_eq!(decision.made(), made, "{decision:?}");
    }
}
