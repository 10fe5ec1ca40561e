//! A log, kept outside of the cluster, of what pods say about themselves; and a judge of it.
//!
//! A pod sends lines `IDENTITY SEQUENCE`, counted up from its start, to a TCP port of this machine,
//! each in a connection of its own: a line counts from when its connection came, so that words
//! which the network held back are not taken for late ones. A pod of a StatefulSet must never run on two boards at once; only somebody outside can tell.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::wait::{now, pause};

/// Most that is taken of one connection.
const LINE_LEN_MAX: u64 = 256;
/// Longest wait for the words of a connection.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How often connections are looked for.
const INTERVAL: Duration = Duration::from_millis(10);

/// One line of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When its connection came.
    pub time: Instant,
    /// Board that it came from.
    pub board: IpAddr,
    /// Who the pod says it is, such as `web-0`.
    pub identity: String,
    /// Its count since its start.
    pub sequence: u64,
}

/// Two boards that ran the same pod at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twice {
    /// The pod.
    pub identity: String,
    /// The boards.
    pub boards: [IpAddr; 2],
    /// How long both were heard.
    pub overlap: Duration,
}

/// A running log. Ends when dropped.
#[derive(Debug)]
pub struct PodLog {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    lines: Arc<Mutex<Vec<Line>>>,
    thread: Option<JoinHandle<()>>,
}

impl PodLog {
    /// Listens at this address.
    ///
    /// # Errors
    /// The port is in use.
    pub fn listen(address: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind(address).with_context(|| format!("could not listen at {address}"))?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let (stop, lines) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (stopped, log) = (Arc::clone(&stop), Arc::clone(&lines));
        let thread = thread::spawn(move || record(&listener, &stopped, &log));
        Ok(Self { address, stop, lines, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything heard so far, in the order of its coming.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone();
        lines.sort_by_key(|line| line.time);
        lines
    }

    /// Lines of this pod that came after `since`.
    #[must_use]
    pub fn heard_from(&self, identity: &str, since: Instant) -> Vec<Line> {
        let mut lines = self.lines();
        lines.retain(|line| line.identity == identity && line.time > since);
        lines
    }
}

impl Drop for PodLog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn record(listener: &TcpListener, stop: &AtomicBool, log: &Arc<Mutex<Vec<Line>>>) {
    while !stop.load(Ordering::SeqCst) {
        let Ok((client, from)) = listener.accept() else {
            pause(INTERVAL);
            continue;
        };
        let (time, log) = (now(), Arc::clone(log));
        // One that is silent must not hold up the others. It ends by its timeout.
        thread::spawn(move || {
            let text = read(client);
            let heard = text.lines().filter_map(|line| parse(line, time, from.ip()));
            log.lock().unwrap_or_else(PoisonError::into_inner).extend(heard);
        });
    }
}

/// All that a client says, until it ends or falls silent.
fn read(client: TcpStream) -> String {
    let mut bytes = Vec::new();
    let ready =
        client.set_nonblocking(false).and_then(|()| client.set_read_timeout(Some(READ_TIMEOUT)));
    if ready.is_ok() {
        let _ = client.take(LINE_LEN_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn parse(line: &str, time: Instant, board: IpAddr) -> Option<Line> {
    let (identity, sequence) = line.trim().split_once(' ')?;
    Some(Line { time, board, identity: identity.to_owned(), sequence: sequence.parse().ok()? })
}

/// One start of a pod on one board, from its first line to its last.
#[derive(Clone, Copy, Debug)]
struct Run {
    board: IpAddr,
    first: Instant,
    last: Instant,
    sequence: u64,
}

/// All cases of a pod that ran on two boards at once. Lines in the order of their coming.
///
/// A pod that goes from one board to another and back is no case, as long as each start (a count
/// that begins anew) has ended before the next is heard.
#[must_use]
pub fn ran_twice(lines: &[Line]) -> Vec<Twice> {
    let mut found = Vec::new();
    for (identity, runs) in runs(lines) {
        for (index, one) in runs.iter().enumerate() {
            for other in runs.iter().skip(index + 1).filter(|other| other.board != one.board) {
                let (start, end) = (one.first.max(other.first), one.last.min(other.last));
                if let Some(overlap) = end.checked_duration_since(start) {
                    let boards = [one.board, other.board];
                    found.push(Twice { identity: identity.to_owned(), boards, overlap });
                }
            }
        }
    }
    found
}

fn runs(lines: &[Line]) -> BTreeMap<&str, Vec<Run>> {
    let mut found: BTreeMap<&str, Vec<Run>> = BTreeMap::new();
    for line in lines {
        let runs = found.entry(&line.identity).or_default();
        let current = runs.iter_mut().rev().find(|run| run.board == line.board);
        match current.filter(|run| run.sequence < line.sequence) {
            Some(run) => (run.last, run.sequence) = (line.time, line.sequence),
            None => runs.push(Run {
                board: line.board,
                first: line.time,
                last: line.time,
                sequence: line.sequence,
            }),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Lines `(milliseconds, board, identity, sequence)`.
    fn check(lines: &[(u64, u8, &str, u64)], wanted: &[(&str, u64)]) {
        let start = now();
        let lines: Vec<Line> = lines
            .iter()
            .map(|(ms, board, identity, sequence)| Line {
                time: start + Duration::from_millis(*ms),
                board: IpAddr::from([10, 77, 1, *board]),
                identity: (*identity).to_owned(),
                sequence: *sequence,
            })
            .collect();
        let found: Vec<(String, u64)> = ran_twice(&lines)
            .into_iter()
            .map(|twice| (twice.identity, twice.overlap.as_millis().try_into().unwrap()))
            .collect();
        let wanted: Vec<(String, u64)> =
            wanted.iter().map(|(identity, ms)| ((*identity).to_owned(), *ms)).collect();
        assert_eq!(found, wanted, "{lines:?}");
    }

    #[test]
    fn pod_that_moves_and_comes_back_is_fine() {
        check(&[], &[]);
        check(&[(0, 1, "web-0", 1), (10, 1, "web-0", 2), (20, 2, "web-0", 1)], &[]);
        check(
            &[
                (0, 1, "web-0", 1),
                (10, 1, "web-0", 2),
                (20, 2, "web-0", 1),
                (30, 2, "web-0", 2),
                (40, 1, "web-0", 1),
            ],
            &[],
        );
        // Different pods, and one pod that is restarted in place.
        check(&[(0, 1, "web-0", 1), (5, 2, "web-1", 1), (10, 1, "web-0", 2)], &[]);
        check(&[(0, 1, "web-0", 5), (10, 1, "web-0", 1), (20, 2, "web-0", 1)], &[]);
    }

    #[test]
    fn pod_heard_from_two_boards_is_found() {
        check(
            &[(0, 1, "web-0", 1), (10, 2, "web-0", 1), (30, 1, "web-0", 2), (40, 2, "web-0", 2)],
            &[("web-0", 20)],
        );
        // A single late word of the first is enough.
        check(
            &[(0, 1, "web-0", 1), (10, 2, "web-0", 1), (11, 2, "web-0", 2), (12, 1, "web-0", 9)],
            &[("web-0", 1)],
        );
    }

    #[test]
    fn lines_are_heard_and_nonsense_is_not() {
        let log = PodLog::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        for text in ["web-0 1\n", "nonsense", "web-0 x", "web-0 2\nweb-1 7\n"] {
            let mut client = TcpStream::connect(log.address()).unwrap();
            client.write_all(text.as_bytes()).unwrap();
        }
        crate::wait::wait_until("three lines", Duration::from_secs(5), || {
            let lines = log.lines();
            Ok((lines.len() != 3).then(|| format!("{lines:?}")))
        })
        .unwrap();
        let heard: Vec<_> =
            log.lines().into_iter().map(|line| (line.identity, line.sequence)).collect();
        assert_eq!(heard, [("web-0".into(), 1), ("web-0".into(), 2), ("web-1".into(), 7)]);
        let start = log.lines()[0].time;
        assert_eq!(log.heard_from("web-0", start).len(), 1);
    }
}
