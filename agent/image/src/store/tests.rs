//! The store over restarts, half-written layers and damaged files.

use std::fs;

use super::*;
use crate::testing::{TarBuilder, TestStore};

fn layer(text: &str) -> Vec<u8> {
    TarBuilder::new().file("file", text.as_bytes()).finish()
}

fn count(home: &TestStore, folder: &str) -> usize {
    fs::read_dir(home.path().join("images").join(folder)).unwrap().count()
}

#[test]
fn image_is_still_there_after_a_restart() {
    let home = TestStore::new();
    let image = home.image("a", &[layer("1"), layer("2")]);
    assert_eq!(image.config.cmd, ["sh"]);
    assert_eq!(image.layers.len(), 2);
    let home = home.reopen(|_| {});
    assert_eq!(home.store.get(&image.reference), Some(image.clone()));
    assert_eq!(home.store.list(), [image]);
}

#[test]
fn store_is_open_once_at_a_time() {
    let home = TestStore::new();
    assert!(matches!(ImageStore::open(home.path()), Err(OpenStoreError::InUse { .. })));
    home.reopen(|_| {});
}

#[test]
fn half_done_work_is_thrown_away() {
    let home = TestStore::new().reopen(|root| {
        fs::create_dir_all(root.join("incomplete/layer-0/fs/etc")).unwrap();
        fs::write(root.join("incomplete/layer-0/fs/etc/passwd"), "half").unwrap();
        fs::write(root.join("incomplete/blob-1"), "half").unwrap();
    });
    assert_eq!(count(&home, "incomplete"), 0);
}

#[test]
fn image_that_lost_a_part_is_forgotten() {
    for damage in ["layers", "blobs/sha256"] {
        let home = TestStore::new();
        let image = home.image("a", &[layer("1")]);
        let home = home.reopen(|root| {
            for entry in fs::read_dir(root.join(damage)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    fs::remove_dir_all(path).unwrap()
                } else {
                    fs::write(path, "garbled").unwrap()
                }
            }
        });
        assert_eq!(home.store.get(&image.reference), None, "{damage}");
    }
}

#[test]
fn damaged_index_is_replaced_by_the_one_before() {
    let home = TestStore::new();
    let first = home.image("a", &[layer("1")]);
    home.image("b", &[layer("2")]);
    let home =
        home.reopen(|root| fs::write(root.join("images.json"), "{\"version\":1,\"ima").unwrap());
    assert_eq!(home.store.list(), std::slice::from_ref(&first));
    let home = home.reopen(|root| {
        fs::write(root.join("images.json"), "").unwrap();
        fs::write(root.join("images.json.before"), "").unwrap();
    });
    assert_eq!(home.store.list(), []);
    assert_eq!(home.image("a", &[layer("1")]), first);
}

#[test]
fn garbage_goes_and_the_rest_stays() {
    let home = TestStore::new();
    let (shared, own, other) = (layer("shared"), layer("own"), layer("other"));
    let kept = home.image("kept", &[shared.clone(), own]);
    let gone = home.image("gone", &[shared, other]);
    let keep =
        Keep { references: BTreeSet::from([kept.reference.clone()]), digests: BTreeSet::new() };
    let collected = home.store.garbage_collect(&keep).unwrap();
    assert_eq!(collected.references, [gone.reference]);
    assert_eq!(count(&home, "layers"), 2);
    // Two layers, a configuration, a manifest.
    assert_eq!(count(&home, "blobs/sha256"), 4);
    assert_eq!(home.store.list(), [kept]);
    assert_eq!(home.store.garbage_collect(&keep).unwrap(), Collected::default());
    home.store.garbage_collect(&Keep::default()).unwrap();
    for folder in ["layers", "blobs/sha256", "partial", "incomplete"] {
        assert_eq!(count(&home, folder), 0, "{folder}");
    }
}

#[test]
fn layers_of_a_running_container_stay_although_its_name_moved() {
    let home = TestStore::new();
    let old = home.image("a", &[layer("old")]);
    let new = home.image("a", &[layer("new")]);
    assert_ne!(old.digest, new.digest);
    let keep = Keep {
        references: BTreeSet::from([new.reference.clone()]),
        digests: BTreeSet::from([old.digest]),
    };
    home.store.garbage_collect(&keep).unwrap();
    assert_eq!(count(&home, "layers"), 2);
    assert!(home.store.layer_paths(&old).iter().all(|path| path.is_dir()));
}

#[test]
fn what_a_pull_works_on_is_not_garbage() {
    let home = TestStore::new();
    let (digest, _) = home.store.write_blob(&b"blob"[..]).unwrap();
    let pinned = home.store.pin([digest]);
    home.store.garbage_collect(&Keep::default()).unwrap();
    assert!(home.store.has_blob(digest));
    drop(pinned);
    home.store.garbage_collect(&Keep::default()).unwrap();
    assert!(!home.store.has_blob(digest));
}

#[test]
fn removed_name_is_gone_after_a_restart() {
    let home = TestStore::new();
    let image = home.image("a", &[layer("1")]);
    assert!(home.store.remove(&image.reference).unwrap());
    assert!(!home.store.remove(&image.reference).unwrap());
    assert_eq!(home.reopen(|_| {}).store.list(), []);
}

#[test]
fn download_goes_on_where_it_stopped() {
    let home = TestStore::new();
    let digest = Digest::of(b"whole blob");
    let mut partial = home.store.partial_blob(digest, 10).unwrap();
    partial.write(b"whole").unwrap();
    drop(partial);
    let mut partial = home.store.partial_blob(digest, 10).unwrap();
    assert_eq!(partial.len(), 5);
    partial.write(b" blob").unwrap();
    partial.finish().unwrap();
    assert!(home.store.has_blob(digest));
    assert_eq!(count(&home, "partial"), 0);
}

#[test]
fn wrong_bytes_are_never_kept() {
    let home = TestStore::new();
    let digest = Digest::of(b"right");
    let write = |bytes: &[u8]| {
        let mut partial = home.store.partial_blob(digest, 5).unwrap();
        partial.write(bytes).and_then(|()| partial.finish())
    };
    assert!(matches!(write(b"wrong"), Err(FinishBlobError::WrongDigest { .. })));
    assert!(matches!(write(b"right and more"), Err(FinishBlobError::TooLong { .. })));
    assert!(matches!(write(b"rig"), Err(FinishBlobError::TooShort { .. })));
    assert!(!home.store.has_blob(digest));
}

#[test]
fn layer_that_is_not_the_promised_one_is_thrown_away() {
    let home = TestStore::new();
    let (blob, _) = home.store.write_blob(layer("1").as_slice()).unwrap();
    let refused = home.store.unpack_layer(blob, Some(Digest::of(b"other")));
    assert!(matches!(refused, Err(UnpackLayerError::WrongDiffId { .. })));
    assert_eq!((count(&home, "layers"), count(&home, "incomplete")), (0, 0));
}
