//! Rules for the volumes of a pod.

use std::collections::BTreeSet;

use serde_json::Value;

use super::errors::Errors;
use super::names;
use crate::object;
use crate::status::FieldError;

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const HOST_PATH_TYPES: &[&str] = &[
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];

/// A volume that containers may mount.
#[derive(Debug, Clone, Copy)]
pub(super) struct Volume {
    /// Whether it is a path of the node.
    pub(super) host_path: bool,
}

/// Names of the volumes, each with what it is.
pub(super) type Volumes<'a> = std::collections::BTreeMap<&'a str, Volume>;

/// Checks the volumes of a pod and returns them.
pub(super) fn check<'a>(spec: &'a Value, field: &str, errors: &mut Errors) -> Volumes<'a> {
    let mut volumes = Volumes::new();
    for (index, volume) in object::items(spec, "/volumes").iter().enumerate() {
        let field = format!("{field}.volumes[{index}]");
        let name = object::text(volume, "/name");
        label_name(name, &field, errors);
        let found = Volume { host_path: volume.get("hostPath").is_some() };
        if !name.is_empty() && volumes.insert(name, found).is_some() {
            errors.push(FieldError::duplicate(format!("{field}.name"), name));
        }
        one_source(volume, &["name"], &field, "may not specify more than 1 volume type", errors);
        source(volume, &field, errors);
    }
    volumes
}

/// A name that has to be there and to be one part of a host name.
pub(super) fn label_name(name: &str, field: &str, errors: &mut Errors) {
    let field = format!("{field}.name");
    if name.is_empty() {
        errors.push(FieldError::required(field, ""));
    } else {
        let wrong = names::dns_label(name).into_iter();
        errors.extend(wrong.map(|why| FieldError::invalid(field.clone(), name, &why)));
    }
}

/// Exactly one of the fields beside the named ones may be there.
fn one_source(volume: &Value, beside: &[&str], field: &str, more: &str, errors: &mut Errors) {
    let mut sources = volume
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .filter(|key| !beside.contains(key));
    if sources.next().is_none() {
        errors.push(FieldError::required(field, "must specify a volume type"));
    }
    errors.extend(sources.map(|source| FieldError::forbidden(format!("{field}.{source}"), more)));
}

fn source(volume: &Value, field: &str, errors: &mut Errors) {
    for (source, key) in [
        ("secret", "secretName"),
        ("configMap", "name"),
        ("hostPath", "path"),
        ("persistentVolumeClaim", "claimName"),
        ("nfs", "server"),
        ("nfs", "path"),
        ("csi", "driver"),
    ] {
        if let Some(found) = volume.get(source)
            && object::text(found, &format!("/{key}")).is_empty()
        {
            errors.push(FieldError::required(format!("{field}.{source}.{key}"), ""));
        }
    }
    if let Some(host) = volume.get("hostPath") {
        let field = format!("{field}.hostPath");
        no_back_steps(object::text(host, "/path"), &format!("{field}.path"), errors);
        let kind = object::text(host, "/type");
        if !HOST_PATH_TYPES.contains(&kind) {
            errors.push(FieldError::unsupported(format!("{field}.type"), kind, HOST_PATH_TYPES));
        }
    }
    for name in ["secret", "configMap"] {
        if let Some(source) = volume.get(name) {
            let field = format!("{field}.{name}");
            mode(source.get("defaultMode"), &format!("{field}.defaultMode"), errors);
            key_items(source, &field, errors);
        }
    }
    if let Some(downward) = volume.get("downwardAPI") {
        let field = format!("{field}.downwardAPI");
        mode(downward.get("defaultMode"), &format!("{field}.defaultMode"), errors);
        downward_items(downward, &field, errors);
    }
    if let Some(projected) = volume.get("projected") {
        projection(projected, &format!("{field}.projected"), errors);
    }
    if let Some(medium) = volume.pointer("/emptyDir/medium").and_then(Value::as_str)
        && !matches!(medium, "" | "Memory" | "HugePages")
        && !medium.starts_with("HugePages-")
    {
        let field = format!("{field}.emptyDir.medium");
        errors.push(FieldError::unsupported(field, medium, &["", "HugePages", "Memory"]));
    }
}

fn mode(value: Option<&Value>, field: &str, errors: &mut Errors) {
    if let Some(mode) = value.and_then(Value::as_i64).filter(|mode| !(0..=0o777).contains(mode)) {
        errors.push(FieldError::invalid(field, mode, MODE));
    }
}

fn key_items(source: &Value, field: &str, errors: &mut Errors) {
    for (index, item) in object::items(source, "/items").iter().enumerate() {
        let field = format!("{field}.items[{index}]");
        if object::text(item, "/key").is_empty() {
            errors.push(FieldError::required(format!("{field}.key"), ""));
        }
        file(item, &field, errors);
    }
}

/// Path and mode of a file within a volume.
fn file(item: &Value, field: &str, errors: &mut Errors) {
    let path = object::text(item, "/path");
    if path.is_empty() {
        errors.push(FieldError::required(format!("{field}.path"), ""));
    }
    not_reserved(path, &format!("{field}.path"), errors);
    mode(item.get("mode"), &format!("{field}.mode"), errors);
}

fn downward_items(source: &Value, field: &str, errors: &mut Errors) {
    for (index, item) in object::items(source, "/items").iter().enumerate() {
        let field = format!("{field}.items[{index}]");
        file(item, &field, errors);
        match (item.get("fieldRef"), item.get("resourceFieldRef")) {
            (Some(_), Some(_)) => {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(field, "resource", detail));
            }
            (None, None) => {
                let detail = "one of fieldRef and resourceFieldRef is required";
                errors.push(FieldError::required(field, detail));
            }
            (Some(_), None) | (None, Some(_)) => {}
        }
    }
}

fn projection(projected: &Value, field: &str, errors: &mut Errors) {
    mode(projected.get("defaultMode"), &format!("{field}.defaultMode"), errors);
    let mut paths = BTreeSet::new();
    for (index, source) in object::items(projected, "/sources").iter().enumerate() {
        let field = format!("{field}.sources[{index}]");
        let more = "may not specify more than 1 volume type per source";
        one_source(source, &[], &field, more, errors);
        for name in ["secret", "configMap"] {
            if let Some(found) = source.get(name) {
                let field = format!("{field}.{name}");
                if object::text(found, "/name").is_empty() {
                    errors.push(FieldError::required(format!("{field}.name"), ""));
                }
                key_items(found, &field, errors);
            }
        }
        if let Some(downward) = source.get("downwardAPI") {
            downward_items(downward, &format!("{field}.downwardAPI"), errors);
        }
        if let Some(token) = source.get("serviceAccountToken") {
            account_token(token, &format!("{field}.serviceAccountToken"), errors);
        }
        let listed = ["secret", "configMap", "downwardAPI"]
            .into_iter()
            .flat_map(|name| object::items(source, &format!("/{name}/items")))
            .chain(source.get("serviceAccountToken"));
        for path in listed.map(|item| object::text(item, "/path")).filter(|path| !path.is_empty()) {
            if !paths.insert(path) {
                errors.push(FieldError::invalid(&field, path, "conflicting duplicate paths"));
            }
        }
    }
}

fn account_token(token: &Value, field: &str, errors: &mut Errors) {
    let seconds = object::integer(token, "/expirationSeconds");
    if seconds < 600 {
        let detail = "may not specify a duration less than 10 minutes";
        errors.push(FieldError::invalid(format!("{field}.expirationSeconds"), seconds, detail));
    }
    if seconds > 1 << 32 {
        let detail = "may not specify a duration larger than 2^32 seconds";
        errors.push(FieldError::invalid(format!("{field}.expirationSeconds"), seconds, detail));
    }
    let path = object::text(token, "/path");
    if path.is_empty() {
        errors.push(FieldError::required(format!("{field}.path"), ""));
    }
    not_reserved(path, &format!("{field}.path"), errors);
}

/// A path that leads nowhere but down.
pub(super) fn descending(path: &str, field: &str, errors: &mut Errors) {
    if path.starts_with('/') {
        errors.push(FieldError::invalid(field, path, "must be a relative path"));
    }
    no_back_steps(path, field, errors);
}

fn no_back_steps(path: &str, field: &str, errors: &mut Errors) {
    if path.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(field, path, "must not contain '..'"));
    }
}

/// A path that leads nowhere but down and does not look like what volumes keep for themselves.
fn not_reserved(path: &str, field: &str, errors: &mut Errors) {
    descending(path, field, errors);
    if path.starts_with("..") && !path.starts_with("../") && path != ".." {
        errors.push(FieldError::invalid(field, path, "must not start with '..'"));
    }
}

/// The folders that a path leads through from the root, however it is spelled.
fn resolved(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts
}

/// Where in a container a volume may be.
pub(super) fn mount_path(path: &str, volume: Option<&Volume>, field: &str, errors: &mut Errors) {
    let parts = resolved(path);
    let below = |parent: &str| parts.first() == Some(&parent);
    let exactly = |place: &str| parts == [place];
    // What masks the kernel's files in a container must not be covered. Paths of the node are
    // mounted at their own places by programs that look after the node.
    let host = volume.is_some_and(|volume| volume.host_path);
    let covers = (path.starts_with('/') && parts.is_empty())
        || below("proc")
        || !host && (below("sys") || exactly("dev"));
    if covers {
        let detail = "must not cover /proc, /sys or /dev";
        errors.push(FieldError::invalid(field, path, detail));
    }
}
