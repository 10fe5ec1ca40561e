//! Random choices of a test, all from one number that is printed and can be given again.

use std::env;
use std::time::UNIX_EPOCH;

/// Environment variable that repeats a run: the number that it printed.
pub const VARIABLE: &str = "BRAMBLE_SEED";

/// A source of random numbers; the same seed gives the same ones.
#[derive(Clone, Debug)]
pub struct Seed(u64);

impl Seed {
    /// A source that starts at this number.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// `BRAMBLE_SEED`, or the time; says which number it is.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "every run is to try something new")]
    pub fn from_env() -> Self {
        let time = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
        Self::from_env_or(time.map_or(1, |time| u64::from(time.subsec_nanos())))
    }

    /// `BRAMBLE_SEED`, or this number; says which it is.
    #[must_use]
    pub fn from_env_or(number: u64) -> Self {
        let given = env::var(VARIABLE).ok().and_then(|text| text.parse().ok());
        let number = given.unwrap_or(number);
        println!("{VARIABLE}={number}");
        Self(number)
    }

    /// The next number (splitmix64).
    pub fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    /// A number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next_number().checked_rem(end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_gives_the_same_numbers_within_bounds() {
        let numbers = |seed| {
            let mut seed = Seed::new(seed);
            (0..100).map(|_| seed.below(10)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
        assert!(numbers(3).iter().all(|number| *number < 10));
        assert_eq!(Seed::new(1).below(0), 0);
    }
}
