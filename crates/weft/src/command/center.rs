//! `weft center`: the control center.

use crate::center_client::{CenterArguments, Client};
use crate::failure::Failure;
use crate::output;
use clap::{Args, Subcommand};
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use weft_center::store::{Kept, Place, backup};
use weft_host::owner;
use weft_host::{CenterFile, Folders};

/// Run the control center: who is in the mesh, and what happens to its calls.
///
/// It is never on the path of a call. What it knows is kept in the state folder, in center/store.redb.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,

    /// Where it listens. Port 0 is any free one; the runtime file center.json tells which.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9700")]
    listen: SocketAddr,

    /// Take any free port when the one in --listen is taken; for "weft up", which must not fail on it.
    #[arg(long, hide = true)]
    or_any_port: bool,

    /// Allow an address beyond this machine, although whoever reaches it can join the mesh.
    #[arg(long)]
    insecure_listen: bool,

    /// Keep nothing: all that people declare is gone when it ends.
    #[arg(long)]
    memory: bool,
}

/// What can be done with a store.
#[derive(Debug, Subcommand)]
enum Action {
    /// Write all that the center keeps to a file, while it runs or not.
    #[command(after_help = "Example: weft center backup mesh.backup")]
    Backup {
        /// The file to write; it must not exist.
        file: PathBuf,

        #[command(flatten)]
        center: CenterArguments,
    },
    /// Make the store of this machine what a backup says. The center must not run.
    ///
    /// The store that is there is kept beside it. The restored one has a new epoch, so sidecars take what it says.
    #[command(after_help = "Example: weft center restore mesh.backup")]
    Restore {
        /// The backup.
        file: PathBuf,
    },
}

const EXAMPLES: &str = "\
Examples:
  weft center
  weft center --listen 10.0.0.5:9700 --insecure-listen
  weft center backup mesh.backup
  weft center restore mesh.backup
  curl http://127.0.0.1:9700/apis/mesh.weft.dev/v1alpha1/namespaces/default/services";

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    match &arguments.action {
        None => serve(arguments),
        Some(Action::Backup { file, center }) => back_up(file, center),
        Some(Action::Restore { file }) => restore(file),
    }
}

fn serve(arguments: &Arguments) -> Result<ExitCode, Failure> {
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
    if !arguments.memory {
        // Before anything is written that another center's CLI would read.
        let place = Place::File(store_of(&folders));
        let kept = Kept::open(&place)
            .map_err(|error| Failure::refused(format!("cannot run the center: {error}")))?;
        config.store = Some(kept);
    }
    // Changes need it on this machine too: other users may be on it.
    let (token, path) = new_token(&folders)?;
    config.token = Some(token);
    let token_file = Some(path.display().to_string());
    if !address.ip().is_loopback() {
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

/// Where this machine's center keeps what it knows.
fn store_of(folders: &Folders) -> PathBuf {
    folders.state.join("center").join("store.redb")
}

/// From the center that runs, else from the file.
fn back_up(file: &Path, center: &CenterArguments) -> Result<ExitCode, Failure> {
    let folders = Folders::of_this_user();
    let asked = Client::new(center).and_then(|client| client.text("GET", "/backup", &[]));
    let text = match asked {
        Ok(answer) => answer.map_err(|refusal| refusal.failure())?,
        // A center that was named must answer; this machine's may be down, and its store is here.
        Err(failure) if center.center.is_some() => return Err(failure),
        Err(_) => backup::of_closed(&store_of(&folders)).map_err(Failure::refused)?,
    };
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut open| {
            open.write_all(text.as_bytes())?;
            open.sync_all()
        });
    written.map_err(|error| {
        Failure::refused(format!(
            "cannot write the backup {}: {error}",
            file.display()
        ))
    })?;
    output::print(&format!("{}: {} bytes\n", file.display(), text.len()));
    Ok(ExitCode::SUCCESS)
}

fn restore(file: &Path) -> Result<ExitCode, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?;
    let store = store_of(&Folders::of_this_user());
    let restored = backup::restore(&text, &store).map_err(Failure::refused)?;
    let former = restored.former.map_or(String::new(), |former| {
        format!("; what was there before is in {}", former.display())
    });
    output::print(&format!(
        "restored {} rows of store {} into {}{former}; start it with \"weft center\"\n",
        restored.rows,
        restored.store_id,
        store.display()
    ));
    Ok(ExitCode::SUCCESS)
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

/// A token for whoever writes, and for readers from other machines, in a file that only this user can read.
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
