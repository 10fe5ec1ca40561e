//! Who may have a connection to the master's port, and for how long.
//!
//! Connections that nobody has vouched for (silent, in their handshake, without a certificate)
//! share few places, known clients and agents have places of their own. Whoever comes is let in;
//! what has to go for it is chosen so that a crowd pays for itself: of the owner with the most
//! connections, the one that is least in use, the oldest first.
//!
//! ```text
//!  accept --> Arrived --identify--> Anonymous | Client | Agent
//!               |                       |
//!               +-- evicted, expired <--+--> remove
//! ```
//!
//! Knows neither sockets nor a clock, and does not close anything: it says what to close.

mod source;

use std::collections::BTreeMap;
use std::sync::Arc;

use embassy_time::{Duration, Instant};

pub use source::Source;

/// Places of those whom nobody vouched for. Each costs some 30 KB in its handshake, so that a crowd
/// costs a board of 512 MB no more than 8 MB.
pub const UNKNOWN_MAX: usize = 256;
/// Of these, for one source: what many programs behind one address need at a time.
pub const UNKNOWN_OF_SOURCE_MAX: usize = 64;
/// Places of clients with a certificate; each costs about 50 KB.
pub const CLIENTS_MAX: usize = 512;
/// Of these, for one user: an administrator may have many tools.
pub const CLIENTS_OF_USER_MAX: usize = 256;
/// Places of agents: each node's link, and a newer one that takes over.
pub const AGENTS_MAX: usize = 2 * bramble_shared::limits::NODES_MAX;
/// Of these, for one node: a board that was cut off may redial a few times before the master sees
/// that the older links are gone.
pub const AGENTS_OF_NODE_MAX: usize = 4;

/// Time that a peer has from its connection to the end of its handshake: emulated boards need
/// seconds.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// Time that a connection without identity may be without a request.
pub const ANONYMOUS_IDLE_MAX: Duration = Duration::from_secs(10);
/// Time that one request of somebody without identity may take, answer included.
pub const ANONYMOUS_BUSY_MAX: Duration = Duration::from_secs(60);
/// Time that a known client's connection may be without a request: more than the 90 s after which
/// Go's clients close it themselves, so that none is closed while it is being used again.
pub const CLIENT_IDLE_MAX: Duration = Duration::from_secs(100);
/// Shortest time between two reports about connections that had to go.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// A connection's number; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(u64);

/// Who is at the other end, once the handshake has shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Somebody without a certificate.
    Anonymous,
    /// A client by its user's name.
    Client(Arc<str>),
    /// A node's agent with its link, by the node's name.
    Agent(Arc<str>),
}

/// What becomes of a connection that wants a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// There is room.
    Admit,
    /// There is room once this other one is closed, which is no longer counted.
    AdmitAndEvict(ConnectionId),
    /// There is no room; it is not counted.
    Refuse,
}

/// Connections that had to go since the last report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Closed to make room for others.
    pub evicted: u64,
    /// Not let in.
    pub refused: u64,
    /// Closed because they did nothing for too long.
    pub expired: u64,
    /// Where the last of them came from.
    pub source: Source,
}

/// All connections of the port.
#[derive(Debug, Default)]
pub struct Connections {
    next: u64,
    open: BTreeMap<ConnectionId, Connection>,
    places: BTreeMap<Class, Places>,
    report: Report,
    reported_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Unknown,
    Client,
    Agent,
}

/// Whose places a connection takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Source(Source),
    Name(Arc<str>),
}

#[derive(Debug, Default)]
struct Places {
    taken: usize,
    by_owner: BTreeMap<Owner, usize>,
}

#[derive(Debug)]
struct Connection {
    source: Source,
    class: Class,
    owner: Owner,
    use_: Use,
}

/// What a connection does, with the time since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Nothing, or its handshake.
    Arrived { since: Instant },
    /// Nothing, after its handshake or its last request.
    Idle { since: Instant },
    /// Requests, or the link.
    Busy { since: Instant, requests: usize },
}

impl Class {
    const fn bounds(self) -> (usize, usize) {
        match self {
            Self::Unknown => (UNKNOWN_MAX, UNKNOWN_OF_SOURCE_MAX),
            Self::Client => (CLIENTS_MAX, CLIENTS_OF_USER_MAX),
            Self::Agent => (AGENTS_MAX, AGENTS_OF_NODE_MAX),
        }
    }
}

impl Connection {
    /// Orders by how little would be lost with it; none if it must not be closed for others.
    fn worth(&self) -> Option<(u8, Instant)> {
        match (self.class, self.use_) {
            (Class::Client, Use::Busy { .. }) => None,
            (_, Use::Idle { since }) => Some((0, since)),
            (_, Use::Arrived { since }) => Some((1, since)),
            (_, Use::Busy { since, .. }) => Some((2, since)),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match (self.class, self.use_) {
            (Class::Agent, _) | (Class::Client, Use::Busy { .. }) => None,
            (_, Use::Arrived { since }) => Some(since + HANDSHAKE_TIME_MAX),
            (Class::Unknown, Use::Idle { since }) => Some(since + ANONYMOUS_IDLE_MAX),
            (Class::Unknown, Use::Busy { since, .. }) => Some(since + ANONYMOUS_BUSY_MAX),
            (Class::Client, Use::Idle { since }) => Some(since + CLIENT_IDLE_MAX),
        }
    }
}

impl Connections {
    /// Takes in a connection that has said nothing yet; none of the numbers is used if it is
    /// refused.
    pub fn accept(&mut self, source: Source, now: Instant) -> (ConnectionId, Admission) {
        let id = ConnectionId(self.next);
        self.next += 1;
        let use_ = Use::Arrived { since: now };
        let owner = Owner::Source(source);
        let admission = self.enter(id, Connection { source, class: Class::Unknown, owner, use_ });
        (id, admission)
    }

    /// Moves a connection to the places of those that it has turned out to be one of. One that
    /// was evicted meanwhile is refused. What it is doing goes on.
    pub fn identify(&mut self, id: ConnectionId, peer: Peer, now: Instant) -> Admission {
        let Some(connection) = self.leave(id) else { return Admission::Refuse };
        let source = connection.source;
        // Who shows who he is with a request is being answered already.
        let idle = match connection.use_ {
            Use::Busy { since, requests } => Use::Busy { since, requests },
            Use::Arrived { .. } | Use::Idle { .. } => Use::Idle { since: now },
        };
        let (class, owner, use_) = match peer {
            Peer::Anonymous => (Class::Unknown, Owner::Source(source), idle),
            Peer::Client(user) => (Class::Client, Owner::Name(user), idle),
            Peer::Agent(node) => {
                (Class::Agent, Owner::Name(node), Use::Busy { since: now, requests: 1 })
            }
        };
        self.enter(id, Connection { source, class, owner, use_ })
    }

    /// Notes that a request has begun.
    pub fn begin_request(&mut self, id: ConnectionId, now: Instant) {
        if let Some(connection) = self.open.get_mut(&id) {
            connection.use_ = match connection.use_ {
                Use::Busy { since, requests } => Use::Busy { since, requests: requests + 1 },
                Use::Arrived { .. } | Use::Idle { .. } => Use::Busy { since: now, requests: 1 },
            };
        }
    }

    /// Notes that a request has been answered, or given up.
    pub fn end_request(&mut self, id: ConnectionId, now: Instant) {
        if let Some(connection) = self.open.get_mut(&id) {
            connection.use_ = match connection.use_ {
                Use::Busy { since, requests } if requests > 1 => {
                    Use::Busy { since, requests: requests - 1 }
                }
                Use::Busy { .. } | Use::Arrived { .. } | Use::Idle { .. } => {
                    Use::Idle { since: now }
                }
            };
        }
    }

    /// Forgets a connection that has ended; nothing happens if it is forgotten already.
    pub fn remove(&mut self, id: ConnectionId) {
        self.leave(id);
    }

    /// Returns what has to be closed because its time is over; it is no longer counted.
    pub fn expire(&mut self, now: Instant) -> Vec<ConnectionId> {
        let over = |connection: &Connection| connection.deadline().is_some_and(|at| at <= now);
        let expired: Vec<_> =
            self.open.iter().filter(|(_, it)| over(it)).map(|(id, _)| *id).collect();
        for id in &expired {
            if let Some(Connection { source, class: Class::Unknown, use_, .. }) = self.leave(*id) {
                // Silence after an answer is how clients behave that do not close.
                if matches!(use_, Use::Arrived { .. } | Use::Busy { .. }) {
                    self.report.expired += 1;
                    self.report.source = source;
                }
            }
        }
        expired
    }

    /// Closes the least useful connection whose owner nobody vouched for, such as when the process
    /// has no descriptors left.
    pub fn shed(&mut self) -> Option<ConnectionId> {
        let victim = self.victim(Class::Unknown, None)?;
        self.evict(victim);
        Some(victim)
    }

    /// What there is to tell about connections that had to go; seldom, so that a flood of them
    /// floods no log.
    pub fn poll_report(&mut self, now: Instant) -> Option<Report> {
        let Report { evicted, refused, expired, .. } = self.report;
        let early = self.reported_at.is_some_and(|at| now < at + REPORT_INTERVAL);
        if early || evicted + refused + expired == 0 {
            return None;
        }
        self.reported_at = Some(now);
        Some(std::mem::take(&mut self.report))
    }

    /// Number of connections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn enter(&mut self, id: ConnectionId, connection: Connection) -> Admission {
        let (class, source) = (connection.class, connection.source);
        let (class_max, owner_max) = class.bounds();
        let places = self.places.entry(class).or_default();
        let of_owner = places.by_owner.get(&connection.owner).copied().unwrap_or(0);
        let victim = if of_owner >= owner_max {
            Some(self.victim(class, Some(&connection.owner)))
        } else if places.taken >= class_max {
            Some(self.victim(class, None))
        } else {
            None
        };
        let admission = match victim {
            None => Admission::Admit,
            Some(Some(victim)) => {
                self.evict(victim);
                Admission::AdmitAndEvict(victim)
            }
            Some(None) => {
                self.report.refused += 1;
                self.report.source = source;
                return Admission::Refuse;
            }
        };
        let places = self.places.entry(class).or_default();
        places.taken += 1;
        *places.by_owner.entry(connection.owner.clone()).or_insert(0) += 1;
        self.open.insert(id, connection);
        admission
    }

    fn leave(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.open.remove(&id)?;
        if let Some(places) = self.places.get_mut(&connection.class) {
            places.taken -= 1;
            if let Some(count) = places.by_owner.get_mut(&connection.owner) {
                *count -= 1;
                if *count == 0 {
                    places.by_owner.remove(&connection.owner);
                }
            }
        }
        Some(connection)
    }

    fn evict(&mut self, victim: ConnectionId) {
        if let Some(connection) = self.leave(victim) {
            self.report.evicted += 1;
            self.report.source = connection.source;
        }
    }

    /// Finds what may be closed: of this owner, or of the one with the most connections that has
    /// anything to close.
    fn victim(&self, class: Class, owner: Option<&Owner>) -> Option<ConnectionId> {
        let counts = &self.places.get(&class)?.by_owner;
        let of_owner = |owner: &Owner| counts.get(owner).copied().unwrap_or(0);
        self.open
            .iter()
            .filter(|(_, it)| it.class == class && owner.is_none_or(|owner| it.owner == *owner))
            .filter_map(|(id, it)| Some((std::cmp::Reverse(of_owner(&it.owner)), it.worth()?, *id)))
            .min()
            .map(|(_, _, id)| id)
    }
}

#[cfg(test)]
mod tests;
