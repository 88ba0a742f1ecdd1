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
