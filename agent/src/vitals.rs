//! Reads how the board is, for heartbeats: how hot, how its power is, what its card has to take.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bramble_shared::heartbeat::Power;
use embassy_time::Instant;

use crate::facts::text;
use crate::progress::Progress;

const TEMPERATURE: &str = "/sys/class/thermal/thermal_zone0/temp";
/// All flags of the firmware, from the Pi's own kernel.
const THROTTLED: &str = "/sys/devices/platform/soc/soc:firmware/get_throttled";
/// Sensors; on other kernels one of them says whether the voltage is too low.
const SENSORS: &str = "/sys/class/hwmon";
/// Interval between readings: a board warms up over minutes.
const INTERVAL: Duration = Duration::from_secs(5);
/// Uptime from which on the writes since the boot say something about a day.
const UPTIME_MIN: embassy_time::Duration = embassy_time::Duration::from_secs(600);
/// The kernel counts sectors of this length, in bytes, whatever the disk's are.
const SECTOR_LEN: u64 = 512;
const DAY_S: u128 = 86_400;

/// How the board is. What cannot be read is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vitals {
    /// The processor's temperature in degrees Celsius.
    pub(crate) temperature_celsius: Option<i8>,
    /// What the firmware says of the board's power.
    pub(crate) power: Option<Power>,
    /// What is written to the data directory's card in a day, in KiB, as since the boot.
    pub(crate) card_kib_per_day: Option<u32>,
}

/// Reads for ever. Heartbeats must never wait for it, so that it is a task of its own. `card` is
/// from [`card_statistics`].
pub(crate) async fn keep(card: Option<PathBuf>, progress: Arc<Progress>) {
    let mut sensor = None;
    loop {
        // Its driver may be loaded later.
        sensor = sensor.or_else(|| voltage_alarm(Path::new(SENSORS)));
        let written = card.as_deref().and_then(|path| bytes_written(&read(path)));
        let alarm = || sensor.as_deref().and_then(|path| alarm(&read(path)));
        progress.note_vitals(&Vitals {
            temperature_celsius: temperature(&text(TEMPERATURE)),
            power: power(&text(THROTTLED)).or_else(alarm),
            // Time since the boot: that is where the agent's clock begins.
            card_kib_per_day: written.and_then(|bytes| kib_per_day(bytes, Instant::now())),
        });
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Whole degrees Celsius from the kernel's thousandths.
fn temperature(text: &str) -> Option<i8> {
    let thousandths: i32 = text.trim().parse().ok()?;
    i8::try_from(thousandths / 1000).ok()
}

/// The firmware's flags in hexadecimal; the lowest four speak of now.
fn power(text: &str) -> Option<Power> {
    let digits = text.trim().trim_start_matches("0x");
    let flags = u32::from_str_radix(digits, 16).ok()?;
    u8::try_from(flags & 0xf).ok().map(Power)
}

/// The alarm of a Pi's voltage sensor, among the sensors below a folder.
fn voltage_alarm(sensors: &Path) -> Option<PathBuf> {
    let folders = fs::read_dir(sensors).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let mut pis = folders.filter(|folder| read(&folder.join("name")).trim() == "rpi_volt");
    pis.next().map(|folder| folder.join("in0_lcrit_alarm"))
}

/// What that alarm says.
fn alarm(text: &str) -> Option<Power> {
    match text.trim() {
        "0" => Some(Power::default()),
        "1" => Some(Power::UNDER_VOLTAGE),
        _ => None,
    }
}

/// Where the kernel counts the accesses to the whole card that a folder is on; none if it is on
/// none. The disk of a `flashed` board is one, whatever emulates it; elsewhere only what the kernel
/// calls so is, since the disk of a PC takes much and bears it.
pub(crate) fn card_statistics(folder: &Path, flashed: bool) -> Option<PathBuf> {
    let device = rustix::fs::stat(folder).ok()?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let part = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    let disk = if part.join("partition").exists() { part.join("..") } else { part };
    let disk = fs::canonicalize(disk).ok()?;
    let card = disk.file_name()?.to_string_lossy().starts_with("mmcblk");
    (card || flashed).then(|| disk.join("stat"))
}

/// Bytes written to a disk since it appeared, from its `stat`: the seventh number, in sectors.
fn bytes_written(stat: &str) -> Option<u64> {
    let sectors: u64 = stat.split_ascii_whitespace().nth(6)?.parse().ok()?;
    sectors.checked_mul(SECTOR_LEN)
}

/// What a day costs if it goes on as since the boot; none too soon after it.
fn kib_per_day(bytes: u64, now: Instant) -> Option<u32> {
    let up = now.saturating_duration_since(Instant::from_ticks(0));
    if up < UPTIME_MIN {
        return None;
    }
    let kib = u128::from(bytes) * DAY_S / u128::from(up.as_secs()) / 1024;
    Some(u32::try_from(kib).unwrap_or(u32::MAX))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
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
        assert_eq!(power("50005\n"), Some(Power::UNDER_VOLTAGE.with(Power::THROTTLED)));
        assert_eq!(power("0x8"), Some(Power::HOT));
        // It was slowed down some time ago.
        assert_eq!(power("50000"), Some(Power::default()));
        assert_eq!(power(""), None);
    }

    #[test]
    fn a_sensor_stands_in_for_the_firmware() {
        let sensors = tempfile::tempdir().unwrap();
        assert_eq!(voltage_alarm(sensors.path()), None);
        for (folder, name) in [("hwmon0", "cpu_thermal"), ("hwmon1", "rpi_volt")] {
            fs::create_dir(sensors.path().join(folder)).unwrap();
            fs::write(sensors.path().join(folder).join("name"), format!("{name}\n")).unwrap();
        }
        let found = voltage_alarm(sensors.path());
        assert_eq!(found, Some(sensors.path().join("hwmon1/in0_lcrit_alarm")));
        assert_eq!(alarm("1\n"), Some(Power::UNDER_VOLTAGE));
        assert_eq!(alarm("0\n"), Some(Power::default()));
        assert_eq!(alarm(""), None);
    }

    #[test]
    fn writes_since_the_boot_become_those_of_a_day() {
        let stat = "  230  0  315512  269  338  37592  303112  613  0  392  1032\n";
        assert_eq!(bytes_written(stat), Some(303_112 * 512));
        assert_eq!(bytes_written("1 2 3"), None);
        assert_eq!(kib_per_day(1 << 20, Instant::from_secs(599)), None);
        assert_eq!(kib_per_day(1 << 20, Instant::from_secs(43_200)), Some(2_048));
        assert_eq!(kib_per_day(u64::MAX, Instant::from_secs(600)), Some(u32::MAX));
        assert_eq!(kib_per_day(0, Instant::from_secs(600)), Some(0));
    }

    #[test]
    fn a_folder_in_memory_is_on_no_card() {
        assert_eq!(card_statistics(Path::new("/proc"), true), None);
        assert_eq!(card_statistics(Path::new("/does/not/exist"), true), None);
    }
}
