//! What follows when the app or the sidecar ends again and again.

use super::*;

/// Kills the sidecar of orders, and each successor, until there were so many.
fn kill_sidecars(folder: &Folder, deaths: u32) {
    let mut last = None;
    for _ in 0..deaths {
        let sidecar = wait_for("a sidecar", || {
            folder.sidecar("orders").filter(|pid| Some(*pid) != last)
        });
        // One that is dead already is about to be replaced.
        let _ = kill_process(sidecar, Signal::KILL);
        last = Some(sidecar);
    }
}

fn run_sleeping(folder: &Folder, policy: &str) -> (Weft, Pid) {
    let command = sleeping_app(folder);
    let mut arguments = vec![
        "run",
        "--service",
        "orders",
        "--sidecar-failure",
        policy,
        "--",
    ];
    arguments.extend(command.iter().map(String::as_str));
    (Weft::start(folder.weft(&arguments)), app_pid(folder))
}

#[test]
fn an_app_that_fails_is_started_again_until_it_ends_well() {
    let folder = Folder::new("on-failure");
    let starts = folder.0.join("starts").display().to_string();
    let script = format!("echo x >> {starts}; test $(wc -l < {starts}) -ge 4 || exit 3");
    let output = folder
        .weft(&[
            "run",
            "--service",
            "orders",
            "--restart",
            "on-failure",
            "--",
            "sh",
            "-c",
            &script,
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(fs::read_to_string(starts).unwrap().lines().count(), 4);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        errors.matches("ended with exit code 3").count(),
        3,
        "{errors}"
    );
}

#[test]
fn after_five_deaths_in_a_minute_the_app_is_restarted_with_its_sidecar() {
    let folder = Folder::new("restart-app");
    let (mut weft, app) = run_sleeping(&folder, "restart-app");
    kill_sidecars(&folder, 5);
    assert!(lives(app), "five deaths are the sidecar's alone");
    kill_sidecars(&folder, 2);
    wait_for("another app", || {
        (app_pid(&folder) != app && lives(app_pid(&folder))).then_some(())
    });
    assert!(!lives(app));
    weft.signal(Signal::TERM);
    assert_eq!(weft.end().code(), Some(143));
}

#[test]
fn after_five_deaths_in_a_minute_the_agent_may_give_up() {
    let folder = Folder::new("give-up");
    let (mut weft, app) = run_sleeping(&folder, "give-up");
    kill_sidecars(&folder, 6);
    assert_eq!(weft.end().code(), Some(70));
    assert!(!lives(app));
}
