//! Asks the policy chain, on the worker when it is fast and on the blocking pool when it is not.

use std::borrow::Cow;
use std::sync::Arc;

use witgate_core::decision::FailedAttempt;
use witgate_wasm::Chosen;

use super::context::Context;

/// The chain's answer for a new request.
pub async fn first(context: &Context) -> Chosen {
    let offer = context.offer(0, &context.candidates);
    let chain = &context.route().chain;
    if !chain.off_worker() {
        return chain.decide(&offer);
    }
    let chain = Arc::clone(chain);
    off_worker(move || chain.decide(&offer)).await
}

/// Who may be chosen after a failure.
pub fn candidates_after(context: &Context) -> Cow<'_, [u32]> {
    let route = context.route();
    if context.bound {
        return Cow::Borrowed(&context.candidates);
    }
    // The fallback routes' deployments that are able come after the route's own, which may have been narrowed.
    let deployments = context.snapshot.fleet.deployments();
    let may = |number: &&u32| deployments.get(**number as usize).is_some_and(|entry| context.needs.may_go_to(entry));
    let others = route.after_failure.iter().filter(|number| !route.candidates.contains(number)).filter(may);
    context.candidates.iter().chain(others).copied().collect()
}

/// The chain's answer after failures; `None` when no stage has an opinion on failures.
pub async fn after(context: &Context, failures: &[FailedAttempt], candidates: &[u32]) -> Option<Chosen> {
    let attempts = u32::try_from(failures.len()).unwrap_or(u32::MAX >> 1);
    let offer = context.offer(attempts, candidates);
    let chain = &context.route().chain;
    if !chain.off_worker() {
        return chain.after_failure(&offer, failures);
    }
    let (chain, failures) = (Arc::clone(chain), failures.to_vec());
    off_worker(move || chain.after_failure(&offer, &failures)).await
}

async fn off_worker<T: Send + 'static>(ask: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(ask).await {
        Ok(answer) => answer,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Blocking tasks are only cancelled when the runtime ends, and this one ends with it.
            Err(_) => std::future::pending().await,
        },
    }
}
