//! Which lanes are being carried out, and what each must have seen before it decides again.
//!
//! Pure: knows no tasks and no store. A lane decides only when it sees its own writes, lest it does
//! things twice; it waits for nobody else's.

use std::collections::BTreeMap;

use bramble_master_core::controllers::lanes::Lane;
use bramble_store::Revision;

/// All lanes.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    by_lane: BTreeMap<Lane, Track>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Track {
    running: bool,
    /// Newest revision that its writes may have.
    barrier: Revision,
}

impl Tracks {
    /// Whether a lane may decide on what is known up to `seen`.
    pub(super) fn free(&self, lane: Lane, seen: Revision) -> bool {
        self.by_lane.get(&lane).is_none_or(|track| !track.running && track.barrier <= seen)
    }

    /// What a lane decided is being carried out.
    pub(super) fn begin(&mut self, lane: Lane) {
        self.by_lane.entry(lane).or_default().running = true;
    }

    /// It is done; all of its writes have at most this revision.
    pub(super) fn end(&mut self, lane: Lane, revision: Revision) {
        *self.by_lane.entry(lane).or_default() = Track { running: false, barrier: revision };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hung_lane_holds_up_nobody_else() {
        let mut tracks = Tracks::default();
        tracks.begin(Lane::Garbage);
        assert!(!tracks.free(Lane::Garbage, 1_000));
        assert!(tracks.free(Lane::EndpointSlices, 0));
        tracks.begin(Lane::EndpointSlices);
        tracks.end(Lane::EndpointSlices, 7);
        assert!(!tracks.free(Lane::EndpointSlices, 6), "its own writes are not seen yet");
        assert!(tracks.free(Lane::EndpointSlices, 7));
        assert!(!tracks.free(Lane::Garbage, 1_000));
    }
}
