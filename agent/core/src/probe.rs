//! When a container is probed, and what the outcomes mean: the kubelet's rules, in virtual time.
//!
//! Knows nothing of how a probe is done; the shell does it and brings the outcome back.
//!
//! ```text
//!  startup probe ----succeeded----> liveness probe   failed often enough: the container ends
//!   failed often enough:       `--> readiness probe  decides whether it is ready
//!   the container ends
//! ```

use bramble_shared::link::{Container, Probe};
use embassy_time::{Duration, Instant};

/// Which of a container's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Holds the other two back until it has succeeded once.
    Startup,
    /// Its failure ends the container.
    Liveness,
    /// Decides whether the container is ready.
    Readiness,
}

impl ProbeKind {
    /// The word that begins the kubelet's events about it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    /// The probe of a container.
    #[must_use]
    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }
}

/// What came of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Success,
    /// All is well, but a person should know.
    Warning {
        /// In words.
        message: String,
    },
    /// It is not.
    Failure {
        /// In words.
        message: String,
    },
    /// The probe could not be made: says nothing of the container.
    Unknown {
        /// In words.
        message: String,
    },
}

/// The probes of one run of a container.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    startup: Option<Track>,
    liveness: Option<Track>,
    readiness: Option<Track>,
    /// The startup probe has succeeded, or there is none.
    started: bool,
    ready: bool,
    /// The container is being ended: only its readiness is still of interest.
    ending: bool,
}

/// One probe.
#[derive(Clone, Debug)]
struct Track {
    probe: Probe,
    /// When the next one is due.
    next_at: Instant,
    under_way: bool,
    /// The last outcome, and how many in a row were the same.
    last: bool,
    in_a_row: u32,
    /// It has told a failure that ends the container.
    over: bool,
}

impl Probes {
    /// The probes of a container that starts now.
    #[must_use]
    pub fn begin(container: &Container, now: Instant) -> Self {
        let track = |kind: ProbeKind| kind.of(container).map(|probe| Track::begin(probe, now));
        let startup = track(ProbeKind::Startup);
        let readiness = track(ProbeKind::Readiness);
        Self {
            started: startup.is_none(),
            ready: readiness.is_none(),
            startup,
            liveness: track(ProbeKind::Liveness),
            readiness,
            ending: false,
        }
    }

    /// The probes of a container that ran before the agent did, with what was known of it.
    #[must_use]
    pub fn resume(container: &Container, started: bool, ready: bool, now: Instant) -> Self {
        let mut probes = Self::begin(container, now);
        probes.started |= started;
        probes.ready |= ready;
        for track in [&mut probes.startup, &mut probes.liveness, &mut probes.readiness] {
            // Its delay is over, or nearly so.
            track.iter_mut().for_each(|track| track.next_at = now);
        }
        probes
    }

    /// Whether the startup probe has succeeded.
    #[must_use]
    pub fn started(&self) -> bool {
        self.started
    }

    /// Whether the container may be sent work.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.started && self.ready
    }

    /// The container is being ended: neither startup nor liveness are asked for any more.
    pub fn end(&mut self) {
        self.ending = true;
    }

    /// The probes that are to be made now; each outcome must be told.
    pub fn poll(&mut self, now: Instant) -> Vec<ProbeKind> {
        let kinds = [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness];
        let due = |kind: &ProbeKind| {
            let Some(track) = self.waiting(*kind).filter(|track| track.next_at <= now) else {
                return false;
            };
            track.under_way = true;
            track.next_at = now + seconds(track.probe.period_s);
            true
        };
        kinds.into_iter().filter(due).collect()
    }

    /// When [`Probes::poll`] has something to say.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let kinds = [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness];
        let waiting = kinds.into_iter().filter(|kind| self.asks(*kind));
        waiting.filter_map(|kind| self.track(kind)?.due_at()).min()
    }

    /// Takes in an outcome; true if the container must be ended for it.
    pub fn outcome(&mut self, kind: ProbeKind, outcome: &Outcome, now: Instant) -> bool {
        let asks = self.asks(kind);
        let Some(track) = self.track_mut(kind) else { return false };
        track.under_way = false;
        let success = match outcome {
            Outcome::Success | Outcome::Warning { .. } => true,
            Outcome::Failure { .. } => false,
            Outcome::Unknown { .. } => return false,
        };
        if !asks || !track.note(success) {
            return false;
        }
        match (kind, success) {
            (ProbeKind::Startup, true) => {
                self.started = true;
                // Nobody waits for their next turn: the container may be ready already.
                for track in [&mut self.liveness, &mut self.readiness] {
                    track.iter_mut().for_each(|track| track.next_at = track.next_at.max(now));
                }
                false
            }
            (ProbeKind::Readiness, ready) => {
                self.ready = ready;
                false
            }
            (ProbeKind::Liveness, true) => false,
            (ProbeKind::Startup | ProbeKind::Liveness, false) => {
                track.over = true;
                true
            }
        }
    }

    /// Whether this probe is made at this time of the container's life.
    fn asks(&self, kind: ProbeKind) -> bool {
        match kind {
            ProbeKind::Startup => !self.started && !self.ending,
            ProbeKind::Liveness => self.started && !self.ending,
            ProbeKind::Readiness => self.started,
        }
    }

    fn waiting(&mut self, kind: ProbeKind) -> Option<&mut Track> {
        let asks = self.asks(kind);
        self.track_mut(kind).filter(|track| asks && track.due_at().is_some())
    }

    fn track(&self, kind: ProbeKind) -> Option<&Track> {
        match kind {
            ProbeKind::Startup => self.startup.as_ref(),
            ProbeKind::Liveness => self.liveness.as_ref(),
            ProbeKind::Readiness => self.readiness.as_ref(),
        }
    }

    fn track_mut(&mut self, kind: ProbeKind) -> Option<&mut Track> {
        match kind {
            ProbeKind::Startup => self.startup.as_mut(),
            ProbeKind::Liveness => self.liveness.as_mut(),
            ProbeKind::Readiness => self.readiness.as_mut(),
        }
    }
}

impl Track {
    fn begin(probe: &Probe, now: Instant) -> Self {
        Self {
            next_at: now + seconds(probe.initial_delay_s),
            probe: probe.clone(),
            under_way: false,
            last: false,
            in_a_row: 0,
            over: false,
        }
    }

    fn due_at(&self) -> Option<Instant> {
        (!self.under_way && !self.over).then_some(self.next_at)
    }

    /// Counts an outcome; true if so many were the same that it counts.
    fn note(&mut self, success: bool) -> bool {
        self.in_a_row = if self.last == success { self.in_a_row.saturating_add(1) } else { 1 };
        self.last = success;
        let threshold = match success {
            true => self.probe.success_threshold,
            false => self.probe.failure_threshold,
        };
        self.in_a_row >= threshold
    }
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

#[cfg(test)]
mod tests {
    use bramble_shared::link::Handler;

    use super::*;
    use crate::pod_worker::example::container;

    fn probe(initial_delay_s: u32, period_s: u32, successes: u32, failures: u32) -> Probe {
        Probe {
            handler: Handler::Tcp { host: String::new(), port: 80 },
            initial_delay_s,
            timeout_s: 1,
            period_s,
            success_threshold: successes,
            failure_threshold: failures,
            termination_grace_s: None,
        }
    }

    fn at(s: u64) -> Instant {
        Instant::from_secs(1000 + s)
    }

    /// Plays seconds `0..=end`, answering every probe at once, and writes down what changed: who is
    /// probed, started (`S`), ready (`R`), to be ended (`X`).
    fn play(container: &Container, end: u64, answer: impl Fn(ProbeKind, u64) -> bool) -> String {
        let mut probes = Probes::begin(container, at(0));
        let mut log = Vec::new();
        for s in 0..=end {
            let mut words = String::new();
            assert!(probes.next_deadline().is_none_or(|due| due >= at(s)), "late at {s}");
            loop {
                let due = probes.poll(at(s));
                if due.is_empty() {
                    break;
                }
                for kind in due {
                    words.push_str(&kind.word().to_lowercase()[..1]);
                    let outcome = match answer(kind, s) {
                        true => Outcome::Success,
                        false => Outcome::Failure { message: String::new() },
                    };
                    if probes.outcome(kind, &outcome, at(s)) {
                        words.push('X');
                    }
                }
            }
            if !words.is_empty() {
                let started = if probes.started() { "S" } else { "" };
                let ready = if probes.ready() { "R" } else { "" };
                log.push(format!("{s}{words}{started}{ready}"));
            }
        }
        log.join(" ")
    }

    #[test]
    fn container_without_probes_is_ready_and_never_asked() {
        let probes = Probes::begin(&container("a"), at(0));
        assert!(probes.started() && probes.ready());
        assert_eq!(probes.next_deadline(), None);
    }

    #[test]
    fn readiness_follows_its_thresholds() {
        let mut one = container("a");
        one.readiness_probe = Some(probe(3, 2, 2, 3));
        let log = play(&one, 19, |_, s| !(9..=14).contains(&s));
        assert_eq!(log, "3rS 5rSR 7rSR 9rSR 11rSR 13rS 15rS 17rSR 19rSR");
    }

    #[test]
    fn liveness_ends_the_container_once() {
        let mut one = container("a");
        one.liveness_probe = Some(probe(0, 1, 1, 3));
        let log = play(&one, 9, |_, s| s < 2 || s == 4);
        assert_eq!(log, "0lSR 1lSR 2lSR 3lSR 4lSR 5lSR 6lSR 7lXSR");
    }

    #[test]
    fn startup_holds_the_others_back() {
        let mut one = container("a");
        one.startup_probe = Some(probe(0, 2, 1, 9));
        one.liveness_probe = Some(probe(0, 3, 1, 1));
        one.readiness_probe = Some(probe(0, 3, 1, 1));
        let log = play(&one, 8, |kind, s| kind != ProbeKind::Startup || s >= 4);
        assert_eq!(log, "0s 2s 4slrSR 7lrSR");
        one.startup_probe = Some(probe(0, 1, 1, 2));
        assert_eq!(play(&one, 9, |_, _| false), "0s 1sX");
    }

    #[test]
    fn probe_that_could_not_be_made_counts_for_nothing() {
        let mut one = container("a");
        one.liveness_probe = Some(probe(0, 1, 1, 1));
        let mut probes = Probes::begin(&one, at(0));
        assert_eq!(probes.poll(at(0)), [ProbeKind::Liveness]);
        assert_eq!(probes.poll(at(5)), [], "one at a time");
        let unknown = Outcome::Unknown { message: String::new() };
        assert!(!probes.outcome(ProbeKind::Liveness, &unknown, at(5)));
        assert_eq!(probes.poll(at(5)), [ProbeKind::Liveness]);
    }

    #[test]
    fn container_that_is_being_ended_is_asked_for_its_readiness_only() {
        let mut one = container("a");
        one.liveness_probe = Some(probe(0, 1, 1, 1));
        one.readiness_probe = Some(probe(0, 1, 1, 1));
        let mut probes = Probes::begin(&one, at(0));
        assert_eq!(probes.poll(at(0)), [ProbeKind::Liveness, ProbeKind::Readiness]);
        probes.end();
        let failure = Outcome::Failure { message: String::new() };
        assert!(!probes.outcome(ProbeKind::Liveness, &failure, at(1)), "it is too late");
        assert!(!probes.outcome(ProbeKind::Readiness, &Outcome::Success, at(1)));
        assert!(probes.ready());
        assert_eq!(probes.poll(at(2)), [ProbeKind::Readiness]);
    }

    #[test]
    fn container_that_ran_before_the_agent_stays_ready_until_a_probe_says_otherwise() {
        let mut one = container("a");
        one.startup_probe = Some(probe(60, 1, 1, 1));
        one.readiness_probe = Some(probe(60, 1, 1, 1));
        let mut probes = Probes::resume(&one, true, true, at(0));
        assert!(probes.ready());
        assert_eq!(probes.poll(at(0)), [ProbeKind::Readiness]);
        let failure = Outcome::Failure { message: String::new() };
        probes.outcome(ProbeKind::Readiness, &failure, at(0));
        assert!(!probes.ready());
        assert!(!Probes::resume(&one, false, false, at(0)).started());
    }
}
