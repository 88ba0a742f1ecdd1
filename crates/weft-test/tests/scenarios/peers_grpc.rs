//! Real gRPC through both sidecars: grpc-go's interop client and server, and a pair of Python programs.

use crate::peers::{command, run, run_well};
use std::path::Path;
use weft_test::mesh::Mesh;
use weft_test::process::Process;
use weft_test::wait::until;
use weft_test::{Sidecar, peer, scenario};

/// grpc-go dials what it names, so the service is called like the host at which its caller's sidecar listens.
const SERVICE: &str = "localhost";

/// The cases of grpc-go's client that need no cloud, with further arguments.
const CASES: &[(&str, &[&str])] = &[
    ("empty_unary", &[]),
    ("large_unary", &[]),
    ("client_streaming", &[]),
    ("server_streaming", &[]),
    ("ping_pong", &[]),
    ("empty_stream", &[]),
    ("timeout_on_sleeping_server", &[]),
    ("cancel_after_begin", &[]),
    ("cancel_after_first_response", &[]),
    ("status_code_and_message", &[]),
    ("special_status_message", &[]),
    ("custom_metadata", &[]),
    ("unimplemented_method", &[]),
    ("unimplemented_service", &[]),
    ("orca_per_rpc", &[ORCA]),
    ("rpc_soak", SOAK),
    ("channel_soak", SOAK),
];

/// What the client needs to read a server's load out of trailers.
const ORCA: &str =
    "--service_config_json={\"loadBalancingConfig\":[{\"test_backend_metrics_load_balancer\":{}}]}";

const SOAK: &[&str] = &["--soak_iterations=20", "--soak_overall_timeout_seconds=20"];

/// A caller's sidecar, and a service whose app is this program, which writes its port first.
async fn pair(mesh: &Mesh, program: &Path, arguments: &[&str]) -> (Sidecar, Sidecar, Process) {
    let app = Process::program("app", mesh.folder(), program, arguments);
    let port: u16 = until("the app's port", async || {
        app.written().lines().next()?.trim().parse().ok()
    })
    .await;
    let caller = mesh.sidecar("web").start().await;
    let spec = format!("{}:grpc={port}", caller.outbound_port());
    let callee = mesh.sidecar(SERVICE).port_spec(&spec).start().await;
    (caller, callee, app)
}

#[test]
fn the_interop_client_of_grpc_go_passes_all_its_cases() {
    let suite = "gRPC with Go";
    let (Some(client), Some(server)) = (
        peer::program("grpc-interop-client", suite),
        peer::program("grpc-interop-server", suite),
    ) else {
        return;
    };
    scenario(async |mesh| {
        let (caller, callee, _app) = pair(mesh, &server, &[]).await;
        let port = format!("--server_port={}", caller.outbound_port());
        let host = format!("--server_host={SERVICE}");
        let mut failed = Vec::new();
        for (case, more) in CASES {
            let case = format!("--test_case={case}");
            let arguments = [&[host.as_str(), &port, &case], *more].concat();
            let output = run(command(&client, &arguments)).await;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                failed.push(format!("{case}: {said}"));
            }
        }
        assert!(
            failed.is_empty(),
            "{} of {} cases failed:\n{}",
            failed.len(),
            CASES.len(),
            failed.join("\n")
        );
        for sidecar in [&caller, &callee] {
            let calls = sidecar.metrics().await.calls(&[]);
            assert!(calls >= CASES.len() as u64, "{calls} calls recorded");
        }
    });
}

#[test]
fn a_pair_of_python_programs_streams_cancels_and_fails_through_the_mesh() {
    let Some(python) = peer::python_with("grpc", "gRPC with Python") else {
        return;
    };
    scenario(async |mesh| {
        let script = mesh.folder().join("pair.py");
        std::fs::write(&script, include_str!("peers_grpc/pair.py")).unwrap();
        let script = script.display().to_string();
        let (caller, _callee, app) = pair(mesh, &python, &["-u", &script, "serve"]).await;
        let port = caller.outbound_port().to_string();
        let said = run_well(command(&python, &[&script, "call", &port, SERVICE])).await;
        assert!(said.ends_with("well\n"), "{said}");
        // A cancelled call and one past its deadline end at the app too.
        until("the app to see both calls end", async || {
            let ended = app.written().matches("ended early").count();
            (ended >= 2).then_some(())
        })
        .await;
    });
}
