//! Reads how hot the board is and whether it slows itself down, for heartbeats.

use std::sync::Arc;
use std::time::Duration;

use crate::facts::text;
use crate::progress::Progress;

const TEMPERATURE: &str = "/sys/class/thermal/thermal_zone0/temp";
const THROTTLED: &str = "/sys/devices/platform/soc/soc:firmware/get_throttled";
/// Interval between readings: a board warms up over minutes.
const INTERVAL: Duration = Duration::from_secs(5);

/// Reads for ever. Heartbeats must never wait for it, so that it is a task of its own.
pub(crate) async fn keep(progress: Arc<Progress>) {
    loop {
        progress.note_vitals(temperature(&text(TEMPERATURE)), throttled(&text(THROTTLED)));
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Whole degrees Celsius from the kernel's thousandths.
fn temperature(text: &str) -> Option<i8> {
    let thousandths: i32 = text.trim().parse().ok()?;
    i8::try_from(thousandths / 1000).ok()
}

/// The firmware's flags in hexadecimal; the lowest four speak of now: too little voltage,
/// frequency capped, slowed down, soft temperature limit.
fn throttled(text: &str) -> bool {
    let digits = text.trim().trim_start_matches("0x");
    u32::from_str_radix(digits, 16).is_ok_and(|flags| flags & 0xf != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_numbers_are_read() {
        assert_eq!(temperature("48312\n"), Some(48));
        assert_eq!(temperature("-5000"), Some(-5));
        assert_eq!(temperature("300000"), None);
        assert_eq!(temperature(""), None);
        assert!(throttled("50005\n") && throttled("0x4"));
        // It was slowed down some time ago.
        assert!(!throttled("50000") && !throttled("0") && !throttled(""));
    }
}
