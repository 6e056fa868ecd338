//! How far the gateway's end has come, as requests see it.
//!
//! A request looks at one atomic each time it is polled. When the grace time is over, every connection is polled once
//! more, so that what still runs on it sees that and says its last word. Until then the drain costs a request one
//! load.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The end of one gateway, in phases that only go forward.
#[derive(Default)]
pub struct Drain {
    phase: AtomicU8,
    over: CancellationToken,
}

impl Drain {
    /// Readiness turns false, and connections end with the answer that they carry.
    pub fn begin(&self) {
        self.phase.fetch_max(DRAINING, Ordering::Release);
    }

    /// The grace time is over: what is in flight ends now, in its own way.
    pub fn end_requests(&self) {
        self.phase.fetch_max(OVER, Ordering::Release);
        self.over.cancel();
    }

    /// Whether the gateway is about to end.
    pub fn has_begun(&self) -> bool {
        self.phase.load(Ordering::Acquire) >= DRAINING
    }

    /// Whether the grace time is over.
    pub fn is_over(&self) -> bool {
        self.phase.load(Ordering::Acquire) >= OVER
    }

    /// The result of `work`, or `None` when the grace time is over before it is there. Only within [`Drain::waking`]
    /// is that noticed at once.
    pub async fn unless_over<F: Future>(&self, mut work: Pin<&mut F>) -> Option<F::Output> {
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if self.is_over() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// The same future, polled once more when the grace time is over.
    pub fn waking<F: Future>(&self, future: F) -> Waking<F> {
        Waking { future, over: self.over.clone().cancelled_owned(), told: None }
    }
}

pin_project! {
    /// See [`Drain::waking`].
    pub struct Waking<F> {
        #[pin]
        future: F,
        #[pin]
        over: WaitForCancellationFutureOwned,
        // Who will be woken: asking for it again at each poll would take a lock each time.
        told: Option<Waker>,
    }
}

impl<F: Future> Future for Waking<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let known = this.told.as_ref().is_some_and(|told| told.will_wake(cx.waker()));
        if !known && this.over.poll(cx).is_pending() {
            *this.told = Some(cx.waker().clone());
        }
        this.future.poll(cx)
    }
}

const DRAINING: u8 = 1;
const OVER: u8 = 2;

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn phases_only_go_forward() {
        let drain = Drain::default();
        assert!(!drain.has_begun() && !drain.is_over());
        drain.begin();
        assert!(drain.has_begun() && !drain.is_over());
        drain.end_requests();
        drain.begin();
        assert!(drain.has_begun() && drain.is_over());
    }

    #[tokio::test]
    async fn work_that_waits_is_ended_and_work_that_is_done_is_not() {
        let drain = Arc::new(Drain::default());
        let waiting = tokio::spawn({
            let drain = Arc::clone(&drain);
            async move { drain.waking(drain.unless_over(pin!(std::future::pending::<()>()))).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drain.end_requests();
        let ended = tokio::time::timeout(Duration::from_secs(10), waiting).await;
        assert_eq!(ended.map(Result::unwrap_or_default), Ok(None));
        assert_eq!(drain.unless_over(pin!(async { 7 })).await, Some(7));
    }
}
