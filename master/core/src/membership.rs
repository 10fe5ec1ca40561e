//! Who is in contact: one failure detector per node, and what follows for the cluster as a whole.
//!
//! It says what may be believed and what may be done about it; it does not touch Node objects
//! (the node lifecycle controller does) and knows neither sockets nor a clock. *Unreachable* is
//! cheap and reversible; replacing pods is not, so that waits while our own network is in doubt.

use std::collections::BTreeMap;
use std::sync::Arc;

use bramble_shared::detector::{FailureDetector, Liveness, Transition};
use bramble_shared::ids::{BootId, Incarnation, NodeId};
use bramble_shared::limits::HEARTBEAT_INTERVAL_MS;
use bramble_shared::node_set::NodeSet;
use embassy_time::{Duration, Instant};

mod contact;
mod doubt;
mod flapping;
mod identity;

pub use contact::{Contact, ContactEvent, Verdict};
use doubt::NetworkDoubt;
use flapping::Flapping;
pub use identity::{Identity, IdentityEvent};

/// How long a node may stay unheard of after the master's start, before it counts as unreachable:
/// agents redial within a second, but the master's board may have booted faster than theirs.
pub const UNKNOWN_GRACE: Duration = Duration::from_secs(10);

/// One heartbeat, authenticated and decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The boot that sent it.
    pub boot: BootId,
    /// The start of the agent that sent it.
    pub incarnation: Incarnation,
    /// Its number within that start.
    pub sequence: u64,
}

/// What a board is told that says hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// It may speak for the node.
    Welcome,
    /// Another boot of the node may still run: it has to wait until that is silent.
    Wait,
    /// Two boots speak at once, and nobody has decided yet.
    Quarantined,
}

/// A verdict about one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The node.
    pub node: NodeId,
    /// What is now believed of it.
    pub verdict: Verdict,
}

/// The nodes without contact, numbered so that receivers can tell old from new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnreachableSet {
    /// Increases with every change of the set.
    pub version: u64,
    /// The nodes.
    pub nodes: NodeSet,
}

/// What controllers are told of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeContact {
    /// Whether it is in contact; `None` while nobody can say, after the master's start.
    pub reachable: Option<bool>,
    /// Whether it comes and goes so often that it must not get new pods.
    pub flapping: bool,
    /// Whether two boards speak with its certificate, and neither is believed.
    pub quarantined: bool,
}

/// What controllers are told of all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contacts {
    /// By node name.
    pub nodes: BTreeMap<Arc<str>, NodeContact>,
    /// Whether pods of unreachable nodes may be replaced now.
    pub may_replace: bool,
    /// When this will be different although nothing happens: a hold or a doubt ends.
    pub changes_in: Option<Duration>,
}

#[derive(Debug)]
struct Member {
    name: Arc<str>,
    /// Whether it is the agent on the master's own board: it proves nothing about the network.
    local: bool,
    contact: Contact,
    detector: Option<FailureDetector>,
    incarnation: Incarnation,
    flapping: Flapping,
    identity: Identity,
    /// It fell silent together with others: that was our own link, and says nothing about its.
    silence_is_ours: bool,
}

/// The members of the cluster as the master sees them.
#[derive(Debug, Default)]
pub struct Membership {
    members: BTreeMap<NodeId, Member>,
    doubt: NetworkDoubt,
    unreachable: UnreachableSet,
}

impl Membership {
    /// A membership without members. `version` is that of the first unreachable set and must be
    /// above all that an earlier leader sent: the store's revision is.
    #[must_use]
    pub fn new(version: u64) -> Self {
        let unreachable = UnreachableSet { version, nodes: NodeSet::EMPTY };
        Self { unreachable, ..Self::default() }
    }

    /// Adds a node, or changes what is known of one; its contact stays. `quarantined` is what was
    /// kept of one that is not known here: an earlier master found two boards with its certificate.
    pub fn add(&mut self, node: NodeId, name: &str, local: bool, quarantined: bool, now: Instant) {
        let member = self.members.entry(node).or_insert_with(|| Member {
            name: Arc::from(name),
            local,
            contact: match quarantined {
                true => Contact::Dead { boot: None },
                false => Contact::Unknown { since: now },
            },
            detector: None,
            incarnation: Incarnation(0),
            flapping: Flapping::default(),
            identity: if quarantined { Identity::Quarantined } else { Identity::Single },
            silence_is_ours: false,
        });
        member.name = Arc::from(name);
        member.local = local;
        self.publish();
    }

    /// Takes in that a boot of a node wants to speak for it.
    pub fn handle_hello(
        &mut self,
        node: NodeId,
        boot: BootId,
        now: Instant,
    ) -> (Hearing, Option<Change>) {
        let Some(member) = self.members.get(&node) else { return (Hearing::Welcome, None) };
        let other = member.contact.boot().is_some_and(|heard| heard != boot);
        let change = if other && !member.contact.accepts_new_boot() {
            self.on_identity(node, IdentityEvent::OtherBoot { boot, at: now })
        } else {
            None
        };
        let identity = self.members.get(&node).map(|member| member.identity);
        let hearing = match identity {
            Some(Identity::Quarantined) => Hearing::Quarantined,
            Some(Identity::Contested { .. }) if other => Hearing::Wait,
            Some(Identity::Single | Identity::Contested { .. }) | None => Hearing::Welcome,
        };
        (hearing, change)
    }

    /// Forgets whom it has heard as a node: its access was ended, or another board takes its place.
    /// Whoever may speak for it next is believed.
    pub fn disown(&mut self, node: NodeId, now: Instant) -> Option<Change> {
        let member = self.members.get_mut(&node)?;
        member.detector = None;
        member.identity = member.identity.on_event(IdentityEvent::Decided);
        self.on_event(node, ContactEvent::Disowned, now)
    }

    /// Takes in that an administrator has decided about a node with two boards; true if it was one.
    pub fn decide(&mut self, node: NodeId) -> bool {
        let Some(member) = self.members.get_mut(&node) else { return false };
        let was = member.identity;
        member.identity = was.on_event(IdentityEvent::Decided);
        was == Identity::Quarantined
    }

    /// Whether two boards speak with a node's certificate.
    #[must_use]
    pub fn quarantined(&self, node: NodeId) -> bool {
        self.members.get(&node).is_some_and(|member| member.identity == Identity::Quarantined)
    }

    /// The number of the node with this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.members.iter().find(|(_, member)| &*member.name == name).map(|(node, _)| *node)
    }

    /// Removes a node whose object was deleted. Unreachable no longer, since nobody asks.
    pub fn remove(&mut self, node: NodeId) {
        self.members.remove(&node);
        self.publish();
    }

    /// Takes in a heartbeat. One from a node that is not a member changes nothing.
    pub fn handle_heartbeat(
        &mut self,
        node: NodeId,
        arrival: Arrival,
        now: Instant,
    ) -> Option<Change> {
        let member = self.members.get_mut(&node)?;
        let Arrival { boot, incarnation, sequence } = arrival;
        if member.identity == Identity::Quarantined {
            return None;
        }
        if member.contact.boot() == Some(boot) {
            if incarnation < member.incarnation {
                return None;
            }
            let detector = member.detector.get_or_insert_with(|| new_detector(now));
            if incarnation > member.incarnation {
                member.incarnation = incarnation;
                detector.restart(now);
            }
            detector.handle_heartbeat(now, sequence);
            // An old or repeated sequence refutes nothing.
            if !matches!(detector.liveness(), Liveness::Alive) {
                return None;
            }
            if let Some(change) = self.on_identity(node, IdentityEvent::Heard { at: now }) {
                return Some(change);
            }
        } else if member.contact.accepts_new_boot() {
            let mut detector = new_detector(now);
            detector.handle_heartbeat(now, sequence);
            member.detector = Some(detector);
            member.incarnation = incarnation;
        } else {
            return self.on_identity(node, IdentityEvent::OtherBoot { boot, at: now });
        }
        self.on_event(node, ContactEvent::Heartbeat { boot }, now)
    }

    /// Lets time pass: silence becomes suspicion and suspicion becomes certainty.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Change> {
        let mut events = Vec::new();
        for (node, member) in &mut self.members {
            if let Contact::Unknown { since } = member.contact {
                if now >= since + UNKNOWN_GRACE {
                    events.push((*node, ContactEvent::Died));
                }
                continue;
            }
            let transition = member.detector.as_mut().and_then(|it| it.handle_timeout(now));
            match transition {
                Some(Transition::Suspected) => events.push((*node, ContactEvent::Suspected)),
                Some(Transition::Died) => events.push((*node, ContactEvent::Died)),
                Some(Transition::Cleared | Transition::Returned) | None => {}
            }
        }
        events.into_iter().filter_map(|(node, event)| self.on_event(node, event, now)).collect()
    }

    /// When [`Self::handle_timeout`] has something to do, if nothing arrives.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Instant> {
        let of_member = |member: &Member| match member.contact {
            Contact::Unknown { since } => Some(since + UNKNOWN_GRACE),
            Contact::Alive { .. } | Contact::Suspect { .. } | Contact::Dead { .. } => {
                member.detector.as_ref().and_then(FailureDetector::poll_deadline)
            }
        };
        self.members.values().filter_map(of_member).min()
    }

    /// When controllers will be told something else although nothing happens. All that
    /// [`Self::contacts`] compares with the time stands here.
    fn next_change(&self, now: Instant) -> Option<Instant> {
        let holds = self.members.values().filter_map(|member| member.flapping.held_until());
        holds.chain(self.doubt.until()).filter(|at| *at > now).min()
    }

    /// Tells every detector how healthy this process is: 0 is well, 8 is worst.
    pub fn set_local_health(&mut self, score: u8) {
        let detectors = self.members.values_mut().filter_map(|member| member.detector.as_mut());
        detectors.for_each(|detector| detector.set_local_health(score));
    }

    /// The set that every acknowledgement carries.
    #[must_use]
    pub const fn unreachable_set(&self) -> UnreachableSet {
        self.unreachable
    }

    /// What is believed of one node.
    #[must_use]
    pub fn contact(&self, node: NodeId) -> Option<Contact> {
        self.members.get(&node).map(|member| member.contact)
    }

    /// The nodes in contact, with their names.
    pub fn in_contact(&self) -> impl Iterator<Item = (NodeId, &Arc<str>)> {
        let heard = |contact| matches!(contact, Contact::Alive { .. } | Contact::Suspect { .. });
        let members = self.members.iter().filter(move |(_, member)| heard(member.contact));
        members.map(|(node, member)| (*node, &member.name))
    }

    /// Whether pods of unreachable nodes may be replaced: our own network is not in doubt, and at
    /// least one agent on another board is in contact.
    #[must_use]
    pub fn may_replace(&self, now: Instant) -> bool {
        let in_contact = |member: &Member| matches!(member.contact, Contact::Alive { .. });
        let remote = self.members.values().any(|member| !member.local && in_contact(member));
        remote && self.doubt.until().is_none_or(|until| now >= until)
    }

    /// What controllers are told.
    #[must_use]
    pub fn contacts(&self, now: Instant) -> Contacts {
        let of = |member: &Member| {
            let reachable = match member.contact {
                Contact::Unknown { .. } => None,
                Contact::Alive { .. } | Contact::Suspect { .. } => Some(true),
                Contact::Dead { .. } => Some(false),
            };
            let flapping = member.flapping.held_until().is_some_and(|until| now < until);
            let quarantined = member.identity == Identity::Quarantined;
            (Arc::clone(&member.name), NodeContact { reachable, flapping, quarantined })
        };
        let nodes = self.members.values().map(of).collect();
        let changes_in = self.next_change(now).map(|at| at - now);
        Contacts { nodes, may_replace: self.may_replace(now), changes_in }
    }

    /// Takes in what concerns a node's identity; says so if that has changed for the worse.
    fn on_identity(&mut self, node: NodeId, event: IdentityEvent) -> Option<Change> {
        let member = self.members.get_mut(&node)?;
        let was = member.identity;
        member.identity = was.on_event(event);
        if was == member.identity {
            return None;
        }
        match member.identity {
            Identity::Single => None,
            Identity::Contested { .. } => Some(Change { node, verdict: Verdict::BootConflict }),
            Identity::Quarantined => {
                // As one that is not heard: its endpoints leave and its pods are replaced.
                member.detector = None;
                (member.contact, _) = member.contact.on_event(ContactEvent::Disowned);
                self.publish();
                Some(Change { node, verdict: Verdict::Quarantined })
            }
        }
    }

    fn on_event(&mut self, node: NodeId, event: ContactEvent, now: Instant) -> Option<Change> {
        let member = self.members.get_mut(&node)?;
        let (contact, verdict) = member.contact.on_event(event);
        let was_dead = matches!(member.contact, Contact::Dead { boot: Some(_) });
        member.contact = contact;
        let verdict = verdict?;
        match contact {
            Contact::Alive { .. } => {
                let ours = std::mem::take(&mut member.silence_is_ours);
                if was_dead && !ours {
                    member.flapping.on_return(now);
                }
            }
            Contact::Dead { .. } => {
                member.identity = member.identity.on_event(IdentityEvent::Silent);
            }
            Contact::Unknown { .. } | Contact::Suspect { .. } => {}
        }
        if verdict == Verdict::Suspected {
            self.on_silence(node, now);
        }
        self.publish();
        Some(Change { node, verdict })
    }

    /// Judges whose fault a silence is: when most fall silent together, or no other board is heard
    /// any more, it is our own link, and nobody must be held back for it.
    fn on_silence(&mut self, node: NodeId, now: Instant) {
        let last = |member: &Member| Some(member.detector.as_ref()?.last_arrival());
        let last = self.members.get(&node).and_then(last).unwrap_or(now);
        let alive = |member: &&Member| matches!(member.contact, Contact::Alive { .. });
        let remote = self.members.values().filter(|member| !member.local).any(|it| alive(&it));
        let alive = self.members.values().filter(alive).count();
        let together = self.doubt.on_silence(node, last, alive, now);
        if together || !remote {
            let silent = |member: &&mut Member| {
                !member.local
                    && matches!(member.contact, Contact::Suspect { .. } | Contact::Dead { .. })
            };
            self.members.values_mut().filter(silent).for_each(|it| it.silence_is_ours = true);
        }
    }

    /// Renews the unreachable set if it differs.
    fn publish(&mut self) {
        let dead = |member: &Member| matches!(member.contact, Contact::Dead { .. });
        let nodes: NodeSet =
            self.members.iter().filter(|(_, member)| dead(member)).map(|(node, _)| *node).collect();
        if nodes != self.unreachable.nodes {
            self.unreachable.nodes = nodes;
            self.unreachable.version += 1;
        }
    }
}

fn new_detector(now: Instant) -> FailureDetector {
    FailureDetector::new(now, Duration::from_millis(HEARTBEAT_INTERVAL_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: BootId = BootId([1; 16]);
    const NEXT_BOOT: BootId = BootId([2; 16]);

    /// Four remote nodes and the master's own, driven in steps of 10 ms of virtual time.
    struct World {
        membership: Membership,
        now: u64,
        boots: BTreeMap<u16, BootId>,
        silent: Vec<u16>,
        sequence: u64,
    }

    impl World {
        fn new() -> Self {
            let mut membership = Membership::new(7);
            for node in 0..5 {
                let name = format!("pi-{node}");
                membership.add(NodeId(node), &name, node == 0, false, Instant::from_millis(0));
            }
            let boots = (0..5).map(|node| (node, BOOT)).collect();
            let mut world = Self { membership, now: 0, boots, silent: Vec::new(), sequence: 0 };
            world.run(3_000);
            world
        }

        fn run(&mut self, millis: u64) -> Vec<Change> {
            let mut changes = Vec::new();
            for _ in 0..millis / 10 {
                self.now += 10;
                let now = Instant::from_millis(self.now);
                if self.now.is_multiple_of(100) {
                    self.sequence += 1;
                    for (node, boot) in &self.boots {
                        if !self.silent.contains(node) {
                            let (incarnation, sequence) = (Incarnation(1), self.sequence);
                            let arrival = Arrival { boot: *boot, incarnation, sequence };
                            let node = NodeId(*node);
                            changes.extend(self.membership.handle_heartbeat(node, arrival, now));
                        }
                    }
                }
                changes.extend(self.membership.handle_timeout(now));
            }
            changes
        }

        fn may_replace(&self) -> bool {
            self.membership.may_replace(Instant::from_millis(self.now))
        }

        fn contacts(&self) -> Contacts {
            self.membership.contacts(Instant::from_millis(self.now))
        }
    }

    fn change(node: u16, verdict: Verdict) -> Change {
        Change { node: NodeId(node), verdict }
    }

    #[test]
    fn a_silent_node_is_unreachable_within_a_second_and_replaceable_at_once() {
        let mut world = World::new();
        world.silent = vec![1];
        let changes = world.run(900);
        assert_eq!(changes, [change(1, Verdict::Suspected), change(1, Verdict::Unreachable)]);
        let in_contact: Vec<_> = world.membership.in_contact().map(|(node, _)| node.0).collect();
        assert_eq!(in_contact, [0, 2, 3, 4]);
        let set = world.membership.unreachable_set();
        assert_eq!((set.version, set.nodes.iter().collect::<Vec<_>>()), (8, vec![NodeId(1)]));
        assert!(world.may_replace());
    }

    #[test]
    fn many_silent_at_once_are_not_replaced_for_three_seconds() {
        let mut world = World::new();
        world.silent = vec![1, 2, 3];
        world.run(1_000);
        assert_eq!(world.membership.unreachable_set().nodes.iter().count(), 3);
        assert!(!world.may_replace());
        world.run(3_000);
        assert!(world.may_replace());
    }

    #[test]
    fn nothing_is_replaced_while_no_remote_agent_is_in_contact() {
        let mut world = World::new();
        world.silent = vec![1, 2, 3, 4];
        world.run(60_000);
        assert!(!world.may_replace());
        world.silent = vec![1, 2, 3];
        world.run(200);
        assert!(world.may_replace());
    }

    #[test]
    fn an_old_sequence_refutes_nothing() {
        let mut world = World::new();
        world.silent = vec![1];
        world.run(1_000);
        let now = Instant::from_millis(world.now);
        let old = Arrival { boot: BOOT, incarnation: Incarnation(1), sequence: 3 };
        assert_eq!(world.membership.handle_heartbeat(NodeId(1), old, now), None);
        let new = Arrival { sequence: 10_000, ..old };
        let returned = world.membership.handle_heartbeat(NodeId(1), new, now);
        assert_eq!(returned, Some(change(1, Verdict::Returned)));
    }

    impl World {
        fn hello(&mut self, node: u16, boot: BootId) -> Hearing {
            let now = Instant::from_millis(self.now);
            self.membership.handle_hello(NodeId(node), boot, now).0
        }

        /// Lets another boot of node 1 beat beside the one that is there.
        fn run_with_copy(&mut self, millis: u64) -> Vec<Change> {
            let mut changes = Vec::new();
            for step in 1..=millis / 50 {
                changes.extend(self.run(50));
                let now = Instant::from_millis(self.now);
                let copy = Arrival { boot: NEXT_BOOT, incarnation: Incarnation(1), sequence: step };
                changes.extend(self.membership.handle_heartbeat(NodeId(1), copy, now));
            }
            changes
        }
    }

    #[test]
    fn another_boot_is_believed_only_once_the_old_one_is_silent() {
        let mut world = World::new();
        world.silent = vec![1];
        // Power was cut and is back before anybody could notice.
        assert_eq!(world.hello(1, NEXT_BOOT), Hearing::Wait);
        let changes = world.run(1_000);
        assert_eq!(changes, [change(1, Verdict::Suspected), change(1, Verdict::Unreachable)]);
        assert_eq!(world.hello(1, NEXT_BOOT), Hearing::Welcome);
        world.silent.clear();
        world.boots.insert(1, NEXT_BOOT);
        assert_eq!(world.run(200), [change(1, Verdict::NewBoot)]);
        assert!(!world.contacts().nodes["pi-1"].quarantined);
    }

    #[test]
    fn two_boots_at_once_are_both_quarantined_until_somebody_decides() {
        let mut world = World::new();
        let changes = world.run_with_copy(12_000);
        assert_eq!(
            changes,
            [change(1, Verdict::BootConflict), change(1, Verdict::Quarantined)],
            "neither is believed, and there is no going to and fro"
        );
        let contact = world.contacts().nodes["pi-1"];
        assert_eq!((contact.reachable, contact.quarantined), (Some(false), true));
        assert!(world.membership.unreachable_set().nodes.contains(NodeId(1)));
        for boot in [BOOT, NEXT_BOOT] {
            assert_eq!(world.hello(1, boot), Hearing::Quarantined);
        }
        world.silent = vec![1];
        world.run(60_000);
        assert!(world.contacts().nodes["pi-1"].quarantined, "silence decides nothing");

        assert!(world.membership.decide(NodeId(1)));
        assert!(!world.membership.decide(NodeId(1)));
        assert_eq!(world.hello(1, BOOT), Hearing::Welcome);
        world.silent.clear();
        assert_eq!(world.run(200), [change(1, Verdict::Joined)]);
        assert_eq!(world.hello(1, NEXT_BOOT), Hearing::Wait);
        assert_eq!(world.run(200), [change(1, Verdict::Quarantined)], "the copy is still there");
    }

    #[test]
    fn a_hello_of_a_copy_is_enough_and_the_same_boot_may_always_come_again() {
        let mut world = World::new();
        assert_eq!(world.hello(1, BOOT), Hearing::Welcome);
        assert_eq!(world.hello(1, NEXT_BOOT), Hearing::Wait);
        assert_eq!(world.hello(1, BOOT), Hearing::Welcome);
        assert_eq!(world.run(200), [change(1, Verdict::Quarantined)]);
        assert_eq!(world.hello(2, BOOT), Hearing::Welcome);
    }

    #[test]
    fn a_quarantine_outlives_the_master() {
        let mut membership = Membership::new(0);
        let now = Instant::from_millis(0);
        membership.add(NodeId(1), "pi-1", false, true, now);
        // What its session knows of it changes nothing any more.
        membership.add(NodeId(1), "pi-1", false, false, now);
        assert!(membership.quarantined(NodeId(1)));
        assert_eq!(membership.handle_hello(NodeId(1), BOOT, now).0, Hearing::Quarantined);
        let arrival = Arrival { boot: BOOT, incarnation: Incarnation(1), sequence: 1 };
        assert_eq!(membership.handle_heartbeat(NodeId(1), arrival, now), None);
        assert_eq!(membership.contacts(now).nodes["pi-1"].reachable, Some(false));
    }

    #[test]
    fn what_a_disowned_node_said_proves_nothing_about_the_next_board() {
        let mut world = World::new();
        let now = Instant::from_millis(world.now);
        let disowned = world.membership.disown(NodeId(1), now);
        assert_eq!(disowned, Some(change(1, Verdict::Unreachable)));
        assert_eq!(world.hello(1, NEXT_BOOT), Hearing::Welcome);
        world.boots.insert(1, NEXT_BOOT);
        assert_eq!(world.run(200), [change(1, Verdict::Joined)]);
    }

    #[test]
    fn nobody_is_held_back_because_our_own_link_failed() {
        let mut world = World::new();
        for _ in 0..5 {
            world.silent = vec![1, 2, 3, 4];
            world.run(2_000);
            world.silent.clear();
            world.run(10_000);
        }
        assert!(world.contacts().nodes.values().all(|contact| !contact.flapping));
        // Most of them is enough; whose own link is bad besides is held all the same.
        for _ in 0..3 {
            world.silent = vec![1, 2, 3];
            world.run(2_000);
            world.silent.clear();
            world.run(5_000);
            world.silent = vec![4];
            world.run(2_000);
            world.silent.clear();
            world.run(5_000);
        }
        let held = |node: &str| world.contacts().nodes[node].flapping;
        assert_eq!(["pi-1", "pi-2", "pi-3", "pi-4"].map(held), [false, false, false, true]);
    }

    #[test]
    fn the_only_other_board_is_not_held_back() {
        let mut membership = Membership::new(0);
        let at = Instant::from_millis;
        membership.add(NodeId(0), "master", true, false, at(0));
        membership.add(NodeId(1), "pi-1", false, false, at(0));
        for now in (0..60_000).step_by(100) {
            let arrival = Arrival { boot: BOOT, incarnation: Incarnation(1), sequence: 1 + now };
            membership.handle_heartbeat(NodeId(0), arrival, at(now));
            if now % 10_000 < 8_000 {
                membership.handle_heartbeat(NodeId(1), arrival, at(now));
            }
            membership.handle_timeout(at(now));
        }
        // Whose link is bad, nobody can say; and there is nowhere else to go.
        assert!(!membership.contacts(at(60_000)).nodes["pi-1"].flapping);
    }

    #[test]
    fn what_controllers_are_told_changes_when_it_was_said_to() {
        let mut world = World::new();
        let untold = |world: &mut World, millis| {
            for _ in 0..millis / 100 {
                let before = world.contacts();
                world.run(100);
                let mut after = world.contacts();
                let due = before.changes_in.is_some_and(|at| at <= Duration::from_millis(100));
                if !due {
                    after.changes_in = before.changes_in;
                    assert_eq!(before, after, "at {} ms", world.now);
                }
            }
        };
        for silent in [vec![1], vec![1], vec![1, 2, 3]] {
            world.silent = silent;
            world.run(2_000);
            untold(&mut world, 3_000);
            world.silent.clear();
            world.run(1_000);
            untold(&mut world, 30_000);
        }
        assert_eq!(world.contacts().changes_in, None);
    }

    #[test]
    fn a_node_that_keeps_returning_is_held_back_for_longer_each_time() {
        let mut world = World::new();
        let bounce = |world: &mut World| {
            world.silent = vec![1];
            world.run(1_000);
            world.silent.clear();
            world.run(1_000);
        };
        bounce(&mut world);
        assert!(!world.contacts().nodes["pi-1"].flapping);
        bounce(&mut world);
        assert!(world.contacts().nodes["pi-1"].flapping);
        world.run(10_000);
        assert!(!world.contacts().nodes["pi-1"].flapping);
        bounce(&mut world);
        world.run(10_000);
        assert!(world.contacts().nodes["pi-1"].flapping);
        world.run(10_000);
        assert!(!world.contacts().nodes["pi-1"].flapping);
    }

    #[test]
    fn a_node_that_is_never_heard_of_is_unreachable_after_the_grace() {
        let mut membership = Membership::new(0);
        membership.add(NodeId(1), "pi-1", false, false, Instant::from_millis(0));
        assert_eq!(membership.poll_deadline(), Some(Instant::from_secs(10)));
        assert_eq!(membership.handle_timeout(Instant::from_millis(9_999)), []);
        let changes = membership.handle_timeout(Instant::from_secs(10));
        assert_eq!(changes, [change(1, Verdict::Unreachable)]);
    }

    #[test]
    fn a_removed_node_leaves_the_unreachable_set() {
        let mut world = World::new();
        world.silent = vec![1];
        world.run(1_000);
        world.membership.remove(NodeId(1));
        assert!(world.membership.unreachable_set().nodes.is_empty());
        assert_eq!(world.membership.unreachable_set().version, 9);
    }
}
