//! What sidecars are told of the mesh and of themselves, over real streams; and what people are shown of it.

use super::*;
use weft_api::kinds::Kind;

/// A name that a service is called by.
fn host(service: &str) -> u64 {
    key_hash(Family::Host, service, "", "", "default")
}

impl Sidecar {
    fn subscribe(&mut self, keys: &[u64], fresh: &[u64], sequence: u64) {
        self.say(from_sidecar::Kind::Subscribe(sync::Subscribe {
            keys: keys.to_vec(),
            fresh: fresh.to_vec(),
            sequence,
            all: false,
        }));
    }

    fn is_answered(&self, sequence: u64) -> bool {
        let names = self.names.as_ref();
        names.is_some_and(|names| names.subscribed == sequence)
    }
}

#[tokio::test]
async fn a_sidecar_is_told_of_what_it_uses_and_of_each_subscription_that_it_was_heard() {
    let center = Served::start();
    let mut orders = Sidecar::join(&center, "orders", "o1").await;
    let _stock = Sidecar::join(&center, "stock", "s1").await;
    orders.until(|seen| seen.instances.contains_key("s1")).await;
    let mut web = Sidecar::open(&center).await;
    web.say_hello("web", "w1");
    web.subscribe(&[host("orders")], &[host("orders")], 1);
    web.until(|seen| seen.is_answered(1)).await;
    assert_eq!(web.instances.keys().collect::<Vec<_>>(), ["o1"]);
    // The names of all are known, also of those that it does not use.
    assert!(web.names.as_ref().unwrap().added.contains(&host("stock")));
    web.subscribe(&[host("orders"), host("stock")], &[host("stock")], 2);
    web.until(|seen| seen.is_answered(2)).await;
    assert_eq!(web.instances.len(), 2);
    web.subscribe(
        &[host("orders"), host("stock"), host("none")],
        &[host("none")],
        3,
    );
    web.until(|seen| seen.is_answered(3)).await;
    center.stop().await;
}

#[tokio::test]
async fn too_many_keys_end_the_stream_with_the_limit() {
    let center = Served::start();
    let mut web = Sidecar::open(&center).await;
    web.say_hello("web", "w1");
    let keys: Vec<u64> = (0..=crate::catalog::KEYS_PER_SIDECAR_MAX as u64).collect();
    let subscribe = sync::Subscribe {
        keys,
        ..sync::Subscribe::default()
    };
    let mut bytes = Vec::new();
    let kind = Some(from_sidecar::Kind::Subscribe(subscribe));
    grpc::encode(&sync::FromSidecar { kind }, &mut bytes);
    let mut bytes = Bytes::from(bytes);
    while !bytes.is_empty() {
        web.send.reserve_capacity(bytes.len());
        let ready = std::future::poll_fn(|context| web.send.poll_capacity(context));
        let ready = tokio::time::timeout(BOUND, ready)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        let piece = bytes.split_to(ready.min(bytes.len()));
        web.send.send_data(piece, false).unwrap();
    }
    let (status, message) = web.end().await;
    assert_eq!(status, "8");
    assert!(
        message.contains("65536") && message.contains("65537"),
        "{message}"
    );
    center.stop().await;
}

#[tokio::test]
async fn whoever_comes_back_with_what_it_held_is_told_the_difference() {
    let center = Served::start();
    let mut orders = Sidecar::join(&center, "orders", "o1").await;
    let mut web = Sidecar::open(&center).await;
    web.say_hello("web", "w1");
    web.subscribe(&[host("orders")], &[host("orders")], 1);
    web.until(|seen| seen.sees("o1", InstanceState::Ready))
        .await;
    let hello = web.hello.clone().unwrap();
    let held = web.names.clone().unwrap().version;
    web.crash();
    orders.register(sync::Instance {
        weight: 7,
        ..record("orders", "o1")
    });
    let mut back = Sidecar::open(&center).await;
    back.say(from_sidecar::Kind::Hello(sync::SidecarHello {
        protocol_version: sync::PROTOCOL_VERSION,
        service: "web".into(),
        instance: "w1".into(),
        held,
        store_id: hello.store_id,
        ..sync::SidecarHello::default()
    }));
    back.subscribe(&[host("orders")], &[], 1);
    let is_changed = |seen: &Sidecar| seen.instances.get("o1").is_some_and(|o1| o1.weight == 7);
    back.until(|seen| is_changed(seen) && seen.is_answered(1))
        .await;
    assert!(!back.names.unwrap().full);
    center.stop().await;
}

#[tokio::test]
async fn a_center_whose_store_is_an_older_copy_leads_nobody_back_in_time() {
    let center = Served::start();
    let mut web = Sidecar::join(&center, "web", "w1").await;
    web.until(|seen| seen.names.is_some()).await;
    let hello = web.hello.clone().unwrap();
    let version = web.names.clone().unwrap().version.unwrap();
    let later = [
        (version.epoch + 1, 0),
        (version.epoch, version.revision + 1_000),
    ];
    for (epoch, revision) in later {
        let mut ahead = Sidecar::open(&center).await;
        ahead.say(from_sidecar::Kind::Hello(sync::SidecarHello {
            protocol_version: sync::PROTOCOL_VERSION,
            service: "web".into(),
            instance: "w2".into(),
            held: Some(sync::Version { epoch, revision }),
            store_id: hello.store_id.clone(),
            ..sync::SidecarHello::default()
        }));
        let (status, message) = ahead.end().await;
        assert_eq!(status, "9");
        assert!(message.contains("older copy"), "{message}");
    }
    // An earlier epoch is no reason: that store was restored.
    let mut behind = Sidecar::open(&center).await;
    behind.say(from_sidecar::Kind::Hello(sync::SidecarHello {
        protocol_version: sync::PROTOCOL_VERSION,
        service: "web".into(),
        instance: "w3".into(),
        held: Some(sync::Version {
            epoch: version.epoch - 1,
            revision: 1_000,
        }),
        store_id: hello.store_id,
        ..sync::SidecarHello::default()
    }));
    behind.subscribe(&[], &[], 1);
    behind.until(|seen| seen.is_answered(1)).await;
    assert!(behind.names.unwrap().full);
    center.stop().await;
}

const INSTANCES: &str = "/apis/mesh.weft.dev/v1alpha1/namespaces/default/instances";

#[tokio::test]
async fn an_instance_taken_out_of_use_is_told_to_its_sidecar_and_to_others_and_stays_so() {
    let folder = StoreFolder::new("offline");
    let center = folder.start();
    let mut web = Sidecar::join(&center, "web", "w1").await;
    let mut orders = Sidecar::join(&center, "orders", "o1").await;
    orders
        .until(|seen| seen.sees("o1", InstanceState::Ready))
        .await;
    let path = format!("{INSTANCES}/o1/offline");
    let (status, _) = center
        .ask(&format!("POST {path} HTTP/1.1\r\nhost: localhost"))
        .await;
    assert_eq!(status, 401);
    for (body, expect) in [
        ("{}", 400),
        (r#"{"offline": 1}"#, 400),
        (r#"{"offline": true, "x": 1}"#, 400),
    ] {
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(center.write("POST", &path, &body).await.0, expect, "{body}");
    }
    let offline = serde_json::json!({ "offline": true });
    let nobody = format!("{INSTANCES}/o2/offline");
    assert_eq!(center.write("POST", &nobody, &offline).await.0, 404);
    let (status, o1) = center.write("POST", &path, &offline).await;
    assert_eq!(
        (status, &o1["status"]["state"]),
        (200, &"Offline".into()),
        "{o1}"
    );
    orders
        .until(|seen| seen.offline.is_some_and(|word| word.offline))
        .await;
    web.until(|seen| seen.instances.get("o1").is_some_and(|o1| o1.offline))
        .await;
    // A sidecar that starts anew knows nothing of it, and is told again.
    drop(orders);
    let mut orders = Sidecar::join(&center, "orders", "o1").await;
    orders
        .until(|seen| seen.offline.is_some_and(|word| word.offline))
        .await;
    let said = orders.offline.unwrap();
    center.stop().await;

    let center = folder.start();
    let (_, o1) = center.json(&format!("{INSTANCES}/o1")).await;
    assert_eq!(o1["status"]["state"], "Offline", "it is kept");
    let mut orders = Sidecar::join(&center, "orders", "o1").await;
    orders.until(|seen| seen.offline == Some(said)).await;
    let online = serde_json::json!({ "offline": false });
    let (_, o1) = center.write("POST", &path, &online).await;
    assert_eq!(o1["status"]["state"], "Ready");
    orders
        .until(|seen| seen.offline.is_some_and(|word| !word.offline))
        .await;
    center.stop().await;
}

fn plain_instance(name: &str, service: &str, port: u16) -> Value {
    serde_json::json!({
        "apiVersion": "mesh.weft.dev/v1alpha1",
        "kind": Kind::Workload.name(),
        "metadata": { "name": name },
        "spec": {
            "service": service, "address": "10.1.2.3",
            "ports": [{ "port": port, "protocol": "http" }], "check": { "http": { "path": "/up" } },
        },
    })
}

#[tokio::test]
async fn a_declared_instance_is_told_changed_moved_and_taken_away_like_any_other() {
    let folder = StoreFolder::new("plain");
    let center = folder.start();
    let plural = Kind::Workload.plural();
    let one = format!("/apis/mesh.weft.dev/v1alpha1/namespaces/default/{plural}/old");
    let mut web = Sidecar::join(&center, "web", "w1").await;
    let (status, _) = center
        .write("PUT", &one, &plain_instance("old", "legacy", 80))
        .await;
    assert_eq!(status, 200);
    web.until(|seen| seen.sees("old", InstanceState::Ready))
        .await;
    let check = web.instances["old"].check.clone().unwrap();
    assert_eq!(
        (check.kind.as_str(), check.port, check.path.as_str()),
        ("http", 80, "/up")
    );
    assert_eq!(web.instances["old"].inbound_port, 0);
    let listed = center.json(&format!("{INSTANCES}/old")).await.1;
    assert_eq!(listed["spec"]["kind"], "plain");
    center
        .write("PUT", &one, &plain_instance("old", "legacy", 81))
        .await;
    let at = |port| {
        move |seen: &Sidecar| {
            seen.instances
                .get("old")
                .is_some_and(|i| i.ports[0].number == port)
        }
    };
    web.until(at(81)).await;
    center
        .write("PUT", &one, &plain_instance("old", "other", 81))
        .await;
    web.until(|seen| {
        seen.instances
            .get("old")
            .is_some_and(|i| i.service == "other")
    })
    .await;
    let names: Vec<_> = center.items(INSTANCES).await;
    assert_eq!(names.len(), 2, "it moved: that and the sidecar's own");
    // A sidecar with the same id has it for itself while it is there.
    let mut own = Sidecar::join(&center, "other", "old").await;
    own.until(|seen| seen.instances.get("old").is_some_and(|i| i.check.is_none()))
        .await;
    let status = center.json(&one).await.1["status"].clone();
    assert_eq!(status["state"], "Overridden", "{status}");
    own.say(from_sidecar::Kind::Goodbye(sync::Goodbye::default()));
    web.until(|seen| seen.instances.get("old").is_some_and(|i| i.check.is_some()))
        .await;
    let accepted = async { while center.json(&one).await.1["status"]["state"] != "Accepted" {} };
    tokio::time::timeout(BOUND, accepted).await.unwrap();
    center.stop().await;

    let center = folder.start();
    let mut web = Sidecar::join(&center, "web", "w1").await;
    web.until(|seen| seen.sees("old", InstanceState::Ready))
        .await;
    center.write("DELETE", &one, &Value::Null).await;
    web.until(|seen| !seen.instances.contains_key("old")).await;
    center.stop().await;
}

fn policy(name: &str, warm_up: &str, target: &Value) -> Value {
    serde_json::json!({
        "apiVersion": "mesh.weft.dev/v1alpha1",
        "kind": "LifecyclePolicy",
        "metadata": { "name": name },
        "spec": { "targetRefs": [target], "online": { "warmUp": warm_up } },
    })
}

#[tokio::test]
async fn the_policy_of_a_service_is_told_to_its_sidecars_and_to_no_others() {
    let folder = StoreFolder::new("policy");
    let center = folder.start();
    let mut web = Sidecar::join(&center, "web", "w1").await;
    let mut orders = Sidecar::join(&center, "orders", "o1").await;
    let none = sync::OwnPolicy::default();
    orders
        .until(|seen| seen.policy.as_ref() == Some(&none))
        .await;
    let objects = "/apis/mesh.weft.dev/v1alpha1/namespaces/default";
    let put = async |kind: &str, object: &Value| {
        let name = object["metadata"]["name"].as_str().unwrap();
        let path = format!("{objects}/{kind}/{name}");
        assert_eq!(center.write("PUT", &path, object).await.0, 200, "{object}");
    };
    let warm = |span: u32| {
        move |seen: &Sidecar| seen.policy.as_ref().is_some_and(|p| p.warm_up_ms == span)
    };
    let labelled = serde_json::json!({ "kind": "MeshService", "labels": { "tier": "back" } });
    put("lifecyclepolicies", &policy("tier", "3s", &labelled)).await;
    let mut service = mesh_service("orders", 80);
    service["metadata"]["labels"] = serde_json::json!({ "tier": "back" });
    put("meshservices", &service).await;
    orders.until(warm(3_000)).await;
    // Named beats labelled.
    let named = serde_json::json!({ "kind": "MeshService", "name": "orders" });
    put("lifecyclepolicies", &policy("own", "7s", &named)).await;
    orders.until(warm(7_000)).await;
    assert_eq!(orders.policy.as_ref().unwrap().drain_max_ms, 25_000);
    let status = center
        .json(&format!("{objects}/lifecyclepolicies/tier"))
        .await
        .1["status"]
        .clone();
    assert_eq!(status["state"], "Overridden", "{status}");
    let mut second = Sidecar::join(&center, "orders", "o2").await;
    second.until(warm(7_000)).await;
    for name in ["own", "tier"] {
        center
            .write(
                "DELETE",
                &format!("{objects}/lifecyclepolicies/{name}"),
                &Value::Null,
            )
            .await;
    }
    orders
        .until(|seen| seen.policy.as_ref() == Some(&none))
        .await;
    web.until(|seen| seen.instances.contains_key("o2")).await;
    assert_eq!(web.policy.as_ref(), Some(&none));
    center.stop().await;
}

#[tokio::test]
async fn how_peers_find_an_instance_is_shown_and_ends_with_their_streams() {
    let center = Served::start();
    let mut web = Sidecar::join(&center, "web", "w1").await;
    let mut other = Sidecar::join(&center, "web", "w2").await;
    let orders = Sidecar::join(&center, "orders", "o1").await;
    web.until(|seen| seen.instances.contains_key("o1")).await;
    for (sidecar, state, silent_ms) in [(&mut web, "ready", 10), (&mut other, "suspect", 900)] {
        sidecar.say(from_sidecar::Kind::Peers(sync::PeerReport {
            full: true,
            peers: vec![sync::PeerHealth {
                namespace: "default".into(),
                service: "orders".into(),
                instance: "o1".into(),
                incarnation: 1,
                state: state.into(),
                silent_ms,
            }],
        }));
    }
    let shown = async |expect: Value| {
        let path = format!("{INSTANCES}/o1");
        let same = async { while center.json(&path).await.1["status"]["peers"] != expect {} };
        tokio::time::timeout(BOUND, same).await.unwrap();
    };
    let (w1, w2) = (
        serde_json::json!({ "reporter": "w1", "state": "ready", "silentMs": 10 }),
        serde_json::json!({ "reporter": "w2", "state": "suspect", "silentMs": 900 }),
    );
    shown(serde_json::json!([w2, w1])).await;
    other.crash();
    shown(serde_json::json!([w1])).await;
    drop((web, orders));
    center.stop().await;
}

#[tokio::test]
async fn connected_sidecars_are_listed_with_what_they_use_and_what_they_refused() {
    let center = Served::start();
    let mut web = Sidecar::open(&center).await;
    web.say_hello("web", "w1");
    web.subscribe(&[host("orders"), host("stock")], &[], 1);
    web.until(|seen| seen.is_answered(1)).await;
    web.say(from_sidecar::Kind::Nack(sync::Nack {
        field: "instances[0].address".into(),
        reason: "\"nowhere\" is not an IP address".into(),
        ..sync::Nack::default()
    }));
    let path = "/apis/mesh.weft.dev/v1alpha1/namespaces/default/sidecars";
    let refused = async {
        loop {
            let items = center.items(path).await;
            if !items[0]["status"]["refused"].is_null() {
                return items;
            }
        }
    };
    let items = tokio::time::timeout(BOUND, refused).await.unwrap();
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["metadata"]["name"], "w1");
    assert_eq!(items[0]["status"]["keys"], 2);
    assert_eq!(
        items[0]["status"]["refused"]["field"],
        "instances[0].address"
    );
    center.stop().await;
}

#[tokio::test]
async fn a_sidecar_cannot_say_that_its_instance_has_none() {
    let center = Served::start();
    let mut web = Sidecar::open(&center).await;
    web.say_hello("web", "w1");
    web.register(sync::Instance {
        check: Some(sync::Check::default()),
        ..record("web", "w1")
    });
    let (status, message) = web.end().await;
    assert_eq!(status, "3");
    assert!(message.contains("instance.check"), "{message}");
    center.stop().await;
}

#[tokio::test]
async fn whoever_was_told_nothing_for_a_while_learns_the_version_when_the_center_stops() {
    let folder = StoreFolder::new("last-version");
    let center = folder.start();
    let mut stock = Sidecar::join(&center, "stock", "s1").await;
    stock
        .until(|seen| seen.sees("s1", InstanceState::Ready))
        .await;
    let mut web = Sidecar::open(&center).await;
    web.say_hello("web", "w1");
    web.subscribe(&[host("orders")], &[], 1);
    web.until(|seen| seen.is_answered(1)).await;
    let before = web.names.clone().unwrap().version.unwrap();
    for weight in 1..=3 {
        stock.register(sync::Instance {
            weight,
            ..record("stock", "s1")
        });
        let is_told = |seen: &Sidecar| seen.instances["s1"].weight == weight;
        stock.until(is_told).await;
    }
    stock
        .until(|seen| seen.names.as_ref().unwrap().version.unwrap().revision >= before.revision + 3)
        .await;
    let present = stock.names.clone().unwrap().version;
    let hello = web.hello.clone().unwrap();
    let is_told = |seen: &Sidecar| seen.names.as_ref().is_some_and(|n| n.version == present);
    tokio::join!(center.stop(), web.until(is_told));

    let center = folder.start();
    let mut back = Sidecar::open(&center).await;
    back.say(from_sidecar::Kind::Hello(sync::SidecarHello {
        protocol_version: sync::PROTOCOL_VERSION,
        service: "web".into(),
        instance: "w1".into(),
        held: present,
        store_id: hello.store_id,
        ..sync::SidecarHello::default()
    }));
    back.subscribe(&[host("orders")], &[], 1);
    back.until(|seen| seen.is_answered(1)).await;
    assert!(!back.names.unwrap().full, "the difference is enough");
    center.stop().await;
}
