//! Who may have a request worked on now: carries out what [`RequestTable`] decides.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bramble_api::Status;
use bramble_master_core::turns::{Entry, Identity, RequestId, RequestTable};
use bramble_process::panics;
use http::{Method, Request, Response};
use hyper::body::Body as _;
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::path::Route;
use super::response::{self, Body};
use super::{Query, body};

/// Bytes of a body that one seat stands for: a request of that size takes 2 MB while it is worked
/// on.
const SEAT_BYTES: u64 = 64 * 1024;
/// Seats of a request for many objects, whose size nobody knows before.
const SEATS_OF_LIST: u32 = 8;
/// Seats of a document about the whole API.
const SEATS_OF_DOCUMENT: u32 = 4;
/// Time that a request waits for a seat before its client is told to come again.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Time after which a client that was refused may come again, in seconds, as upstream.
const RETRY_AFTER_S: u32 = 1;

/// Subresources that go on until one side ends them.
const LONG_SUBRESOURCES: [&str; 4] = ["log", "exec", "attach", "portforward"];
/// The subresource whose bodies are passed on piece by piece.
const PASSED_ON: &str = "proxy";

/// What a request costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    seats: u32,
    long: bool,
}

/// All requests; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    table: RequestTable,
    waiting: BTreeMap<RequestId, oneshot::Sender<()>>,
}

/// A request's turn; dropping it ends it.
#[derive(Debug)]
pub(super) struct Turn {
    id: RequestId,
    long: bool,
    turns: Turns,
}

impl Cost {
    /// What it costs to answer a request; nothing for what anybody may ask at any time.
    pub(super) fn of(route: &Route, query: &Query, request: &Request<Incoming>) -> Option<Self> {
        let body_len = request.body().size_hint().upper();
        Self::of_parts(route, query.watch, request.method(), body_len)
    }

    fn of_parts(
        route: &Route,
        watch: bool,
        method: &Method,
        body_len: Option<u64>,
    ) -> Option<Self> {
        let (seats, long) = match route {
            Route::Health | Route::Version => return None,
            Route::Metrics
            | Route::Audit
            | Route::Vitals
            | Route::Tokens(_)
            | Route::NodeAccess(..) => (1, false),
            Route::Discovery(_) => (SEATS_OF_DOCUMENT, false),
            // Its body is passed on piece by piece.
            Route::Upgrade(_) => return Some(Self { seats: 1, long: true }),
            Route::Resource(path) => {
                let many = path.name.is_empty() && *method != Method::POST;
                let seats = if many { SEATS_OF_LIST } else { 1 };
                let subresource = path.subresource.as_str();
                if subresource == PASSED_ON {
                    return Some(Self { seats, long: true });
                }
                (seats, watch || LONG_SUBRESOURCES.contains(&subresource))
            }
        };
        // Who does not say how much comes is taken at the most.
        let longest = u64::try_from(body::BODY_LEN_MAX).unwrap_or(u64::MAX);
        let of_body = body_len.unwrap_or(longest).min(longest) / SEAT_BYTES;
        Some(Self { seats: seats.saturating_add(u32::try_from(of_body).unwrap_or(u32::MAX)), long })
    }
}

impl Turns {
    /// Waits until it is a request's turn.
    ///
    /// # Errors
    ///
    /// 429 when too many of its identity wait already, or it waited for too long.
    pub(super) async fn take(&self, identity: &Identity, cost: Cost) -> Result<Turn, Status> {
        let (seat, seated) = oneshot::channel();
        let (id, entry) = {
            let mut state = self.lock();
            let (id, entry) = state.table.enter(identity, cost.seats, cost.long);
            if entry == Entry::Wait {
                state.waiting.insert(id, seat);
            }
            (id, entry)
        };
        let turn = match entry {
            Entry::Begin | Entry::Wait => Turn { id, long: cost.long, turns: self.clone() },
            Entry::Refuse => return Err(come_again()),
        };
        if entry == Entry::Begin {
            return Ok(turn);
        }
        match timeout(WAIT_MAX, seated).await {
            Ok(Ok(())) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(come_again()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|_| panics::torn("the table of requests"))
    }
}

impl State {
    fn seat(&mut self, begin: Vec<RequestId>) {
        for id in begin {
            if let Some(seat) = self.waiting.remove(&id) {
                // Who has given up meanwhile gives the seat back when his turn is dropped.
                let _ = seat.send(());
            }
        }
    }
}

impl Turn {
    /// Keeps the turn until the answer has been sent, or given up. A long request goes on, but
    /// what it cost to begin it is free.
    pub(super) fn hold(self, answer: Response<Body>) -> Response<Body> {
        if self.long {
            let mut state = self.turns.lock();
            let begin = state.table.go_on_long(self.id);
            state.seat(begin);
        }
        response::holding(answer, self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        state.waiting.remove(&self.id);
        let begin = state.table.end(self.id);
        state.seat(begin);
    }
}

fn come_again() -> Status {
    Status::too_many_requests("too many requests, please try again later", RETRY_AFTER_S)
}

#[cfg(test)]
mod tests {
    use bramble_master_core::turns::{SEATS_OF_IDENTITY, WAITING_OF_IDENTITY_MAX};

    use super::*;

    #[track_caller]
    fn check(method: &Method, path: &str, body_len: Option<u64>, expected: Option<(u32, bool)>) {
        let route = Route::parse(path).unwrap();
        let cost =
            Cost::of_parts(&route, path.ends_with('s') && body_len == Some(1), method, body_len);
        assert_eq!(cost.map(|cost| (cost.seats, cost.long)), expected, "{method} {path}");
    }

    #[test]
    fn requests_cost_what_they_may_take() {
        let pods = "/api/v1/namespaces/a/pods";
        check(&Method::GET, "/readyz", Some(0), None);
        check(&Method::GET, "/version", Some(0), None);
        check(&Method::GET, "/api/v1/namespaces/a/pods/b", Some(0), Some((1, false)));
        check(&Method::GET, pods, Some(0), Some((8, false)));
        check(&Method::DELETE, pods, Some(0), Some((8, false)));
        check(&Method::POST, pods, Some(2_000), Some((1, false)));
        check(&Method::POST, pods, Some(3 << 20), Some((49, false)));
        check(&Method::POST, pods, Some(u64::MAX), Some((49, false)));
        check(&Method::POST, pods, None, Some((49, false)));
        check(&Method::GET, pods, Some(1), Some((8, true)));
        check(&Method::GET, "/api/v1/namespaces/a/pods/b/log", Some(0), Some((1, true)));
        check(&Method::PUT, "/bramble/v1/nodes/pi-1/upgrade", None, Some((1, true)));
        check(&Method::POST, "/api/v1/nodes/pi-1/proxy/x", None, Some((1, true)));
        check(&Method::GET, "/openapi/v2", Some(0), Some((4, false)));
    }

    #[tokio::test]
    async fn too_many_of_one_are_told_to_come_again_and_others_are_served() {
        let turns = Turns::default();
        let burst = Identity::User("burst".into());
        let whole = Cost { seats: SEATS_OF_IDENTITY, long: false };
        let first = turns.take(&burst, whole).await.unwrap();
        let mut waiting: Vec<_> =
            (0..WAITING_OF_IDENTITY_MAX).map(|_| Box::pin(turns.take(&burst, whole))).collect();
        for request in &mut waiting {
            assert!(futures_util::poll!(request).is_pending());
        }
        let refused = turns.take(&burst, whole).await.unwrap_err();
        assert_eq!((refused.code, refused.retry_after_secs), (429, Some(1)));
        drop(turns.take(&Identity::User("other".into()), whole).await.unwrap());
        // One gives up, and the others are served in their order.
        drop(waiting.remove(0));
        drop(first);
        for request in waiting {
            drop(request.await.unwrap());
        }
        assert!(turns.lock().table.is_idle());
    }
}
