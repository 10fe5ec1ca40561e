//! What only the durable store promises: what survives, what is written, what is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use tempfile::TempDir;
use tokio::time::timeout;

use super::file::{META, RESERVE_BLOCK};
use super::unwritten::{REPORTED_DELAY_MAX, Unwritten};
use super::*;
use crate::cases::{self, commit, delete, put, value};
use crate::draft::Draft;
use crate::{Class, KeyValue};

const CLUSTER: &str = "bramble-5f2c";

fn new_store(limits: HistoryLimits) -> (RedbStore, TempDir) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.redb");
    drop(RedbStore::create(&path, CLUSTER).unwrap());
    (RedbStore::open_with_limits(&path, CLUSTER, limits).unwrap(), folder)
}

fn path_in(folder: &TempDir) -> PathBuf {
    folder.path().join("store.redb")
}

cases::run_all!(async |limits| new_store(limits));

#[tokio::test]
async fn intent_survives_a_crash_and_volatile_does_not() {
    let (store, folder) = new_store(HistoryLimits::default());
    commit(&store, put("/spec", "1", Class::Intent)).await;
    commit(&store, put("/gone", "1", Class::Intent)).await;
    commit(&store, put("/lease", "kept", Class::Intent)).await;
    commit(&store, put("/lease", "renewed", Class::Volatile)).await;
    commit(&store, put("/event", "1", Class::Volatile)).await;
    let last = commit(&store, delete("/gone")).await;

    // A copy of the file in use is what a power cut leaves.
    let copy = folder.path().join("copy.redb");
    fs::copy(path_in(&folder), &copy).unwrap();
    let after = RedbStore::open(&copy, CLUSTER).unwrap();
    assert_eq!(value(&after, "/spec").await.as_deref(), Some("1"));
    assert_eq!(value(&after, "/lease").await.as_deref(), Some("kept"));
    assert_eq!(value(&after, "/gone").await, None);
    assert_eq!(value(&after, "/event").await, None);
    assert!(after.revision() > last, "{} is not above {last}", after.revision());
    assert!(matches!(after.watch("/", last).await, Err(StoreError::Compacted { .. })));
    let next = commit(&after, put("/spec", "2", Class::Intent)).await;
    assert!(next > last);
}

#[tokio::test]
async fn reports_and_leases_are_not_written_within_the_window() {
    let (store, _folder) = new_store(HistoryLimits::default());
    commit(&store, put("/spec", "1", Class::Intent)).await;
    assert_eq!(store.commits(), 1);
    for n in 0..500 {
        commit(&store, put("/status", &n.to_string(), Class::Reported)).await;
        commit(&store, put("/lease", &n.to_string(), Class::Volatile)).await;
    }
    commit(&store, delete("/lease")).await;
    commit(&store, delete("/missing")).await;
    assert_eq!(store.commits(), 1);
}

#[tokio::test]
async fn report_travels_with_the_next_intent() {
    let (store, folder) = new_store(HistoryLimits::default());
    commit(&store, put("/status", "1", Class::Reported)).await;
    commit(&store, put("/status", "2", Class::Reported)).await;
    commit(&store, put("/spec", "1", Class::Intent)).await;
    assert_eq!(store.commits(), 1);
    let copy = folder.path().join("copy.redb");
    fs::copy(path_in(&folder), &copy).unwrap();
    let after = RedbStore::open(&copy, CLUSTER).unwrap();
    assert_eq!(value(&after, "/status").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn report_is_written_when_the_store_closes() {
    let (store, folder) = new_store(HistoryLimits::default());
    commit(&store, put("/status", "1", Class::Reported)).await;
    drop(store);
    let after = RedbStore::open(&path_in(&folder), CLUSTER).unwrap();
    assert_eq!(value(&after, "/status").await.as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_intents_share_commits() {
    let (store, _folder) = new_store(HistoryLimits::default());
    let store = Arc::new(store);
    let writers: Vec<_> = (0..64)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                commit(&*store, put(&format!("/{n}"), "1", Class::Intent)).await;
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(store.commits() < 32, "{} commits for 64 writes", store.commits());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_copy_taken_midway_is_a_prefix_of_history() {
    let (store, folder) = new_store(HistoryLimits::default());
    let store = Arc::new(store);
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 0..200u32 {
                commit(&*store, put("/first", &n.to_string(), Class::Intent)).await;
                commit(&*store, put("/second", &n.to_string(), Class::Intent)).await;
            }
        })
    };
    let copy = folder.path().join("copy.redb");
    let mut opened = 0;
    while !writer.is_finished() {
        let answered = store.get("/second").await.unwrap().map_or(0, |entry| entry.mod_revision);
        fs::copy(path_in(&folder), &copy).unwrap();
        // The copy is not taken at one instant as a power cut would be, so it may be damaged; it
        // must then say so, and never be wrong.
        let Ok(after) = RedbStore::open(&copy, CLUSTER) else { continue };
        opened += 1;
        let number = async |key| -> i64 {
            value(&after, key).await.map_or(-1, |text| text.parse().unwrap())
        };
        let (first, second) = (number("/first").await, number("/second").await);
        assert!(first == second || first == second + 1, "{first} and {second}");
        let kept = after.get("/second").await.unwrap().map_or(0, |entry| entry.mod_revision);
        assert!(kept >= answered, "revision {answered} was acknowledged, {kept} is kept");
    }
    writer.await.unwrap();
    assert!(opened > 0, "no copy could be opened");
}

#[test]
fn reports_are_due_after_the_delay_and_owed_only_if_changed() {
    let mut history = History::new([], 1, HistoryLimits::default());
    let mut unwritten = Unwritten::default();
    let start = clock::now();
    let mut change = |unwritten: &mut Unwritten, txn, now| {
        let mut draft = Draft::new(&history);
        draft.txn(txn);
        for batch in draft.finish().batches {
            for (event, class) in batch.events.iter().zip(&batch.classes) {
                unwritten.record(event, *class, now);
            }
            history.apply(batch.events);
        }
    };
    change(&mut unwritten, put("/status", "ready", Class::Reported), start);
    let later = start + Duration::from_secs(30);
    change(&mut unwritten, put("/status", "busy", Class::Reported), later);
    assert_eq!(unwritten.due(), Some(start + REPORTED_DELAY_MAX));
    assert_eq!(unwritten.take_owed().len(), 1);
    assert_eq!(unwritten.due(), None);

    change(&mut unwritten, put("/status", "ready", Class::Reported), start);
    change(&mut unwritten, put("/status", "busy", Class::Reported), later);
    assert_eq!(unwritten.take_owed().len(), 0, "it is back to what the file holds");

    change(&mut unwritten, put("/lease", "1", Class::Volatile), start);
    change(&mut unwritten, put("/status", "timestamp", Class::Volatile), start);
    assert_eq!((unwritten.due(), unwritten.take_owed().len()), (None, 0));
    assert!(!unwritten.on_disk("/lease", true));
    assert!(unwritten.on_disk("/status", true));
    change(&mut unwritten, delete("/lease"), start);
    assert_eq!(unwritten.take_owed().len(), 0);
    change(&mut unwritten, delete("/status"), start);
    assert_eq!(unwritten.take_owed().len(), 1);
}

#[tokio::test]
async fn revisions_grow_over_restarts_and_blocks() {
    let (store, folder) = new_store(HistoryLimits::default());
    let first = store.revision();
    drop(store);
    let store = RedbStore::open(&path_in(&folder), CLUSTER).unwrap();
    assert!(store.revision() > first + RESERVE_BLOCK);
}

#[tokio::test]
async fn used_up_block_is_extended_before_it_is_exceeded() {
    let backend = FailingBackend::default();
    let database = Database::builder().create_with_backend(backend.clone()).unwrap();
    let history = History::new([], 1, HistoryLimits::default());
    let store = RedbStore::start(history, database, 3).unwrap();
    for n in 0..2 {
        commit(&store, put("/lease", &n.to_string(), Class::Volatile)).await;
    }
    assert_eq!(store.commits(), 0);
    commit(&store, put("/lease", "2", Class::Volatile)).await;
    assert_eq!((store.commits(), store.revision()), (1, 4));
    commit(&store, put("/lease", "3", Class::Volatile)).await;
    assert_eq!(store.commits(), 1);
}

/// A disk in memory that can be made to fail.
#[derive(Clone, Debug, Default)]
struct FailingBackend {
    inner: Arc<InMemoryBackend>,
    failing: Arc<AtomicBool>,
}

impl FailingBackend {
    fn check(&self) -> Result<(), std::io::Error> {
        if self.failing.load(Ordering::Relaxed) {
            return Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}

impl StorageBackend for FailingBackend {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.inner.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.inner.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.check()?;
        self.inner.set_len(len)
    }
    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.check()?;
        self.inner.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.check()?;
        self.inner.write(offset, data)
    }
}

#[tokio::test]
async fn full_disk_stops_the_store_and_is_not_tried_again() {
    let backend = FailingBackend::default();
    let database = Database::builder().create_with_backend(backend.clone()).unwrap();
    let history = History::new([], 1, HistoryLimits::default());
    let store = RedbStore::start(history, database, RESERVE_BLOCK).unwrap();
    commit(&store, put("/a", "1", Class::Intent)).await;
    let mut watch = store.watch("/", store.revision()).await.unwrap();

    backend.failing.store(true, Ordering::Relaxed);
    let error = store.txn(put("/a", "2", Class::Intent)).await.unwrap_err();
    assert!(error.to_string().contains("disk is full"), "{error}");
    backend.failing.store(false, Ordering::Relaxed);
    assert_eq!(store.txn(put("/a", "3", Class::Volatile)).await.unwrap_err(), error);
    assert_eq!(store.get("/a").await.unwrap_err(), error);
    let ended = timeout(Duration::from_secs(10), watch.next()).await.unwrap();
    assert_eq!(ended.unwrap_err(), error);
    assert_eq!(store.wait_until_stopped().await, error);
    assert_eq!(store.commits(), 1);
}

#[tokio::test]
async fn watch_ends_with_the_store() {
    let (store, _folder) = new_store(HistoryLimits::default());
    let mut watch = store.watch("/", store.revision()).await.unwrap();
    drop(store);
    assert!(matches!(watch.next().await, Err(StoreError::Stopped { .. })));
}

fn refused(path: &Path) -> OpenStoreError {
    RedbStore::open(path, CLUSTER).expect_err("the store was opened")
}

#[test]
fn missing_foreign_and_empty_files_are_told_apart() {
    let folder = TempDir::new().unwrap();
    let path = path_in(&folder);
    assert!(matches!(refused(&path), OpenStoreError::Missing { .. }));
    fs::write(&path, "").unwrap();
    assert!(matches!(refused(&path), OpenStoreError::Damaged { .. }));
    fs::write(&path, "#!/bin/sh\necho this is something else\n").unwrap();
    assert!(matches!(refused(&path), OpenStoreError::Foreign { .. }));
    assert!(matches!(RedbStore::create(&path, CLUSTER), Err(CreateStoreError::Exists { .. })));
    fs::remove_file(&path).unwrap();
    drop(Database::create(&path).unwrap());
    assert!(matches!(refused(&path), OpenStoreError::Foreign { .. }));
}

#[test]
fn create_replaces_what_a_crash_left_of_an_earlier_one() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("store.redb.new"), "half").unwrap();
    let store = RedbStore::create(&path_in(&folder), CLUSTER).unwrap();
    drop(store);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn file_of_another_cluster_or_a_newer_format_is_refused() {
    let (store, folder) = new_store(HistoryLimits::default());
    drop(store);
    let path = path_in(&folder);
    let error = RedbStore::open(&path, "bramble-0000").err().unwrap();
    assert!(matches!(&error, OpenStoreError::OtherCluster { found, .. } if found == CLUSTER));
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let format = 2u32.to_le_bytes();
    transaction.open_table(META).unwrap().insert("format", format.as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(refused(&path), OpenStoreError::NewerFormat { found: 2, supported: 1, .. }));
}

#[test]
fn file_in_use_is_refused() {
    let (_store, folder) = new_store(HistoryLimits::default());
    assert!(matches!(refused(&path_in(&folder)), OpenStoreError::InUse { .. }));
}

#[test]
fn file_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let (_store, folder) = new_store(HistoryLimits::default());
    let mode = fs::metadata(path_in(&folder)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

fn filled() -> (Vec<u8>, Vec<KeyValue>, TempDir) {
    let folder = TempDir::new().unwrap();
    let path = path_in(&folder);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let entries = runtime.block_on(async {
        let store = RedbStore::create(&path, CLUSTER).unwrap();
        let txn = (0..60).map(|n| put(&format!("/key/{n}"), &"v".repeat(500), Class::Intent));
        let ops = txn.flat_map(|txn| txn.ops).collect();
        commit(&store, Txn { compares: vec![], ops }).await;
        store.range(RangeRequest::default()).await.unwrap().entries
    });
    (fs::read(&path).unwrap(), entries, folder)
}

#[test]
fn shortened_file_is_refused_without_panic() {
    let (bytes, _, folder) = filled();
    let path = folder.path().join("short.redb");
    for length in [1, 9, 64, 320, 512, 4_096, 8_192, 20_000, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = refused(&path);
        let told = matches!(error, OpenStoreError::Damaged { .. } | OpenStoreError::Foreign { .. });
        assert!(told, "{length} bytes: {error:?}");
    }
}

#[test]
fn flipped_bits_are_refused_or_harmless() {
    let (bytes, entries, folder) = filled();
    let path = folder.path().join("flipped.redb");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut refusals = 0;
    // Every part of the header, then a spread over the pages in use.
    let offsets = (0..512).step_by(7).chain((512..bytes.len().min(120_000)).step_by(1_021));
    for offset in offsets {
        let mut flipped = bytes.clone();
        flipped[offset] ^= 0x10;
        fs::write(&path, &flipped).unwrap();
        match RedbStore::open(&path, CLUSTER) {
            Ok(store) => {
                let reply = runtime.block_on(store.range(RangeRequest::default())).unwrap();
                assert!(reply.entries == entries, "the bit at {offset} changed what is read");
            }
            Err(_) => refusals += 1,
        }
    }
    assert!(refusals > 10, "only {refusals} flips were noticed");
}
