//! Tests of what may be taken. Taking itself needs a process of its own: the tests of the binary do it.

use super::*;

fn names(variables: &[(&str, &str)]) -> Result<Vec<String>, TakeError> {
    let variable = |name: &str| {
        variables
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    };
    announced(variable, 50, 49)
}

const TWO: [(&str, &str); 2] = [("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "outbound:agent")];

#[test]
fn sockets_are_taken_from_systemd_and_from_the_agent() {
    for sign in [("LISTEN_PID", "50"), ("WEFT_PARENT", "49")] {
        assert_eq!(
            names(&[TWO[0], TWO[1], sign]).unwrap(),
            ["outbound", "agent"]
        );
    }
}

#[test]
fn sockets_meant_for_another_process_are_left_alone() {
    for sign in [("LISTEN_PID", "51"), ("WEFT_PARENT", "1"), ("OTHER", "")] {
        assert!(names(&[TWO[0], TWO[1], sign]).is_err(), "{sign:?}");
    }
    // A LISTEN_PID of somebody else speaks against us even when our parent is right.
    assert!(names(&[TWO[0], TWO[1], ("LISTEN_PID", "51"), ("WEFT_PARENT", "49")]).is_err());
}

#[test]
fn every_socket_needs_a_name() {
    let sign = ("WEFT_PARENT", "49");
    assert!(names(&[sign, ("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "outbound")]).is_err());
    assert!(names(&[sign, ("LISTEN_FDS", "9999"), ("LISTEN_FDNAMES", "outbound")]).is_err());
    assert!(names(&[sign, ("LISTEN_FDS", "x"), ("LISTEN_FDNAMES", "outbound")]).is_err());
    assert!(names(&[sign]).is_err());
}

#[test]
fn the_agent_takes_sockets_of_its_own_pid_and_with_names_that_it_knows() {
    let names = |pairs: &[(&str, &str)]| {
        let pairs: Vec<(String, String)> = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        activated(
            |name| {
                let found = pairs.iter().find(|(known, _)| known == name);
                found.map(|(_, value)| value.clone())
            },
            50,
        )
    };
    let two = ("LISTEN_FDS", "2");
    let known = ("LISTEN_FDNAMES", "inbound:http_proxy");
    let taken = names(&[("LISTEN_PID", "50"), two, known]).unwrap();
    assert_eq!(taken.unwrap(), ["inbound", "http_proxy"]);
    // Of others, or of an agent above us: nothing is ours, and nothing is wrong.
    assert_eq!(names(&[("LISTEN_PID", "51"), two, known]), Ok(None));
    assert_eq!(names(&[("WEFT_PARENT", "49"), two, known]), Ok(None));
    for unknown in ["orders.socket:inbound", "agent:inbound"] {
        let refused = names(&[("LISTEN_PID", "50"), two, ("LISTEN_FDNAMES", unknown)]);
        let text = refused.unwrap_err().to_string();
        assert!(
            text.contains("outbound, inbound, http_proxy, management"),
            "{text}"
        );
    }
    assert!(names(&[("LISTEN_PID", "50"), two, ("LISTEN_FDNAMES", "inbound")]).is_err());
}

#[test]
fn a_descriptor_is_taken_only_for_what_it_is() {
    let listener = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let pair = || OwnedFd::from(UnixStream::pair().unwrap().0);
    let mut taken = Taken::default();
    sort(&mut taken, "inbound", listener()).unwrap();
    sort(&mut taken, AGENT, pair()).unwrap();
    assert_eq!((taken.inbound.len(), taken.agent.is_some()), (1, true));
    for (name, fd) in [
        ("inbound", pair()),
        (AGENT, listener()),
        ("metrics", listener()),
    ] {
        assert!(sort(&mut taken, name, fd).is_err(), "{name}");
    }
}
