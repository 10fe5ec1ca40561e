//! The one thread that writes: orders transactions, commits them in groups, then shows them.
//!
//! ```text
//!               needs no commit
//!  request ----------------------------> worked out, shown, answered
//!     |  needs one            (never while a commit is under way: the thread is busy)
//!     v
//!  waiting --5 ms after the first, or full--> worked out --> commit --> shown, answered
//! ```
//! So the order of revisions is the order of visibility, and what is in the file is a prefix of
//! what was shown. A commit that fails is never tried again: what the disk then holds is unknown.

use std::error::Error as _;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use redb::Database;
use tokio::sync::oneshot;

use super::file::{ENTRIES, RESERVE_BLOCK, encode, write_reserved};
use super::unwritten::Unwritten;
use crate::clock;
use crate::draft::{Draft, Drafted};
use crate::published::Published;
use crate::{Class, KeyValue, Op, Revision, StoreError, Txn, TxnReply};

/// Time that the first of a group waits for others; DESIGN.md section 3. Time that it spent
/// waiting for an earlier commit counts.
const COMMIT_WINDOW: Duration = Duration::from_millis(5);

/// Most transactions of one commit, to bound its memory.
const GROUP_MAX: usize = 1_024;

/// A transaction, and where its reply goes.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) txn: Txn,
    pub(super) arrived: Instant,
    pub(super) reply: oneshot::Sender<Result<TxnReply, StoreError>>,
}

/// The thread's state.
#[derive(Debug)]
pub(super) struct Writer {
    published: Arc<Published>,
    commits: Arc<AtomicU64>,
    requests: Receiver<Request>,
    database: Database,
    /// Up to here revisions can be handed out without a commit.
    reserved: Revision,
    unwritten: Unwritten,
    waiting: Vec<Request>,
}

enum Wake {
    Request(Request),
    Deadline,
    Closed,
}

impl Writer {
    pub(super) fn new(
        published: Arc<Published>,
        commits: Arc<AtomicU64>,
        requests: Receiver<Request>,
        database: Database,
        reserved: Revision,
    ) -> Self {
        Self {
            published,
            commits,
            requests,
            database,
            reserved,
            unwritten: Unwritten::default(),
            waiting: Vec::new(),
        }
    }

    /// Serves until all senders are gone, or the disk fails.
    pub(super) fn run(mut self) {
        loop {
            let closed = match self.wait() {
                Wake::Request(request) => {
                    if self.needs_commit(&request.txn) {
                        self.waiting.push(request);
                    } else {
                        self.show_at_once(request);
                    }
                    if self.waiting.len() < GROUP_MAX {
                        continue;
                    }
                    false
                }
                Wake::Deadline => {
                    self.take_queued();
                    false
                }
                Wake::Closed => true,
            };
            if self.commit().is_err() {
                return;
            }
            if closed {
                if let Err(error) = self.database.close() {
                    let error: redb::Error = error.into();
                    tracing::warn!(reason = describe(&error), "store file not closed cleanly");
                }
                return;
            }
        }
    }

    fn wait(&self) -> Wake {
        let first = self.waiting.first().map(|request| request.arrived + COMMIT_WINDOW);
        let Some(deadline) = first.or_else(|| self.unwritten.due()) else {
            return self.requests.recv().map_or(Wake::Closed, Wake::Request);
        };
        let left = deadline.saturating_duration_since(clock::now());
        if left.is_zero() {
            return Wake::Deadline;
        }
        match self.requests.recv_timeout(left) {
            Ok(request) => Wake::Request(request),
            Err(RecvTimeoutError::Timeout) => Wake::Deadline,
            Err(RecvTimeoutError::Disconnected) => Wake::Closed,
        }
    }

    /// Takes along what has queued up, for instance during the last commit.
    fn take_queued(&mut self) {
        while self.waiting.len() < GROUP_MAX {
            match self.requests.try_recv() {
                // All of them wait: one that needs no commit must not overtake for ever.
                Ok(request) => self.waiting.push(request),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
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

    /// Works out what waits, writes it with all reports so far, shows it and answers.
    fn commit(&mut self) -> Result<(), StoreError> {
        let waiting = mem::take(&mut self.waiting);
        let drafting = self.published.with(|history| {
            let mut draft = Draft::new(history);
            let replies: Vec<_> = waiting
                .into_iter()
                .map(|request| (request.reply, draft.txn(request.txn)))
                .collect();
            (replies, draft.revision(), draft.finish())
        });
        let (replies, revision, drafted) = drafting?;
        record(&mut self.unwritten, &drafted, clock::now());
        let rows = self.owed_rows(&drafted);
        if !rows.is_empty() || revision > self.reserved {
            self.write(&rows, revision).map_err(|error| self.stop(&error))?;
        }
        self.published.show(drafted.batches.into_iter().map(|batch| batch.events).collect());
        for (reply, result) in replies {
            answer(reply, Ok(result));
        }
        Ok(())
    }

    /// Ends the store, before the replies of the failed commit are dropped: so all learn why.
    fn stop(&self, error: &redb::Error) -> StoreError {
        let reason = describe(error);
        tracing::error!(reason, "the store stops");
        self.published.stop(reason);
        self.published.stopped()
    }

    fn owed_rows(&mut self, drafted: &Drafted) -> Vec<(Arc<str>, Option<KeyValue>)> {
        let owed = self.unwritten.take_owed();
        let row = |key: Arc<str>| {
            let entry = match drafted.changes.get(&key) {
                Some(changed) => changed.clone(),
                None => self.published.get(&key).ok().flatten(),
            };
            (key, entry)
        };
        owed.into_iter().map(row).collect()
    }

    fn write(
        &mut self,
        rows: &[(Arc<str>, Option<KeyValue>)],
        revision: Revision,
    ) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        // After a crash the newest commit is known to be whole, so that none is ever rolled back
        // once it was acknowledged.
        transaction.set_two_phase_commit(true);
        {
            let mut table = transaction.open_table(ENTRIES)?;
            for (key, entry) in rows {
                match entry {
                    Some(entry) => {
                        table.insert(&**key, encode(entry).as_slice())?;
                    }
                    None => {
                        table.remove(&**key)?;
                    }
                }
            }
        }
        // Half a block early, so that it nearly always travels with a commit that is due anyway.
        let extended = (revision + RESERVE_BLOCK / 2 > self.reserved)
            .then_some(revision.max(self.reserved) + RESERVE_BLOCK);
        if let Some(reserved) = extended {
            write_reserved(&transaction, reserved)?;
        }
        transaction.commit()?;
        self.reserved = extended.unwrap_or(self.reserved);
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
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
fn describe(error: &redb::Error) -> String {
    let full = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    };
    if let redb::Error::Io(source) = error
        && full(source)
    {
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
