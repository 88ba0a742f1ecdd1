//! An instance that a person takes out of use gets no new calls within a second, and none fails; it comes back.

use super::leaving::Loaded;
use super::*;

/// How soon it must be so.
const EFFECT_MAX: Duration = Duration::from_secs(1);

/// Calls that have arrived for the app of an instance.
fn arrived(management: u16) -> u64 {
    let text = answer(management, "/metrics").unwrap();
    let counts = text.lines().filter(|line| {
        line.starts_with("weft_calls_total{") && line.contains("direction=\"inbound\"")
    });
    counts
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

fn management(file: &Value) -> u16 {
    file["ports"]["management"].as_u64().unwrap() as u16
}

/// `weft offline` or `weft online`.
fn say(mesh: &Loaded, verb: &str, instance: &str) {
    let output = mesh.folder.weft(&[verb, instance]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Kills the center, which is not needed, once the callers know both instances.
fn lose_the_center(mesh: &mut Loaded, managements: [u16; 2]) {
    wait_for("calls at both", || {
        managements
            .iter()
            .all(|port| arrived(*port) > 0)
            .then_some(())
    });
    mesh.center.signal(Signal::KILL);
    mesh.center.end();
}

/// Kills the sidecar of the first instance, and waits until its successor answers.
fn replace_sidecar(mesh: &Loaded, management: u16) {
    let sidecar = || pid(mesh.instance(0)?["sidecar_pid"].as_u64()?);
    let before = sidecar().unwrap();
    kill_process(before, Signal::KILL).unwrap();
    wait_for("the successor", || sidecar().filter(|pid| *pid != before));
    wait_for("its answer", || answer(management, "/ready"));
}

/// No call arrives for a while.
fn assert_quiet(management: u16, others: u16) {
    let before = (arrived(management), arrived(others));
    wait_for("calls that go elsewhere", || {
        (arrived(others) >= before.1 + 100).then_some(())
    });
    assert_eq!(arrived(management), before.0);
}

#[test]
fn an_instance_taken_out_of_use_gets_no_calls_until_it_is_taken_back() {
    let mut mesh = Loaded::start("offline");
    let files = [mesh.instance(0).unwrap(), mesh.instance(1).unwrap()];
    let id = files[0]["instance"].as_str().unwrap().to_owned();
    let [first, second] = files.each_ref().map(management);
    lose_the_center(&mut mesh, [first, second]);

    say(&mesh, "offline", &id);
    std::thread::sleep(EFFECT_MAX);
    assert_quiet(first, second);

    say(&mesh, "online", &id);
    let said_at = now();
    let there = arrived(first);
    wait_for("calls again", || (arrived(first) > there).then_some(()));
    let took = now().duration_since(said_at);
    println!("calls again after {took:?}");
    assert!(took <= EFFECT_MAX, "after {took:?}");

    say(&mesh, "offline", &id);
    std::thread::sleep(EFFECT_MAX);
    // A successor of its sidecar knows it too.
    replace_sidecar(&mesh, first);
    std::thread::sleep(EFFECT_MAX);
    assert_quiet(first, second);
    let (calls, failed) = mesh.count();
    assert_eq!(failed, 0, "of {calls} calls");
}

#[test]
fn an_instance_elsewhere_is_taken_out_of_use_and_back_through_the_center() {
    let mesh = Loaded::start("offline-center");
    let files = [mesh.instance(0).unwrap(), mesh.instance(1).unwrap()];
    let id = files[0]["instance"].as_str().unwrap().to_owned();
    let [first, second] = files.each_ref().map(management);
    wait_for("calls at both", || {
        (arrived(first) > 0 && arrived(second) > 0).then_some(())
    });
    let center = format!("127.0.0.1:{}", center_port(&mesh.folder).unwrap());
    let token = mesh.folder.0.join("run/center.token");
    let say = |verb: &str| {
        // A machine on which no instance and no center run.
        let output = mesh
            .folder
            .weft(&[verb, &id, "--center", &center, "--token-file"])
            .arg(&token)
            .env("WEFT_RUNTIME_DIR", mesh.folder.0.join("elsewhere"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("the center tells it"), "{text}");
    };

    say("offline");
    std::thread::sleep(EFFECT_MAX);
    assert_quiet(first, second);

    let there = arrived(first);
    say("online");
    let said_at = now();
    wait_for("calls again", || (arrived(first) > there).then_some(()));
    let took = now().duration_since(said_at);
    println!("calls again after {took:?}");
    assert!(took <= EFFECT_MAX, "after {took:?}");
    let (calls, failed) = mesh.count();
    assert_eq!(failed, 0, "of {calls} calls");
}

#[test]
fn an_instance_taken_back_after_its_sidecar_died_gets_calls_again_without_a_center() {
    let mut mesh = Loaded::start("back");
    let files = [mesh.instance(0).unwrap(), mesh.instance(1).unwrap()];
    let id = files[0]["instance"].as_str().unwrap().to_owned();
    let [first, second] = files.each_ref().map(management);
    lose_the_center(&mut mesh, [first, second]);
    say(&mesh, "offline", &id);
    std::thread::sleep(EFFECT_MAX);
    replace_sidecar(&mesh, first);
    // Its callers know the successor only if they look for it: no call leads them there.
    assert_quiet(first, second);
    say(&mesh, "online", &id);
    let said_at = now();
    let there = arrived(first);
    wait_for("calls again", || (arrived(first) > there).then_some(()));
    let took = now().duration_since(said_at);
    println!("calls again after {took:?}");
    assert!(took <= EFFECT_MAX, "after {took:?}");
    let (calls, failed) = mesh.count();
    assert_eq!(failed, 0, "of {calls} calls");
}

#[test]
fn an_instance_that_is_not_here_is_looked_for_at_the_center() {
    let folder = Folder::new("offline-elsewhere");
    let output = folder.weft(&["offline", "orders-1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("on this machine") && errors.contains("center"),
        "{errors}"
    );
}
