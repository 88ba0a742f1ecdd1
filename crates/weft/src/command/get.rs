//! `weft get`: lists of what is and of what was declared.

mod watch;

use crate::center_client::{CenterArguments, Client, object_path};
use crate::failure::Failure;
use crate::output::{self, Output, cell};
use clap::Args;
use serde_json::Value;
use std::process::ExitCode;
use weft_api::kinds::Kind;

/// Show services, instances, sidecars, or objects of a kind.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// services, instances, sidecars, or a kind: meshes, meshservices, lifecyclepolicies, ... or all kinds: objects.
    #[arg(value_name = "WHAT", value_parser = what)]
    what: What,

    /// Only the one with this name.
    name: Option<String>,

    /// Show each change as it comes, after the list; of a kind.
    #[arg(long, short)]
    watch: bool,

    /// How it is shown.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,

    #[command(flatten)]
    center: CenterArguments,
}

const EXAMPLES: &str = "\
Examples:
  weft get services
  weft get instances -o wide
  weft get meshservices orders -o yaml
  weft get objects -n shop
  weft get meshservices --watch

Exit codes: 0 fine, 1 refused or not there, 2 usage, 3 center not reached.";

/// Sidecars named that find an instance otherwise than ready, of each state.
const REPORTERS_SHOWN: usize = 3;

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Services,
    Instances,
    Sidecars,
    Objects,
    Kind(Kind),
}

/// What a person names.
pub(super) fn what(text: &str) -> Result<What, String> {
    match text.to_ascii_lowercase().as_str() {
        "services" | "service" => Ok(What::Services),
        "instances" | "instance" => Ok(What::Instances),
        "sidecars" | "sidecar" => Ok(What::Sidecars),
        "objects" => Ok(What::Objects),
        other => Kind::from_name(other).map(What::Kind).ok_or_else(|| {
            let kinds: Vec<_> = Kind::ALL.iter().map(|kind| kind.plural()).collect();
            format!(
                "write services, instances, sidecars, objects, {}",
                kinds.join(", ")
            )
        }),
    }
}

/// Asks the center, shows the answer.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.center)?;
    let namespace = &arguments.center.namespace;
    if arguments.watch {
        let What::Kind(kind) = arguments.what else {
            return Err(Failure::usage(format!(
                "--watch follows one kind: {}; \"weft stat\" follows services",
                Kind::names()
            )));
        };
        let shown = watch::Shown {
            kind,
            namespace,
            name: arguments.name.as_deref(),
            output: arguments.output,
        };
        return watch::run(&client, &shown);
    }
    let mut list = fetch(&client, arguments.what, namespace)?;
    let mut shown = list.clone();
    if let (Some(name), Some(items)) = (&arguments.name, list["items"].as_array_mut()) {
        items.retain(|item| item["metadata"]["name"] == *name.as_str());
        let Some(item) = items.first() else {
            return Err(Failure::refused(format!(
                "there is no \"{name}\" among them in namespace \"{namespace}\"; leave out the name to list all"
            )));
        };
        shown = item.clone();
    } else if arguments.name.is_none() {
        shown = list.clone();
    }
    let text = arguments.output.raw(&shown).unwrap_or_else(|| {
        let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
        if items.is_empty() {
            return format!("nothing of that in namespace \"{namespace}\"\n");
        }
        let is_wide = arguments.output == Output::Wide;
        let mut rows = vec![head(arguments.what, is_wide)];
        rows.extend(items.iter().map(|item| row(arguments.what, item, is_wide)));
        output::table(&rows)
    });
    output::print(&text);
    Ok(ExitCode::SUCCESS)
}

/// The list from the center.
pub(super) fn fetch(client: &Client, what: What, namespace: &str) -> Result<Value, Failure> {
    match what {
        What::Services => client.get(&format!("/namespaces/{namespace}/services")),
        What::Instances => client.get(&format!("/namespaces/{namespace}/instances")),
        What::Sidecars => client.get(&format!("/namespaces/{namespace}/sidecars")),
        What::Kind(kind) => client.get(&object_path(kind, namespace, None)),
        What::Objects => {
            let mut all = Vec::new();
            let mut list = Value::Null;
            for kind in Kind::ALL {
                list = client.get(&object_path(*kind, namespace, None))?;
                if let Some(items) = list["items"].as_array() {
                    all.extend(items.iter().cloned());
                }
            }
            list["kind"] = "List".into();
            list["items"] = all.into();
            Ok(list)
        }
    }
}

fn head(what: What, is_wide: bool) -> Vec<String> {
    let (names, more): (&[&str], &[&str]) = match what {
        What::Services => (
            &[
                "NAME",
                "PORTS",
                "READY",
                "UNCONFIRMED",
                "DRAINING",
                "OFFLINE",
            ],
            &["VERSION"],
        ),
        What::Instances => (
            &["NAME", "SERVICE", "ADDRESS", "STATE"],
            &[
                "PEERS",
                "KIND",
                "PORTS",
                "ZONE",
                "WEIGHT",
                "LABELS",
                "INCARNATION",
                "ACKED",
                "REFUSED",
            ],
        ),
        What::Sidecars => (&["NAME", "SERVICE", "KEYS", "ACKED", "REFUSED"], &[]),
        What::Objects | What::Kind(_) => (
            &["KIND", "NAME", "GENERATION", "STATE", "REASON"],
            &["LABELS", "VERSION", "CREATED", "EFFECT", "MESSAGE"],
        ),
    };
    let more = if is_wide { more } else { &[] };
    names.iter().chain(more).map(ToString::to_string).collect()
}

fn row(what: What, item: &Value, is_wide: bool) -> Vec<String> {
    let (metadata, spec, status) = (&item["metadata"], &item["spec"], &item["status"]);
    let (mut row, more) = match what {
        What::Services => (
            vec![
                cell(&metadata["name"]),
                ports(&spec["ports"]),
                cell(&status["ready"]),
                cell(&status["unconfirmed"]),
                cell(&status["draining"]),
                cell(&status["offline"]),
            ],
            vec![cell(&metadata["resourceVersion"])],
        ),
        What::Instances => (
            vec![
                cell(&metadata["name"]),
                cell(&spec["service"]),
                address(spec),
                cell(&status["state"]),
            ],
            vec![
                peers(status),
                cell(&spec["kind"]),
                ports(&spec["ports"]),
                cell(&spec["zone"]),
                cell(&spec["weight"]),
                cell(&metadata["labels"]),
                cell(&status["incarnation"]),
                cell(&status["sync"]["acked"]),
                refused(&status["sync"]["refused"]),
            ],
        ),
        What::Sidecars => (
            vec![
                cell(&metadata["name"]),
                cell(&spec["service"]),
                keys(&status["keys"]),
                cell(&status["acked"]),
                refused(&status["refused"]),
            ],
            Vec::new(),
        ),
        What::Objects | What::Kind(_) => (
            vec![
                cell(&item["kind"]),
                cell(&metadata["name"]),
                cell(&metadata["generation"]),
                cell(&status["state"]),
                cell(&status["reason"]),
            ],
            vec![
                cell(&metadata["labels"]),
                cell(&metadata["resourceVersion"]),
                cell(&metadata["creationTimestamp"]),
                cell(&status["effect"]),
                cell(&status["message"]),
            ],
        ),
    };
    if is_wide {
        row.extend(more);
    }
    row
}

/// Where callers' sidecars reach it: its sidecar, or the app itself where there is none.
fn address(spec: &Value) -> String {
    let port = match &spec["inboundPort"] {
        Value::Number(number) if number.as_u64() != Some(0) => &spec["inboundPort"],
        _ => &spec["ports"][0]["port"],
    };
    format!("{}:{}", cell(&spec["address"]), cell(port))
}

/// How the sidecars that call an instance find it: `ready 998, suspect 2 (orders-1, orders-2)`.
fn peers(status: &Value) -> String {
    let Some(counts) = status["peerCounts"].as_object() else {
        return "-".to_owned();
    };
    let reporters = |state: &str| {
        let peers = status["peers"].as_array().into_iter().flatten();
        let own = peers.filter(|peer| peer["state"] == state);
        own.take(REPORTERS_SHOWN)
            .map(|peer| cell(&peer["reporter"]))
            .collect::<Vec<_>>()
    };
    let texts: Vec<String> = counts
        .iter()
        .map(|(state, count)| {
            let text = format!("{state} {count}");
            let named = if state == "ready" {
                Vec::new()
            } else {
                reporters(state)
            };
            let more = count.as_u64().unwrap_or(0) > named.len() as u64;
            match named.as_slice() {
                [] => text,
                named if more => format!("{text} ({}, ...)", named.join(", ")),
                named => format!("{text} ({})", named.join(", ")),
            }
        })
        .collect();
    if texts.is_empty() {
        "-".to_owned()
    } else {
        texts.join(", ")
    }
}

/// How many keys a sidecar uses.
fn keys(keys: &Value) -> String {
    match keys {
        Value::Null => "all".to_owned(),
        count => cell(count),
    }
}

fn ports(ports: &Value) -> String {
    let ports = ports.as_array().into_iter().flatten();
    let texts: Vec<String> = ports
        .map(|port| {
            format!(
                "{}:{}={}",
                cell(&port["name"]),
                cell(&port["protocol"]),
                cell(&port["port"])
            )
        })
        .collect();
    if texts.is_empty() {
        "-".to_owned()
    } else {
        texts.join(",")
    }
}

fn refused(nack: &Value) -> String {
    if nack.is_null() {
        return "-".to_owned();
    }
    format!("{}: {}", cell(&nack["field"]), cell(&nack["reason"]))
}

#[cfg(test)]
mod tests;
