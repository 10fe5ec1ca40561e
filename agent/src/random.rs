//! Random numbers for waits, so that boards do not do things all at once.

/// A number below `bound`, or 0.
pub(crate) fn random_below(bound: u64) -> u64 {
    let mut bytes = [0; 8];
    let random = ring::rand::SystemRandom::new();
    // Without randomness everybody would do it at once, which is bad but no reason to stop.
    let _ = ring::rand::SecureRandom::fill(&random, &mut bytes);
    u64::from_le_bytes(bytes) % bound.max(1)
}
