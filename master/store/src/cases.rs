//! What every store must do, run against each of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::{
    Class, Compare, Op, RangeRequest, Revision, Store, StoreError, Txn, TxnReply, Watch, WatchEvent,
};

/// Makes one test of each case. The maker returns a store and what must outlive it.
macro_rules! run_all {
    ($make:expr) => {
        $crate::cases::run_all!($make;
            put_is_read_back
            delete_removes
            delete_of_nothing_takes_no_revision
            failed_condition_changes_nothing
            condition_zero_means_absent
            transaction_is_one_revision
            range_is_ordered_and_paged
            range_reads_the_past
            range_of_the_future_is_refused
            compacted_past_is_refused
            watch_shows_all_after_its_revision
            watch_shows_only_its_prefix
            watch_of_the_future_is_refused
            slow_watcher_is_told_and_delays_nobody
            quiet_watcher_survives_the_noise_of_others
            quiet_resource_keeps_its_past_beside_a_busy_one
            watch_of_everything_shows_all_resources_in_order
            range_over_resources_is_in_the_order_of_keys
            wait_for_a_revision_ends_when_it_is_visible
            parallel_writers_get_one_order
            counter_of_parallel_writers_adds_up
        );
    };
    ($make:expr; $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let make = $make;
                let (store, _folder) = make($crate::cases::LIMITS).await;
                $crate::cases::$case(std::sync::Arc::new(store)).await;
            }
        )*
    };
}
pub(crate) use run_all;

/// Small, so that cases can outrun it.
pub(crate) const LIMITS: crate::HistoryLimits =
    crate::HistoryLimits { bytes_max: 20_000, age_max: Duration::from_secs(300) };
/// Changes that surely outrun it.
const NOISE: usize = 300;

type Shared = Arc<dyn Store>;

pub(crate) fn put(key: &str, value: &str, class: Class) -> Txn {
    let value = Arc::from(value.as_bytes());
    Txn { compares: vec![], ops: vec![Op::Put { key: key.to_owned(), value, class }] }
}

pub(crate) fn delete(key: &str) -> Txn {
    Txn { compares: vec![], ops: vec![Op::Delete { key: key.to_owned() }] }
}

pub(crate) async fn commit(store: &dyn Store, txn: Txn) -> Revision {
    match store.txn(txn).await.unwrap() {
        TxnReply::Committed { revision } => revision,
        conflict @ TxnReply::Conflict { .. } => panic!("{conflict:?}"),
    }
}

pub(crate) async fn value(store: &dyn Store, key: &str) -> Option<String> {
    let entry = store.get(key).await.unwrap()?;
    Some(String::from_utf8(entry.value.to_vec()).unwrap())
}

async fn keys(store: &dyn Store, prefix: &str, revision: Revision) -> Vec<String> {
    let request = RangeRequest { prefix: prefix.to_owned(), revision, ..RangeRequest::default() };
    let reply = store.range(request).await.unwrap();
    reply.entries.iter().map(|entry| entry.key.to_string()).collect()
}

async fn next(watch: &mut dyn Watch) -> Arc<[WatchEvent]> {
    timeout(Duration::from_secs(10), watch.next()).await.expect("a batch in time").unwrap()
}

pub(crate) async fn put_is_read_back(store: Shared) {
    let first = commit(&*store, put("/a", "1", Class::Intent)).await;
    let second = commit(&*store, put("/a", "2", Class::Intent)).await;
    let entry = store.get("/a").await.unwrap().unwrap();
    assert!(second > first);
    assert_eq!(&*entry.value, b"2");
    assert_eq!((entry.create_revision, entry.mod_revision, entry.version), (first, second, 2));
    assert_eq!(store.revision(), second);
    assert_eq!(store.get("/b").await.unwrap(), None);
}

pub(crate) async fn delete_removes(store: Shared) {
    for class in [Class::Intent, Class::Reported, Class::Volatile] {
        commit(&*store, put("/a", "1", class)).await;
        let deleted = commit(&*store, delete("/a")).await;
        assert_eq!(value(&*store, "/a").await, None);
        let again = commit(&*store, put("/a", "1", class)).await;
        let entry = store.get("/a").await.unwrap().unwrap();
        assert_eq!((entry.create_revision, entry.version), (again, 1));
        assert!(again > deleted);
    }
}

pub(crate) async fn delete_of_nothing_takes_no_revision(store: Shared) {
    let before = commit(&*store, put("/a", "1", Class::Intent)).await;
    assert_eq!(commit(&*store, delete("/b")).await, before);
    assert_eq!(store.revision(), before);
}

pub(crate) async fn failed_condition_changes_nothing(store: Shared) {
    let first = commit(&*store, put("/a", "1", Class::Intent)).await;
    let second = commit(&*store, put("/a", "2", Class::Intent)).await;
    let mut stale = put("/b", "x", Class::Intent);
    stale.compares.push(Compare { key: "/a".to_owned(), mod_revision: first });
    let TxnReply::Conflict { key, current, revision } = store.txn(stale).await.unwrap() else {
        panic!("a stale condition held");
    };
    assert_eq!((key.as_str(), revision), ("/a", second));
    assert_eq!(current.unwrap().mod_revision, second);
    assert_eq!(value(&*store, "/b").await, None);
    assert_eq!(store.revision(), second);
}

pub(crate) async fn condition_zero_means_absent(store: Shared) {
    let mut create = put("/a", "1", Class::Intent);
    create.compares.push(Compare { key: "/a".to_owned(), mod_revision: 0 });
    commit(&*store, create.clone()).await;
    assert!(matches!(store.txn(create).await.unwrap(), TxnReply::Conflict { .. }));
    let mut missing = put("/a", "2", Class::Intent);
    missing.compares.push(Compare { key: "/b".to_owned(), mod_revision: 7 });
    let reply = store.txn(missing).await.unwrap();
    assert!(matches!(reply, TxnReply::Conflict { current: None, .. }), "{reply:?}");
}

pub(crate) async fn transaction_is_one_revision(store: Shared) {
    let before = commit(&*store, put("/a", "1", Class::Intent)).await;
    let mut watch = store.watch("/", before).await.unwrap();
    let mut txn = put("/b", "1", Class::Intent);
    txn.ops.extend(put("/c", "1", Class::Volatile).ops);
    txn.ops.extend(delete("/a").ops);
    let revision = commit(&*store, txn).await;
    assert_eq!(revision, before + 1);
    let batch = next(&mut *watch).await;
    let seen: Vec<_> =
        batch.iter().map(|event| (&*event.key, event.revision, event.current.is_some())).collect();
    assert_eq!(seen, [("/b", revision, true), ("/c", revision, true), ("/a", revision, false)]);
}

pub(crate) async fn range_is_ordered_and_paged(store: Shared) {
    for key in ["/a/3", "/b/1", "/a/1", "/a/2", "/a"] {
        commit(&*store, put(key, "1", Class::Intent)).await;
    }
    assert_eq!(keys(&*store, "/a/", 0).await, ["/a/1", "/a/2", "/a/3"]);
    assert_eq!(keys(&*store, "", 0).await, ["/a", "/a/1", "/a/2", "/a/3", "/b/1"]);
    let mut request = RangeRequest { prefix: "/a/".into(), limit: 2, ..RangeRequest::default() };
    let page = store.range(request.clone()).await.unwrap();
    assert_eq!((page.entries.len(), page.remaining), (2, 1));
    request.start_after = page.entries.last().map(|entry| entry.key.to_string());
    let page = store.range(request).await.unwrap();
    assert_eq!((&*page.entries[0].key, page.entries.len(), page.remaining), ("/a/3", 1, 0));
}

pub(crate) async fn range_reads_the_past(store: Shared) {
    commit(&*store, put("/a/1", "old", Class::Intent)).await;
    let then = commit(&*store, put("/a/2", "1", Class::Reported)).await;
    commit(&*store, put("/a/1", "new", Class::Volatile)).await;
    commit(&*store, delete("/a/2")).await;
    commit(&*store, put("/a/0", "1", Class::Intent)).await;
    let request = RangeRequest { prefix: "/a/".into(), revision: then, ..RangeRequest::default() };
    let reply = store.range(request).await.unwrap();
    let seen: Vec<_> = reply.entries.iter().map(|entry| (&*entry.key, &*entry.value)).collect();
    assert_eq!(seen, [("/a/1", b"old".as_slice()), ("/a/2", b"1")]);
    assert_eq!(reply.revision, then);
    assert_eq!(keys(&*store, "/a/", 0).await, ["/a/0", "/a/1"]);
}

pub(crate) async fn range_of_the_future_is_refused(store: Shared) {
    let newest = commit(&*store, put("/a", "1", Class::Intent)).await;
    let request = RangeRequest { revision: newest + 1, ..RangeRequest::default() };
    let error = store.range(request).await.unwrap_err();
    assert_eq!(error, StoreError::Future { requested: newest + 1, newest });
    assert!(matches!(store.compact(newest + 1).await, Err(StoreError::Future { .. })));
}

pub(crate) async fn compacted_past_is_refused(store: Shared) {
    let first = commit(&*store, put("/a", "1", Class::Intent)).await;
    let second = commit(&*store, put("/a", "2", Class::Intent)).await;
    let third = commit(&*store, put("/a", "3", Class::Intent)).await;
    store.compact(second).await.unwrap();
    store.compact(first).await.unwrap();
    let refused = StoreError::Compacted { requested: first, oldest: second };
    let request = RangeRequest { revision: first, ..RangeRequest::default() };
    assert_eq!(store.range(request).await.unwrap_err(), refused);
    assert_eq!(store.watch("/", first).await.err(), Some(refused));
    let request = RangeRequest { revision: second, ..RangeRequest::default() };
    assert_eq!(&*store.range(request).await.unwrap().entries[0].value, b"2");
    let mut watch = store.watch("/", second).await.unwrap();
    assert_eq!(next(&mut *watch).await[0].revision, third);
}

pub(crate) async fn watch_shows_all_after_its_revision(store: Shared) {
    let start = commit(&*store, put("/a", "0", Class::Intent)).await;
    commit(&*store, put("/a", "1", Class::Intent)).await;
    let mut watch = store.watch("/a", start).await.unwrap();
    commit(&*store, put("/a", "2", Class::Volatile)).await;
    commit(&*store, delete("/a")).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        for event in next(&mut *watch).await.iter() {
            let value = |entry: Option<&crate::KeyValue>| {
                entry.map_or(String::new(), |entry| String::from_utf8_lossy(&entry.value).into())
            };
            let previous = value(event.previous.as_ref());
            seen.push((event.revision - start, previous, value(event.current.as_ref())));
        }
    }
    let wanted = [(1, "0", "1"), (2, "1", "2"), (3, "2", "")];
    assert_eq!(seen, wanted.map(|(at, from, to)| (at, from.to_owned(), to.to_owned())));
    assert!(timeout(Duration::from_millis(50), watch.next()).await.is_err());
}

pub(crate) async fn watch_shows_only_its_prefix(store: Shared) {
    let start = store.revision();
    let mut watch = store.watch("/a/", start).await.unwrap();
    commit(&*store, put("/b/1", "1", Class::Intent)).await;
    let mut txn = put("/b/2", "1", Class::Intent);
    txn.ops.extend(put("/a/1", "1", Class::Intent).ops);
    let revision = commit(&*store, txn).await;
    let batch = next(&mut *watch).await;
    assert_eq!(batch.len(), 1);
    assert_eq!((&*batch[0].key, batch[0].revision), ("/a/1", revision));
}

pub(crate) async fn watch_of_the_future_is_refused(store: Shared) {
    let newest = store.revision();
    let error = store.watch("/", newest + 1).await.err();
    assert_eq!(error, Some(StoreError::Future { requested: newest + 1, newest }));
}

pub(crate) async fn slow_watcher_is_told_and_delays_nobody(store: Shared) {
    let start = store.revision();
    let mut slow = store.watch("/a", start).await.unwrap();
    let mut quick = store.watch("/a", start).await.unwrap();
    for n in 0..NOISE {
        commit(&*store, put("/a", &n.to_string(), Class::Volatile)).await;
        assert_eq!(
            &*next(&mut *quick).await[0].current.as_ref().unwrap().value,
            n.to_string().as_bytes()
        );
    }
    assert!(matches!(slow.next().await, Err(StoreError::Compacted { .. })));
    assert!(matches!(slow.next().await, Err(StoreError::Compacted { .. })));
}

pub(crate) async fn quiet_watcher_survives_the_noise_of_others(store: Shared) {
    let mut quiet = store.watch("/quiet", store.revision()).await.unwrap();
    for n in 0..NOISE {
        commit(&*store, put("/noise", &n.to_string(), Class::Volatile)).await;
    }
    let revision = commit(&*store, put("/quiet", "1", Class::Intent)).await;
    assert_eq!(next(&mut *quiet).await[0].revision, revision);
}

pub(crate) async fn quiet_resource_keeps_its_past_beside_a_busy_one(store: Shared) {
    let start = commit(&*store, put("/core/nodes/_/a", "1", Class::Intent)).await;
    let first = commit(&*store, put("/core/nodes/_/a", "2", Class::Intent)).await;
    for n in 0..NOISE {
        commit(&*store, put("/core/pods/default/a", &n.to_string(), Class::Volatile)).await;
    }
    let pods = store.watch("/core/pods/default/", start).await.err();
    assert!(matches!(pods, Some(StoreError::Compacted { .. })), "{pods:?}");
    // Who comes back to the nodes gets what it missed.
    let mut nodes = store.watch("/core/nodes/", start).await.unwrap();
    assert_eq!(next(&mut *nodes).await[0].revision, first);
    let request =
        RangeRequest { prefix: "/core/nodes/".into(), revision: start, ..RangeRequest::default() };
    assert_eq!(&*store.range(request).await.unwrap().entries[0].value, b"1");
}

pub(crate) async fn watch_of_everything_shows_all_resources_in_order(store: Shared) {
    let start = store.revision();
    let mut watch = store.watch("/", start).await.unwrap();
    let mut both = put("/core/pods/default/a", "1", Class::Intent);
    both.ops.extend(put("/apps/deployments/default/a", "1", Class::Intent).ops);
    commit(&*store, both).await;
    commit(&*store, put("/core/nodes/_/a", "1", Class::Volatile)).await;
    commit(&*store, delete("/core/pods/default/a")).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let batch = next(&mut *watch).await;
        seen.push((batch[0].revision - start, batch.len()));
    }
    assert_eq!(seen, [(1, 2), (2, 1), (3, 1)]);
}

pub(crate) async fn range_over_resources_is_in_the_order_of_keys(store: Shared) {
    let wanted = ["/a", "/a/b", "/a/b/c", "/a/b/c/d", "/a/c", "/b/a/a"];
    for key in wanted.iter().rev() {
        commit(&*store, put(key, "1", Class::Intent)).await;
    }
    let then = store.revision();
    commit(&*store, delete("/a/b/c")).await;
    assert_eq!(keys(&*store, "/", then).await, wanted);
    assert_eq!(keys(&*store, "/a/", 0).await, ["/a/b", "/a/b/c/d", "/a/c"]);
    assert_eq!(keys(&*store, "/a/b", then).await, ["/a/b", "/a/b/c", "/a/b/c/d"]);
    let mut request = RangeRequest { prefix: "/".into(), limit: 4, ..RangeRequest::default() };
    let page = store.range(request.clone()).await.unwrap();
    assert_eq!((page.entries.len(), page.remaining), (4, 1));
    request.start_after = page.entries.last().map(|entry| entry.key.to_string());
    assert_eq!(&*store.range(request).await.unwrap().entries[0].key, "/b/a/a");
}

pub(crate) async fn wait_for_a_revision_ends_when_it_is_visible(store: Shared) {
    let newest = commit(&*store, put("/a", "1", Class::Intent)).await;
    store.wait_for(newest).await.unwrap();
    let waiting = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            store.wait_for(newest + 2).await.unwrap();
            value(&*store, "/a").await
        })
    };
    commit(&*store, put("/a", "2", Class::Intent)).await;
    commit(&*store, put("/a", "3", Class::Intent)).await;
    assert_eq!(waiting.await.unwrap().as_deref(), Some("3"));
}

pub(crate) async fn parallel_writers_get_one_order(store: Shared) {
    let start = store.revision();
    let mut watch = store.watch("/", start).await.unwrap();
    let classes = [Class::Intent, Class::Reported, Class::Volatile];
    let writers: Vec<_> = (0..30)
        .map(|n| {
            let (store, class) = (Arc::clone(&store), classes[n % 3]);
            tokio::spawn(async move {
                let key = format!("/{n}");
                let revision = commit(&*store, put(&key, "1", class)).await;
                // What was answered is visible.
                assert_eq!(store.get(&key).await.unwrap().unwrap().mod_revision, revision);
                assert!(store.revision() >= revision);
                revision
            })
        })
        .collect();
    let mut revisions = Vec::new();
    for writer in writers {
        revisions.push(writer.await.unwrap());
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (start + 1..=start + 30).collect::<Vec<_>>());
    for revision in revisions {
        assert_eq!(next(&mut *watch).await[0].revision, revision);
    }
}

pub(crate) async fn counter_of_parallel_writers_adds_up(store: Shared) {
    commit(&*store, put("/count", "0", Class::Intent)).await;
    let writers: Vec<_> = (0..4)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let class = if n % 2 == 0 { Class::Intent } else { Class::Volatile };
                for _ in 0..10 {
                    loop {
                        let entry = store.get("/count").await.unwrap().unwrap();
                        let count: u32 =
                            std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
                        let mut txn = put("/count", &(count + 1).to_string(), class);
                        let mod_revision = entry.mod_revision;
                        txn.compares.push(Compare { key: "/count".to_owned(), mod_revision });
                        if matches!(store.txn(txn).await.unwrap(), TxnReply::Committed { .. }) {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(value(&*store, "/count").await.as_deref(), Some("40"));
}
