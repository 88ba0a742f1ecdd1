//! Which instance gets a call: by name, by name and port, by address; and which other one when the first refuses.

use weft_test::{HttpApp, Mesh, scenario};

#[test]
fn a_service_is_called_by_its_name_with_and_without_namespace_and_port() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        for host in [
            "orders".to_owned(),
            "orders.default".to_owned(),
            format!("orders:{}", app.port()),
        ] {
            let reply = caller.get(&host, "/").await;
            assert_eq!(
                (reply.status, reply.field("app")),
                (200, Some("orders")),
                "by {host}"
            );
        }
        pair.caller
            .expect_calls(3, &[("service", "orders"), ("code", "ok")])
            .await;
    });
}

#[test]
fn a_second_port_of_a_service_is_called_by_its_number() {
    scenario(async |mesh| {
        let (main, admin) = (HttpApp::echo("main").await, HttpApp::echo("admin").await);
        let orders = mesh
            .sidecar("orders")
            .port("http", main.port())
            .port("admin:http", admin.port());
        orders.start().await;
        let web = mesh.sidecar("web").start().await;
        let mut caller = web.outbound().await;
        assert_eq!(caller.get("orders", "/").await.field("app"), Some("main"));
        let host = format!("orders:{}", admin.port());
        assert_eq!(caller.get(&host, "/").await.field("app"), Some("admin"));
    });
}

#[test]
fn an_instance_is_called_by_its_address() {
    scenario(async |mesh| {
        let (one, two) = (HttpApp::echo("one").await, HttpApp::echo("two").await);
        mesh.sidecar("orders")
            .port("http", one.port())
            .start()
            .await;
        mesh.sidecar("orders")
            .port("http", two.port())
            .start()
            .await;
        let web = mesh.sidecar("web").start().await;
        let mut caller = web.outbound().await;
        // Spring clients name an instance by the address of its app.
        for (app, port) in [("one", one.port()), ("two", two.port())] {
            for _ in 0..5 {
                let reply = caller.get(&format!("127.0.0.1:{port}"), "/").await;
                assert_eq!((reply.status, reply.field("app")), (200, Some(app)));
            }
        }
        // Through the link, not around the mesh.
        web.expect_calls(10, &[("service", "orders"), ("code", "ok")])
            .await;
    });
}

#[test]
fn calls_go_to_every_instance() {
    scenario(async |mesh| {
        let (one, two) = (HttpApp::echo("one").await, HttpApp::echo("two").await);
        mesh.sidecar("orders")
            .port("http", one.port())
            .start()
            .await;
        mesh.sidecar("orders")
            .port("http", two.port())
            .start()
            .await;
        let web = mesh.sidecar("web").start().await;
        let mut caller = web.outbound().await;
        for _ in 0..100 {
            assert_eq!(caller.get("orders", "/").await.status, 200);
        }
        let shares = (one.seen().len(), two.seen().len());
        assert!(shares.0 >= 20 && shares.1 >= 20, "of 100 calls: {shares:?}");
    });
}

#[test]
fn a_refused_connection_moves_on_to_another_instance() {
    scenario(async |mesh| {
        let (one, two) = (HttpApp::echo("one").await, HttpApp::echo("two").await);
        mesh.sidecar("orders")
            .port("http", one.port())
            .start()
            .await;
        mesh.sidecar("orders")
            .port("http", two.port())
            .start()
            .await;
        let web = mesh.sidecar("web").start().await;
        // The instance stays registered for a while after its app has gone.
        one.stop().await;
        let mut caller = web.outbound().await;
        for at in 0..100 {
            // A POST with a body too: nothing was dispatched.
            let reply = caller.post("orders", "/", b"body").await;
            assert_eq!((reply.status, reply.text()), (200, "body"), "call {at}");
        }
        assert_eq!(two.seen().len(), 100);
        web.expect_calls(100, &[("service", "orders"), ("code", "ok")])
            .await;
    });
}

#[test]
fn an_instance_that_died_without_goodbye_is_passed_by() {
    scenario(async |mesh| {
        let (one, two) = (HttpApp::echo("one").await, HttpApp::echo("two").await);
        let first = mesh
            .sidecar("orders")
            .port("http", one.port())
            .start()
            .await;
        mesh.sidecar("orders")
            .port("http", two.port())
            .start()
            .await;
        let web = mesh.sidecar("web").start().await;
        let mut caller = web.outbound().await;
        assert_eq!(caller.get("orders", "/").await.status, 200);
        first.kill().await;
        for at in 0..50 {
            let reply = caller.get("orders", "/").await;
            assert_eq!(
                (reply.status, reply.field("app")),
                (200, Some("two")),
                "call {at}"
            );
        }
    });
}

#[test]
fn a_service_of_another_mesh_is_no_successor_at_the_address_of_one_that_died() {
    scenario(async |mesh| {
        let other = Mesh::start().await;
        let (one, two) = (HttpApp::echo("one").await, HttpApp::echo("two").await);
        let foreign = HttpApp::echo("other").await;
        let first = mesh
            .sidecar("orders")
            .port("http", one.port())
            .start()
            .await;
        mesh.sidecar("orders")
            .port("http", two.port())
            .start()
            .await;
        let web = mesh.sidecar("web").start().await;
        let mut caller = web.outbound().await;
        assert_eq!(caller.get("orders", "/").await.status, 200);
        let address = format!("127.0.0.1:{}", first.inbound_port());
        first.kill().await;
        let stranger = other.sidecar("orders").port("http", foreign.port());
        stranger.arg("--inbound").arg(&address).start().await;
        for at in 0..50 {
            let reply = caller.get("orders", "/").await;
            assert_eq!(
                (reply.status, reply.field("app")),
                (200, Some("two")),
                "call {at}"
            );
        }
        other.expect_balanced_books().await;
    });
}

#[test]
fn a_sidecar_calls_its_own_service_too() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let orders = mesh
            .sidecar("orders")
            .port("http", app.port())
            .start()
            .await;
        let reply = orders.outbound().await.get("orders", "/").await;
        assert_eq!((reply.status, reply.field("app")), (200, Some("orders")));
        assert_eq!(app.only().field("x-weft-caller"), Some("orders"));
    });
}

#[test]
fn services_of_other_namespaces_are_called_by_their_full_name() {
    scenario(async |mesh| {
        let (own, other) = (HttpApp::echo("own").await, HttpApp::echo("other").await);
        mesh.sidecar("orders")
            .port("http", own.port())
            .start()
            .await;
        let shop = mesh.sidecar("orders").port("http", other.port());
        shop.arg("--namespace").arg("shop").start().await;
        let web = mesh.sidecar("web").start().await;
        let mut caller = web.outbound().await;
        for _ in 0..10 {
            assert_eq!(caller.get("orders", "/").await.field("app"), Some("own"));
            assert_eq!(
                caller.get("orders.shop", "/").await.field("app"),
                Some("other")
            );
        }
        web.expect_calls(10, &[("service", "orders"), ("code", "ok")])
            .await;
        web.expect_calls(10, &[("service", "orders.shop"), ("code", "ok")])
            .await;
    });
}

#[test]
fn calls_that_are_under_way_weigh_in_the_choice() {
    scenario(async |mesh| {
        let (one, two) = (HttpApp::echo("one").await, HttpApp::echo("two").await);
        mesh.sidecar("orders")
            .port("http", one.port())
            .start()
            .await;
        mesh.sidecar("orders")
            .port("http", two.port())
            .start()
            .await;
        let web = mesh.sidecar("web").start().await;
        // Begun and not ended: both instances have one, then neither is preferred; with 20 of them they are even.
        let mut begun = Vec::new();
        for at in 0..20_u64 {
            let mut caller = web.outbound().await;
            caller
                .send("POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 1\r\n\r\n")
                .await;
            weft_test::wait::until("the call to be under way", async || {
                (web.metrics().await.sum("weft_calls_active", &[]) == at + 1).then_some(())
            })
            .await;
            begun.push(caller);
        }
        for caller in &mut begun {
            caller.send("x").await;
            assert_eq!(caller.reply().await.status, 200);
        }
        let shares = (one.seen().len(), two.seen().len());
        assert!(
            shares.0.abs_diff(shares.1) <= 2,
            "of 20 calls at a time: {shares:?}"
        );
    });
}
