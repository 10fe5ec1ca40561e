//! What a compiler does not check: dependency arrows, a first sentence in every file, no unsafe
//! code outside its place, no drawer files, no traces of the machine that it was written on.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Which crates of ours a crate may depend on. Master and agent meet in `shared` only.
const ARROWS: &[(&str, &[&str])] = &[
    ("bramble-shared", &[]),
    ("bramble-card", &["bramble-shared"]),
    ("bramble-clock", &[]),
    ("bramble-process", &[]),
    ("bramble-tls", &[]),
    ("bramble-flash", &["bramble-card"]),
    ("bramble-store", &[]),
    ("bramble-api", &[]),
    ("bramble-master-core", &["bramble-api", "bramble-shared"]),
    ("bramble-cli", &[]),
    (
        "bramble-master",
        &[
            "bramble-api",
            "bramble-card",
            "bramble-cli",
            "bramble-clock",
            "bramble-flash",
            "bramble-master-core",
            "bramble-process",
            "bramble-shared",
            "bramble-store",
            "bramble-tls",
        ],
    ),
    ("bramble-agent-core", &["bramble-shared"]),
    ("bramble-dns", &["bramble-shared"]),
    ("bramble-image", &[]),
    ("bramble-network", &["bramble-shared"]),
    ("bramble-runtime", &["bramble-process"]),
    ("bramble-init", &["bramble-card", "bramble-runtime"]),
    (
        "bramble-agent",
        &[
            "bramble-agent-core",
            "bramble-card",
            "bramble-clock",
            "bramble-dns",
            "bramble-image",
            "bramble-init",
            "bramble-network",
            "bramble-process",
            "bramble-runtime",
            "bramble-shared",
            "bramble-tls",
        ],
    ),
    ("bramble-cross", &[]),
    ("bramble-images", &["bramble-card", "bramble-cross"]),
    // `shared` is the wire, which is public: attacks speak it as a taken-over node would.
    ("bramble-tests", &["bramble-card", "bramble-cross", "bramble-images", "bramble-shared"]),
];

/// Crates that decide: they may not do I/O, and so depend on nothing that does.
const PURE: &[&str] =
    &["bramble-shared", "bramble-api", "bramble-master-core", "bramble-agent-core", "bramble-dns"];

#[test]
fn crates_depend_only_along_the_arrows() {
    for (name, dependencies) in own_dependencies() {
        let allowed = ARROWS.iter().find(|(crate_name, _)| *crate_name == name);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("`{name}` has no row of arrows"));
        let ours = dependencies.iter().filter(|dependency| dependency.starts_with("bramble-"));
        for dependency in ours {
            assert!(allowed.contains(&dependency.as_str()), "`{name}` depends on `{dependency}`");
        }
    }
}

#[test]
fn crates_that_decide_do_no_input_or_output() {
    let doers = ["tokio", "nix", "rustix", "hyper", "libcontainer", "rtnetlink", "rustls"];
    for (name, dependencies) in own_dependencies() {
        if PURE.contains(&name.as_str()) {
            let found: Vec<_> =
                dependencies.iter().filter(|name| doers.contains(&name.as_str())).collect();
            assert!(found.is_empty(), "`{name}` depends on {found:?}");
        }
    }
}

#[test]
fn top_level_is_as_documented() {
    let folders: BTreeSet<String> = fs::read_dir(root())
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.') && !name.starts_with("target"))
        .collect();
    let documented = ["agent", "cross", "docs", "examples", "images", "master", "shared", "tests"];
    let unknown: Vec<_> =
        folders.iter().filter(|name| !documented.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "folders that no page knows: {unknown:?}");
}

#[test]
fn every_file_says_what_it_is_for() {
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//!"), "{} has no first sentence", path.display());
    }
}

#[test]
fn unsafe_code_is_forbidden_outside_its_places() {
    for path in sources()
        .into_iter()
        .filter(|path| path.ends_with("src/lib.rs") || path.ends_with("src/main.rs"))
    {
        let name = path.strip_prefix(root()).unwrap();
        // The clock's driver is linked by name, which counts as unsafe.
        let places = ["agent/runtime", "shared/clock", "shared/process"];
        if places.iter().any(|place| name.starts_with(place)) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("#![forbid(unsafe_code)]"), "{} allows it", name.display());
    }
    let outside = sources().into_iter().filter(|path| {
        let name = path.strip_prefix(root()).unwrap();
        let places = ["agent/runtime/src/sys", "shared/clock", "shared/process/src/sys"];
        !places.iter().any(|place| name.starts_with(place))
    });
    for path in outside {
        let text = fs::read_to_string(&path).unwrap();
        // Written in two parts, so that this file does not find itself.
        let block = ["unsafe", " {"].concat();
        assert!(!text.contains(&block), "{} has an unsafe block", path.display());
    }
}

#[test]
fn no_file_is_a_drawer() {
    let drawers = ["utils.rs", "util.rs", "helpers.rs", "common.rs", "types.rs", "misc.rs"];
    for path in sources() {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(!drawers.contains(&name), "{} is a drawer", path.display());
    }
}

#[test]
fn only_a_descriptor_knows_a_kind_by_its_name() {
    // What the API server does for one kind only stands in that kind's descriptor.
    let asked = ["resource.kind", "resource.plural", "resource.group"];
    let compared = [" == \"", " != \"", ".as_str() == \"", ".as_str() != \""];
    let places = ["master/api/src", "master/src/objects", "master/src/http"];
    for path in sources() {
        let name = path.strip_prefix(root()).unwrap().to_owned();
        let inside = places.iter().any(|place| name.starts_with(place));
        if !inside || name.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let found = asked.iter().any(|asked| {
                compared.iter().any(|compared| line.contains(&[*asked, *compared].concat()))
                    || line.contains(&["match ", *asked].concat())
                    || line.contains(&["match (", *asked].concat())
            });
            assert!(!found, "{}:{} asks for a kind: {line}", name.display(), number + 1);
        }
    }
}

#[test]
fn only_one_tls_provider_is_linked() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for foreign in ["aws-lc-sys", "openssl-sys"] {
        assert!(!lock.contains(&format!("name = \"{foreign}\"")), "{foreign} came in");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["agent", "cross", "images", "master", "shared", "tests"] {
        collect(&root().join(folder), &mut found);
    }
    assert!(found.len() > 50, "the sources were not found");
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Our crates, each with its ordinary dependencies.
fn own_dependencies() -> Vec<(String, Vec<String>)> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &Value| value.get("name").and_then(Value::as_str).unwrap().to_owned();
    metadata
        .get("packages")
        .and_then(Value::as_array)
        .unwrap()
        .iter()
        .map(|package| {
            let dependencies =
                package.get("dependencies").and_then(Value::as_array).unwrap().iter();
            let ordinary =
                dependencies.filter(|dependency| dependency.get("kind").is_none_or(Value::is_null));
            (name(package), ordinary.map(name).collect())
        })
        .collect()
}
