//! Envoy's configuration: the real program reads it.

use super::*;
use crate::command::output;

#[test]
fn envoy_accepts_its_configuration() {
    if peers::version("envoy").is_none() {
        println!("left out: envoy is not installed; cargo xtask peers installs it");
        return;
    }
    let folder = Folder::new("drill-envoy-test").unwrap();
    let path = folder.path.join("envoy.yaml");
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    fs::write(&path, envoy(address(1), &[address(2), address(3)])).unwrap();
    let mut command = Command::new("envoy");
    command
        .args(["--mode", "validate", "-c"])
        .arg(&path)
        .env("PATH", peers::path());
    output(command).unwrap();
}
