//! Patches whose result is not what their length lets expect.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Attack, Stage};
use crate::wait::now;

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "patches/move-to-root",
        must: "a patch that fails after a move to the root ends no process",
        core: true,
        restarts_master: false,
        run: move_to_root,
    },
    Attack {
        name: "patches/doubled-depth",
        must: "copies that double the depth are refused",
        core: true,
        restarts_master: false,
        run: doubled_depth,
    },
    Attack {
        name: "patches/doubled-size",
        must: "copies of a growing object into itself are refused",
        core: true,
        restarts_master: false,
        run: doubled_size,
    },
    Attack {
        name: "patches/many-operations",
        must: "60,000 operations, and lists of 10,000, starve nobody",
        core: false,
        restarts_master: false,
        run: many_operations,
    },
];

const OBJECT: &str = "/api/v1/namespaces/abuse/configmaps/patched";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

fn move_to_root(stage: &mut Stage) -> Result<String> {
    create(stage)?;
    let fails = json!({"op": "test", "path": "/nowhere", "value": 1});
    for first in [
        json!({"op": "move", "from": "/data", "path": ""}),
        json!({"op": "copy", "from": "/data", "path": ""}),
        json!({"op": "move", "from": "", "path": ""}),
        json!({"op": "move", "from": "/data", "path": "/data/a/b"}),
        json!({"op": "move", "from": "/metadata/labels", "path": "/metadata/labels"}),
        json!({"op": "remove", "path": ""}),
        json!({"op": "replace", "path": "", "value": null}),
        json!({"op": "add", "path": "", "value": 1}),
        json!({"op": "add", "path": "/metadata/finalizers/18446744073709551616", "value": 1}),
        json!({"op": "remove", "path": "/metadata/finalizers/-"}),
    ] {
        patch_refused(stage, JSON_PATCH, &serde_json::to_vec(&json!([first, fails]))?)?;
        patch_refused(stage, JSON_PATCH, &serde_json::to_vec(&json!([first, first, fails]))?)?;
    }
    Ok(String::new())
}

fn doubled_depth(stage: &mut Stage) -> Result<String> {
    create(stage)?;
    let mut operations = String::from(r#"[{"op":"add","path":"/data/a","value":{"a":{"a":1}}}"#);
    let mut depth = 2;
    // Each path is as long as its target is deep: the request's bound of 3 MiB ends it.
    while operations.len() + 2 * depth < 2_900_000 {
        let deepest = "/a".repeat(depth);
        write!(operations, r#",{{"op":"copy","from":"/data/a","path":"/data/a{deepest}"}}"#)?;
        depth *= 2;
    }
    operations.push(']');
    patch_refused(stage, JSON_PATCH, operations.as_bytes())?;
    let levels = 90_000;
    let deep = format!(r#"{{"data":{}1{}}}"#, r#"{"a":"#.repeat(levels), "}".repeat(levels));
    for media in [MERGE, STRATEGIC, APPLY] {
        patch_refused(stage, media, deep.as_bytes())?;
    }
    Ok(format!("depth {depth}"))
}

fn doubled_size(stage: &mut Stage) -> Result<String> {
    create(stage)?;
    let doubling: Vec<Value> = (0..60)
        .map(|n| json!({"op": "copy", "from": "/data", "path": format!("/data/k{n}")}))
        .collect();
    patch_refused(stage, JSON_PATCH, &serde_json::to_vec(&doubling)?)?;
    // A linear one: 1 MB, two thousand times.
    let mut copies = vec![json!({"op": "add", "path": "/data/a", "value": "x".repeat(1 << 20)})];
    copies.extend(
        (0..2_000).map(|n| json!({"op": "copy", "from": "/data/a", "path": format!("/data/k{n}")})),
    );
    patch_refused(stage, JSON_PATCH, &serde_json::to_vec(&copies)?)?;
    Ok(String::new())
}

fn many_operations(stage: &mut Stage) -> Result<String> {
    create(stage)?;
    let start = now();
    let operations: Vec<Value> = (0..40_000)
        .map(|n| json!({"op": "add", "path": format!("/data/k{n}"), "value": "x"}))
        .collect();
    patch(stage, JSON_PATCH, &serde_json::to_vec(&operations)?)?;
    let inserts: Vec<Value> = (0..40_000)
        .map(|_| json!({"op": "add", "path": "/metadata/finalizers/0", "value": "a.b/c"}))
        .collect();
    patch(stage, JSON_PATCH, &serde_json::to_vec(&inserts)?)?;
    for part in 0..2 {
        let finalizers: Vec<String> =
            (0..10_000).map(|n| format!("example.com/f{part}-{n}")).collect();
        let body = serde_json::to_vec(&json!({"metadata": {"finalizers": finalizers}}))?;
        patch(stage, STRATEGIC, &body)?;
    }
    let data: serde_json::Map<String, Value> =
        (0..150_000).map(|key| (format!("k{key:06}"), json!(""))).collect();
    let apply = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "patched"}, "data": data});
    for _ in 0..2 {
        patch(stage, APPLY, &serde_json::to_vec(&apply)?)?;
    }
    patch(stage, MERGE, br#"{"metadata":{"finalizers":null}}"#)?;
    Ok(format!("{:.1} s", start.elapsed().as_secs_f64()))
}

fn create(stage: &Stage) -> Result<()> {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "patched", "labels": {"a": "b"}}, "data": {"b": "c"},
    });
    let path = OBJECT.rsplit_once('/').map_or(OBJECT, |(path, _)| path);
    stage.mallory_connected()?.must("POST", path, Some(&serde_json::to_vec(&object)?))
}

/// Sends a patch; any answer will do.
fn patch(stage: &Stage, media: &str, body: &[u8]) -> Result<(u16, String)> {
    let query = if media == APPLY { "?fieldManager=mallory&force=true" } else { "" };
    let (status, said) = stage
        .mallory_connected()?
        .request_as("PATCH", &format!("{OBJECT}{query}"), Some((media, body)))
        .with_context(|| format!("no answer to {media} of {} bytes", body.len()))?;
    Ok((status, String::from_utf8_lossy(&said).into_owned()))
}

fn patch_refused(stage: &Stage, media: &str, body: &[u8]) -> Result<()> {
    let (status, said) = patch(stage, media, body)?;
    ensure!(
        (400..500).contains(&status),
        "{media} {:.100} was answered with {status}: {said:.200}",
        String::from_utf8_lossy(body)
    );
    Ok(())
}
