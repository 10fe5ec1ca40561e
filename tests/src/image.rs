//! A small real OCI image, made from this machine's static busybox.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What the image runs when nothing else is said: a web server that says who it is.
const SERVE: &str = "mkdir -p /tmp/www; echo \"hello from $(hostname)\" > /tmp/www/index.html; \
                     exec httpd -f -p 80 -h /tmp/www";

/// Applets that the image has as commands.
const APPLETS: [&str; 30] = [
    "sh", "httpd", "wget", "sleep", "cat", "echo", "ls", "id", "env", "hostname", "mkdir", "nc",
    "true", "false", "kill", "ps", "date", "dd", "touch", "rm", "ip", "ping", "mount", "head",
    "seq", "test", "nslookup", "tar", "stty", "tty",
];

/// Go's word for this machine's architecture.
#[must_use]
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Writes an OCI layout with the image `hello` for `architecture` into `folder`, with `busybox`
/// as its only program.
///
/// # Errors
/// busybox is missing or not static, or the folder cannot be written.
pub fn write_hello(folder: &Path, busybox: &Path, architecture: &str) -> Result<PathBuf> {
    let program = fs::read(busybox).with_context(|| {
        format!("could not read `{}`; package busybox-static has it", busybox.display())
    })?;
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;

    let layer = layer(&program)?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&layer)?;
    let layer_descriptor =
        write_blob(&blobs, "application/vnd.oci.image.layer.v1.tar+gzip", &encoder.finish()?)?;
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Cmd": ["/bin/sh", "-c", SERVE],
            "Env": ["PATH=/bin"],
            "WorkingDir": "/",
        },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    });
    let config_descriptor = write_blob(
        &blobs,
        "application/vnd.oci.image.config.v1+json",
        &serde_json::to_vec(&config)?,
    )?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config_descriptor,
        "layers": [layer_descriptor],
    });
    let mut manifest_descriptor = write_blob(
        &blobs,
        "application/vnd.oci.image.manifest.v1+json",
        &serde_json::to_vec(&manifest)?,
    )?;
    if let Some(fields) = manifest_descriptor.as_object_mut() {
        let platform = json!({ "architecture": architecture, "os": "linux" });
        fields.insert("platform".into(), platform);
        let name = json!({ "org.opencontainers.image.ref.name": "hello:1" });
        fields.insert("annotations".into(), name);
    }
    let index = json!({ "schemaVersion": 2, "manifests": [manifest_descriptor] });
    fs::write(folder.join("index.json"), serde_json::to_vec(&index)?)?;
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(folder.to_path_buf())
}

/// Path of this machine's static busybox.
///
/// # Errors
/// There is none.
pub fn busybox() -> Result<PathBuf> {
    let path = PathBuf::from("/bin/busybox");
    ensure!(path.is_file(), "no /bin/busybox here; package busybox-static has it");
    Ok(path)
}

fn layer(program: &[u8]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, content: &[u8], link: &str| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(u64::try_from(content.len()).unwrap_or_default());
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        if link.is_empty() {
            archive.append_data(&mut header, path, content)
        } else {
            archive.append_link(&mut header, path, link)
        }
    };
    for (folder, mode) in [("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777)] {
        add(folder, tar::EntryType::Directory, mode, &[], "")?;
    }
    add("etc/passwd", tar::EntryType::Regular, 0o644, b"root:x:0:0::/root:/bin/sh\n", "")?;
    add("etc/group", tar::EntryType::Regular, 0o644, b"root:x:0:\n", "")?;
    add("bin/busybox", tar::EntryType::Regular, 0o755, program, "")?;
    for applet in APPLETS {
        add(&format!("bin/{applet}"), tar::EntryType::Symlink, 0o777, &[], "busybox")?;
    }
    Ok(archive.into_inner()?)
}

fn write_blob(folder: &Path, media_type: &str, content: &[u8]) -> Result<Value> {
    let digest = digest(content);
    let name = digest.trim_start_matches("sha256:");
    fs::write(folder.join(name), content)?;
    Ok(json!({ "mediaType": media_type, "digest": digest, "size": content.len() }))
}

fn digest(content: &[u8]) -> String {
    let hash = Sha256::digest(content);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
