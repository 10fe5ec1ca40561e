//! Archives that try to escape, exhaust or confuse, with a canary tree outside.

use std::{
    fs,
    io::Write,
    os::{
        fd::AsFd,
        unix::fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

use super::*;
use crate::testing::TarBuilder;

/// What a scene's disk has room for.
const ROOM: u64 = 32 << 20;

/// A layer root with a canary beside it, which no archive may change.
struct Scene {
    home: tempfile::TempDir,
    before: Vec<(PathBuf, Vec<u8>, u32, i64)>,
}

impl Scene {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("canary/folder")).unwrap();
        fs::write(home.path().join("canary/file"), "unchanged").unwrap();
        fs::write(home.path().join("canary/folder/file"), "unchanged").unwrap();
        fs::create_dir(home.path().join("root")).unwrap();
        let mut scene = Self { home, before: Vec::new() };
        scene.before = scene.canary();
        scene
    }

    fn root(&self) -> PathBuf {
        self.home.path().join("root")
    }

    fn canary(&self) -> Vec<(PathBuf, Vec<u8>, u32, i64)> {
        let mut state = Vec::new();
        for name in ["canary", "canary/file", "canary/folder", "canary/folder/file"] {
            let path = self.home.path().join(name);
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = fs::read(&path).unwrap_or_else(|_| {
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().file_name().len().to_string())
                    .collect::<String>()
                    .into_bytes()
            });
            state.push((
                path,
                content,
                metadata.mode(),
                metadata.mtime_nsec() + i64::try_from(metadata.nlink()).unwrap(),
            ));
        }
        let around = fs::read_dir(self.home.path()).unwrap().count();
        state.push((PathBuf::new(), vec![], u32::try_from(around).unwrap(), 0));
        state
    }

    fn unpack(&self, archive: &[u8]) -> Result<Unpacked, UnpackError> {
        let root = rustix::fs::open(self.root(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
            .unwrap();
        let unpacked = unpack(archive, ROOM, root.as_fd());
        assert_eq!(self.canary(), self.before, "something outside the root has changed");
        unpacked
    }
}

#[track_caller]
fn check_refused(archive: TarBuilder, expected: &str) {
    let error = Scene::new().unpack(&archive.finish()).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[track_caller]
fn check(archive: TarBuilder, assertion: impl FnOnce(&Path)) {
    let scene = Scene::new();
    scene.unpack(&archive.finish()).unwrap();
    assertion(&scene.root());
}

fn is_hidden(path: &Path) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|metadata| metadata.file_type().is_char_device() && metadata.rdev() == 0)
}

fn is_opaque(path: &Path) -> bool {
    let mut value = [0; 8];
    rustix::fs::lgetxattr(path, "trusted.overlay.opaque", &mut value[..])
        .is_ok_and(|len| value[..len] == *b"y")
}

#[test]
fn files_keep_what_they_are() {
    let archive = TarBuilder::new()
        .folder("./bin/", 0o1777)
        .entry(b'0', "bin/su", "", 0o4755, b"program")
        .hard_link("bin/su2", "bin/su")
        .symlink("sh", "/bin/su")
        .entry(b'6', "pipe", "", 0o622, b"");
    check(archive, |root| {
        let metadata = fs::metadata(root.join("bin/su")).unwrap();
        assert_eq!(
            (metadata.mode() & 0o7777, metadata.uid(), metadata.gid()),
            (0o4755, 1000, 1001)
        );
        assert_eq!((metadata.mtime(), metadata.nlink()), (1_000_000_000, 2));
        let folder = fs::metadata(root.join("bin")).unwrap();
        assert_eq!((folder.mode() & 0o7777, folder.mtime()), (0o1777, 1_000_000_000));
        assert_eq!(fs::read_link(root.join("sh")).unwrap(), Path::new("/bin/su"));
        assert_eq!(fs::symlink_metadata(root.join("sh")).unwrap().uid(), 1000);
        let pipe = fs::symlink_metadata(root.join("pipe")).unwrap();
        assert!(pipe.file_type().is_fifo() && pipe.mode() & 0o777 == 0o622);
    });
}

#[test]
fn long_names_of_both_kinds_are_read() {
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    check(
        TarBuilder::new().pax(&[("path", long.as_bytes()), ("mtime", b"5.9")]).file("short", b"x"),
        |root| {
            assert_eq!(fs::metadata(root.join(&long)).unwrap().mtime(), 5);
        },
    );
    check(
        TarBuilder::new().entry(b'L', "././@LongLink", "", 0, long.as_bytes()).file("short", b"x"),
        |root| {
            assert!(root.join(&long).is_file());
        },
    );
}

#[test]
fn whiteouts_become_what_overlayfs_understands() {
    let archive = TarBuilder::new()
        .folder("a", 0o755)
        .file("a/.wh.gone", b"")
        .hard_link("a/.wh.linked", "a/.wh.gone")
        .folder("b", 0o755)
        .file("b/.wh..wh..opq", b"")
        .file("b/.wh..wh.plnk", b"");
    check(archive, |root| {
        assert!(is_hidden(&root.join("a/gone")) && is_hidden(&root.join("a/linked")));
        assert!(is_opaque(&root.join("b")) && !is_opaque(&root.join("a")));
        assert_eq!(fs::read_dir(root.join("b")).unwrap().count(), 0);
    });
}

#[test]
fn folder_that_replaces_a_hidden_one_hides_what_is_below() {
    check(TarBuilder::new().file(".wh.a", b"").folder("a", 0o755).file("a/x", b""), |root| {
        assert!(is_opaque(&root.join("a")))
    });
    check(TarBuilder::new().folder("a", 0o755).file("a/x", b"").file(".wh.a", b""), |root| {
        assert!(is_opaque(&root.join("a")) && root.join("a/x").is_file());
    });
    check(TarBuilder::new().file(".wh.a", b"").file("a/x", b""), |root| {
        assert!(is_opaque(&root.join("a")))
    });
}

#[test]
fn paths_that_lead_out_are_refused() {
    check_refused(TarBuilder::new().file("../canary/file", b"x"), "path that is not allowed");
    check_refused(TarBuilder::new().file("a/../../canary/file", b"x"), "path that is not allowed");
    check_refused(TarBuilder::new().file(".wh...", b"x"), "path that is not allowed");
    check_refused(TarBuilder::new().file(".wh.", b"x"), "path that is not allowed");
    check_refused(TarBuilder::new().file("a/.wh..", b"x"), "path that is not allowed");
    check(TarBuilder::new().file("/canary/file", b"x"), |root| {
        assert!(root.join("canary/file").is_file())
    });
}

#[test]
fn files_beneath_symlinks_of_the_layer_go_where_these_lead() {
    for target in ["usr/lib", "/usr/lib", "../usr/../usr/lib", "/../../usr/lib"] {
        let archive = TarBuilder::new()
            .folder("usr", 0o755)
            .folder("usr/lib", 0o755)
            .symlink("lib", target)
            .file("lib/x.so", b"x")
            .folder("lib/sub", 0o700)
            .file("lib/sub/y.so", b"y")
            .file("lib/new/z.so", b"z")
            .hard_link("hard", "lib/x.so");
        check(archive, |root| {
            assert!(fs::symlink_metadata(root.join("lib")).unwrap().is_symlink());
            assert_eq!(fs::read(root.join("usr/lib/x.so")).unwrap(), b"x");
            assert_eq!(fs::read(root.join("usr/lib/sub/y.so")).unwrap(), b"y");
            assert_eq!(fs::read(root.join("usr/lib/new/z.so")).unwrap(), b"z");
            assert_eq!(fs::metadata(root.join("hard")).unwrap().nlink(), 2);
        });
    }
    check_refused(
        TarBuilder::new().symlink("lib", "/data/lib").file("lib/x.so", b"x"),
        "`lib/x.so` that leads through its symlink `lib`",
    );
    check_refused(TarBuilder::new().symlink("a", "a").file("a/x", b"x"), "too many symlinks");
    // A folder takes the place of a symlink, and what follows goes into it.
    let archive = TarBuilder::new()
        .folder("usr", 0o755)
        .symlink("lib", "usr")
        .file("lib/a", b"a")
        .folder("lib", 0o755)
        .file("lib/b", b"b");
    check(archive, |root| {
        assert!(root.join("usr/a").exists() && root.join("lib/b").exists());
        assert!(!root.join("usr/b").exists());
    });
}

#[test]
fn links_that_lead_out_lead_nowhere() {
    for target in ["../canary", "../canary/folder", "/canary"] {
        let link = || TarBuilder::new().symlink("a", target);
        check_refused(link().file("a/file", b"x"), "to a folder that it lacks");
        check_refused(link().file("a/.wh.file", b"x"), "to a folder that it lacks");
        check_refused(link().file("a/.wh..wh..opq", b"x"), "to a folder that it lacks");
        check_refused(link().folder("a/new", 0o777), "to a folder that it lacks");
        check_refused(link().hard_link("b", "a/file"), "not a file of this layer");
    }
    for target in ["/", "..", "../../../../../.."] {
        check(TarBuilder::new().symlink("a", target).file("a/canary/file", b"x"), |root| {
            assert_eq!(fs::read(root.join("canary/file")).unwrap(), b"x");
        });
    }
    // The last part is replaced, never followed.
    check(TarBuilder::new().symlink("a", "../canary/file").file("a", b"x"), |root| {
        assert!(root.join("a").is_file())
    });
    check(TarBuilder::new().symlink("a", "../canary").folder("a", 0o700), |root| {
        assert!(fs::symlink_metadata(root.join("a")).unwrap().is_dir());
    });
}

#[test]
fn hard_links_out_of_the_layer_are_refused() {
    for target in ["../canary/file", "/etc/passwd", "missing", "", ".", "a"] {
        check_refused(
            TarBuilder::new().folder("a", 0o755).hard_link("b", target),
            "not a file of this layer",
        );
    }
    // A hard link to a symlink is the symlink's second name.
    check(TarBuilder::new().symlink("a", "../canary/file").hard_link("b", "a"), |root| {
        assert!(fs::symlink_metadata(root.join("b")).unwrap().is_symlink());
    });
}

#[test]
fn layer_root_stays_a_folder() {
    for kind in *b"012346" {
        for path in [".", "./", "/", "a/.."] {
            let refused = Scene::new()
                .unpack(&TarBuilder::new().entry(kind, path, "../canary", 0o777, b"").finish());
            // Old archives mark folders by a slash at the end of the name.
            assert!(refused.is_err() || (kind == b'0' && path.ends_with('/')), "{kind} {path}");
        }
    }
    check(TarBuilder::new().folder("./", 0o700), |root| {
        assert_eq!(fs::metadata(root).unwrap().mode() & 0o777, 0o700)
    });
}

#[test]
fn device_nodes_are_left_out() {
    check(
        TarBuilder::new()
            .entry(b'3', "null", "", 0o666, b"")
            .entry(b'4', "disk", "", 0o666, b"")
            .file("a", b""),
        |root| {
            assert_eq!(fs::read_dir(root).unwrap().count(), 1);
        },
    );
}

#[test]
fn attributes_that_overlayfs_or_the_host_would_obey_are_left_out() {
    let records: [(&str, &[u8]); 4] = [
        ("SCHILY.xattr.trusted.overlay.redirect", b"/canary"),
        ("SCHILY.xattr.security.selinux", b"x"),
        ("SCHILY.xattr.user.mine", b"a\nb\0"),
        ("SCHILY.xattr.security.capability", b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    ];
    check(TarBuilder::new().pax(&records).file("a", b"x"), |root| {
        let get = |name: &str| {
            let mut value = [0; 64];
            rustix::fs::lgetxattr(root.join("a"), name, &mut value[..])
                .map(|len| value[..len].to_vec())
                .ok()
        };
        assert_eq!(get("trusted.overlay.redirect"), None);
        assert_eq!(get("security.selinux"), None);
        assert_eq!(get("security.capability").map(|value| value.len()), Some(20));
        // Not every file system of a build machine keeps these.
        assert!(get("user.mine").is_none_or(|value| value == b"a\nb\0"));
    });
}

#[test]
fn bombs_of_attributes_and_names_are_refused() {
    let value = vec![b'x'; 70_000];
    check_refused(
        TarBuilder::new().pax(&[("SCHILY.xattr.user.a", &value)]).file("a", b""),
        "extended attributes",
    );
    let long = vec![b'x'; 300_000];
    check_refused(
        TarBuilder::new().pax(&[("comment", &long)]).file("a", b""),
        "malformed extended headers",
    );
    check_refused(
        TarBuilder::new().entry(b'L', "l", "", 0, &long).file("a", b""),
        "malformed extended headers",
    );
    check_refused(
        TarBuilder::new().pax(&[("path", "a/".repeat(300).as_bytes())]).folder("x", 0o755),
        "not allowed",
    );
    check_refused(
        TarBuilder::new().pax(&[("path", "a".repeat(256).as_bytes())]).file("x", b""),
        "not allowed",
    );
    check_refused(TarBuilder::new().pax(&[("path", b"a\0b")]).file("x", b""), "not allowed");
}

#[test]
fn sizes_that_two_readers_would_read_differently_are_refused() {
    check_refused(
        TarBuilder::new().pax(&[("size", b"512")]).file("a", b""),
        "malformed extended headers",
    );
    check_refused(TarBuilder::new().pax(&[("GNU.sparse.major", b"1")]).file("a", b""), "sparse");
    check_refused(TarBuilder::new().entry(b'S', "a", "", 0o644, b""), "sparse");
}

#[test]
fn million_entries_are_refused() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let one = TarBuilder::new().hard_link("b", "a").finish();
    encoder.write_all(&TarBuilder::new().file("a", b"").finish()[..512]).unwrap();
    for _ in 0..1_000_000 / 2 {
        encoder.write_all(&one[..512]).unwrap();
    }
    // Either bound may be met first; both are refusals.
    let error = Scene::new().unpack(&encoder.finish().unwrap()).unwrap_err();
    let text = format!("{error} {:?}", std::error::Error::source(&error).map(ToString::to_string));
    assert!(text.contains("entries") || text.contains("has room for"), "{text}");
}

#[test]
fn compression_bomb_is_refused_when_the_room_is_used_up() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&TarBuilder::new().file("zeros", &vec![0; 64 << 20]).finish()).unwrap();
    let scene = Scene::new();
    assert!(matches!(scene.unpack(&encoder.finish().unwrap()), Err(UnpackError::Read(_))));
    assert!(fs::metadata(scene.root().join("zeros")).unwrap().len() <= ROOM);
}

#[test]
fn large_files_of_zeros_are_whole_and_take_no_room() {
    let mut content = vec![0; 20 << 20];
    content[10 << 20] = 7;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let archive = TarBuilder::new().file("lastlog", &content).file("empty", b"");
    encoder.write_all(&archive.finish()).unwrap();
    let scene = Scene::new();
    scene.unpack(&encoder.finish().unwrap()).unwrap();
    let path = scene.root().join("lastlog");
    assert!(fs::read(&path).unwrap() == content);
    assert!(fs::metadata(&path).unwrap().blocks() * 512 < 1 << 20);
}

#[test]
fn cut_and_garbled_archives_are_refused() {
    let whole = TarBuilder::new().file("a", &[7; 2000]).finish();
    assert!(Scene::new().unpack(&whole[..1000]).is_err());
    assert!(Scene::new().unpack(&whole[..100]).is_err());
    let mut garbled = whole.clone();
    garbled[3] ^= 1;
    assert!(Scene::new().unpack(&garbled).is_err());
}

#[test]
fn padding_counts_for_the_digest() {
    let mut archive = TarBuilder::new().file("a", b"x").finish();
    archive.extend_from_slice(&[0; 5000]);
    let unpacked = Scene::new().unpack(&archive).unwrap();
    assert_eq!(unpacked.diff_id, Digest::of(&archive));
    assert_eq!(unpacked.bytes, u64::try_from(archive.len()).unwrap());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    #[test]
    fn no_sequence_of_entries_changes_anything_outside(
        entries in proptest::collection::vec((0..7_usize, 0..12_usize, 0..8_usize), 1..12),
    ) {
        let paths = ["a", "b", "a/b", "a/b/c", "../canary/file", "a/../../canary", ".wh.a", "a/.wh.b", "a/.wh..wh..opq", ".", "/a", "b/file"];
        let targets = ["a", "../canary", "/", "../canary/file", "b", "a/b", "..", ""];
        let mut archive = TarBuilder::new();
        for (kind, path, target) in entries {
            archive = archive.entry(b"0123567"[kind], paths[path], targets[target], 0o6777, b"");
        }
        // Whether it is refused does not matter; the canary is compared inside.
        let _ = Scene::new().unpack(&archive.finish());
    }
}
