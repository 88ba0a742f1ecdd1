//! `weft center`: the control center.

use crate::failure::Failure;
use clap::Args;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;
use weft_host::owner;
use weft_host::{CenterFile, Folders};

/// Run the control center: who is in the mesh, and what happens to its calls.
///
/// It is never on the path of a call. Everything is kept in memory for now.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Where it listens. Port 0 is any free one; the runtime file center.json tells which.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9700")]
    listen: SocketAddr,

    /// Take any free port when the one in --listen is taken; for "weft up", which must not fail on it.
    #[arg(long, hide = true)]
    or_any_port: bool,

    /// Allow an address beyond this machine, although whoever reaches it can join the mesh.
    #[arg(long)]
    insecure_listen: bool,
}

const EXAMPLES: &str = "\
Examples:
  weft center
  weft center --listen 10.0.0.5:9700 --insecure-listen
  curl http://127.0.0.1:9700/apis/mesh.weft.dev/v1alpha1/namespaces/default/services";

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    weft_host::open_files::raise_limit();
    let listen = arguments.listen;
    let failed = |error: weft_center::StartError| Failure::chain("cannot run the center", &error);
    weft_center::Config::check_listen(listen, arguments.insecure_listen).map_err(failed)?;
    let listener = match TcpListener::bind(listen) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && arguments.or_any_port => {
            TcpListener::bind(SocketAddr::new(listen.ip(), 0))
        }
        bound => bound,
    };
    let listener = listener.map_err(|error| cannot_listen(listen, &error))?;
    let address = listener
        .local_addr()
        .map_err(|error| cannot_listen(listen, &error))?;
    let folders = Folders::of_this_user();
    let mut config = weft_center::Config::new(listener);
    let mut token_file = None;
    if !address.ip().is_loopback() {
        let (token, path) = new_token(&folders)?;
        config.token = Some(token);
        token_file = Some(path.display().to_string());
        let _ = writeln!(
            io::stderr(),
            "weft center: {address} is reached from other machines without TLS: whoever reaches it can join the mesh"
        );
    }
    let file = CenterFile {
        url: format!("http://{}", reached_at(address)),
        token_file,
    };
    file.write(&folders).map_err(Failure::refused)?;
    let ended = weft_center::run(config).map_err(failed);
    file.remove(&folders);
    ended.map(|()| ExitCode::SUCCESS)
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> Failure {
    let taken = error.kind() == io::ErrorKind::AddrInUse;
    match taken.then(|| owner::owner_of(address.port())).flatten() {
        Some(owner) => Failure::refused(format!(
            "cannot listen on {address}: taken by {owner}; if that is a center, this machine has one already, \
             else choose another address with --listen"
        )),
        None => Failure::refused(format!(
            "cannot listen on {address}: {error}; choose another address with --listen"
        )),
    }
}

/// The address under which this machine reaches the center.
fn reached_at(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// A token for readers from other machines, in a file that only this user can read.
fn new_token(folders: &Folders) -> Result<(String, PathBuf), Failure> {
    const TOKEN_BYTES: usize = 32;
    let path = folders.runtime.join("center.token");
    let make = || -> io::Result<String> {
        let mut random = [0; TOKEN_BYTES];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
        let token = random.map(|byte| format!("{byte:02x}")).concat();
        let _ = std::fs::remove_file(&path);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        writeln!(file, "{token}")?;
        Ok(token)
    };
    folders.prepare_runtime().map_err(Failure::refused)?;
    let token = make().map_err(|error| {
        Failure::refused(format!(
            "cannot write the token file {}: {error}",
            path.display()
        ))
    })?;
    Ok((token, path))
}

#[cfg(test)]
mod tests;
