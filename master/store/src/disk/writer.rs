//! The one thread that writes: orders transactions, commits them in groups, then shows them.
//!
//! ```text
//!               needs no commit
//!  request ----------------------------> worked out, shown, answered
//!     |  needs one            (never while a commit is under way: the thread is busy)
//!     v
//!  with what came during the last commit --> worked out --> commit --> shown, answered
//! ```
//! A lone request is committed at once, so nobody waits for company; under load the disk itself
//! makes the groups. The order of revisions is the order of visibility, and what is in the file is
//! a prefix of what was shown. A commit that fails is never tried again: what the disk then holds
//! is unknown.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::file::{Based, Log, RESERVE_BLOCK};
use super::frame::Body;
use super::unwritten::Unwritten;
use crate::clock;
use crate::draft::{Draft, Drafted};
use crate::published::Published;
use crate::{Class, Op, Revision, StoreError, Txn, TxnReply};

/// Most transactions of one commit, to bound its memory.
const GROUP_MAX: usize = 1_024;
/// Bytes of values beyond which a group takes no more, likewise: one object has up to 1.5 MB.
const GROUP_BYTES: usize = 1 << 20;
/// How often it is looked whether a new base is written.
const BASE_POLL: Duration = Duration::from_millis(50);

/// A transaction, and where its reply goes.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) txn: Txn,
    pub(super) reply: oneshot::Sender<Result<TxnReply, StoreError>>,
}

/// The thread's state.
#[derive(Debug)]
pub(super) struct Writer {
    published: Arc<Published>,
    commits: Arc<AtomicU64>,
    requests: Receiver<Request>,
    log: Log,
    /// Up to here revisions can be handed out without a commit.
    reserved: Revision,
    unwritten: Unwritten,
    /// A new base that is being written beside the log.
    base: Option<JoinHandle<io::Result<Based>>>,
}

enum Wake {
    Request(Request),
    ReportsDue,
    BasePoll,
    Closed,
}

impl Writer {
    pub(super) fn new(
        published: Arc<Published>,
        commits: Arc<AtomicU64>,
        requests: Receiver<Request>,
        log: Log,
        reserved: Revision,
    ) -> Self {
        let unwritten = Unwritten::default();
        Self { published, commits, requests, log, reserved, unwritten, base: None }
    }

    /// Serves until all senders are gone, or the disk fails.
    pub(super) fn run(mut self) {
        loop {
            let closed = match self.wait() {
                Wake::Request(request) if !self.needs_commit(&request.txn) => {
                    self.show_at_once(request);
                    continue;
                }
                Wake::Request(request) => self.commit(request).map(|()| false),
                Wake::ReportsDue => self.commit_group(Vec::new()).map(|()| false),
                Wake::BasePoll => self.take_base().map(|()| false),
                Wake::Closed => self.close().map(|()| true),
            };
            // An error has stopped the store.
            if closed.unwrap_or(true) {
                return;
            }
        }
    }

    fn wait(&self) -> Wake {
        let due = self.unwritten.due();
        let left = due.map(|at| at.saturating_duration_since(clock::now()));
        let base = self.base.as_ref().map(|_| BASE_POLL);
        let Some(left) = left.into_iter().chain(base).min() else {
            return self.requests.recv().map_or(Wake::Closed, Wake::Request);
        };
        match self.requests.recv_timeout(left) {
            Ok(request) => Wake::Request(request),
            Err(RecvTimeoutError::Timeout) if due.is_some_and(|at| at <= clock::now()) => {
                Wake::ReportsDue
            }
            Err(RecvTimeoutError::Timeout) => Wake::BasePoll,
            Err(RecvTimeoutError::Disconnected) => Wake::Closed,
        }
    }

    /// Commits a request, and with it what has queued up, for instance during the last commit.
    fn commit(&mut self, first: Request) -> Result<(), StoreError> {
        let mut bytes = value_bytes(&first.txn);
        let mut group = vec![first];
        while group.len() < GROUP_MAX && bytes < GROUP_BYTES {
            // All of them go along: one that needs no commit must not overtake for ever.
            let Ok(request) = self.requests.try_recv() else { break };
            bytes += value_bytes(&request.txn);
            group.push(request);
        }
        self.commit_group(group)
    }

    fn needs_commit(&self, txn: &Txn) -> bool {
        let needed = self.published.with(|history| {
            history.revision() >= self.reserved
                || txn.ops.iter().any(|op| match op {
                    Op::Put { class, .. } => *class == Class::Intent,
                    Op::Delete { key } => self.unwritten.on_disk(key, history.get(key).is_some()),
                })
        });
        needed.unwrap_or(true)
    }

    fn show_at_once(&mut self, request: Request) {
        let now = clock::now();
        let Request { txn, reply, .. } = request;
        let unwritten = &mut self.unwritten;
        let result = self.published.update(|history| {
            let mut draft = Draft::new(history);
            let result = draft.txn(txn);
            let drafted = draft.finish();
            record(unwritten, &drafted, now);
            (drafted.batches.into_iter().map(|batch| batch.events).collect(), result)
        });
        answer(reply, result);
    }

    /// Works out a group, writes it with all reports so far, shows it and answers.
    fn commit_group(&mut self, group: Vec<Request>) -> Result<(), StoreError> {
        let drafting = self.published.with(|history| {
            let mut draft = Draft::new(history);
            let replies: Vec<_> =
                group.into_iter().map(|request| (request.reply, draft.txn(request.txn))).collect();
            (replies, draft.revision(), draft.finish())
        });
        let (replies, revision, drafted) = drafting?;
        record(&mut self.unwritten, &drafted, clock::now());
        let body = self.owed(&drafted);
        if !body.is_empty() || revision > self.reserved {
            self.write(body, revision).map_err(|error| self.stop(&error))?;
        }
        self.published.show(drafted.batches.into_iter().map(|batch| batch.events).collect());
        for (reply, result) in replies {
            answer(reply, Ok(result));
        }
        self.begin_base();
        self.take_base()
    }

    /// Ends the store, before the replies of the failed commit are dropped: so all learn why.
    fn stop(&self, error: &io::Error) -> StoreError {
        let reason = describe(error);
        tracing::error!(reason, "the store stops");
        self.published.stop(reason);
        self.published.stopped()
    }

    fn owed(&mut self, drafted: &Drafted) -> Body {
        let mut body = Body::new();
        for key in self.unwritten.take_owed() {
            let entry = match drafted.changes.get(&key) {
                Some(changed) => changed.clone(),
                None => self.published.get(&key).ok().flatten(),
            };
            match entry {
                Some(entry) => body.put(&entry),
                None => body.delete(&key),
            }
        }
        body
    }

    fn write(&mut self, mut body: Body, revision: Revision) -> io::Result<()> {
        // Half a block early, so that it nearly always travels with a commit that is due anyway.
        let extended = (revision + RESERVE_BLOCK / 2 > self.reserved)
            .then_some(revision.max(self.reserved) + RESERVE_BLOCK);
        if let Some(reserved) = extended {
            body.reserved(reserved);
        }
        self.log.append(body)?;
        self.reserved = extended.unwrap_or(self.reserved);
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Has a new base written on a thread of its own, once the commits have outgrown the old one.
    /// Commits go on meanwhile.
    fn begin_base(&mut self) {
        if self.base.is_some() || !self.log.outgrown() {
            return;
        }
        let unwritten = &self.unwritten;
        let entries = self.published.with(|history| {
            history.entries().filter_map(|entry| unwritten.durable(entry)).collect()
        });
        let Ok(entries) = entries else { return };
        let base = self.log.base(entries, self.reserved);
        match thread::Builder::new().name("store-base".to_owned()).spawn(|| base.write()) {
            Ok(thread) => self.base = Some(thread),
            Err(error) => tracing::warn!(%error, "no thread for a new base of the store"),
        }
    }

    /// Moves to the new file if its base is written.
    fn take_base(&mut self) -> Result<(), StoreError> {
        let Some(thread) = self.base.take_if(|thread| thread.is_finished()) else { return Ok(()) };
        let written = thread.join().unwrap_or_else(|_| Err(io::Error::other("a panic")));
        match written.and_then(|based| self.log.move_to(based)) {
            // The old file is whole, and commits may still fit.
            Err(error) if is_full(&error) => {
                tracing::warn!("no room to write the store's file anew");
                self.log.postpone_base();
                Ok(())
            }
            result => result.map_err(|error| self.stop(&error)),
        }
    }

    /// Writes what agents reported last.
    fn close(&mut self) -> Result<(), StoreError> {
        self.commit_group(Vec::new())?;
        if let Some(thread) = self.base.take() {
            // The next start removes what it wrote, and begins anew when it is time.
            drop(thread.join());
        }
        self.log.close().map_err(|error| self.stop(&error))
    }
}

fn value_bytes(txn: &Txn) -> usize {
    let len = |op: &Op| match op {
        Op::Put { value, .. } => value.len(),
        Op::Delete { .. } => 0,
    };
    txn.ops.iter().map(len).sum()
}

fn record(unwritten: &mut Unwritten, drafted: &Drafted, now: Instant) {
    for batch in &drafted.batches {
        for (event, class) in batch.events.iter().zip(&batch.classes) {
            unwritten.record(event, *class, now);
        }
    }
}

fn answer(
    reply: oneshot::Sender<Result<TxnReply, StoreError>>,
    result: Result<TxnReply, StoreError>,
) {
    // Whoever asked may have gone away; the transaction stands all the same.
    drop(reply.send(result));
}

/// The reason in one line, with what to do where that is clear.
fn describe(error: &io::Error) -> String {
    if is_full(error) {
        return "the disk is full; free some space and start again".to_owned();
    }
    let mut reason = format!("writing its file failed: {error}");
    let mut cause = error.source();
    while let Some(source) = cause {
        reason.push_str(&format!(": {source}"));
        cause = source.source();
    }
    reason
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
