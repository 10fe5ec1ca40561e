//! Counts tries per address, so that nobody guesses tokens.
//!
//! Bounded: when more addresses than it can hold have tried within a minute, all others wait.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Tries that an address has in a minute.
const TRIES_MAX: u8 = 5;
/// Length of the window, in milliseconds.
const WINDOW_MS: u64 = 60_000;
/// Addresses that are counted at a time; 64 bytes each.
const ADDRESSES_MAX: usize = 1_024;

/// Tries of the last minute.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    windows: BTreeMap<IpAddr, Window>,
}

#[derive(Debug)]
struct Window {
    begun_ms: u64,
    tries: u8,
}

impl Attempts {
    /// Counts one try of `address` and tells whether it may be made.
    pub(super) fn allow(&mut self, address: IpAddr, now_ms: u64) -> bool {
        // A clock that was set back ends all windows, rather than locking everyone out.
        self.windows.retain(|_, window| {
            now_ms.checked_sub(window.begun_ms).is_some_and(|age| age < WINDOW_MS)
        });
        if self.windows.len() >= ADDRESSES_MAX && !self.windows.contains_key(&address) {
            return false;
        }
        let window = self.windows.entry(address).or_insert(Window { begun_ms: now_ms, tries: 0 });
        window.tries = window.tries.saturating_add(1);
        window.tries <= TRIES_MAX
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::Attempts;

    #[test]
    fn sixth_try_in_a_minute_is_refused() {
        let mut attempts = Attempts::default();
        let one = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        let other = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
        for second in 0..5 {
            assert!(attempts.allow(one, second * 1_000));
        }
        assert!(!attempts.allow(one, 5_000));
        assert!(attempts.allow(other, 5_000));
        assert!(attempts.allow(one, 61_000));
    }

    #[test]
    fn flood_of_addresses_is_bounded() {
        let mut attempts = Attempts::default();
        for bits in 0..5_000 {
            attempts.allow(IpAddr::V4(Ipv4Addr::from_bits(bits)), 1);
        }
        assert_eq!(attempts.windows.len(), super::ADDRESSES_MAX);
    }
}
