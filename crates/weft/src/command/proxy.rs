//! `weft proxy`: the sidecar. Started by `weft run`, or by a systemd socket unit.

use super::sidecar_arguments::SidecarArguments;
use crate::failure::Failure;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use weft_api::sidecar::SidecarSpec;
use weft_host::sockets;

/// The sidecar itself; started by "weft run" or a systemd socket unit, which hand over its sockets.
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    sidecar: SidecarArguments,

    /// The instance's id.
    #[arg(long, value_name = "ID")]
    instance: String,

    /// The app's incarnation: +1 at each of its starts.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    incarnation: u64,

    /// Its own folder for what it knows of the mesh, so that it starts without a center. Without one it keeps
    /// nothing.
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
}

impl Arguments {
    fn into_spec(self) -> SidecarSpec {
        SidecarSpec {
            state_dir: self.state_dir,
            ..self.sidecar.into_spec(self.instance, self.incarnation)
        }
    }
}

/// Runs until the sidecar has ended.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    weft_host::die_with_the_agent().map_err(|error| {
        Failure::refused(format!(
            "cannot ask for a signal at the host agent's death: {error}"
        ))
    })?;
    let files = weft_host::open_files::raise_limit();
    let taken = sockets::take().map_err(Failure::usage)?;
    let listeners = weft_proxy::Listeners {
        outbound: taken.outbound,
        inbound: taken.inbound,
        http_proxy: taken.http_proxy,
        management: taken.management,
        declared: taken.declared,
    };
    let mut config = weft_proxy::Config::new(arguments.into_spec(), listeners, taken.agent);
    config.limits = config.limits.within_files(files);
    weft_proxy::run(config).map_err(Failure::refused)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
