//! Imports of real layouts and archives, and of damaged ones.

use std::{fs, io::Write};

use super::*;
use crate::testing::{TarBuilder, TestImage, TestStore, host_architecture};

fn layer() -> Vec<u8> {
    TarBuilder::new().folder("etc", 0o755).file("etc/motd", b"hello").finish()
}

/// Puts an OCI layout into an archive.
fn layout_archive(image: &TestImage, name: Option<&str>) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    image.write_layout(folder.path(), name);
    let mut archive = TarBuilder::new();
    for path in ["oci-layout".to_owned(), "index.json".to_owned()].into_iter().chain(
        image
            .blobs
            .iter()
            .chain([&image.manifest])
            .map(|blob| format!("blobs/sha256/{}", Digest::of(blob).hex())),
    ) {
        archive = archive.file(&format!("./{path}"), &fs::read(folder.path().join(&path)).unwrap());
    }
    archive.finish()
}

fn write(home: &TestStore, bytes: &[u8]) -> PathBuf {
    let path = home.path().join("archive");
    fs::write(&path, bytes).unwrap();
    path
}

#[track_caller]
fn check_imported(home: &TestStore, images: &[Image], name: &str) {
    assert_eq!(images.len(), 1);
    assert_eq!(images[0].reference.to_string(), name);
    let motd = home.store.layer_paths(&images[0]).pop().unwrap().join("etc/motd");
    assert_eq!(fs::read(motd).unwrap(), b"hello");
}

#[test]
fn oci_layouts_are_imported_from_folder_archive_and_gzip() {
    let image = TestImage::new(&[layer()]);
    let archive = layout_archive(&image, Some("example.com/a:1"));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&archive).unwrap();
    for bytes in [archive, gzip.finish().unwrap()] {
        let home = TestStore::new();
        let path = write(&home, &bytes);
        check_imported(&home, &import(&home.store, &path, None).unwrap(), "example.com/a:1");
    }
    let home = TestStore::new();
    image.write_layout(&home.path().join("layout"), None);
    let name = Reference::parse("b").unwrap();
    let images = import(&home.store, &home.path().join("layout"), Some(&name)).unwrap();
    check_imported(&home, &images, "docker.io/library/b:latest");
    assert_eq!(images[0].digest, image.digest());
}

#[test]
fn docker_archives_are_imported_with_linked_layers() {
    let layer = layer();
    let config = serde_json::json!({
        "os": "linux", "architecture": host_architecture(),
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&layer), Digest::of(&layer)] },
    });
    let manifest =
        r#"[{"Config":"c.json","RepoTags":["a:1"],"Layers":["x/layer.tar","y/layer.tar"]}]"#;
    let archive = TarBuilder::new()
        .symlink("y/layer.tar", "../x/layer.tar")
        .file("x/layer.tar", &layer)
        .file("c.json", config.to_string().as_bytes())
        .file("manifest.json", manifest.as_bytes());
    let home = TestStore::new();
    let path = write(&home, &archive.finish());
    check_imported(&home, &import(&home.store, &path, None).unwrap(), "docker.io/library/a:1");
    home.store
        .garbage_collect(&crate::Keep {
            references: [Reference::parse("a:1").unwrap()].into(),
            ..Default::default()
        })
        .unwrap();
    assert_eq!(home.store.list().len(), 1);
}

#[test]
fn image_for_other_machines_is_refused() {
    let home = TestStore::new();
    let image = TestImage::for_architecture(&[layer()], "s390x");
    let path = write(&home, &layout_archive(&image, Some("a:1")));
    let error = import(&home.store, &path, None).unwrap_err().to_string();
    assert_eq!(error, format!("no match for platform {} in manifest", Platform::host()));
}

#[test]
fn archives_that_are_none_are_refused() {
    let home = TestStore::new();
    let refused = |bytes: &[u8]| import(&home.store, &write(&home, bytes), None).unwrap_err();
    assert!(matches!(
        refused(&TarBuilder::new().file("a", b"x").finish()),
        ImportError::Empty { .. }
    ));
    assert!(matches!(refused(b"no archive at all"), ImportError::Read { .. }));
    assert!(matches!(
        refused(&layout_archive(&TestImage::new(&[layer()]), None)),
        ImportError::NoName { .. }
    ));
    let missing = r#"[{"Config":"c.json","RepoTags":["a:1"],"Layers":[]}]"#;
    assert!(matches!(
        refused(&TarBuilder::new().file("manifest.json", missing.as_bytes()).finish()),
        ImportError::Missing { .. }
    ));
    assert_eq!(home.store.list(), []);
}

#[test]
fn layout_whose_blobs_are_not_what_they_say_is_refused() {
    let home = TestStore::new();
    let image = TestImage::new(&[layer()]);
    let layout = home.path().join("layout");
    image.write_layout(&layout, Some("a:1"));
    fs::write(layout.join("blobs/sha256").join(Digest::of(&image.blobs[0]).hex()), "garbled")
        .unwrap();
    assert!(matches!(import(&home.store, &layout, None), Err(ImportError::WrongDigest { .. })));
}
