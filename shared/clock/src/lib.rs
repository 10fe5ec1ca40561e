//! bramble's clock: the time driver behind `embassy_time`, and the time of day.
//!
//! Instants are CLOCK_MONOTONIC_RAW, whose rate no time daemon changes (leases depend on it), in
//! microseconds since boot. Alarms sleep on CLOCK_MONOTONIC, since the kernel cannot sleep on RAW;
//! a wrong sleep is measured again on RAW and so only costs one more wake-up. Linking this crate
//! installs the driver: a program links it exactly once, by calling [`install`].
#![deny(unsafe_code)]

mod driver;
mod time_of_day;

pub use time_of_day::{from_unix_ms, time_of_day_ms};

/// Makes sure that the linker keeps the driver, also in a program that names nothing else here.
pub fn install() {
    driver::keep();
}
