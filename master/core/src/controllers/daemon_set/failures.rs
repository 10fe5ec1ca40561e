//! How long a failed daemon pod stays before the next one comes.
//!
//! Upstream keeps a back-off per node in memory. Here the count travels with the pods, so that it
//! outlives the master and needs no memory: each replacement says how many failed before it.

use serde_json::Value;

use super::super::owner::set_metadata;
use crate::view::pod::PodView;
use crate::view::timestamp::Timestamp;

/// The annotation that counts the failed pods before this one on its node.
const FAILURES: &str = "bramble.io/failed-daemon-pods";
/// Pause after the first failure, as upstream.
const FIRST_MS: i64 = 1_000;
/// Longest pause, as upstream.
const LONGEST_MS: i64 = 15 * 60 * 1_000;

pub(super) fn count(pod: &PodView) -> u32 {
    let count = pod.meta.annotations.get(FAILURES);
    count.and_then(|count| count.parse().ok()).unwrap_or_default()
}

pub(super) fn mark(pod: &mut Value, failures: u32) {
    if failures > 0 {
        set_metadata(pod, "annotations", FAILURES, &failures.to_string());
    }
}

/// When a failed pod is to be replaced. One that ran for longer than the longest pause begins anew.
pub(super) fn due(pod: &PodView) -> Timestamp {
    let born = pod.meta.creation_timestamp.unwrap_or_default();
    let ended = pod.exits.iter().filter_map(|exit| exit.finished_at).max().unwrap_or(born);
    let lived_ms = ended.0.saturating_sub(born.0);
    let failures = if lived_ms > LONGEST_MS { 0 } else { count(pod) };
    let pause_ms = FIRST_MS.saturating_mul(1_i64 << failures.min(20)).min(LONGEST_MS);
    Timestamp(ended.0.saturating_add(pause_ms))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(failures: &str, lived_s: i64) -> PodView {
        let ended = Timestamp(1_000_000 + lived_s * 1_000);
        let terminated = json!({"exitCode": 1, "finishedAt": ended});
        serde_json::from_value(json!({
            "metadata": {"creationTimestamp": Timestamp(1_000_000), "annotations": {FAILURES: failures}},
            "status": {"containerStatuses": [{"state": {"terminated": terminated}}]},
        }))
        .unwrap()
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_long_life() {
        let pause = |pod: &PodView| due(pod).0 - pod.exits[0].finished_at.unwrap().0;
        assert_eq!(pause(&pod("0", 5)), 1_000);
        assert_eq!(pause(&pod("3", 5)), 8_000);
        assert_eq!(pause(&pod("4000000000", 5)), LONGEST_MS);
        assert_eq!(pause(&pod("3", 3_600)), 1_000);
    }
}
