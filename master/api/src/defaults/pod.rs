//! Defaults of pods and of pod templates.

use serde_json::{Map, Value, json};

use super::{items_mut, object_mut};
use crate::object::{self, default};

/// Seconds that a pod has to stop in.
const GRACE_SECONDS: u32 = 30;
/// Seconds that a pod stays on a node that is not ready, or that is silent while nothing would
/// replace the pod.
const EVICTION_SECONDS: u32 = 300;
/// `rw-r--r--`: files of config maps, secrets and the like.
const FILE_MODE: u32 = 0o644;

/// A pod: its spec, and the tolerations that admission adds.
pub(crate) fn pod(fields: &mut Map<String, Value>) {
    let controlled = fields.get("metadata").is_some_and(|metadata| {
        object::items(metadata, "/ownerReferences")
            .iter()
            .any(|owner| object::truth(owner, "/controller"))
    });
    let Some(spec) = object_mut(fields, "spec") else { return };
    pod_spec(spec);
    for name in ["initContainers", "containers"] {
        items_mut(spec, name).for_each(requests_from_limits);
    }
    // Upstream gives this to pods only: a template without it stays as it was written.
    default(spec, "enableServiceLinks", true);
    default(spec, "serviceAccountName", "default");
    let service_account = spec.get("serviceAccountName").cloned().unwrap_or_default();
    default(spec, "serviceAccount", service_account);
    // A pod that its controller replaces elsewhere leaves a silent node at once: the fence
    // makes sure that it does not run twice where that matters.
    let unreachable = if controlled { 0 } else { EVICTION_SECONDS };
    tolerate(spec, "node.kubernetes.io/not-ready", EVICTION_SECONDS);
    tolerate(spec, "node.kubernetes.io/unreachable", unreachable);
}

fn tolerate(spec: &mut Map<String, Value>, taint: &str, seconds: u32) {
    let slot = spec.entry("tolerations").or_insert_with(|| json!([]));
    let Some(tolerations) = slot.as_array_mut() else { return };
    // What the user says counts, be it for this taint or for all.
    let tolerated = tolerations.iter().any(|toleration| {
        let (key, effect) = (object::text(toleration, "/key"), object::text(toleration, "/effect"));
        (key == taint || key.is_empty()) && (effect == "NoExecute" || effect.is_empty())
    });
    if !tolerated {
        tolerations.push(json!({
            "key": taint, "operator": "Exists", "effect": "NoExecute",
            "tolerationSeconds": seconds,
        }));
    }
}

fn requests_from_limits(container: &mut Map<String, Value>) {
    let Some(resources) = object_mut(container, "resources") else { return };
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else { return };
    let requests = resources.entry("requests").or_insert_with(|| json!({}));
    if let Some(requests) = requests.as_object_mut() {
        for (name, amount) in limits {
            requests.entry(name).or_insert(amount);
        }
    }
}

/// A pod's spec, also that of a template.
pub(crate) fn pod_spec(spec: &mut Map<String, Value>) {
    default(spec, "restartPolicy", "Always");
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "schedulerName", "default-scheduler");
    default(spec, "terminationGracePeriodSeconds", GRACE_SECONDS);
    default(spec, "securityContext", json!({}));
    let host_network = spec.get("hostNetwork").and_then(Value::as_bool).unwrap_or_default();
    let service_account = spec.get("serviceAccountName").cloned();
    if let Some(service_account) = service_account {
        // The old name of the same field.
        default(spec, "serviceAccount", service_account);
    } else if let Some(service_account) = spec.get("serviceAccount").cloned() {
        default(spec, "serviceAccountName", service_account);
    }
    for name in ["initContainers", "containers", "ephemeralContainers"] {
        for one in items_mut(spec, name) {
            container(one, host_network);
        }
    }
    items_mut(spec, "volumes").for_each(volume);
    for constraint in items_mut(spec, "topologySpreadConstraints") {
        default(constraint, "whenUnsatisfiable", "DoNotSchedule");
    }
}

fn container(container: &mut Map<String, Value>, host_network: bool) {
    let policy = {
        let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
        if image_tag(image) == "latest" { "Always" } else { "IfNotPresent" }
    };
    default(container, "imagePullPolicy", policy);
    default(container, "terminationMessagePath", "/dev/termination-log");
    default(container, "terminationMessagePolicy", "File");
    default(container, "resources", json!({}));
    for port in items_mut(container, "ports") {
        default(port, "protocol", "TCP");
        if host_network && let Some(number) = port.get("containerPort").cloned() {
            default(port, "hostPort", number);
        }
    }
    for variable in items_mut(container, "env") {
        if let Some(field) =
            object_mut(variable, "valueFrom").and_then(|from| object_mut(from, "fieldRef"))
        {
            default(field, "apiVersion", "v1");
        }
        if let Some(resource) =
            object_mut(variable, "valueFrom").and_then(|from| object_mut(from, "resourceFieldRef"))
        {
            default(resource, "divisor", "0");
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = object_mut(container, name) {
            default(probe, "timeoutSeconds", 1);
            default(probe, "periodSeconds", 10);
            default(probe, "successThreshold", 1);
            default(probe, "failureThreshold", 3);
            handler(probe);
        }
    }
    if let Some(lifecycle) = object_mut(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(hook) = object_mut(lifecycle, name) {
                handler(hook);
            }
        }
    }
}

fn handler(handler: &mut Map<String, Value>) {
    if let Some(get) = object_mut(handler, "httpGet") {
        default(get, "path", "/");
        default(get, "scheme", "HTTP");
    }
    if let Some(grpc) = object_mut(handler, "grpc")
        && !grpc.contains_key("service")
    {
        grpc.insert("service".to_owned(), "".into());
    }
}

/// Tag of an image reference; `latest` if it names none and no digest.
fn image_tag(image: &str) -> &str {
    let (name, digest) = image.split_once('@').map_or((image, false), |(name, _)| (name, true));
    // A colon before the last slash belongs to the port of a registry.
    let last = name.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        Some((_, tag)) => tag,
        None if digest => "",
        None => "latest",
    }
}

fn volume(volume: &mut Map<String, Value>) {
    if volume.keys().all(|key| key == "name") {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    for name in ["configMap", "secret", "downwardAPI", "projected"] {
        if let Some(source) = object_mut(volume, name) {
            default(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(path) = object_mut(volume, "hostPath")
        && !path.contains_key("type")
    {
        path.insert("type".to_owned(), "".into());
    }
    if let Some(downward) = object_mut(volume, "downwardAPI") {
        downward_items(downward);
    }
    if let Some(projected) = object_mut(volume, "projected") {
        for source in items_mut(projected, "sources") {
            if let Some(downward) = object_mut(source, "downwardAPI") {
                downward_items(downward);
            }
            if let Some(token) = object_mut(source, "serviceAccountToken") {
                default(token, "expirationSeconds", 3600);
            }
        }
    }
}

fn downward_items(source: &mut Map<String, Value>) {
    for item in items_mut(source, "items") {
        if let Some(field) = object_mut(item, "fieldRef") {
            default(field, "apiVersion", "v1");
        }
        if let Some(resource) = object_mut(item, "resourceFieldRef") {
            default(resource, "divisor", "0");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::image_tag;

    #[test]
    fn an_image_without_tag_and_digest_is_the_latest() {
        let cases = [
            ("nginx", "latest"),
            ("nginx:1.27", "1.27"),
            ("localhost:5000/nginx", "latest"),
            ("localhost:5000/nginx:a", "a"),
            ("nginx@sha256:00", ""),
            ("nginx:latest@sha256:00", "latest"),
        ];
        for (image, tag) in cases {
            assert_eq!(image_tag(image), tag, "{image}");
        }
    }
}
