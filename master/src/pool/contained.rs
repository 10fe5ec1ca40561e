//! A future whose panic ends it alone.

use std::pin::Pin;
use std::task::{Context, Poll};

use bramble_process::panics::{self, Panicked};

/// Runs a future to its end, or to its panic.
pub(crate) fn contained<F: Future>(work: F) -> Contained<F> {
    Contained { work: Some(Box::pin(work)) }
}

/// See [`contained`].
#[derive(Debug)]
pub(crate) struct Contained<F> {
    /// None once it has ended.
    work: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for Contained<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.work else { return Poll::Ready(Err(Panicked)) };
        let ended = match panics::contain(|| work.as_mut().poll(context)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panicked) => Err(panicked),
        };
        // What it holds may panic in its turn when it is dropped.
        let work = self.work.take();
        Poll::Ready(panics::contain(|| drop(work)).and(ended))
    }
}
