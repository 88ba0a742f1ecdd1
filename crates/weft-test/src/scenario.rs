//! The frame of every scenario: a mesh, the test, and the question whether every call was recorded.

use crate::mesh::Mesh;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

/// Runs a scenario in a mesh with a center. At its end every sidecar must have recorded each call that it opened.
pub fn scenario(body: impl AsyncFnOnce(&Mesh)) {
    frame(async || Mesh::start().await, body);
}

/// Runs a scenario in a mesh of which no sidecar has heard a center.
pub fn scenario_without_center(body: impl AsyncFnOnce(&Mesh)) {
    frame(async || Mesh::without_center(), body);
}

#[allow(
    clippy::print_stderr,
    reason = "the story of a failed test goes where its panic goes"
)]
fn frame(mesh: impl AsyncFnOnce() -> Mesh, body: impl AsyncFnOnce(&Mesh)) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    let local = LocalSet::new();
    let mesh = local.block_on(&runtime, mesh());
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        local.block_on(&runtime, async {
            body(&mesh).await;
            mesh.expect_balanced_books().await;
        });
    }));
    if let Err(panic) = outcome {
        eprintln!("{}", mesh.story());
        resume_unwind(panic);
    }
}
