//! What callers know of an instance by themselves: one that is silent, hung or hard to reach is left at once.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, spawn_local};
use weft_test::http_app::reply;
use weft_test::relay::Relay;
use weft_test::tcp_app::free_port;
use weft_test::wait::until;
use weft_test::{HttpApp, HttpConnection, Mesh, Sidecar, scenario};

/// Callers at once.
const CALLERS: usize = 8;

/// An instance under traffic that falls silent is left within this time.
const LEFT_WITHIN: Duration = Duration::from_millis(500);

/// How much longer it may take on a machine that is busy with other tests.
const BUSY: u32 = 5;

#[allow(clippy::disallowed_methods, reason = "a measurement of the test's own")]
fn now() -> Instant {
    Instant::now()
}

/// Callers that call `orders` one call after another until they are told to stop.
struct Load {
    stop: Rc<Cell<bool>>,
    longest: Rc<Cell<Duration>>,
    calls: Rc<Cell<u64>>,
    failed: Rc<RefCell<Vec<String>>>,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(caller: &Sidecar) -> Self {
        let mut load = Self {
            stop: Rc::default(),
            longest: Rc::default(),
            calls: Rc::default(),
            failed: Rc::default(),
            callers: Vec::new(),
        };
        for _ in 0..CALLERS {
            let port = caller.outbound_port();
            let (stop, longest) = (Rc::clone(&load.stop), Rc::clone(&load.longest));
            let (calls, failed) = (Rc::clone(&load.calls), Rc::clone(&load.failed));
            load.callers.push(spawn_local(async move {
                let mut connection = HttpConnection::open(port).await;
                while !stop.get() {
                    let began = now();
                    let reply = connection.get("orders", "/").await;
                    longest.set(longest.get().max(began.elapsed()));
                    calls.set(calls.get() + 1);
                    if reply.status != 200 {
                        failed.borrow_mut().push(format!("{reply:?}"));
                    }
                }
            }));
        }
        load
    }

    /// Waits until so many more calls were answered.
    async fn more(&self, count: u64) {
        let goal = self.calls.get() + count;
        until("more calls to be answered", async || {
            (self.calls.get() >= goal).then_some(())
        })
        .await;
    }

    /// The longest wait from now on.
    fn forget(&self) {
        self.longest.set(Duration::ZERO);
    }

    /// Ends it: how long the longest call took.
    #[allow(clippy::print_stdout, reason = "the figure that the scenario is about")]
    async fn end(self, what: &str) -> Duration {
        self.stop.set(true);
        for caller in self.callers {
            caller.await.unwrap();
        }
        let failed = self.failed.borrow();
        assert!(
            failed.is_empty(),
            "{} failed: {:?}",
            failed.len(),
            failed.first()
        );
        let (longest, calls) = (self.longest.get(), self.calls.get());
        println!("{what}: {calls} calls, 0 failed, longest {longest:?} (limit {LEFT_WITHIN:?})");
        longest
    }
}

/// An instance of `orders` behind a relay, one that is not, and a caller of both.
struct Orders {
    one: HttpApp,
    two: HttpApp,
    first: Sidecar,
    relay: Relay,
    caller: Sidecar,
}

impl Orders {
    /// The caller's sidecar has one worker, so that each instance has one link.
    async fn start(mesh: &Mesh) -> Self {
        let (one, two) = (HttpApp::echo("one").await, HttpApp::echo("two").await);
        let (first, relay) = behind_a_relay(mesh, &one).await;
        mesh.sidecar("orders")
            .port("http", two.port())
            .start()
            .await;
        let caller = mesh.sidecar("web").arg("--workers").arg("1").start().await;
        Self {
            one,
            two,
            first,
            relay,
            caller,
        }
    }

    async fn is_used_again(&self) {
        let before = self.one.seen().len();
        let mut caller = self.caller.outbound().await;
        until("a call at the one that came back", async || {
            assert_eq!(caller.get("orders", "/").await.status, 200);
            (self.one.seen().len() > before).then_some(())
        })
        .await;
    }
}

async fn behind_a_relay(mesh: &Mesh, app: &HttpApp) -> (Sidecar, Relay) {
    let sidecar = mesh
        .sidecar("orders")
        .port("http", app.port())
        .advertise("127.0.0.2")
        .start()
        .await;
    let port = sidecar.inbound_port();
    let (from, to) = (
        SocketAddr::from(([127, 0, 0, 2], port)),
        SocketAddr::from(([127, 0, 0, 1], port)),
    );
    (sidecar, Relay::start(from, to).await)
}

#[test]
fn a_black_hole_under_traffic_is_left_at_once_and_used_again_when_it_is_none() {
    scenario(async |mesh| {
        let orders = Orders::start(mesh).await;
        let load = Load::start(&orders.caller);
        load.more(200).await;
        assert!(!orders.one.seen().is_empty() && !orders.two.seen().is_empty());
        load.forget();
        orders.relay.swallow();
        // Some of the callers are on their way to the hole, others come just before it is suspected.
        load.more(2_000).await;
        let longest = load.end("black hole under traffic").await;
        assert!(longest <= LEFT_WITHIN * BUSY, "{longest:?}");
        orders.relay.carry();
        orders.is_used_again().await;
    });
}

#[test]
fn the_center_shows_how_each_peer_finds_an_instance() {
    scenario(async |mesh| {
        let orders = Orders::start(mesh).await;
        let web = orders.caller.instance();
        let first = orders.first.instance();
        let mut caller = orders.caller.outbound().await;
        until("calls at both", async || {
            assert_eq!(caller.get("orders", "/").await.status, 200);
            (!orders.one.seen().is_empty() && !orders.two.seen().is_empty()).then_some(())
        })
        .await;
        let found = async |id: &str| {
            let all = mesh.instances("orders").await;
            let mut found = all
                .into_iter()
                .filter(|item| item["metadata"]["name"] == id);
            let peers = found.next()?["status"]["peers"].as_array()?.clone();
            let by_web = peers.into_iter().find(|peer| peer["reporter"] == *web)?;
            Some(by_web["state"].as_str()?.to_owned())
        };
        until("web's word on a well instance", async || {
            found(&first).await.filter(|state| state != "suspect")
        })
        .await;
        let load = Load::start(&orders.caller);
        orders.relay.swallow();
        until("web's word on a silent instance", async || {
            found(&first)
                .await
                .filter(|state| state == "suspect" || state == "unreachable")
        })
        .await;
        load.end("reported black hole").await;
        orders.relay.carry();
    });
}

#[test]
fn a_hung_sidecar_with_a_hung_host_agent_is_left_at_once() {
    scenario(async |mesh| {
        let orders = Orders::start(mesh).await;
        let load = Load::start(&orders.caller);
        load.more(200).await;
        load.forget();
        orders.first.freeze().await;
        load.more(2_000).await;
        let longest = load.end("hung sidecar under traffic").await;
        assert!(longest <= LEFT_WITHIN * BUSY, "{longest:?}");
        orders.first.thaw();
        orders.is_used_again().await;
    });
}

#[test]
fn a_call_that_may_not_be_tried_twice_stays_with_the_instance_that_may_have_it() {
    scenario(async |mesh| {
        let orders = Orders::start(mesh).await;
        let mut caller = orders.caller.outbound().await;
        // Both links are there.
        until("calls at both", async || {
            assert_eq!(caller.get("orders", "/").await.status, 200);
            (!orders.one.seen().is_empty() && !orders.two.seen().is_empty()).then_some(())
        })
        .await;
        let is_post = |app: &HttpApp| {
            let seen = app.seen();
            seen.iter()
                .filter(|request| request.method() == "POST")
                .count()
        };
        orders.relay.swallow();
        // Until one of them went to the hole; those that went to the other are answered.
        let mut tries = 0..100;
        let stuck = loop {
            tries.next().expect("a call that went to the hole");
            let mut caller = orders.caller.outbound().await;
            let mut post = spawn_local(async move {
                let request = "POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 2\r\n\r\nhi";
                caller.call(request).await
            });
            match tokio::time::timeout(LEFT_WITHIN * 2, &mut post).await {
                Ok(reply) => assert_eq!(reply.unwrap().status, 200),
                Err(_) => break post,
            }
        };
        let before = is_post(&orders.two);
        // The link is suspect: new calls go to the other one.
        for _ in 0..20 {
            let reply = caller.get("orders", "/").await;
            assert_eq!((reply.status, reply.field("app")), (200, Some("two")));
        }
        assert!(!stuck.is_finished());
        orders.relay.carry();
        let reply = stuck.await.unwrap();
        assert_eq!((reply.status, reply.field("app")), (200, Some("one")));
        assert_eq!((is_post(&orders.one), is_post(&orders.two)), (1, before));
    });
}

#[test]
fn calls_do_not_wait_for_a_link_to_a_black_hole_while_another_instance_takes_them() {
    scenario(async |mesh| {
        let orders = Orders::start(mesh).await;
        orders.relay.swallow();
        let longest = Rc::new(Cell::new(Duration::ZERO));
        for at in 0..100 {
            // Any method: nothing has been handed over.
            let mut caller = orders.caller.outbound().await;
            let began = now();
            let request = "POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 2\r\n\r\nhi";
            let reply = caller.call(request).await;
            longest.set(longest.get().max(began.elapsed()));
            assert_eq!(
                (reply.status, reply.field("app")),
                (200, Some("two")),
                "call {at}: {reply:?}"
            );
        }
        assert!(longest.get() <= LEFT_WITHIN * BUSY, "{:?}", longest.get());
        orders.relay.carry();
        orders.is_used_again().await;
    });
}

#[test]
fn a_call_waits_for_the_link_to_the_only_instance() {
    scenario(async |mesh| {
        let app = HttpApp::echo("one").await;
        let (_sidecar, relay) = behind_a_relay(mesh, &app).await;
        let caller = mesh.sidecar("web").start().await;
        relay.swallow();
        let mut connection = caller.outbound().await;
        let call = spawn_local(async move { connection.get("orders", "/").await });
        // Longer than a call waits that has a choice.
        tokio::time::sleep(LEFT_WITHIN).await;
        assert!(!call.is_finished());
        relay.carry();
        let reply = call.await.unwrap();
        assert_eq!((reply.status, reply.field("app")), (200, Some("one")));
    });
}

#[test]
fn a_declared_delay_passes_before_the_first_call() {
    scenario(async |mesh| {
        mesh.apply(
            "apiVersion: mesh.weft.dev/v1alpha1
kind: LifecyclePolicy
metadata: {name: slow}
spec:
  targetRefs: [{kind: MeshService, name: orders}]
  online: {delay: 2s}
",
        )
        .await;
        let port = free_port();
        let orders = mesh.sidecar("orders").port("http", port);
        let orders = orders.without_app().start().await;
        let began = now();
        let _app = HttpApp::start_on(port, |_| reply(200, &[], b"one")).await;
        until("the instance to be known", async || {
            (!mesh.instances("orders").await.is_empty()).then_some(())
        })
        .await;
        assert!(
            began.elapsed() >= Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        // A successor of the sidecar finds an app that is old enough.
        let killed = orders.kill_process();
        orders.successor_of(killed).await;
        until("the instance to be confirmed", async || {
            (mesh.states("orders").await == ["Ready"]).then_some(())
        })
        .await;
    });
}

/// How long the share of a new app grows in the scenario below.
const WARM_UP: Duration = Duration::from_secs(4);

#[test]
fn a_new_app_is_warming_and_gets_few_calls_until_its_share_has_grown() {
    scenario(async |mesh| {
        mesh.apply(
            "apiVersion: mesh.weft.dev/v1alpha1\nkind: LifecyclePolicy\nmetadata: {name: slowly}\nspec:\n  \
             targetRefs: [{kind: MeshService, name: orders}]\n  online: {warmUp: 4s}\n",
        )
        .await;
        let one = HttpApp::echo("one").await;
        let first = mesh.sidecar("orders").port("http", one.port());
        first.start().await;
        let port = free_port();
        let second = mesh.sidecar("orders").port("http", port);
        second.without_app().start().await;
        let web = mesh.sidecar("web").start().await;
        let mut caller = web.outbound().await;
        assert_eq!(caller.get("orders", "/").await.field("app"), Some("one"));
        let two = HttpApp::start_on(port, |_| reply(200, &[], b"two")).await;
        let begun = now();
        until("the first call of the new app", async || {
            assert_eq!(caller.get("orders", "/").await.status, 200);
            (!two.seen().is_empty()).then_some(())
        })
        .await;
        let share_of = async |caller: &mut HttpConnection, calls: usize| {
            let before = two.seen().len();
            for _ in 0..calls {
                assert_eq!(caller.get("orders", "/").await.status, 200);
            }
            (two.seen().len() - before) as f64 / calls as f64
        };
        let young = share_of(&mut caller, 100).await;
        // On a machine so busy that it is not young any more the figure says nothing.
        if begun.elapsed() < WARM_UP / 2 {
            assert!(young < 0.4, "{young}");
        }
        until("its whole share", async || {
            (share_of(&mut caller, 100).await > 0.4).then_some(())
        })
        .await;
        assert!(begun.elapsed() > WARM_UP / 2, "{:?}", begun.elapsed());
    });
}
