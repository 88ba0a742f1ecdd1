//! What `weft run` and `weft proxy` have in common: whom the sidecar stands beside.

use crate::failure::Failure;
use crate::values;
use clap::Args;
use std::net::IpAddr;
use weft_api::sidecar::{AccessLog, ListenSpec, SidecarSpec};
use weft_api::sync::{LABELS_MAX, PORTS_MAX};
use weft_model::PortSpec;
use weft_model::instance::NAMESPACE_DEFAULT;

/// Whom a sidecar stands beside, and where its center is.
#[derive(Clone, Debug, Args)]
pub(crate) struct SidecarArguments {
    /// The service that the app is an instance of.
    #[arg(long, value_name = "NAME", value_parser = values::name)]
    pub(crate) service: String,

    /// The namespace of the service.
    #[arg(long, value_name = "NAME", default_value = NAMESPACE_DEFAULT, value_parser = values::name)]
    pub(crate) namespace: String,

    /// A port on which the app listens: [name:]protocol=port[,interface=a.b.C][,group=g][,version=v], or a
    /// number alone. Repeatable. Protocols: http, h2, grpc, tcp, motan.
    #[arg(long = "port", value_name = "PORT")]
    pub(crate) ports: Vec<PortSpec>,

    /// A local port that leads to the tcp port of a service, or to an external host:port, as it would be reached
    /// without the mesh: NAME=PORT, for example mysql=13306. Repeatable.
    #[arg(long = "upstream", value_name = "NAME=PORT", value_parser = ListenSpec::of_upstream)]
    pub(crate) upstreams: Vec<ListenSpec>,

    /// A listener on loopback of which the protocol is declared, not found out: outbound:PROTOCOL=PORT for the app's
    /// calls, inbound:PROTOCOL=PORT for calls for the app. Repeatable.
    #[arg(long = "listen", value_name = "LISTENER")]
    pub(crate) listens: Vec<ListenSpec>,

    /// A label of the instance. Repeatable.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = values::label)]
    pub(crate) labels: Vec<(String, String)>,

    /// The zone of the instance.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) zone: String,

    /// The instance's share of calls; 100 is ordinary.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub(crate) weight: u32,

    /// A method that may be tried twice, with * at either end; of gRPC the path, as /shop.Stock/Count. Repeatable.
    /// HTTP GET, HEAD and OPTIONS always may.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) idempotent: Vec<String>,

    /// The address at which other sidecars reach this one [default: the local address of the connection to the
    /// center].
    #[arg(long, value_name = "IP")]
    pub(crate) advertise: Option<IpAddr>,

    /// The center, host:port. Repeatable [default: WEFT_CENTER, else the center of this machine].
    #[arg(long = "center", value_name = "ADDRESS", value_parser = values::center)]
    pub(crate) centers: Vec<String>,

    /// Worker threads of the sidecar [default: one per core, two at the most].
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) workers: Option<u16>,

    /// Which calls are written to standard output as JSON lines: off, failed, all.
    #[arg(long, value_name = "WHICH", default_value = "failed", value_parser = values::access_log)]
    pub(crate) access_log: AccessLog,
}

impl SidecarArguments {
    /// Refuses what every center would refuse: better at once, and by the one who can change it.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let rows = [
            ("--port", self.ports.len(), PORTS_MAX),
            ("--label", self.labels.len(), LABELS_MAX),
            ("--idempotent", self.idempotent.len(), LABELS_MAX),
        ];
        for (flag, found, max) in rows {
            if found > max {
                return Err(Failure::usage(format!(
                    "{flag} is written {found} times, and no center takes more than {max} of one instance; write \
                     fewer, or split the app into several services"
                )));
            }
        }
        Ok(())
    }

    /// What the sidecar is told, as this instance.
    pub(crate) fn into_spec(self, instance: String, incarnation: u64) -> SidecarSpec {
        SidecarSpec {
            namespace: self.namespace,
            service: self.service,
            instance,
            incarnation,
            ports: self.ports,
            listens: [self.upstreams, self.listens].concat(),
            labels: self.labels,
            zone: self.zone,
            weight: self.weight,
            idempotent: self.idempotent,
            advertise: self.advertise,
            centers: self.centers,
            workers: self.workers.map(usize::from),
            access_log: self.access_log,
            state_dir: None,
        }
    }
}
