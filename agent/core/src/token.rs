//! How long a token of a service account is used, and when another one is asked for.
//!
//! Times are spans of the boot's monotonic clock: a board may not know what day it is.

use embassy_time::{Duration, Instant};

/// Longest use of one token, whatever its life; the kubelet's `maxTTL`.
const USE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Wait after a request that was not answered with a token.
const RETRY: Duration = Duration::from_secs(10);

/// A token in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldToken {
    token: String,
    refresh_at: Instant,
    expires_at: Instant,
}

impl HeldToken {
    /// A token that has come now and lives so many seconds. Another one is asked for after four
    /// fifths of that, as by the kubelet.
    #[must_use]
    pub fn new(token: String, life_s: u64, now: Instant) -> Self {
        let life = Duration::from_secs(life_s);
        let used = Duration::from_ticks(life.as_ticks() / 5 * 4).min(USE_MAX);
        Self { token, refresh_at: now + used, expires_at: now + life }
    }

    /// Whether another one should be asked for.
    #[must_use]
    pub fn stale(&self, now: Instant) -> bool {
        self.refresh_at <= now
    }

    /// When another one should be asked for.
    #[must_use]
    pub fn refresh_at(&self) -> Instant {
        self.refresh_at
    }

    /// There is no other one yet: this one is used on while it lives, and asked for again later.
    #[must_use]
    pub fn kept(mut self, now: Instant) -> Option<Self> {
        self.refresh_at = now + RETRY;
        (self.expires_at > now).then_some(self)
    }

    /// The token.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant::from_secs(s)
    }

    #[test]
    fn another_token_is_asked_for_after_four_fifths_of_a_life_or_a_day() {
        let token = HeldToken::new("t".to_owned(), 3600, at(100));
        assert!(!token.stale(at(2979)) && token.stale(at(2980)));
        let long = HeldToken::new("t".to_owned(), 365 * 86_400, at(0));
        assert_eq!(long.refresh_at(), at(86_400));
    }

    #[test]
    fn token_is_used_on_while_it_lives() {
        let token = HeldToken::new("t".to_owned(), 1000, at(0));
        let kept = token.clone().kept(at(900)).unwrap();
        assert!(!kept.stale(at(909)) && kept.stale(at(910)));
        assert_eq!(kept.text(), "t");
        assert_eq!(token.kept(at(1000)), None);
    }
}
