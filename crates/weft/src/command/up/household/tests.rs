//! Tests of the choice of ports and of the ends of logs. Real processes are in `tests/`.

use super::*;

#[test]
fn every_instance_has_a_port_of_its_own() {
    let plans = plans();
    let mut ports: Vec<u16> = plans.iter().map(|plan| plan.port).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 7);
    assert!(
        ports.iter().all(|port| (18_000..26_000).contains(port)),
        "{ports:?}"
    );
}

#[test]
fn a_long_log_shows_its_end() {
    let household = Household::new().unwrap();
    let path = household.log_path("x");
    fs::write(&path, format!("{}end", "a".repeat(10_000))).unwrap();
    let tail = tail(&path);
    assert_eq!(tail.len() as u64, TAIL_BYTES);
    assert!(tail.ends_with("aend"));
    let folder = household.folder.clone();
    drop(household);
    assert!(!folder.exists());
}
