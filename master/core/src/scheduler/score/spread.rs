//! Spreads the pods of one owner over nodes, so that one dead board does not take them all.

use super::MAX;

/// Fewer pods of the same owner is better.
#[must_use]
pub const fn normalize(owned_pods: i64, most: i64) -> i64 {
    if most == 0 { MAX } else { MAX - owned_pods * MAX / most }
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn the_fullest_node_scores_nothing() {
        assert_eq!((normalize(0, 4), normalize(1, 4), normalize(4, 4)), (100, 75, 0));
        assert_eq!(normalize(0, 0), 100);
    }
}
