//! When images that no pod uses are removed.
//!
//! As the kubelet's image garbage collection, by a watermark of the disk; a pull that found no room
//! counts as one.

/// Part of the disk, in hundredths, above which images are removed; the kubelet's
/// `imageGCHighThresholdPercent`.
const USED_HIGH_PERCENT: u64 = 85;

/// Says whether images are to be removed from a disk of so many bytes of which these are free.
#[must_use]
pub fn is_due(total: u64, free: u64, pull_found_no_room: bool) -> bool {
    let used = total.saturating_sub(free);
    pull_found_no_room || used.saturating_mul(100) >= total.saturating_mul(USED_HIGH_PERCENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_go_when_the_disk_is_nearly_full_or_a_pull_found_it_so() {
        let gib = 1 << 30;
        assert!(!is_due(100 * gib, 16 * gib, false));
        assert!(is_due(100 * gib, 15 * gib, false));
        assert!(is_due(100 * gib, 0, false));
        assert!(is_due(100 * gib, 90 * gib, true));
        assert!(!is_due(u64::MAX, u64::MAX, false));
    }
}
