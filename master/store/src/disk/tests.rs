//! What only the durable store promises: what survives, what is written, what is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;
use std::{fmt, io};

use tempfile::TempDir;
use tokio::time::timeout;

use super::file::{Log, RESERVE_BLOCK};
use super::frame::SECTOR;
use super::medium::Medium;
use super::unwritten::{REPORTED_DELAY_MAX, Unwritten};
use super::*;
use crate::cases::{self, commit, delete, put, value};
use crate::clock;
use crate::draft::Draft;
use crate::{Class, KeyValue};

const CLUSTER: &str = "bramble-5f2c";

fn new_store(limits: HistoryLimits) -> (LogStore, TempDir) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.log");
    drop(LogStore::create(&path, CLUSTER).unwrap());
    (LogStore::open_with_limits(&path, CLUSTER, limits).unwrap(), folder)
}

fn path_in(folder: &TempDir) -> PathBuf {
    folder.path().join("store.log")
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
    let copy = folder.path().join("copy.log");
    fs::copy(path_in(&folder), &copy).unwrap();
    let after = LogStore::open(&copy, CLUSTER).unwrap();
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
    let copy = folder.path().join("copy.log");
    fs::copy(path_in(&folder), &copy).unwrap();
    let after = LogStore::open(&copy, CLUSTER).unwrap();
    assert_eq!(value(&after, "/status").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn report_is_written_when_the_store_closes() {
    let (store, folder) = new_store(HistoryLimits::default());
    commit(&store, put("/status", "1", Class::Reported)).await;
    drop(store);
    let after = LogStore::open(&path_in(&folder), CLUSTER).unwrap();
    assert_eq!(value(&after, "/status").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn what_arrives_during_a_sync_goes_with_the_next() {
    let disk = FakeDisk::default();
    disk.hold(true);
    let store = disk.store(RESERVE_BLOCK);
    let before = store.revision();
    let mut writes: Vec<_> =
        (0..64).map(|n| store.txn(put(&format!("/{n}"), "1", Class::Intent))).collect();
    let mut context = Context::from_waker(Waker::noop());
    for (n, write) in writes.iter_mut().enumerate() {
        // Once looked at, it is with the writer.
        assert!(write.as_mut().poll(&mut context).is_pending());
        if n == 0 {
            // A lone write begins at once, without waiting for company.
            disk.wait_for_sync();
        }
    }
    assert_eq!(store.revision(), before, "nothing is visible before it is durable");
    disk.hold(false);
    for write in writes {
        write.await.unwrap();
    }
    assert_eq!(store.commits(), 2);
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
    let copy = folder.path().join("copy.log");
    let mut opened = 0;
    while !writer.is_finished() {
        let answered = store.get("/second").await.unwrap().map_or(0, |entry| entry.mod_revision);
        fs::copy(path_in(&folder), &copy).unwrap();
        // The copy is not taken at one instant as a power cut would be, so it may be damaged; it
        // must then say so, and never be wrong.
        let Ok(after) = LogStore::open(&copy, CLUSTER) else { continue };
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
            history.apply(&batch.events, now);
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
    let store = LogStore::open(&path_in(&folder), CLUSTER).unwrap();
    assert!(store.revision() > first + RESERVE_BLOCK);
}

#[tokio::test]
async fn used_up_block_is_extended_before_it_is_exceeded() {
    let store = FakeDisk::default().store(3);
    for n in 0..2 {
        commit(&store, put("/lease", &n.to_string(), Class::Volatile)).await;
    }
    assert_eq!(store.commits(), 0);
    commit(&store, put("/lease", "2", Class::Volatile)).await;
    assert_eq!((store.commits(), store.revision()), (1, 4));
    commit(&store, put("/lease", "3", Class::Volatile)).await;
    assert_eq!(store.commits(), 1);
}

/// A disk in memory that can be made to fail, or to take long.
#[derive(Clone, Default)]
struct FakeDisk(Arc<FakeDiskState>);

#[derive(Default)]
struct FakeDiskState {
    writes_fail: AtomicBool,
    syncs_fail: AtomicBool,
    syncing: AtomicBool,
    held: Mutex<bool>,
    released: Condvar,
}

impl fmt::Debug for FakeDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeDisk")
    }
}

impl FakeDisk {
    fn store(&self, reserved: Revision) -> LogStore {
        let history = History::new([], 1, HistoryLimits::default());
        LogStore::start(history, Log::on(Box::new(self.clone())), reserved).unwrap()
    }

    fn hold(&self, held: bool) {
        *self.0.held.lock().unwrap() = held;
        self.0.released.notify_all();
    }

    fn wait_for_sync(&self) {
        while !self.0.syncing.load(Ordering::Acquire) {
            thread::yield_now();
        }
    }
}

fn unless(fails: &AtomicBool, kind: io::ErrorKind) -> io::Result<()> {
    if fails.load(Ordering::Relaxed) { Err(kind.into()) } else { Ok(()) }
}

impl Medium for FakeDisk {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let sector = u64::try_from(SECTOR).unwrap();
        assert!(
            bytes.len().is_multiple_of(SECTOR) && offset.is_multiple_of(sector),
            "a part of a sector"
        );
        unless(&self.0.writes_fail, io::ErrorKind::StorageFull)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.syncing.store(true, Ordering::Release);
        let held = self.0.held.lock().unwrap();
        drop(self.0.released.wait_while(held, |held| *held).unwrap());
        self.0.syncing.store(false, Ordering::Release);
        unless(&self.0.syncs_fail, io::ErrorKind::Other)
    }

    fn set_len(&mut self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn read_at(&self, bytes: &mut [u8], _offset: u64) -> io::Result<()> {
        bytes.fill(0);
        Ok(())
    }
}

#[tokio::test]
async fn failed_disk_stops_the_store_and_is_not_tried_again() {
    for (fails_on_sync, words) in [(false, "disk is full"), (true, "writing its file failed")] {
        let disk = FakeDisk::default();
        let store = disk.store(RESERVE_BLOCK);
        commit(&store, put("/a", "1", Class::Intent)).await;
        let mut watch = store.watch("/", store.revision()).await.unwrap();

        let failing = if fails_on_sync { &disk.0.syncs_fail } else { &disk.0.writes_fail };
        failing.store(true, Ordering::Relaxed);
        let error = store.txn(put("/a", "2", Class::Intent)).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        failing.store(false, Ordering::Relaxed);
        assert_eq!(store.txn(put("/a", "3", Class::Volatile)).await.unwrap_err(), error);
        assert_eq!(store.get("/a").await.unwrap_err(), error);
        assert_eq!(store.running().unwrap_err(), error);
        let ended = timeout(Duration::from_secs(10), watch.next()).await.unwrap();
        assert_eq!(ended.unwrap_err(), error);
        assert_eq!(store.wait_until_stopped().await, error);
        assert_eq!(store.commits(), 1);
    }
}

#[tokio::test]
async fn watch_ends_with_the_store() {
    let (store, _folder) = new_store(HistoryLimits::default());
    let mut watch = store.watch("/", store.revision()).await.unwrap();
    drop(store);
    assert!(matches!(watch.next().await, Err(StoreError::Stopped { .. })));
}

fn refused(path: &Path) -> OpenStoreError {
    LogStore::open(path, CLUSTER).expect_err("the store was opened")
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
    assert!(matches!(LogStore::create(&path, CLUSTER), Err(CreateStoreError::Exists { .. })));
}

#[test]
fn create_replaces_what_a_crash_left_of_an_earlier_one() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("store.log.new"), "half").unwrap();
    let store = LogStore::create(&path_in(&folder), CLUSTER).unwrap();
    drop(store);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn file_of_another_cluster_or_a_newer_format_is_refused() {
    let (store, folder) = new_store(HistoryLimits::default());
    drop(store);
    let path = path_in(&folder);
    let error = LogStore::open(&path, "bramble-0000").err().unwrap();
    assert!(matches!(&error, OpenStoreError::OtherCluster { found, .. } if found == CLUSTER));
    let mut bytes = fs::read(&path).unwrap();
    bytes["bramble\x1alog\r\n".len()] = 2;
    fs::write(&path, bytes).unwrap();
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
        let store = LogStore::create(&path, CLUSTER).unwrap();
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
    let path = folder.path().join("short.log");
    for length in [1, 9, 64, 320, 512, 4_096, 8_192, 20_000, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = refused(&path);
        let told = matches!(error, OpenStoreError::Damaged { .. } | OpenStoreError::Foreign { .. });
        assert!(told, "{length} bytes: {error:?}");
    }
}

/// What an opened file holds.
fn held(path: &Path) -> Result<Vec<KeyValue>, OpenStoreError> {
    let store = LogStore::open(path, CLUSTER)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    Ok(runtime.block_on(store.range(RangeRequest::default())).unwrap().entries)
}

#[test]
fn flipped_bits_are_refused_or_harmless() {
    let (bytes, entries, folder) = filled();
    let path = folder.path().join("flipped.log");
    let mut refusals = 0;
    // Every part of the header, then a spread over what was written, and beyond.
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let offsets = (0..512).step_by(7).chain((512..used).step_by(251)).chain([used, used + 5_000]);
    for offset in offsets {
        let mut flipped = bytes.clone();
        flipped[offset] ^= 0x10;
        fs::write(&path, &flipped).unwrap();
        match held(&path) {
            Ok(found) => {
                assert!(found == entries, "the bit at {offset} changed what is read");
            }
            Err(_) => refusals += 1,
        }
    }
    assert!(refusals > 100, "only {refusals} flips were noticed");
}

/// A file with three commits that a power cut ended: where each commit begins, and what there was
/// after each.
fn cut_off() -> (Vec<u8>, Vec<usize>, Vec<Vec<KeyValue>>, TempDir) {
    let (store, folder) = new_store(HistoryLimits::default());
    let path = path_in(&folder);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let end = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).unwrap() / SECTOR + 1;
    let (mut starts, mut states) = (Vec::new(), Vec::new());
    for n in 0..3u8 {
        starts.push(end(&fs::read(&path).unwrap()) * SECTOR);
        let text = char::from(b'a' + n).to_string().repeat(3_000);
        runtime.block_on(commit(&store, put(&format!("/key/{n}"), &text, Class::Intent)));
        states.push(runtime.block_on(store.range(RangeRequest::default())).unwrap().entries);
    }
    (fs::read(&path).unwrap(), starts, states, folder)
}

#[test]
fn torn_last_commit_is_dropped_and_nothing_else() {
    let (bytes, starts, states, folder) = cut_off();
    let path = folder.path().join("torn.log");
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let sectors: Vec<usize> = (starts[2]..end).step_by(SECTOR).collect();
    // Any of the last commit's sectors may be missing, or hold what the card made of it.
    for missing in 0..sectors.len() {
        for filler in [0, 0xa5] {
            let mut torn = bytes.clone();
            torn[sectors[missing]..sectors[missing] + SECTOR].fill(filler);
            fs::write(&path, &torn).unwrap();
            assert!(held(&path).unwrap() == states[1], "without sector {missing}");
            // The next commit takes the place of the torn one.
            let store = LogStore::open(&path, CLUSTER).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let next = runtime.block_on(commit(&store, put("/next", "1", Class::Intent)));
            drop(store);
            let found = held(&path).unwrap();
            assert_eq!(found.len(), states[1].len() + 1);
            assert!(found.iter().any(|entry| entry.mod_revision == next));
        }
    }
    // Only the first sectors arrived.
    for arrived in 0..sectors.len() {
        let mut torn = bytes.clone();
        torn[sectors[arrived]..end].fill(0);
        fs::write(&path, &torn).unwrap();
        assert!(held(&path).unwrap() == states[1], "with {arrived} sectors");
    }
}

#[test]
fn damage_before_the_last_commit_is_refused() {
    let (bytes, starts, states, folder) = cut_off();
    let path = folder.path().join("damaged.log");
    fs::write(&path, &bytes).unwrap();
    assert!(held(&path).unwrap() == states[2], "an undamaged file is read to its end");
    for start in [starts[0], starts[1]] {
        for at in [start, start + 10, start + 700] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert!(matches!(held(&path), Err(OpenStoreError::Damaged { .. })), "byte {at}");
        }
        let mut damaged = bytes.clone();
        damaged[start..start + SECTOR].fill(0);
        fs::write(&path, &damaged).unwrap();
        assert!(matches!(held(&path), Err(OpenStoreError::Damaged { .. })), "sector at {start}");
    }
}

#[tokio::test]
async fn file_is_written_anew_when_commits_outgrow_it() {
    let (store, folder) = new_store(HistoryLimits::default());
    let path = path_in(&folder);
    let text = "x".repeat(100_000);
    let written =
        |path: &Path| fs::read(path).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    commit(&store, put("/lease", "kept", Class::Intent)).await;
    commit(&store, put("/lease", "renewed", Class::Volatile)).await;
    commit(&store, put("/event", "1", Class::Volatile)).await;
    commit(&store, put("/gone", "1", Class::Intent)).await;
    commit(&store, delete("/gone")).await;
    for n in 0..120 {
        commit(&store, put("/big", &format!("{n}{text}"), Class::Intent)).await;
        commit(&store, put(&format!("/small/{n}"), "1", Class::Intent)).await;
    }
    // 12 MB were committed; the file is begun anew after every four.
    for n in 0.. {
        if written(&path) < 5 << 20 {
            break;
        }
        commit(&store, put("/more", &n.to_string(), Class::Intent)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let copy = folder.path().join("copy.log");
    fs::copy(&path, &copy).unwrap();
    let after = LogStore::open(&copy, CLUSTER).unwrap();
    let keys = async |store: &LogStore| -> Vec<Arc<str>> {
        let entries = store.range(RangeRequest::default()).await.unwrap().entries;
        entries.into_iter().map(|entry| entry.key).collect()
    };
    let mut expected = keys(&store).await;
    expected.retain(|key| &**key != "/event");
    assert_eq!(keys(&after).await, expected);
    assert_eq!(value(&after, "/lease").await.as_deref(), Some("kept"));
    assert_eq!(value(&after, "/small/7").await.as_deref(), Some("1"));
    assert!(value(&after, "/big").await.unwrap().starts_with("119x"));
    assert!(matches!(refused(&path), OpenStoreError::InUse { .. }), "the new file is ours, too");
    drop(store);
    assert_eq!(value(&LogStore::open(&path, CLUSTER).unwrap(), "/gone").await, None);
}
