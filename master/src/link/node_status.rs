//! A Node object, as its agent's words make it.
//!
//! Pure. Writes only what an agent may say of its own node.

use std::net::Ipv4Addr;

use bramble_api::timestamp;
use bramble_master_core::view::node::IDENTITY_CONFLICT;
use bramble_shared::link::{BootReport, FenceKind, Hello, NodeConditions};
use serde_json::{Value, json};

use super::field::Field;
use super::{
    FENCE_ANNOTATION, IMAGE_VERSION_ANNOTATION, NODE_ID_ANNOTATION, SERIAL_ANNOTATION,
    SLOT_ANNOTATION, UPGRADE_ANNOTATION,
};

/// Version of the Kubernetes API that is served; part of `kubeletVersion`.
const KUBERNETES_VERSION: &str = "v1.36.2";

/// The role that kubectl prints for the node that runs on the master's own board.
const MASTER_ROLE_LABEL: &str = "node-role.kubernetes.io/master";

/// Labels and annotations that the master gives a node, as a merge patch of `metadata`.
/// `on_master` says that the node's link comes from the master's own board.
pub(super) fn metadata(node: &str, id: u16, hello: &Hello, on_master: bool) -> Value {
    let facts = &hello.facts;
    let mut labels: serde_json::Map<String, Value> = facts
        .labels
        .iter()
        .filter(|(name, _)| node_may_set(name))
        .map(|(name, value)| (name.clone(), Value::from(value.clone())))
        .collect();
    let mut label = |name: &str, value: &str| {
        labels.insert(name.to_owned(), Value::from(value));
    };
    label("kubernetes.io/hostname", node);
    label("kubernetes.io/arch", &facts.architecture);
    label("kubernetes.io/os", "linux");
    if on_master {
        label(MASTER_ROLE_LABEL, "");
    }
    let fence = match facts.fence {
        FenceKind::Soft => "soft",
        FenceKind::Watchdog => "watchdog",
    };
    json!({
        "labels": labels,
        "annotations": {
            NODE_ID_ANNOTATION: id.to_string(),
            SERIAL_ANNOTATION: hello.serial,
            FENCE_ANNOTATION: fence,
        },
    })
}

/// Writes which system a card's board runs into the annotations; removes what no longer holds.
pub(super) fn apply_boot(object: &mut Value, boot: Option<&BootReport>) {
    let Some(object) = object.as_object_mut() else { return };
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    let Some(metadata) = metadata.as_object_mut() else { return };
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    let Some(annotations) = annotations.as_object_mut() else { return };
    let upgrade = |boot: &BootReport| match (boot.trial, boot.upgrade.as_str()) {
        (true, "") => "trying".to_owned(),
        (_, told) => told.to_owned(),
    };
    for (name, value) in [
        (SLOT_ANNOTATION, boot.map(|boot| boot.slot.clone())),
        (IMAGE_VERSION_ANNOTATION, boot.map(|boot| boot.version.clone())),
        (UPGRADE_ANNOTATION, boot.map(upgrade)),
    ] {
        match value.filter(|value| !value.is_empty()) {
            Some(value) => annotations.insert(name.to_owned(), Value::from(value)),
            None => annotations.remove(name),
        };
    }
}

/// Upstream's NodeRestriction: a node must not draw pods to itself by labels that others trust.
fn node_may_set(label: &str) -> bool {
    let Some((domain, _)) = label.split_once('/') else { return true };
    let reserved = |suffix: &str| {
        domain.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let allowed = ["node.kubernetes.io", "topology.kubernetes.io", "kubelet.kubernetes.io"];
    allowed.contains(&domain) || !(reserved("kubernetes.io") || reserved("k8s.io"))
}

/// Writes what the board is and has into `status`; conditions and foreign fields stay.
pub(super) fn apply_facts(object: &mut Value, hello: &Hello, address: Ipv4Addr) {
    let facts = &hello.facts;
    let resources = json!({
        "cpu": cpu(facts.cpu_milli),
        "memory": format!("{}Ki", facts.memory_bytes / 1024),
        "ephemeral-storage": format!("{}Ki", facts.storage_bytes / 1024),
        "pods": facts.pods_max.to_string(),
    });
    let agent = &facts.agent_version;
    set(object, "capacity", resources.clone());
    set(object, "allocatable", resources);
    set(
        object,
        "addresses",
        json!([
            {"type": "InternalIP", "address": address.to_string()},
            {"type": "Hostname", "address": facts.hostname},
        ]),
    );
    set(
        object,
        "nodeInfo",
        json!({
            "machineID": facts.machine_id,
            "systemUUID": hello.serial,
            "bootID": boot_id(&hello.boot_id.0),
            "kernelVersion": facts.kernel_version,
            "osImage": facts.os_image,
            "containerRuntimeVersion": format!("bramble://{agent}"),
            "kubeletVersion": format!("{KUBERNETES_VERSION}+bramble.{agent}"),
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": facts.architecture,
        }),
    );
}

/// Writes the agent's view of its health into `status.conditions`; foreign conditions stay.
pub(super) fn apply_conditions(object: &mut Value, report: &NodeConditions, now_ms: u64) {
    let (ready_reason, ready_message) = if report.ready {
        ("KubeletReady", "agent is posting ready status")
    } else {
        ("KubeletNotReady", report.message.as_str())
    };
    let pressure = |holds: bool, kind: &'static str, bad: [&'static str; 2], good: [_; 2]| {
        let [reason, message] = if holds { bad } else { good };
        (kind, holds, reason, message)
    };
    let wanted = [
        pressure(
            report.memory_pressure,
            "MemoryPressure",
            ["KubeletHasInsufficientMemory", "agent has insufficient memory available"],
            ["KubeletHasSufficientMemory", "agent has sufficient memory available"],
        ),
        pressure(
            report.disk_pressure,
            "DiskPressure",
            ["KubeletHasDiskPressure", "agent has disk pressure"],
            ["KubeletHasNoDiskPressure", "agent has no disk pressure"],
        ),
        pressure(
            report.pid_pressure,
            "PIDPressure",
            ["KubeletHasInsufficientPID", "agent has insufficient PID available"],
            ["KubeletHasSufficientPID", "agent has sufficient PID available"],
        ),
        ("Ready", report.ready, ready_reason, ready_message),
    ];
    let now = timestamp::format(i64::try_from(now_ms / 1_000).unwrap_or(i64::MAX));
    let old = Field(object).get("status").get("conditions");
    let mut conditions: Vec<Value> = old
        .items()
        .filter(|present| wanted.iter().all(|(kind, ..)| present.get("type").text() != *kind))
        .map(|present| present.0.clone())
        .collect();
    for (kind, holds, reason, message) in wanted {
        let status = if holds { "True" } else { "False" };
        let before = old.items().find(|present| present.get("type").text() == kind);
        let since = before
            .filter(|before| before.get("status").text() == status)
            .map(|before| before.get("lastTransitionTime").string());
        conditions.push(json!({
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": now,
            "lastTransitionTime": since.unwrap_or_else(|| now.clone()),
        }));
    }
    set(object, "conditions", Value::from(conditions));
}

/// Whether the object's `Ready` condition is true.
pub(super) fn ready(object: &Value) -> bool {
    let conditions = Field(object).get("status").get("conditions");
    let ready = conditions.items().find(|condition| condition.get("type").text() == "Ready");
    ready.is_some_and(|ready| ready.get("status").text() == "True")
}

/// Whether it was written down that two boards use the node's certificate.
pub(super) fn quarantined(object: &Value) -> bool {
    let conditions = Field(object).get("status").get("conditions");
    let conflict = conditions.items().find(|it| it.get("type").text() == IDENTITY_CONFLICT);
    conflict.is_some_and(|conflict| conflict.get("status").text() == "True")
}

/// Whole cores without a suffix, as people write them.
fn cpu(milli: u64) -> String {
    if milli.is_multiple_of(1_000) { (milli / 1_000).to_string() } else { format!("{milli}m") }
}

fn boot_id(bytes: &[u8; 16]) -> String {
    let mut text = format!("{:032x}", u128::from_be_bytes(*bytes));
    for at in [20, 16, 12, 8] {
        text.insert(at, '-');
    }
    text
}

fn set(object: &mut Value, name: &str, value: Value) {
    let Some(object) = object.as_object_mut() else { return };
    let status = object.entry("status").or_insert_with(|| json!({}));
    if let Some(status) = status.as_object_mut() {
        status.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use bramble_shared::ids::{BootId, Incarnation};
    use bramble_shared::link::NodeFacts;

    use super::*;

    pub(in crate::link) fn hello() -> Hello {
        Hello {
            version_min: 1,
            version_max: 1,
            boot_id: BootId([0xab; 16]),
            serial: "100000001".to_owned(),
            incarnation: Incarnation(1),
            facts: NodeFacts {
                architecture: "arm64".to_owned(),
                os_image: "bramble".to_owned(),
                kernel_version: "6.12".to_owned(),
                agent_version: "0.1.0".to_owned(),
                machine_id: "m".to_owned(),
                hostname: "pi-1".to_owned(),
                address: Ipv4Addr::new(192, 0, 2, 1),
                cpu_milli: 4_000,
                memory_bytes: 512 << 20,
                storage_bytes: 8 << 30,
                pods_max: 110,
                fence: FenceKind::Soft,
                labels: BTreeMap::from([
                    ("disk".to_owned(), "ssd".to_owned()),
                    ("node-role.kubernetes.io/control-plane".to_owned(), String::new()),
                    ("topology.kubernetes.io/zone".to_owned(), "attic".to_owned()),
                ]),
                boot: None,
            },
        }
    }

    #[test]
    fn facts_become_a_status() {
        let mut object = json!({});
        apply_facts(&mut object, &hello(), Ipv4Addr::new(192, 0, 2, 1));
        let status = &object["status"];
        assert_eq!(status["capacity"]["cpu"], "4");
        assert_eq!(status["allocatable"]["memory"], "524288Ki");
        assert_eq!(status["nodeInfo"]["kubeletVersion"], "v1.36.2+bramble.0.1.0");
        assert_eq!(status["nodeInfo"]["bootID"], "abababab-abab-abab-abab-abababababab");
        assert_eq!(status["addresses"][0]["address"], "192.0.2.1");
    }

    #[test]
    fn a_node_cannot_give_itself_labels_that_others_trust() {
        let metadata = metadata("pi-1", 3, &hello(), false);
        let labels = metadata["labels"].as_object().unwrap();
        let names: Vec<&str> = labels.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "disk",
                "kubernetes.io/arch",
                "kubernetes.io/hostname",
                "kubernetes.io/os",
                "topology.kubernetes.io/zone",
            ]
        );
        assert_eq!(metadata["annotations"]["bramble.io/node-id"], "3");
    }

    #[test]
    fn the_masters_own_node_has_its_role_and_no_other() {
        let role = |on_master| {
            metadata("pi-1", 3, &hello(), on_master)["labels"].get(MASTER_ROLE_LABEL).is_some()
        };
        assert!(role(true));
        assert!(!role(false));
    }

    #[test]
    fn a_card_tells_its_slot_and_a_board_without_one_nothing() {
        let mut object = json!({"metadata": {"annotations": {"other": "stays"}}});
        let mut boot = BootReport {
            slot: "b".to_owned(),
            version: "0.2.0".to_owned(),
            trial: true,
            upgrade: String::new(),
        };
        apply_boot(&mut object, Some(&boot));
        let annotation =
            |object: &Value, name: &str| object["metadata"]["annotations"][name].clone();
        assert_eq!(annotation(&object, "bramble.io/slot"), "b");
        assert_eq!(annotation(&object, "bramble.io/image-version"), "0.2.0");
        assert_eq!(annotation(&object, "bramble.io/upgrade"), "trying");
        (boot.trial, boot.upgrade) = (false, "kept".to_owned());
        apply_boot(&mut object, Some(&boot));
        assert_eq!(annotation(&object, "bramble.io/upgrade"), "kept");
        apply_boot(&mut object, None);
        assert_eq!(object, json!({"metadata": {"annotations": {"other": "stays"}}}));
    }

    #[test]
    fn conditions_keep_their_time_and_foreign_ones_stay() {
        let mut object = json!({"status": {"conditions": [{"type": "Foreign"}]}});
        let mut report = NodeConditions {
            ready: true,
            message: String::new(),
            memory_pressure: false,
            disk_pressure: false,
            pid_pressure: false,
        };
        apply_conditions(&mut object, &report, 1_000);
        report.memory_pressure = true;
        apply_conditions(&mut object, &report, 2_000);
        let conditions = object["status"]["conditions"].as_array().unwrap();
        assert_eq!(conditions.len(), 5);
        let find = |kind: &str| conditions.iter().find(|it| it["type"] == kind).unwrap();
        assert_eq!(find("Ready")["lastTransitionTime"], "1970-01-01T00:00:01Z");
        assert_eq!(find("Ready")["lastHeartbeatTime"], "1970-01-01T00:00:02Z");
        assert_eq!(find("MemoryPressure")["status"], "True");
        assert_eq!(find("MemoryPressure")["lastTransitionTime"], "1970-01-01T00:00:02Z");
    }
}
