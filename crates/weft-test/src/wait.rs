//! Waiting for a state, with a bound. The only waiting that scenarios do.

use crate::clock;
use std::time::Duration;

/// How long anything in a scenario may take, on a machine that is busy with other tests.
pub const BOUND: Duration = Duration::from_secs(20);

/// How often a state is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `look` gives something, at most [`BOUND`]; else panics and says what was awaited.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(what, BOUND, look).await
}

/// Waits until `look` gives something, at most `bound`.
pub async fn until_within<T>(
    what: &str,
    bound: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let end = clock::now() + bound;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(clock::now() < end, "not within {bound:?}: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The result of `future`, which must come within [`BOUND`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    within_bound(what, BOUND, future).await
}

/// The result of `future`, which must come within `bound`.
pub async fn within_bound<T>(what: &str, bound: Duration, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(bound, future)
        .await
        .unwrap_or_else(|_| panic!("not within {bound:?}: {what}"))
}
