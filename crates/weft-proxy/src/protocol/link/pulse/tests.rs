//! Who is heard is trusted, who is not is suspect, and who was late doubts himself.

mod sim;

use super::*;

fn link() -> (Pulse, Arc<InstanceLoad>) {
    let pulse = Pulse::new(0);
    let load = Arc::new(InstanceLoad::default());
    pulse.meet(&load, false);
    (pulse, load)
}

#[test]
fn a_link_in_use_that_missed_two_beats_is_suspect_until_it_is_heard() {
    let (pulse, load) = link();
    pulse.used(0);
    pulse.beat(399, false, true, 1);
    assert!(load.is_eligible(399));
    pulse.beat(400, false, true, 1);
    assert!(load.is_eligible(400), "what came is read first");
    pulse.beat(410, false, true, 1);
    assert!(!load.is_eligible(410));
    pulse.heard(420);
    assert!(load.is_eligible(420));
}

#[test]
fn an_instance_knows_when_any_link_to_it_was_heard() {
    let (pulse, load) = link();
    pulse.heard(700);
    assert_eq!(load.heard_ms.load(Relaxed), 0, "told at the next beat");
    pulse.beat(800, false, true, 0);
    let other = Pulse::new(100);
    other.meet(&load, false);
    other.beat(900, false, true, 0);
    assert_eq!(load.heard_ms.load(Relaxed), 700);
}

#[test]
fn a_late_worker_suspects_nobody() {
    let (pulse, load) = link();
    pulse.used(0);
    pulse.beat(900, true, true, 1);
    assert!(load.is_eligible(900));
}

#[test]
fn a_worker_that_stood_still_reads_before_it_doubts() {
    let (pulse, load) = link();
    pulse.used(0);
    pulse.beat(490, false, true, 1);
    pulse.heard(495);
    pulse.beat(500, false, true, 1);
    pulse.beat(900, false, true, 1);
    pulse.beat(1_100, true, true, 1);
    pulse.beat(1_110, false, true, 1);
    assert!(load.is_eligible(1_110), "late in between");
}

#[test]
fn the_beat_that_decides_says_nothing_when_it_comes_late() {
    let (pulse, load) = link();
    pulse.used(0);
    assert_eq!(pulse.late_max(), LATE_MAX);
    pulse.beat(500, false, true, 1);
    assert_eq!(pulse.late_max(), BEAT_MIN, "silence was met");
    // It came 90 ms after it was due.
    assert_eq!(pulse.next_beat(600, true), BEAT_MIN, "soon again");
    pulse.beat(600, true, true, 1);
    assert!(load.is_eligible(600));
    pulse.beat(610, false, true, 1);
    pulse.beat(620, false, true, 1);
    assert!(!load.is_eligible(620), "nothing came in any of them");
}

#[test]
fn an_idle_link_is_not_suspect_right_after_its_first_call() {
    let (pulse, load) = link();
    pulse.heard(60_000);
    pulse.used(61_900);
    pulse.beat(62_100, false, true, 1);
    assert!(load.is_eligible(62_100));
    pulse.beat(62_300, false, true, 1);
    pulse.beat(62_310, false, true, 1);
    assert!(!load.is_eligible(62_310));
}

#[test]
fn a_beat_speaks_only_when_nothing_went_out() {
    let (pulse, _) = link();
    pulse.used(0);
    pulse.heard(0);
    assert_eq!(pulse.beat(50, false, true, 1), Beat::Rest);
    assert_eq!(pulse.beat(200, false, true, 1), Beat::Speak);
    pulse.sent(200);
    assert_eq!(pulse.beat(250, false, true, 1), Beat::Rest);
    assert_eq!(pulse.interval(300), BEAT_ACTIVE);
    assert_eq!(pulse.interval(10_000), BEAT_IDLE);
}

#[test]
fn the_next_beat_comes_when_something_must_be_said_or_is_missed() {
    let (pulse, _) = link();
    pulse.used(0);
    let next = |now_ms, late| pulse.next_beat(now_ms, late).as_millis();
    assert_eq!(next(0, false), 200, "to speak");
    assert_eq!(
        next(90, false),
        110,
        "never more than a beat after what was sent last"
    );
    pulse.sent(390);
    assert_eq!(next(390, false), 10, "silence is doubted on time");
    pulse.heard(350);
    assert_eq!(next(390, false), 200);
    assert_eq!(next(390, true), 200, "who was late reads first");
    pulse.beat(750, false, true, 1);
    assert_eq!(next(750, false), 10, "silence is looked at twice");
    pulse.beat(760, false, true, 1);
    pulse.sent(760);
    assert!(pulse.is_suspect());
    assert_eq!(next(761, false), 199, "a suspect is only spoken to");
    assert_eq!(next(20_000, false), 2_000, "an idle link");
    pulse.sent(20_500);
    assert_eq!(
        next(21_400, false),
        1_100,
        "two seconds after what went out"
    );
    assert_eq!(next(21_400, true), 1_100, "also when it was late");
}

#[test]
fn a_silent_link_and_one_without_calls_are_closed() {
    let (pulse, _) = link();
    assert_eq!(pulse.beat(6_000, false, true, 0), Beat::Silent);
    pulse.heard(599_999);
    assert_eq!(pulse.beat(600_000, false, true, 0), Beat::Idle);
    assert_eq!(pulse.beat(600_000, false, true, 1), Beat::Speak);
    assert_eq!(pulse.beat(600_000, false, false, 0), Beat::Speak);
}

#[test]
fn what_was_said_before_the_first_call_counts_for_it() {
    let pulse = Pulse::new(0);
    let word = |sequence, state| Word {
        incarnation: 1,
        sequence,
        state,
        share: 30,
    };
    pulse.told(word(7, HealthState::AppDead));
    let load = Arc::new(InstanceLoad::default());
    pulse.meet(&load, false);
    assert_eq!(load.state(), HealthState::AppDead);
    pulse.told(word(8, HealthState::Warming));
    assert!(load.is_eligible(0));
    assert_eq!(load.share(), 30);
}

#[test]
fn a_link_that_ends_takes_its_suspicion_with_it() {
    let (pulse, load) = link();
    pulse.used(0);
    pulse.beat(490, false, true, 1);
    pulse.beat(500, false, true, 1);
    assert!(!load.is_eligible(500));
    drop(pulse);
    assert!(load.is_eligible(500));
}
