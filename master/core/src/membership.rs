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

pub use contact::{Contact, ContactEvent, Verdict};
use doubt::NetworkDoubt;
use flapping::Flapping;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeContact {
    /// Whether it is in contact; `None` while nobody can say, after the master's start.
    pub reachable: Option<bool>,
    /// Whether it comes and goes so often that it must not get new pods.
    pub flapping: bool,
}

/// What controllers are told of all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contacts {
    /// By node name.
    pub nodes: BTreeMap<Arc<str>, NodeContact>,
    /// Whether pods of unreachable nodes may be replaced now.
    pub may_replace: bool,
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

    /// Adds a node, or changes what is known of one; its contact stays.
    pub fn add(&mut self, node: NodeId, name: &str, local: bool, now: Instant) {
        let member = self.members.entry(node).or_insert_with(|| Member {
            name: Arc::from(name),
            local,
            contact: Contact::Unknown { since: now },
            detector: None,
            incarnation: Incarnation(0),
            flapping: Flapping::default(),
        });
        member.name = Arc::from(name);
        member.local = local;
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
        } else if member.contact.accepts_new_boot() {
            let mut detector = new_detector(now);
            detector.handle_heartbeat(now, sequence);
            member.detector = Some(detector);
            member.incarnation = incarnation;
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

    /// When [`Self::handle_timeout`] or the controllers must run next, if nothing arrives.
    #[must_use]
    pub fn poll_deadline(&self, now: Instant) -> Option<Instant> {
        let of_member = |member: &Member| match member.contact {
            Contact::Unknown { since } => Some(since + UNKNOWN_GRACE),
            Contact::Alive { .. } | Contact::Suspect { .. } | Contact::Dead { .. } => {
                member.detector.as_ref().and_then(FailureDetector::poll_deadline)
            }
        };
        let contacts = self.members.values().filter_map(of_member);
        let holds = self.members.values().filter_map(|member| member.flapping.held_until());
        let later = holds.chain(self.doubt.until()).filter(|at| *at > now);
        contacts.chain(later).min()
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
            (Arc::clone(&member.name), NodeContact { reachable, flapping })
        };
        let nodes = self.members.values().map(of).collect();
        Contacts { nodes, may_replace: self.may_replace(now) }
    }

    fn on_event(&mut self, node: NodeId, event: ContactEvent, now: Instant) -> Option<Change> {
        let member = self.members.get_mut(&node)?;
        let (contact, verdict) = member.contact.on_event(event);
        let was_dead = matches!(member.contact, Contact::Dead { boot: Some(_) });
        member.contact = contact;
        let verdict = verdict?;
        if was_dead && matches!(contact, Contact::Alive { .. }) {
            member.flapping.on_return(now);
        }
        if verdict == Verdict::Suspected {
            let alive = |member: &&Member| matches!(member.contact, Contact::Alive { .. });
            let alive = self.members.values().filter(alive).count();
            self.doubt.on_silence(node, alive, now);
        }
        self.publish();
        Some(Change { node, verdict })
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
                membership.add(NodeId(node), &name, node == 0, Instant::from_millis(0));
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

    #[test]
    fn another_boot_is_believed_only_once_the_old_one_is_silent() {
        let mut world = World::new();
        let now = Instant::from_millis(world.now);
        let clone = Arrival { boot: NEXT_BOOT, incarnation: Incarnation(1), sequence: 1 };
        let conflict = world.membership.handle_heartbeat(NodeId(1), clone, now);
        assert_eq!(conflict, Some(change(1, Verdict::BootConflict)));
        world.silent = vec![1];
        world.run(1_000);
        world.silent.clear();
        world.boots.insert(1, NEXT_BOOT);
        assert_eq!(world.run(200), [change(1, Verdict::NewBoot)]);
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
        membership.add(NodeId(1), "pi-1", false, Instant::from_millis(0));
        assert_eq!(membership.poll_deadline(Instant::from_millis(1)), Some(Instant::from_secs(10)));
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
