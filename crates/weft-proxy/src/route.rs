//! Stage 4: which service and port, or out of the mesh.
//!
//! Outbound calls are matched by weft-policy in the snapshot. Inbound ones all go to the own app, whatever
//! they name: to the port that a peer meant, else to the first one of the call's protocol.

use crate::call::CallHead;
use crate::context::Context;
use crate::record::CallRecord;
use std::rc::Rc;
use weft_model::snapshot::Service;
use weft_model::{Code, Failure, Key, Port, Snapshot};
use weft_policy::matching::{HostMatch, Unmatched, host_match, rpc_match, unknown_interface};
use weft_telemetry::Direction;

/// Where a call goes.
#[derive(Clone, Debug)]
pub(crate) enum Destination<'a> {
    /// To an instance of a service, of which one may already be named.
    Service {
        /// The service.
        service: &'a Service,
        /// The port.
        port: &'a Port,
        /// The position of the one instance asked for.
        member: Option<usize>,
    },
    /// To the own app.
    App {
        /// The port on which it listens.
        number: u16,
    },
    /// Out of the mesh.
    External {
        /// The host and port asked for.
        authority: Rc<str>,
    },
}

/// A call that knows where it goes.
#[derive(Debug)]
pub(crate) struct Routed<'a> {
    /// Where.
    pub(crate) destination: Destination<'a>,
}

/// Finds the destination and tells the record who calls whom.
pub(crate) fn route<'a>(
    ctx: &Rc<Context>,
    snapshot: &'a Snapshot,
    head: &CallHead,
    record: &mut CallRecord,
) -> Result<Routed<'a>, Unmatched> {
    match record.direction() {
        Direction::Inbound => {
            record.between(
                ctx.name(head.text(head.caller)),
                Rc::clone(&ctx.own_service),
            );
            Ok(Routed {
                destination: Destination::App {
                    number: own_port(ctx, head)?,
                },
            })
        }
        Direction::Outbound => {
            record.between(Rc::clone(&ctx.own_service), Rc::clone(&ctx.unknown));
            let destination = outbound(ctx, snapshot, head)?;
            let service = match &destination {
                Destination::Service { service, .. } => service_label(ctx, service),
                Destination::External { .. } => ctx.name("external"),
                Destination::App { .. } => Rc::clone(&ctx.own_service),
            };
            record.between(Rc::clone(&ctx.own_service), service);
            Ok(Routed { destination })
        }
    }
}

/// The label of a service: its name, with its namespace when that is not the default one.
fn service_label(ctx: &Context, service: &Service) -> Rc<str> {
    if &*service.name.namespace == weft_model::instance::NAMESPACE_DEFAULT {
        ctx.name(&service.name.name)
    } else {
        ctx.name(&service.name.to_string())
    }
}

fn outbound<'a>(
    ctx: &Context,
    snapshot: &'a Snapshot,
    head: &CallHead,
) -> Result<Destination<'a>, Unmatched> {
    let named = head.text(head.service);
    let namespace = &ctx.settings.namespace;
    if head.protocol.routes_by_host() {
        let (service, port, member) = match host_match(snapshot, namespace, named, |declared| {
            head.protocol.is_meant_by_host(declared)
        })? {
            HostMatch::Service { service, port } => (service, port, None),
            HostMatch::Member {
                service,
                port,
                member,
            } => (service, port, Some(member)),
            HostMatch::External => {
                return Ok(Destination::External {
                    authority: ctx.name(named),
                });
            }
        };
        if service.usage.call(ctx.deadlines.now_ms()) {
            ask_anew(ctx, snapshot, service);
        }
        return Ok(Destination::Service {
            service,
            port,
            member,
        });
    }
    let (group, version) = (head.text(head.path), head.text(head.version));
    let (service, port) = rpc_match(snapshot, namespace, named, group, version)?;
    if service.usage.call(ctx.deadlines.now_ms()) {
        ask_anew(ctx, snapshot, service);
        // Who is known to serve an interface may not be all who do.
        if let Some(key) = unknown_interface(snapshot, namespace, named) {
            ctx.shared.asking.ask(key);
        }
    }
    Ok(Destination::Service {
        service,
        port,
        member: None,
    })
}

/// Of a service that is called again after a long time only what was told last is known: it is used, and asked
/// for anew.
#[cold]
fn ask_anew(ctx: &Context, snapshot: &Snapshot, service: &Service) {
    if service.subscribed {
        return;
    }
    let key = Key::of_host(&service.name.name, &service.name.namespace);
    if snapshot.has_name(key.hash64()) {
        ctx.shared.asking.ask(key);
    }
}

/// The own port that a call is for; refuses what was meant for another instance.
fn own_port(ctx: &Context, head: &CallHead) -> Result<u16, Failure> {
    let ports = &ctx.settings.ports;
    if let Some(meant) = head.meant {
        let (instance, incarnation) = (head.text(meant.instance), ctx.incarnation());
        if instance != ctx.settings.instance
            || (meant.incarnation != 0 && meant.incarnation != incarnation)
        {
            return Err(Failure::with(
                Code::WrongInstance,
                format!(
                    "meant for instance \"{instance}\" incarnation {}, this is \"{}\" incarnation {incarnation}",
                    meant.incarnation, ctx.settings.instance
                ),
            ));
        }
        let name = head.text(meant.port);
        if let Some(port) = ports.iter().find(|port| &*port.name == name) {
            return Ok(port.number);
        }
        return Err(Failure::with(
            Code::NoPort,
            format!("port \"{name}\" of service \"{}\"", ctx.settings.service),
        ));
    }
    // A port of the protocol itself before one to which the call is translated.
    let spoken = |port: &&Port| head.protocol.is_spoken_by(port.protocol);
    let meant = |port: &&Port| head.protocol.is_meant_by_host(port.protocol);
    ports
        .iter()
        .find(spoken)
        .or_else(|| ports.iter().find(meant))
        .map(|port| port.number)
        .ok_or_else(|| {
            Failure::with(
                Code::NoPort,
                format!(
                    "service \"{}\" declares no port for {}; give it one with --port",
                    ctx.settings.service,
                    head.protocol.name()
                ),
            )
        })
}
