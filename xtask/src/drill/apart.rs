//! A network namespace of a drill's own, joined to ours by one pair of devices, on which every packet can be dropped.
//!
//! Made with `ip` and `tc` of iproute2; it needs the right to make namespaces, which root has. It goes with its value.

use crate::command::{self, output};
use crate::peers;
use std::net::Ipv4Addr;
use std::process::Command;

/// Which packets are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// All.
    Both,
    /// Those that go there.
    Towards,
    /// Those that come from there.
    Back,
}

impl Lost {
    /// All ways.
    pub(super) const ALL: [Self; 3] = [Self::Both, Self::Towards, Self::Back];

    /// For the name of a row.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Both => "both ways",
            Self::Towards => "to it",
            Self::Back => "from it",
        }
    }
}

/// The namespace.
pub(super) struct Apart {
    name: String,
    /// The device on our side, and the one in there.
    near: String,
    far: String,
    /// Two addresses out of those that are for tests of networks (RFC 2544): ours and the one in there.
    pub(super) here: Ipv4Addr,
    pub(super) there: Ipv4Addr,
}

impl Apart {
    /// Makes it.
    pub(super) fn new() -> Result<Self, String> {
        let id = std::process::id();
        let net = (id % 250) as u8;
        let this = Self {
            name: format!("weft-{id}"),
            near: format!("weft{id}n"),
            far: format!("weft{id}f"),
            here: Ipv4Addr::new(198, 18, net, 1),
            there: Ipv4Addr::new(198, 18, net, 2),
        };
        let (here, there) = (format!("{}/30", this.here), format!("{}/30", this.there));
        let (name, near, far) = (this.name.as_str(), this.near.as_str(), this.far.as_str());
        let steps: [&[&str]; 7] = [
            &["ip", "netns", "add", name],
            &[
                "ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", name,
            ],
            &["ip", "addr", "add", &here, "dev", near],
            &["ip", "link", "set", near, "up"],
            &["ip", "-n", name, "addr", "add", &there, "dev", far],
            &["ip", "-n", name, "link", "set", far, "up"],
            &["ip", "-n", name, "link", "set", "lo", "up"],
        ];
        for step in steps {
            done(step).map_err(|error| {
                format!(
                    "cannot make a network namespace in which packets are dropped: {error}; this needs Debian's \
                     iproute2 (cargo xtask peers installs it) and the rights of root"
                )
            })?;
        }
        Ok(this)
    }

    /// What begins a command that is to run in there. It ends with us.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new("ip");
        command
            .args([
                "netns",
                "exec",
                &self.name,
                "setpriv",
                "--pdeathsig",
                "TERM",
            ])
            .env("PATH", peers::path());
        command
    }

    /// From now on these packets are dropped.
    pub(super) fn lose(&self, lost: Lost) -> Result<(), String> {
        // A queue without room drops all that it is given.
        let full = ["root", "pfifo", "limit", "0"];
        if lost != Lost::Back {
            let device = ["tc", "qdisc", "add", "dev", &self.near];
            done(&[&device[..], &full].concat())?;
        }
        if lost != Lost::Towards {
            let device = ["tc", "-n", &self.name, "qdisc", "add", "dev", &self.far];
            done(&[&device[..], &full].concat())?;
        }
        Ok(())
    }

    /// From now on none is.
    pub(super) fn carry(&self, lost: Lost) -> Result<(), String> {
        if lost != Lost::Back {
            done(&["tc", "qdisc", "del", "dev", &self.near, "root"])?;
        }
        if lost != Lost::Towards {
            done(&[
                "tc", "-n", &self.name, "qdisc", "del", "dev", &self.far, "root",
            ])?;
        }
        Ok(())
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // What is not there needs no removing.
        let _ = done(&["ip", "link", "del", &self.near]);
        let _ = done(&["ip", "netns", "del", &self.name]);
    }
}

fn done(words: &[&str]) -> Result<(), String> {
    let [program, rest @ ..] = words else {
        return Ok(());
    };
    let mut command = command::command(program, rest);
    command.env("PATH", peers::path());
    output(command).map(|_| ())
}
