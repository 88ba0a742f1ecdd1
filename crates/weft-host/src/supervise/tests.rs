//! Tests of the exit codes. The life of processes is tested with the binary (`crates/weft/tests`): the loop
//! reaps *any* child, so it cannot share a process with other tests.

use super::*;
use std::process::Command;

#[expect(
    clippy::zombie_processes,
    reason = "reaped by rustix, which is what is tested"
)]
fn status_of(script: &str) -> WaitStatus {
    let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
    let pid = crate::sidecar::pid_of(&child).unwrap();
    rustix::process::waitpid(Some(pid), WaitOptions::empty())
        .unwrap()
        .unwrap()
        .1
}

#[test]
fn the_exit_code_is_the_apps_or_128_and_the_signal() {
    assert_eq!(exit_code(status_of("exit 0")), 0);
    assert_eq!(exit_code(status_of("exit 42")), 42);
    assert_eq!(exit_code(status_of("kill -TERM $$")), 143);
    assert_eq!(exit_code(status_of("kill -KILL $$")), 137);
    assert_eq!(describe(status_of("kill -KILL $$")), "signal 9");
}
