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

/// A center, and an agent with an app that knows it.
struct Declared {
    folder: Folder,
    _center: Weft,
    weft: Weft,
    app: Pid,
}

impl Declared {
    /// The mesh declares one thing before the agent is there, and another one afterwards. Both reach it.
    fn start(name: &str, words: [(&str, &str); 2]) -> Self {
        let folder = Folder::new(name);
        let center = Weft::start(folder.weft(&["center", "--listen", "127.0.0.1:0"]));
        wait_for("the center", || center_port(&folder));
        let [(first, first_told), (then, then_told)] = words;
        declare(&folder, first);
        let command = sleeping_app(&folder);
        let mut run = folder.weft(&["run", "--service", "orders", "--"]);
        let errors = fs::File::create(folder.0.join("errors")).unwrap();
        run.args(command).stdout(Stdio::null()).stderr(errors);
        let weft = Weft(run.spawn().unwrap());
        let app = app_pid(&folder);
        wait_until_told(&folder, first_told);
        declare(&folder, then);
        wait_until_told(&folder, then_told);
        Self {
            folder,
            _center: center,
            weft,
            app,
        }
    }
}

fn declare(folder: &Folder, on_death: &str) {
    let file = folder.0.join("mesh.yaml");
    let object = format!(
        "apiVersion: mesh.weft.dev/v1alpha1\nkind: Mesh\nmetadata: {{name: default}}\nspec:\n  \
         sidecarFailure: {{onDeath: {on_death}}}\n"
    );
    fs::write(&file, object).unwrap();
    let path = file.display().to_string();
    let output = folder.weft(&["apply", "-f", &path]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn wait_until_told(folder: &Folder, word: &str) {
    let line = format!("after five deaths of the sidecar in a minute: {word}\n");
    let errors = folder.0.join("errors");
    wait_for("the agent to hear what the mesh declares", || {
        let text = fs::read_to_string(&errors).ok()?;
        text.contains(&line).then_some(())
    });
}

#[test]
fn after_five_deaths_in_a_minute_the_agent_gives_up_if_the_mesh_declares_it() {
    let words = [("RestartInPlace", "keep-trying"), ("GiveUp", "give-up")];
    let mut mesh = Declared::start("mesh-give-up", words);
    kill_sidecars(&mesh.folder, 6);
    assert_eq!(mesh.weft.end().code(), Some(70));
    assert!(!lives(mesh.app));
}

#[test]
fn after_five_deaths_in_a_minute_the_app_stays_if_the_mesh_declares_it() {
    let words = [("GiveUp", "give-up"), ("RestartInPlace", "keep-trying")];
    let mut mesh = Declared::start("mesh-in-place", words);
    // With the ordinary decision the app would be told to end at the sixth.
    kill_sidecars(&mesh.folder, 7);
    let next = wait_for("a sidecar after seven", || {
        let sidecar = mesh.folder.sidecar("orders")?;
        lives(sidecar).then_some(sidecar)
    });
    assert!(lives(mesh.app), "the app of sidecar {next}");
    assert_eq!(app_pid(&mesh.folder), mesh.app);
    mesh.weft.signal(Signal::TERM);
    assert_eq!(mesh.weft.end().code(), Some(143));
}
