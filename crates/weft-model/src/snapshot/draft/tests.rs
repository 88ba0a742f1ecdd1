//! After any changes a draft is as one that was made of what is left.

use super::*;
use crate::declared::Check;
use crate::instance::{CallerCheck, PortSpec, Shape};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// A small generator of numbers, the same at each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

fn instance(service: u64, id: u64, numbers: &mut Numbers) -> Arc<Instance> {
    let interface = numbers.below(3);
    let ports = [
        format!("http={}", 8000 + numbers.below(2)),
        format!(
            "m{interface}:motan={},interface=a.I{interface}",
            9000 + service
        ),
    ];
    let state = match numbers.below(4) {
        0 => InstanceState::Draining,
        _ => InstanceState::Ready,
    };
    Arc::new(Instance {
        id: InstanceId::new(&format!("{service}-{id}")),
        incarnation: numbers.below(2),
        address: match id % 3 {
            0 => [10, 0, 0, 0, 0, 0, service as u16, id as u16].into(),
            _ => [10, 0, service as u8, id as u8].into(),
        },
        inbound_port: 9982,
        state,
        weight: 100,
        shape: Arc::new(Shape {
            service: ServiceName::new("default", &format!("s{service}")),
            ports: ports
                .iter()
                .map(|port| port.parse::<PortSpec>().unwrap().0)
                .collect(),
            labels: Vec::new(),
            zone: "".into(),
            idempotent: Vec::new(),
            check: (numbers.below(4) == 0).then(|| CallerCheck {
                check: Check::Tcp { port: 1 },
                interval: Duration::from_secs(5),
            }),
        }),
    })
}

/// All that can be asked of a snapshot, as text.
fn told(snapshot: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for service in snapshot.services() {
        let name = &service.name;
        let checked = service.members.iter();
        let checked = checked.filter(|member| member.instance.check.is_some());
        assert_eq!(service.checked as usize, checked.count());
        for member in &service.members {
            let instance = &member.instance;
            lines.push(format!("{name} {} {}", instance.id, instance.incarnation));
            for port in &instance.ports {
                let at = snapshot
                    .address(SocketAddr::new(instance.address, port.number))
                    .unwrap();
                assert_eq!(at.service.members[at.member].instance.id, instance.id);
                assert_eq!(at.port, &*port.name);
            }
        }
    }
    for interface in ["a.I0", "a.I1", "a.I2"] {
        for entry in snapshot.rpc(interface) {
            let service = snapshot.service_of(entry).unwrap();
            lines.push(format!("{interface} {} {}", service.name, entry.port));
        }
    }
    lines.sort();
    lines
}

#[test]
fn any_changes_lead_to_what_is_left() {
    let mut numbers = Numbers(42);
    let mut draft = Draft::default();
    let mut left: BTreeMap<(u64, u64), Arc<Instance>> = BTreeMap::new();
    let mut published: Vec<(Snapshot, Vec<String>)> = Vec::new();
    for step in 0..3_000 {
        let (service, id) = (numbers.below(4), numbers.below(150));
        let name = ServiceName::new("default", &format!("s{service}"));
        match numbers.below(400) {
            0 => {
                draft.forget(&name);
                left.retain(|(of, _), _| *of != service);
            }
            1..=120 => {
                let gone = left.remove(&(service, id));
                let removed = draft
                    .edit(&name)
                    .remove(&InstanceId::new(&format!("{service}-{id}")));
                assert_eq!(removed.map(|(instance, _)| instance), gone);
            }
            _ => {
                let instance = instance(service, id, &mut numbers);
                draft.edit(&name).put(Arc::clone(&instance));
                left.insert((service, id), instance);
            }
        }
        if step % 250 == 0 {
            let snapshot = draft.publish(Version::default(), true);
            let lines = told(&snapshot);
            published.push((snapshot, lines));
        }
    }
    for service in 0..4 {
        let name = ServiceName::new("default", &format!("s{service}"));
        let ids: Vec<_> = left.keys().filter(|(of, _)| *of == service).collect();
        assert_eq!(draft.count(&name), ids.len());
        if ids.is_empty() {
            draft.forget(&name);
        }
    }
    let mut anew = Draft::default();
    for instance in left.values() {
        let (known, _) = draft.get(&instance.service, &instance.id).unwrap();
        assert!(Arc::ptr_eq(known, instance));
        anew.edit(&instance.service).put(Arc::clone(instance));
    }
    let lines = told(&draft.publish(Version::default(), true));
    assert!(lines.len() > 100, "{}", lines.len());
    assert_eq!(lines, told(&anew.publish(Version::default(), true)));
    for (snapshot, lines) in published {
        assert_eq!(
            told(&snapshot),
            lines,
            "a snapshot that was handed out never changes"
        );
    }
}

#[test]
fn a_slot_of_a_service_that_was_forgotten_is_used_again() {
    let mut draft = Draft::default();
    for round in 0..10 {
        let name = ServiceName::new("default", &format!("s{round}"));
        draft.edit(&name).set_subscribed(true);
        assert!(
            draft
                .view()
                .service("default", &name.name)
                .unwrap()
                .subscribed
        );
        draft.forget(&name);
    }
    assert_eq!(draft.view().services.len(), 1);
    assert_eq!(draft.services().count(), 0);
}
