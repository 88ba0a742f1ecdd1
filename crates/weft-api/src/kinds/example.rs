//! One example of each kind: the reference page shows them, a test reads them.

use super::Kind;

/// An object that is accepted as it stands.
pub const fn of(kind: Kind) -> &'static str {
    match kind {
        Kind::Mesh => MESH,
        Kind::MeshService => SERVICE,
        Kind::LifecyclePolicy => LIFECYCLE,
        Kind::Workload => INSTANCE,
    }
}

const MESH: &str = "\
apiVersion: mesh.weft.dev/v1alpha1
kind: Mesh
metadata: {name: default}
spec:
  trustDomain: corp.internal
  mtls: {mode: Permissive}
  meshHop: {prefer: [h2, http1]}
  sidecarFailure: {onDeath: RestartInPlace, failOpen: WhenPlaintextAllowed}
  telemetry: {traceSample: 1%, propagate: [w3c, b3, sw8]}
";

const SERVICE: &str = "\
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshService
metadata: {name: orders, labels: {tier: shop}}
spec:
  ports:
  - {name: web, port: 8080, protocol: http}
  - {name: rpc, port: 8001, protocol: motan, interfaces: [com.shop.OrderApi], group: g1}
";

const LIFECYCLE: &str = "\
apiVersion: mesh.weft.dev/v1alpha1
kind: LifecyclePolicy
metadata: {name: orders-life}
spec:
  targetRefs: [{kind: MeshService, name: orders}]
  online: {waitFor: {tcp: 8080}, delay: 5s, warmUp: 60s, pauseWarmUpOver: 50%}
  offline: {notifyPeers: true, minDrain: 2s, maxDrain: 25s}
  placement: {drift: NodeSticky, reason: append-only local log}
";

const INSTANCE: &str = "\
apiVersion: mesh.weft.dev/v1alpha1
kind: Workload
metadata: {name: orders-host7-a}
spec:
  service: orders
  address: 10.1.2.7
  ports:
  - {name: web, port: 8080, protocol: http}
  labels: {version: v2}
  zone: bj-a
  weight: 100
  check: {http: {path: /healthz}, interval: 2s}
";
