//! What people declare, through the binary: from files to the store, over a crash, a backup and back.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says so by failing"
)]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Looks every 20 ms, for at most 20 s.
const LOOKS_MAX: u32 = 1_000;

/// Folders of one test and the center in them; all gone with it.
struct Machine {
    folder: PathBuf,
    center: Option<Child>,
}

impl Machine {
    fn new(name: &str) -> Self {
        let name = format!("weft-declared-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let mut machine = Self {
            folder,
            center: None,
        };
        machine.start();
        machine
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
        command
            .args(arguments)
            .env("WEFT_RUNTIME_DIR", self.folder.join("run"))
            .env("WEFT_STATE_DIR", self.folder.join("state"))
            .env_remove("WEFT_CENTER")
            .current_dir(&self.folder);
        command
    }

    fn start(&mut self) {
        let mut command = self.command(&["center", "--listen", "127.0.0.1:0"]);
        self.center = Some(command.stderr(Stdio::null()).spawn().unwrap());
        for _ in 0..LOOKS_MAX {
            if self.weft(&["get", "objects"]).status.success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the center never answered");
    }

    /// Ends the center as a lost machine does.
    fn kill(&mut self) {
        let mut center = self.center.take().unwrap();
        center.kill().unwrap();
        center.wait().unwrap();
    }

    fn weft(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it prints; it must succeed.
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.weft(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Its exit code and what it complains of.
    fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.weft(arguments);
        let code = output.status.code().unwrap();
        (code, String::from_utf8(output.stderr).unwrap())
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(center) = &mut self.center {
            let _ = center.kill();
            let _ = center.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn service(name: &str, port: u32) -> String {
    format!(
        "apiVersion: mesh.weft.dev/v1alpha1\nkind: MeshService\nmetadata:\n  name: {name}\nspec:\n  ports:\n  - port: {port}\n"
    )
}

#[test]
fn what_was_answered_outlives_a_killed_center() {
    let mut machine = Machine::new("killed");
    machine.write("a.yaml", &service("orders", 80));
    assert_eq!(
        machine.says(&["apply", "-f", "a.yaml"]),
        "MeshService \"orders\" created\n"
    );
    machine.kill();
    assert_eq!(machine.fails(&["get", "objects"]).0, 3);
    machine.start();
    assert!(machine.says(&["get", "meshservices"]).contains("orders"));
}

#[test]
fn faults_name_file_line_and_field_and_nothing_is_taken() {
    let machine = Machine::new("faults");
    machine.write("mesh/a.yaml", &service("orders", 80));
    machine.write("mesh/deep/b.yml", &service("stock", 70_000));
    machine.write("mesh/notes.txt", "not read: [");
    let (code, errors) = machine.fails(&["apply", "-f", "mesh"]);
    assert_eq!(code, 1);
    assert!(
        errors.contains("mesh/deep/b.yml:7: spec.ports[0].port: "),
        "{errors}"
    );
    assert!(machine.says(&["get", "objects"]).contains("nothing"));
    machine.write("mesh/deep/b.yml", "a: [");
    let (code, errors) = machine.fails(&["apply", "-f", "mesh"]);
    assert!(code == 1 && errors.contains("b.yml:"), "{errors}");
    assert_eq!(machine.fails(&["apply", "-f", "no-such-file"]).0, 2);
}

#[test]
fn changes_are_shown_before_undone_after_and_the_author_is_kept() {
    let machine = Machine::new("changes");
    machine.write("a.yaml", &service("orders", 80));
    machine.says(&["apply", "-f", "a.yaml"]);
    assert!(machine.weft(&["diff", "-f", "a.yaml"]).status.success());
    machine.write("a.yaml", &service("orders", 81));
    let diff = machine.weft(&["diff", "-f", "a.yaml"]);
    assert_eq!(diff.status.code(), Some(1));
    let diff = String::from_utf8(diff.stdout).unwrap();
    assert!(diff.contains("-   - port: 80\n+   - port: 81\n"), "{diff}");
    machine.says(&["apply", "-f", "a.yaml"]);
    machine.says(&["rollback", "meshservice", "orders"]);
    let yaml = machine.says(&["get", "meshservices", "orders", "-o", "yaml"]);
    assert!(
        yaml.contains("port: 80\n") && yaml.contains("generation: 3\n"),
        "{yaml}"
    );
    machine.write("again.yaml", &yaml);
    assert!(
        machine
            .says(&["apply", "-f", "again.yaml"])
            .contains("unchanged")
    );
    machine.says(&["delete", "meshservice", "orders"]);
    assert_eq!(machine.fails(&["delete", "meshservice", "orders"]).0, 1);
    machine.says(&["rollback", "meshservice", "orders", "--to", "2"]);
    let history = machine.says(&["history", "meshservice", "orders"]);
    assert_eq!(history.lines().count(), 6, "{history}");
    assert!(history.contains('@'), "{history}");
    assert!(
        machine
            .says(&["describe", "meshservice", "orders"])
            .contains("port: 81")
    );
}

#[test]
fn a_backup_brings_back_what_was_and_a_second_center_is_refused() {
    let mut machine = Machine::new("backup");
    machine.write("a.yaml", &service("orders", 80));
    machine.says(&["apply", "-f", "a.yaml"]);
    let (code, errors) = machine.fails(&["center", "--listen", "127.0.0.1:0"]);
    assert!(code == 1 && errors.contains("has it open"), "{errors}");
    machine.says(&["center", "backup", "kept"]);
    let (code, errors) = machine.fails(&["center", "restore", "kept"]);
    assert!(code == 1 && errors.contains("has it open"), "{errors}");
    machine.says(&["delete", "meshservice", "orders"]);
    machine.kill();
    machine.says(&["center", "backup", "without-orders"]);
    machine.says(&["center", "restore", "kept"]);
    machine.start();
    assert!(machine.says(&["get", "meshservices"]).contains("orders"));
}
