//! What a pod gets from its service account: a volume with a token, and secrets for images.
//!
//! Whether there is such an account is not known here.

use serde_json::{Map, Value, json};

use super::claims::POD_EXPIRATION_S;
use crate::view::root_ca;

/// The account of pods that name none.
pub const DEFAULT: &str = "default";
/// Where containers find the token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// What the name of the volume with it starts with.
const VOLUME_PREFIX: &str = "kube-api-access-";
/// Mode of the files in it.
const MODE: u32 = 0o644;
/// On accounts whose pods may use no other secrets than those that the account names.
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";

/// Name of the account that a pod wants.
#[must_use]
pub fn wanted(pod: &Value) -> &str {
    let name = pod.pointer("/spec/serviceAccountName").and_then(Value::as_str);
    name.filter(|name| !name.is_empty()).unwrap_or(DEFAULT)
}

/// Gives a new pod the volume with a token, if it is to have one. `suffix` is the random end of the
/// volume's name.
pub fn add_token(pod: &mut Value, account: &Value, suffix: &str) {
    let mount = wants_token(pod, account);
    if mount && let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
        mount_token(spec, suffix);
    }
}

/// Gives a new pod that names no secrets for images those of its account.
pub fn add_pull_secrets(pod: &mut Value, account: &Value) {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let empty = |value: Option<&Value>| value.and_then(Value::as_array).is_none_or(Vec::is_empty);
    if empty(spec.get("imagePullSecrets")) && !empty(account.get("imagePullSecrets")) {
        let secrets = account.get("imagePullSecrets").cloned().unwrap_or_default();
        spec.insert("imagePullSecrets".to_owned(), secrets);
    }
}

/// Why a pod may not use a secret that it names, if its account says which it may use.
#[must_use]
pub fn forbidden_secret(pod: &Value, account: &Value) -> Option<String> {
    let enforced = account.get("metadata")?.get("annotations")?.get(ENFORCE)?.as_str()?;
    if !enforced.eq_ignore_ascii_case("true") {
        return None;
    }
    let named = |field: &str| -> Vec<&str> {
        let listed = account.get(field).and_then(Value::as_array).into_iter().flatten();
        listed.filter_map(|it| it.get("name").and_then(Value::as_str)).collect()
    };
    let (secrets, pull_secrets) = (named("secrets"), named("imagePullSecrets"));
    let owner = account.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let why = format!("is not allowed because service account {owner} does not reference that");
    let spec = pod.get("spec")?;
    for volume in items(spec.get("volumes")) {
        let name = volume.pointer("/secret/secretName").and_then(Value::as_str);
        if let Some(name) = name.filter(|name| !secrets.contains(name)) {
            return Some(format!("volume with secret.secretName=\"{name}\" {why} secret"));
        }
    }
    for (kind, container) in containers(spec) {
        let of = container.get("name").and_then(Value::as_str).unwrap_or_default();
        for variable in items(container.get("env")) {
            let name = variable.pointer("/valueFrom/secretKeyRef/name").and_then(Value::as_str);
            if let Some(name) = name.filter(|name| !secrets.contains(name)) {
                let variable = variable.get("name").and_then(Value::as_str).unwrap_or_default();
                return Some(format!(
                    "{kind} {of} with envVar {variable} referencing secret.secretName=\"{name}\" \
                     {why} secret"
                ));
            }
        }
        for source in items(container.get("envFrom")) {
            let name = source.pointer("/secretRef/name").and_then(Value::as_str);
            if let Some(name) = name.filter(|name| !secrets.contains(name)) {
                return Some(format!(
                    "{kind} {of} with envFrom referencing secret.secretName=\"{name}\" {why} secret"
                ));
            }
        }
    }
    for (index, secret) in items(spec.get("imagePullSecrets")).enumerate() {
        let name = secret.get("name").and_then(Value::as_str).unwrap_or_default();
        if !pull_secrets.contains(&name) {
            return Some(format!(
                "imagePullSecrets[{index}].name=\"{name}\" {why} imagePullSecret"
            ));
        }
    }
    None
}

/// The pod decides, then its account; otherwise it gets one.
fn wants_token(pod: &Value, account: &Value) -> bool {
    let of_pod = pod.pointer("/spec/automountServiceAccountToken").and_then(Value::as_bool);
    let of_account = account.get("automountServiceAccountToken").and_then(Value::as_bool);
    of_pod.or(of_account).unwrap_or(true)
}

fn mount_token(spec: &mut Map<String, Value>, suffix: &str) {
    let present = items(spec.get("volumes")).find_map(|volume| {
        let name = volume.get("name").and_then(Value::as_str)?;
        let ours = name.starts_with(VOLUME_PREFIX) && volume.get("projected").is_some();
        ours.then(|| name.to_owned())
    });
    let missing = present.is_none();
    let name = present.unwrap_or_else(|| format!("{VOLUME_PREFIX}{suffix}"));
    let mut mounted = false;
    for field in ["initContainers", "containers"] {
        for container in spec.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
            mounted |= mount(container, &name);
        }
    }
    if mounted && missing {
        let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
        if volumes.is_null() {
            *volumes = json!([]);
        }
        if let Some(volumes) = volumes.as_array_mut() {
            volumes.push(volume(&name));
        }
    }
}

/// Mounts the volume in a container that has nothing there yet.
fn mount(container: &mut Value, volume: &str) -> bool {
    let taken = items(container.get("volumeMounts"))
        .any(|mount| mount.get("mountPath").and_then(Value::as_str) == Some(MOUNT_PATH));
    let Some(fields) = container.as_object_mut().filter(|_| !taken) else { return false };
    let mounts = fields.entry("volumeMounts").or_insert_with(|| json!([]));
    if mounts.is_null() {
        *mounts = json!([]);
    }
    let Some(mounts) = mounts.as_array_mut() else { return false };
    mounts.push(json!({ "name": volume, "readOnly": true, "mountPath": MOUNT_PATH }));
    true
}

fn volume(name: &str) -> Value {
    let namespace = json!({ "apiVersion": "v1", "fieldPath": "metadata.namespace" });
    json!({
        "name": name,
        "projected": {
            "defaultMode": MODE,
            "sources": [
                { "serviceAccountToken": { "expirationSeconds": POD_EXPIRATION_S, "path": "token" } },
                { "configMap": {
                    "name": root_ca::NAME,
                    "items": [{ "key": "ca.crt", "path": "ca.crt" }],
                } },
                { "downwardAPI": { "items": [{ "path": "namespace", "fieldRef": namespace }] } },
            ],
        },
    })
}

fn items(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

/// Containers with what upstream calls them in such messages.
fn containers(spec: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    let kinds = [("init container", "initContainers"), ("container", "containers")];
    kinds.into_iter().flat_map(|(kind, field)| items(spec.get(field)).map(move |it| (kind, it)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        json!({"spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "c"}]}})
    }

    fn account() -> Value {
        json!({"metadata": {"name": "seller"}})
    }

    #[track_caller]
    fn check_mounts(pod: &Value, expected: bool) {
        let volumes = items(pod["spec"].get("volumes")).count();
        assert_eq!(volumes, usize::from(expected), "{pod}");
        for field in ["initContainers", "containers"] {
            let mounts = items(pod["spec"][field][0].get("volumeMounts")).count();
            assert_eq!(mounts, usize::from(expected), "{pod}");
        }
    }

    #[test]
    fn pod_decides_before_its_account_whether_it_gets_a_token() {
        for (of_pod, of_account, expected) in [
            (None, None, true),
            (None, Some(false), false),
            (Some(true), Some(false), true),
            (Some(false), Some(true), false),
        ] {
            let (mut pod, mut account) = (pod(), account());
            pod["spec"]["automountServiceAccountToken"] = json!(of_pod);
            account["automountServiceAccountToken"] = json!(of_account);
            add_token(&mut pod, &account, "abcde");
            check_mounts(&pod, expected);
        }
    }

    #[test]
    fn volume_has_token_certificate_and_namespace() {
        let mut pod = pod();
        add_token(&mut pod, &account(), "abcde");
        let volume = &pod["spec"]["volumes"][0];
        assert_eq!(volume["name"], json!("kube-api-access-abcde"));
        let paths = [
            "/projected/sources/0/serviceAccountToken/path",
            "/projected/sources/1/configMap/items/0/path",
            "/projected/sources/2/downwardAPI/items/0/path",
        ];
        let files: Vec<&Value> = paths.iter().map(|it| volume.pointer(it).unwrap()).collect();
        assert_eq!(files, ["token", "ca.crt", "namespace"]);
        // Once more changes nothing.
        let before = pod.clone();
        add_token(&mut pod, &account(), "fghij");
        assert_eq!(pod, before);
    }

    #[test]
    fn container_with_something_there_keeps_it() {
        let mut pod = pod();
        let own = json!([{"name": "own", "mountPath": MOUNT_PATH}]);
        pod["spec"]["containers"][0]["volumeMounts"] = own.clone();
        pod["spec"]["initContainers"] = json!([]);
        add_token(&mut pod, &account(), "abcde");
        assert_eq!(pod["spec"]["containers"][0]["volumeMounts"], own);
        assert_eq!(pod["spec"].get("volumes"), None);
    }

    #[test]
    fn secrets_for_images_are_the_accounts_unless_the_pod_has_its_own() {
        let mut account = account();
        account["imagePullSecrets"] = json!([{"name": "a"}]);
        let mut without = pod();
        add_pull_secrets(&mut without, &account);
        assert_eq!(without["spec"]["imagePullSecrets"], json!([{"name": "a"}]));
        let mut with = pod();
        with["spec"]["imagePullSecrets"] = json!([{"name": "b"}]);
        add_pull_secrets(&mut with, &account);
        assert_eq!(with["spec"]["imagePullSecrets"], json!([{"name": "b"}]));
    }

    #[test]
    fn account_may_forbid_secrets_that_it_does_not_name() {
        let mut account = account();
        account["secrets"] = json!([{"name": "ours"}]);
        let mut pod = pod();
        pod["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": "theirs"}}]);
        assert_eq!(forbidden_secret(&pod, &account), None);
        account["metadata"]["annotations"] = json!({ENFORCE: "true"});
        assert_eq!(
            forbidden_secret(&pod, &account).as_deref(),
            Some(
                "volume with secret.secretName=\"theirs\" is not allowed because service account \
                 seller does not reference that secret"
            )
        );
        pod["spec"]["volumes"][0]["secret"]["secretName"] = json!("ours");
        assert_eq!(forbidden_secret(&pod, &account), None);
        pod["spec"]["imagePullSecrets"] = json!([{"name": "x"}]);
        assert!(
            forbidden_secret(&pod, &account).unwrap().contains("imagePullSecrets[0].name=\"x\"")
        );
    }
}
