//! What a panic ends: the process, unless the work was begun as one that may fail alone.
//!
//! A panic leaves behind what it was changing. Only work that shares nothing half-changed may be
//! survived by the process: a client's request, say, but not the fence's, the runtime's or the
//! store's own threads. What such work does change for others is behind locks, and a lock that was
//! held during a panic ends the process when it is met: see [`torn`].

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, UnwindSafe};
use std::process;

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// The work panicked; the message is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panicked;

/// Makes every panic end the process, after its message, except within [`contain`].
pub fn end_process() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        print(info);
        if !CONTAINED.get() {
            process::abort();
        }
    }));
}

/// Does work whose panic ends that work alone. Whatever it shares with others must be behind locks
/// that call [`torn`] when they are poisoned.
///
/// # Errors
///
/// When it panicked.
pub fn contain<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    // What the work shares is safe by the promise above, so it need not be by its type.
    let work = AssertUnwindSafe(work);
    let before = CONTAINED.replace(true);
    let done = catch(work);
    CONTAINED.set(before);
    done
}

fn catch<T>(work: impl FnOnce() -> T + UnwindSafe) -> Result<T, Panicked> {
    panic::catch_unwind(work).map_err(|_| Panicked)
}

/// Ends the process: what is behind a lock was being changed when its holder panicked, and nobody
/// may see it.
pub fn torn(what: &str) -> ! {
    tracing::error!("a panic left {what} half-changed, the process ends");
    process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contained_panic_ends_its_work_alone() {
        assert_eq!(contain(|| 7), Ok(7));
        let empty: Vec<u8> = Vec::new();
        assert_eq!(contain(|| empty[0]), Err(Panicked));
        assert!(!CONTAINED.get());
        assert_eq!(contain(|| contain(|| empty[0])), Ok(Err(Panicked)));
    }
}
