//! The time driver: reads CLOCK_MONOTONIC_RAW, and wakes sleepers from one thread.
//!
//! The thread is started by the first alarm, so that a program may still fork before it.

use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use embassy_time_driver::{Driver, TICK_HZ};
use embassy_time_queue_utils::queue_generic::ConstGenericQueue;
use nix::time::{ClockId, clock_gettime};

/// Tasks that may sleep at a time, 24 bytes each: with more, the queue would wake some of them too
/// early, again and again.
const SLEEPERS_MAX: usize = 1_024;

type Queue = ConstGenericQueue<SLEEPERS_MAX>;

/// Longest sleep of the alarm thread: bounds the error of a MONOTONIC clock that is slewed.
const SLEEP_MAX: Duration = Duration::from_secs(1);

const _: () = assert!(TICK_HZ == 1_000_000, "ticks are microseconds everywhere in bramble");

struct RawClock {
    queue: Mutex<Queue>,
    changed: Condvar,
    thread: Once,
}

embassy_time_driver::time_driver_impl!(static DRIVER: RawClock = RawClock {
    queue: Mutex::new(Queue::new()),
    changed: Condvar::new(),
    thread: Once::new(),
});

/// A reference to the driver from outside, which keeps it linked.
pub(crate) fn keep() {
    let _ = DRIVER.now();
}

impl Driver for RawClock {
    fn now(&self) -> u64 {
        // The clock exists on every Linux since 2.6.28.
        let Ok(time) = clock_gettime(ClockId::CLOCK_MONOTONIC_RAW) else { return 0 };
        let seconds = u64::try_from(time.tv_sec()).unwrap_or_default();
        let nanos = u64::try_from(time.tv_nsec()).unwrap_or_default();
        seconds * TICK_HZ + nanos / 1_000
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        self.thread.call_once(|| {
            let started = thread::Builder::new().name("clock".into()).spawn(alarm_thread);
            assert!(started.is_ok(), "cannot start the clock thread: {started:?}");
        });
        if self.lock().schedule_wake(at, waker) {
            self.changed.notify_one();
        }
    }
}

impl RawClock {
    /// A waker that panicked has not damaged the queue.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn alarm_thread() {
    let mut queue = DRIVER.lock();
    loop {
        // Wakers only mark a task as ready and never come back here on this thread.
        let next = queue.next_expiration(DRIVER.now());
        // Read again: waking may have taken a while.
        let wait = Duration::from_micros(next.saturating_sub(DRIVER.now())).min(SLEEP_MAX);
        queue = match DRIVER.changed.wait_timeout(queue, wait) {
            Ok((queue, _)) => queue,
            Err(poisoned) => poisoned.into_inner().0,
        };
    }
}

#[cfg(test)]
mod tests {
    use embassy_time::{Duration, Instant, Timer};

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn time_moves_and_never_backwards() {
        let mut last = Instant::now();
        let start = last;
        while last.duration_since(start) < Duration::from_millis(5) {
            let now = Instant::now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn timers_wake_tasks_of_tokio_in_order() {
        runtime().block_on(async {
            let start = Instant::now();
            Timer::after(Duration::from_millis(30)).await;
            let elapsed = start.elapsed();
            assert!(elapsed >= Duration::from_millis(30), "{elapsed:?}");
            let order = std::sync::Mutex::new(Vec::new());
            let wait = async |ms| {
                Timer::after(Duration::from_millis(ms)).await;
                order.lock().unwrap().push(ms);
            };
            tokio::join!(wait(40), wait(10), wait(25));
            assert_eq!(order.into_inner().unwrap(), [10, 25, 40]);
        });
    }

    #[test]
    fn two_hundred_sleepers_all_wake() {
        runtime().block_on(async {
            let sleepers: Vec<_> = (0..200_u64)
                .map(|index| async move {
                    Timer::after(Duration::from_millis(index % 20)).await;
                })
                .collect();
            let local = tokio::task::LocalSet::new();
            let handles: Vec<_> =
                sleepers.into_iter().map(|sleeper| local.spawn_local(sleeper)).collect();
            local
                .run_until(async {
                    for handle in handles {
                        handle.await.unwrap();
                    }
                })
                .await;
        });
    }
}
