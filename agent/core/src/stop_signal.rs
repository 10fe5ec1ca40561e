//! The signal that stops a container, as images name it: `SIGQUIT`, `QUIT`, `3`, `SIGRTMIN+3`.
//!
//! Knows names only, not processes. The numbers are Linux' on ARM and x86; real-time signals are
//! counted as C libraries do, which keep the first two for themselves.

/// Ends a program that wishes so; what an image without `STOPSIGNAL` gets.
pub const SIGTERM: i32 = 15;
/// Ends whatever runs.
pub const SIGKILL: i32 = 9;

/// First and last real-time signal.
const REAL_TIME_MIN: i32 = 34;
const REAL_TIME_MAX: i32 = 64;

/// Names of the signals 1 to 31, in order.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The number of a signal; none for what is no signal.
#[must_use]
pub fn number(text: &str) -> Option<i32> {
    let text = text.trim().to_ascii_uppercase();
    if let Ok(number) = text.parse::<i32>() {
        return (1..=REAL_TIME_MAX).contains(&number).then_some(number);
    }
    let name = text.strip_prefix("SIG").unwrap_or(&text);
    if let Some(place) = NAMES.iter().position(|known| *known == name) {
        return i32::try_from(place).ok()?.checked_add(1);
    }
    match name {
        "IOT" => Some(6),
        "CLD" => Some(17),
        "POLL" => Some(29),
        name => real_time(name),
    }
}

/// `RTMIN`, `RTMIN+N`, `RTMAX` or `RTMAX-N`.
fn real_time(name: &str) -> Option<i32> {
    let (from, offset) = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => (REAL_TIME_MIN, 0),
        (_, Some("")) => (REAL_TIME_MAX, 0),
        (Some(above), _) => (REAL_TIME_MIN, above.strip_prefix('+')?.parse::<u8>().ok()?.into()),
        (_, Some(below)) => {
            (REAL_TIME_MAX, -i32::from(below.strip_prefix('-')?.parse::<u8>().ok()?))
        }
        (None, None) => return None,
    };
    let number = from + offset;
    (REAL_TIME_MIN..=REAL_TIME_MAX).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_as_images_write_them() {
        for (text, expected) in [
            ("SIGQUIT", Some(3)),
            ("sigquit", Some(3)),
            ("TERM", Some(15)),
            ("SIGSYS", Some(31)),
            ("SIGIOT", Some(6)),
            ("10", Some(10)),
            ("37", Some(37)),
            ("SIGRTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMIN+3", Some(37)),
            ("SIGRTMAX-2", Some(62)),
            ("RTMAX", Some(64)),
            ("SIGRTMIN+30", Some(64)),
            ("SIGRTMIN+31", None),
            ("SIGRTMAX-31", None),
            ("SIGRTMIN-1", None),
            ("SIGRTMIN+4294967296", None),
            ("65", None),
            ("0", None),
            ("-9", None),
            ("SIGNOPE", None),
            ("", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
    }
}
