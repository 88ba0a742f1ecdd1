//! `weft run` as process 1 of a container, and what it costs there.

use super::*;

/// The child of a process; its id as we see it, not as the container does.
fn children(parent: Pid) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").unwrap();
    let ids = processes.filter_map(|entry| pid(entry.ok()?.file_name().to_str()?.parse().ok()?));
    let mine = ids.filter(|id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        fields.split_whitespace().nth(1) == Some(&parent.to_string())
    });
    mine.collect()
}

fn command_line(process: Pid) -> String {
    let text = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&text).replace('\0', " ")
}

/// `weft` with these arguments as process 1 of a world of its own. None, with a word about it, where that is not
/// allowed.
fn as_process_1(folder: &Folder, arguments: &[&str]) -> Option<Command> {
    const UNSHARE: [&str; 4] = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    let probe = Command::new("unshare").args(UNSHARE).arg("true").output();
    if !probe.is_ok_and(|output| output.status.success()) {
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "unshare is refused or missing; CI needs it for this test"
        );
        println!("not tested: unshare is refused or missing here");
        return None;
    }
    let weft = folder.weft(arguments);
    let mut command = Command::new("unshare");
    command
        .args(UNSHARE)
        .arg(weft.get_program())
        .args(weft.get_args())
        .stdin(Stdio::null());
    for (name, value) in weft.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Some(command)
}

#[test]
fn process_1_reaps_what_others_leave_behind_and_hears_sigterm() {
    let folder = Folder::new("first");
    let up = folder.0.join("up").display().to_string();
    // The shell in between ends at once, which leaves its sleep to process 1.
    let script = format!(
        "trap 'exit 9' TERM; sh -c 'sleep 601 & echo started'; : > {up}; while :; do sleep 0.01; done"
    );
    let arguments = ["run", "--service", "orders", "--", "sh", "-c", &script];
    let Some(command) = as_process_1(&folder, &arguments) else {
        return;
    };
    let mut unshare = Weft::start(command);
    wait_for("the app", || fs::exists(&up).unwrap().then_some(()));
    assert_eq!(folder.runtime_file("orders").unwrap()["pid"], 1);
    let agent = wait_for("the agent", || children(unshare.pid()).first().copied());
    let orphan = wait_for("the orphan below process 1", || {
        let all = children(agent);
        let mut orphans = all.into_iter();
        orphans.find(|child| command_line(*child).starts_with("sleep 601"))
    });
    kill_process(orphan, Signal::KILL).unwrap();
    wait_for("the orphan's end, not as a zombie", || {
        (!fs::exists(format!("/proc/{orphan}")).unwrap()).then_some(())
    });
    assert_eq!(children(agent).len(), 2, "sidecar and app");
    kill_process(agent, Signal::TERM).unwrap();
    assert_eq!(unshare.end().code(), Some(9), "the app's answer to SIGTERM");
}

/// Private memory of a process in KiB: what its end would give back.
fn private_kib(process: Pid) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap();
    let lines = text.lines().filter(|line| line.starts_with("Private_"));
    let sizes = lines.map(|line| -> u64 {
        let words: Vec<&str> = line.split_whitespace().collect();
        words[1].parse().unwrap()
    });
    sizes.sum()
}

#[test]
fn an_agent_costs_little_memory_beside_its_sidecar() {
    /// Promised of a released binary; this one, not optimised, touches more of itself and keeps to it too.
    const LIMIT_KIB: u64 = 3 * 1024;
    let folder = Folder::new("memory");
    let command = sleeping_app(&folder);
    let mut arguments = vec!["run", "--service", "orders", "--check", "tcp:1", "--"];
    arguments.extend(command.iter().map(String::as_str));
    let mut weft = Weft::start(folder.weft(&arguments));
    app_pid(&folder);
    let port = folder.port("orders", "management");
    wait_for("the sidecar's answer", || {
        answer(port, "/live").filter(|text| text.contains(" 200 "))
    });
    // It has asked its sidecar, started another one and talked to a person by now.
    let restarted = folder
        .weft(&["restart", "proxy", "orders"])
        .output()
        .unwrap();
    assert!(restarted.status.success(), "{restarted:?}");
    let used = private_kib(weft.pid());
    println!("the agent's own memory: {used} KiB");
    assert!(used <= LIMIT_KIB, "{used} KiB");
    let tasks = fs::read_dir(format!("/proc/{}/task", weft.pid())).unwrap();
    assert_eq!(tasks.count(), 1, "the agent has one thread");
    weft.signal(Signal::TERM);
    weft.end();
}
