//! The systemd units that `weft run --systemd-unit` prints: the same command line as a service, and one socket unit
//! for each of its sockets, because a socket unit gives all its sockets one name. Pure text; nothing is written or
//! installed.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use weft_host::sockets::{BACKLOG, Plan, Role};

/// The option that asks for the units, and is left out in them.
pub(super) const OPTION: &str = "--systemd-unit";
/// What systemd waits for on top of the grace, before it kills.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// What stands above the units.
const PREFACE: &str = "\
# Several files, each from its line \"# file:\" on. To split them, in /etc/systemd/system:
#   weft run --systemd-unit ... | awk '/^# file: /{f=$3} f{print > f}'
# The sockets stay open while the service restarts: calls wait, none is refused. A connection also starts the service;
# to stop it, stop its sockets with it. Without Sockets= and the .socket files weft opens the sockets itself.
";

/// The units of this service for this command line, the program first.
pub(super) fn units(
    service: &str,
    command_line: &[String],
    grace: Duration,
    plan: &Plan,
) -> String {
    let mut text = PREFACE.to_owned();
    let name = format!("weft-{service}");
    let has_one = |role: &Role| *role != Role::Declared || !plan.declared.is_empty();
    let roles = Role::ALL.into_iter().filter(has_one);
    let sockets: Vec<_> = roles.map(|role| (role, socket_file(&name, role))).collect();
    let files: Vec<&str> = sockets.iter().map(|(_, file)| file.as_str()).collect();
    let service_unit = service_unit(service, command_line, grace, &files.join(" "));
    let _ = write!(text, "\n# file: {name}.service\n{service_unit}");
    for (role, file) in &sockets {
        let unit = socket_unit(service, &name, *role, plan);
        let _ = write!(text, "\n# file: {file}\n{unit}");
    }
    text
}

fn socket_file(name: &str, role: Role) -> String {
    format!("{name}-{}.socket", role.name().replace('_', "-"))
}

/// The unit of one socket: the port that was asked for, or the default one, since it must be known beforehand.
fn socket_unit(service: &str, name: &str, role: Role, plan: &Plan) -> String {
    let inbound = plan.inbound.filter(|_| role == Role::Inbound);
    let asked = match role {
        Role::Outbound => plan.outbound,
        Role::Inbound => inbound.and_then(|inbound| inbound.port),
        Role::HttpProxy => plan.http_proxy,
        Role::Management => plan.management,
        Role::Declared => plan.declared.first().copied(),
    };
    let loopback = vec![
        IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::from(Ipv6Addr::LOCALHOST),
    ];
    let addresses = inbound.map_or(loopback, |inbound| vec![inbound.address]);
    let mut text = format!(
        "[Unit]\nDescription=The {} socket of {service} in the weft mesh\n\n[Socket]\n",
        role.name()
    );
    let port = asked.unwrap_or(role.default_port());
    if asked.is_none() {
        let _ = writeln!(
            text,
            "# The default port; {} chooses another, as a second service on this machine needs.",
            role.option()
        );
    }
    let ports = match role {
        Role::Declared => plan.declared.clone(),
        _ => vec![port],
    };
    for (address, port) in addresses
        .iter()
        .flat_map(|address| ports.iter().map(move |port| (*address, *port)))
    {
        let _ = writeln!(text, "ListenStream={}", SocketAddr::new(address, port));
    }
    let _ = write!(
        text,
        "BindIPv6Only=ipv6-only\n\
         Backlog={BACKLOG}\n\
         FileDescriptorName={}\n\
         Service={name}.service\n\
         \n\
         [Install]\n\
         WantedBy=sockets.target\n",
        role.name()
    );
    text
}

/// The unit of the service.
fn service_unit(service: &str, command_line: &[String], grace: Duration, sockets: &str) -> String {
    let options = command_line
        .iter()
        .take_while(|word| *word != "--")
        .filter(|word| *word != OPTION);
    let app = command_line.iter().skip_while(|word| *word != "--");
    let words: Vec<String> = options.chain(app).map(|word| quoted(word)).collect();
    let stop = (grace + STOP_MARGIN).as_secs();
    let mut text = format!(
        "[Unit]\n\
         Description={} in the weft mesh\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart={}\n",
        service.replace('%', "%%"),
        words.join(" ")
    );
    let _ = write!(
        text,
        "Sockets={sockets}\n\
         Restart=on-failure\n\
         # SIGTERM to weft alone: it drains first and tells the app then.\n\
         KillMode=mixed\n\
         TimeoutStopSec={stop}\n\
         RuntimeDirectory=weft\n\
         RuntimeDirectoryMode=0700\n\
         # Several units share the folder.\n\
         RuntimeDirectoryPreserve=yes\n\
         StateDirectory=weft\n\
         StateDirectoryMode=0700\n\
         Environment=WEFT_RUNTIME_DIR=%t/weft WEFT_STATE_DIR=%S/weft\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    );
    text
}

/// A word as systemd reads it back (systemd.service(5), "COMMAND LINES").
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    let mut text = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '%' | '$' => text.extend([c, c]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            _ => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests;
