//! `weft offline` and `weft online`: an instance gets no new calls, or gets them again; its app runs on. On this
//! machine the instance's host agent is asked, which needs no center; elsewhere the center.

use crate::center_client::{CenterArguments, Client};
use crate::failure::Failure;
use crate::output;
use crate::values;
use clap::Args;
use serde_json::json;
use std::process::ExitCode;
use weft_api::agent::AgentRequest;
use weft_host::{AskError, Folders};

/// Take an instance out of use within a second: no new calls; its app and sidecar run on.
///
/// Its callers and its center hear of it at once, calls under way end. It stays so, over restarts of its app and
/// its sidecar, until "weft online". The app's own calls go on.
#[derive(Debug, Args)]
#[command(after_help = OFFLINE_EXAMPLES)]
pub(crate) struct OfflineArguments {
    #[command(flatten)]
    which: Which,
}

/// Take an instance back into use.
#[derive(Debug, Args)]
#[command(after_help = ONLINE_EXAMPLES)]
pub(crate) struct OnlineArguments {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
struct Which {
    /// The instance's id; on its own machine also its service, when it is the only instance of it there.
    #[arg(value_name = "INSTANCE", value_parser = values::name)]
    instance: String,

    #[command(flatten)]
    center: CenterArguments,
}

const OFFLINE_EXAMPLES: &str = "\
Examples:
  weft offline orders-0badcafe
  weft offline orders                       the only instance of orders on this machine
  weft offline orders-0badcafe -n shop      an instance elsewhere, through the center of this machine
  weft offline orders-0badcafe --center center.example:9700 --token-file center.token

Exit codes: 0 done, 1 not found or refused, 2 usage, 3 not here and center not reached.";

const ONLINE_EXAMPLES: &str = "\
Examples:
  weft online orders-0badcafe
  weft online orders                        the only instance of orders on this machine

Exit codes: 0 done, 1 not found or refused, 2 usage, 3 not here and center not reached.";

/// Takes it out of use.
pub(crate) fn run_offline(arguments: &OfflineArguments) -> Result<ExitCode, Failure> {
    set(&arguments.which, true)
}

/// Takes it back.
pub(crate) fn run_online(arguments: &OnlineArguments) -> Result<ExitCode, Failure> {
    set(&arguments.which, false)
}

fn set(which: &Which, offline: bool) -> Result<ExitCode, Failure> {
    let Which { instance, center } = which;
    let folders = Folders::of_this_user();
    match weft_host::ask(&folders, instance, &AgentRequest::SetOffline { offline }) {
        Ok(text) => output::print(&format!("{instance} {text}\n")),
        Err(AskError::NotHere(here)) => {
            through_center(center, instance, offline, &here)?;
            let now = if offline { "offline" } else { "online" };
            output::print(&format!("{instance} is {now}; the center tells it\n"));
        }
        Err(error) => return Err(Failure::refused(error)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks the center for it. `here` says what was found on this machine.
fn through_center(
    center: &CenterArguments,
    instance: &str,
    offline: bool,
    here: &str,
) -> Result<(), Failure> {
    let also = |failure: Failure| failure.after(here);
    let client = Client::new(center).map_err(also)?;
    let path = format!(
        "/namespaces/{}/instances/{instance}/offline",
        center.namespace
    );
    let body = json!({ "offline": offline });
    let answer = client.json("POST", &path, Some(&body)).map_err(also)?;
    answer.map_err(|refusal| also(refusal.failure()))?;
    Ok(())
}
