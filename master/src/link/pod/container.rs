//! One container of a pod, as its node must run it.

use std::net::Ipv4Addr;

use bramble_api::quantity;
use bramble_shared::link::{
    Container, ContainerPort, ContainerSecurity, DataKind, EnvFrom, EnvValue, EnvVar, Mount,
    Protocol, PullPolicy, ResourceField, Resources,
};

use super::{ConvertPodError, probe};
use crate::link::field::Field;

/// Upstream's default of `terminationMessagePath`.
const TERMINATION_MESSAGE_PATH: &str = "/dev/termination-log";

/// `pod_security` is the pod's `securityContext`, for what a container inherits.
pub(super) fn convert(
    container: Field<'_>,
    pod_security: Field<'_>,
) -> Result<Container, ConvertPodError> {
    let name = container.get("name").text();
    let working_dir = container.get("workingDir").string();
    let message_path = container.get("terminationMessagePath").text();
    Ok(Container {
        name: name.to_owned(),
        image: container.get("image").string(),
        pull_policy: match container.get("imagePullPolicy").text() {
            "Always" => PullPolicy::Always,
            "Never" => PullPolicy::Never,
            _ => PullPolicy::IfNotPresent,
        },
        command: container.get("command").strings(),
        args: container.get("args").strings(),
        working_dir: (!working_dir.is_empty()).then_some(working_dir),
        env_from: container.get("envFrom").items().map(env_from).collect(),
        env: container
            .get("env")
            .items()
            .map(|variable| env(name, variable))
            .collect::<Result<_, _>>()?,
        ports: container.get("ports").items().map(port).collect(),
        resources: resources(name, container.get("resources"))?,
        mounts: container.get("volumeMounts").items().map(mount).collect(),
        security: security(container.get("securityContext"), pod_security),
        sidecar: container.get("restartPolicy").text() == "Always",
        startup_probe: probe::convert(container, "startupProbe"),
        liveness_probe: probe::convert(container, "livenessProbe"),
        readiness_probe: probe::convert(container, "readinessProbe"),
        lifecycle: probe::lifecycle(container),
        tty: container.get("tty").flag().unwrap_or(false),
        stdin: container.get("stdin").flag().unwrap_or(false),
        stdin_once: container.get("stdinOnce").flag().unwrap_or(false),
        target: container.get("targetContainerName").string(),
        restart_for_cpu: restarts_for(container, "cpu"),
        restart_for_memory: restarts_for(container, "memory"),
        termination_message_path: match message_path {
            "" => TERMINATION_MESSAGE_PATH.to_owned(),
            path => path.to_owned(),
        },
        termination_message_from_log: container.get("terminationMessagePolicy").text()
            == "FallbackToLogsOnError",
    })
}

/// Whether another amount of a resource wants another start.
fn restarts_for(container: Field<'_>, resource: &str) -> bool {
    container.get("resizePolicy").items().any(|policy| {
        policy.get("resourceName").text() == resource
            && policy.get("restartPolicy").text() == "RestartContainer"
    })
}

/// What a container may use, as its node counts it; none if it cannot be read.
pub(in crate::link) fn counted(container: Field<'_>) -> Option<Resources> {
    resources("", container.get("resources")).ok()
}

/// The protocol of a container's or Service's port.
pub(in crate::link) fn protocol(text: &str) -> Protocol {
    match text {
        "UDP" => Protocol::Udp,
        "SCTP" => Protocol::Sctp,
        _ => Protocol::Tcp,
    }
}

fn env_from(source: Field<'_>) -> EnvFrom {
    let (kind, reference) = if source.get("secretRef").is_set() {
        (DataKind::Secret, source.get("secretRef"))
    } else {
        (DataKind::ConfigMap, source.get("configMapRef"))
    };
    EnvFrom {
        prefix: source.get("prefix").string(),
        kind,
        name: reference.get("name").string(),
        optional: reference.get("optional").flag().unwrap_or(false),
    }
}

fn env(container: &str, variable: Field<'_>) -> Result<EnvVar, ConvertPodError> {
    let from = variable.get("valueFrom");
    let data = |kind, reference: Field<'_>| EnvValue::Data {
        kind,
        name: reference.get("name").string(),
        key: reference.get("key").string(),
        optional: reference.get("optional").flag().unwrap_or(false),
    };
    let value = if from.get("configMapKeyRef").is_set() {
        data(DataKind::ConfigMap, from.get("configMapKeyRef"))
    } else if from.get("secretKeyRef").is_set() {
        data(DataKind::Secret, from.get("secretKeyRef"))
    } else if from.get("fieldRef").is_set() {
        EnvValue::Field(from.get("fieldRef").get("fieldPath").string())
    } else if from.get("resourceFieldRef").is_set() {
        EnvValue::Resource(resource_field(container, from.get("resourceFieldRef"))?)
    } else {
        EnvValue::Literal(variable.get("value").string())
    };
    Ok(EnvVar { name: variable.get("name").string(), value })
}

/// `container` is for the error.
pub(super) fn resource_field(
    container: &str,
    reference: Field<'_>,
) -> Result<ResourceField, ConvertPodError> {
    let resource = reference.get("resource").string();
    let divisor = reference.get("divisor");
    let read = if resource.ends_with(".cpu") { cpu_milli } else { bytes };
    // "0" and nothing both mean 1, as upstream.
    let divisor = match read(container, "divisor", divisor)? {
        None | Some(0) if resource.ends_with(".cpu") => 1_000,
        None | Some(0) => 1,
        Some(divisor) => divisor,
    };
    Ok(ResourceField { container: reference.get("containerName").string(), resource, divisor })
}

fn port(port: Field<'_>) -> ContainerPort {
    ContainerPort {
        name: port.get("name").string(),
        port: port.get("containerPort").integer().unwrap_or(0),
        host_port: port.get("hostPort").integer().unwrap_or(0),
        host_ip: port
            .get("hostIP")
            .text()
            .parse()
            .ok()
            .filter(|ip: &Ipv4Addr| !ip.is_unspecified()),
        protocol: protocol(port.get("protocol").text()),
    }
}

fn resources(container: &str, resources: Field<'_>) -> Result<Resources, ConvertPodError> {
    let (requests, limits) = (resources.get("requests"), resources.get("limits"));
    Ok(Resources {
        cpu_request_milli: cpu_milli(container, "requests.cpu", requests.get("cpu"))?,
        cpu_limit_milli: cpu_milli(container, "limits.cpu", limits.get("cpu"))?,
        memory_request: bytes(container, "requests.memory", requests.get("memory"))?,
        memory_limit: bytes(container, "limits.memory", limits.get("memory"))?,
    })
}

fn cpu_milli(
    container: &str,
    field: &str,
    value: Field<'_>,
) -> Result<Option<u64>, ConvertPodError> {
    quantity_of(container, field, value, |text| quantity::cpu_milli(text).ok())
}

fn bytes(container: &str, field: &str, value: Field<'_>) -> Result<Option<u64>, ConvertPodError> {
    quantity_of(container, field, value, |text| quantity::bytes(text).ok())
}

/// Quantities may be written as texts or as plain numbers.
fn quantity_of(
    container: &str,
    field: &str,
    value: Field<'_>,
    read: impl FnOnce(&str) -> Option<u64>,
) -> Result<Option<u64>, ConvertPodError> {
    if !value.is_set() {
        return Ok(None);
    }
    let text = value.0.as_str().map_or_else(|| value.0.to_string(), str::to_owned);
    let bad = || ConvertPodError::Quantity {
        container: container.to_owned(),
        field: field.to_owned(),
        value: text.clone(),
    };
    read(&text).ok_or_else(bad).map(Some)
}

fn mount(mount: Field<'_>) -> Mount {
    Mount {
        volume: mount.get("name").string(),
        path: mount.get("mountPath").string(),
        sub_path: mount.get("subPath").string(),
        sub_path_expr: mount.get("subPathExpr").string(),
        read_only: mount.get("readOnly").flag().unwrap_or(false),
    }
}

fn security(own: Field<'_>, pod: Field<'_>) -> ContainerSecurity {
    let capabilities = |list: &str| {
        let names = own.get("capabilities").get(list).items();
        names.map(|name| name.text().trim_start_matches("CAP_").to_owned()).collect()
    };
    let privileged = own.get("privileged").flag().unwrap_or(false);
    let profile = match own.get("seccompProfile").get("type").text() {
        "" => pod.get("seccompProfile").get("type").text(),
        own => own,
    };
    ContainerSecurity {
        run_as_user: own.get("runAsUser").id(),
        run_as_group: own.get("runAsGroup").id(),
        run_as_non_root: own.get("runAsNonRoot").flag(),
        read_only_root: own.get("readOnlyRootFilesystem").flag().unwrap_or(false),
        privileged,
        // Off unless asked for: see SECURITY, "Defaults".
        allow_privilege_escalation: own
            .get("allowPrivilegeEscalation")
            .flag()
            .unwrap_or(privileged),
        capabilities_add: capabilities("add"),
        capabilities_drop: capabilities("drop"),
        seccomp_unconfined: profile == "Unconfined",
    }
}
