//! Tests of Envoy's configuration: the real program reads it.

use super::{Next, configuration};
use crate::bench::processes::Folder;
use crate::command::output;
use crate::peers;
use std::process::Command;

#[test]
fn envoy_accepts_every_configuration() {
    if peers::version("envoy").is_none() {
        println!("left out: envoy is not installed; cargo xtask peers installs it");
        return;
    }
    let folder = Folder::new("envoy-test").unwrap();
    for (name, next) in [
        ("app", Next::App(1)),
        ("envoy", Next::H2(1)),
        ("relay", Next::Bytes(1)),
    ] {
        let path = folder.path.join(format!("{name}.yaml"));
        std::fs::write(&path, configuration(1, next)).unwrap();
        let mut command = Command::new("envoy");
        command
            .args(["--mode", "validate", "-c"])
            .arg(&path)
            .env("PATH", peers::path());
        output(command).unwrap();
    }
}
