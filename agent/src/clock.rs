//! The only place of the agent that reads clocks.

use bramble_agent_core::moment::Moment;
use embassy_time::Instant;

/// Now, by both clocks.
pub(crate) fn now() -> Moment {
    Moment { instant: Instant::now(), time_of_day_ms: bramble_clock::time_of_day_ms() }
}

/// Sleeps until an instant of the boot's monotonic clock.
pub(crate) async fn sleep_until(deadline: Instant) {
    let wait = deadline.saturating_duration_since(Instant::now());
    tokio::time::sleep(std::time::Duration::from_micros(wait.as_micros())).await;
}
