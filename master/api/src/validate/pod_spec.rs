//! Rules for the spec of a pod, also that of a template.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{names, one_of};
use crate::object;
use crate::quantity::Quantity;
use crate::status::FieldError;

pub(super) fn pod_spec(spec: &Value, field: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let volumes = volumes(spec, field, &mut errors);
    let mut seen = BTreeSet::new();
    if object::items(spec, "/containers").is_empty() {
        errors.push(FieldError::required(format!("{field}.containers"), ""));
    }
    for list in ["initContainers", "containers"] {
        for (index, container) in object::items(spec, &format!("/{list}")).iter().enumerate() {
            let field = format!("{field}.{list}[{index}]");
            let name = object::text(container, "/name");
            if !name.is_empty() && !seen.insert(name) {
                errors.push(FieldError::duplicate(format!("{field}.name"), name));
            }
            check_container(container, &field, &volumes, &mut errors);
        }
    }
    host_ports(spec, field, &mut errors);
    let policy = object::text(spec, "/restartPolicy");
    errors.extend(one_of(
        format!("{field}.restartPolicy"),
        policy,
        &["Always", "OnFailure", "Never"],
    ));
    errors.extend(one_of(
        format!("{field}.dnsPolicy"),
        object::text(spec, "/dnsPolicy"),
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
    ));
    if object::text(spec, "/dnsPolicy") == "None"
        && object::items(spec, "/dnsConfig/nameservers").is_empty()
    {
        let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        errors.push(FieldError::required(format!("{field}.dnsConfig"), detail));
    }
    for (name, least) in [("terminationGracePeriodSeconds", 0), ("activeDeadlineSeconds", 1)] {
        let value = spec.get(name).and_then(Value::as_i64);
        if let Some(value) = value.filter(|value| *value < least) {
            let detail = if least == 0 {
                "must be greater than or equal to 0"
            } else {
                "must be between 1 and 2147483647, inclusive"
            };
            errors.push(FieldError::invalid(format!("{field}.{name}"), value, detail));
        }
    }
    for name in ["hostname", "subdomain"] {
        let text = object::text(spec, &format!("/{name}"));
        if !text.is_empty() {
            for why in names::dns_label(text) {
                errors.push(FieldError::invalid(format!("{field}.{name}"), text, &why));
            }
        }
    }
    for name in ["serviceAccountName", "nodeName", "priorityClassName"] {
        let text = object::text(spec, &format!("/{name}"));
        if !text.is_empty() {
            for why in names::dns_subdomain(text) {
                errors.push(FieldError::invalid(format!("{field}.{name}"), text, &why));
            }
        }
    }
    errors
        .extend(super::metadata::labels(spec, "nodeSelector").into_iter().map(|e| e.below(field)));
    tolerations(spec, field, &mut errors);
    errors
}

fn volumes<'a>(spec: &'a Value, field: &str, errors: &mut Vec<FieldError>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    for (index, volume) in object::items(spec, "/volumes").iter().enumerate() {
        let field = format!("{field}.volumes[{index}]");
        let name = object::text(volume, "/name");
        label_name(name, &field, errors);
        if !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(format!("{field}.name"), name));
        }
        let sources: Vec<&String> = volume
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key)
            .filter(|key| *key != "name")
            .collect();
        match sources.as_slice() {
            [] => errors.push(FieldError::required(field.clone(), "must specify a volume type")),
            [_] => {}
            [_, more @ ..] => errors.extend(more.iter().map(|source| {
                let detail = "may not specify more than 1 volume type";
                FieldError::forbidden(format!("{field}.{source}"), detail)
            })),
        }
        for (source, key) in [
            ("secret", "secretName"),
            ("configMap", "name"),
            ("hostPath", "path"),
            ("persistentVolumeClaim", "claimName"),
        ] {
            if let Some(found) = volume.get(source)
                && object::text(found, &format!("/{key}")).is_empty()
            {
                errors.push(FieldError::required(format!("{field}.{source}.{key}"), ""));
            }
        }
    }
    seen
}

fn label_name(name: &str, field: &str, errors: &mut Vec<FieldError>) {
    let field = format!("{field}.name");
    if name.is_empty() {
        errors.push(FieldError::required(field, ""));
    } else {
        let wrong = names::dns_label(name);
        errors.extend(wrong.iter().map(|why| FieldError::invalid(field.clone(), name, why)));
    }
}

fn check_container(
    container: &Value,
    field: &str,
    volumes: &BTreeSet<&str>,
    errors: &mut Vec<FieldError>,
) {
    label_name(object::text(container, "/name"), field, errors);
    let image = object::text(container, "/image");
    if image.is_empty() {
        errors.push(FieldError::required(format!("{field}.image"), ""));
    } else if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(format!("{field}.image"), image, detail));
    }
    for (name, known) in [
        ("imagePullPolicy", &["Always", "IfNotPresent", "Never"][..]),
        ("terminationMessagePolicy", &["File", "FallbackToLogsOnError"][..]),
    ] {
        let value = object::text(container, &format!("/{name}"));
        errors.extend(one_of(format!("{field}.{name}"), value, known));
    }
    ports(container, field, errors);
    environment(container, field, errors);
    mounts(container, field, volumes, errors);
    resources(container, field, errors);
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get(name) {
            check_probe(probe, name, &format!("{field}.{name}"), errors);
        }
    }
}

fn port_number(value: i64, field: String, errors: &mut Vec<FieldError>) {
    if !(1..=65_535).contains(&value) {
        let detail = "must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid(field, value, detail));
    }
}

fn ports(container: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let mut seen = BTreeSet::new();
    for (index, port) in object::items(container, "/ports").iter().enumerate() {
        let field = format!("{field}.ports[{index}]");
        let name = object::text(port, "/name");
        if !name.is_empty() {
            for why in names::port_name(name) {
                errors.push(FieldError::invalid(format!("{field}.name"), name, &why));
            }
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(format!("{field}.name"), name));
            }
        }
        match object::integer(port, "/containerPort") {
            0 => errors.push(FieldError::required(format!("{field}.containerPort"), "")),
            number => port_number(number, format!("{field}.containerPort"), errors),
        }
        let host = object::integer(port, "/hostPort");
        if host != 0 {
            port_number(host, format!("{field}.hostPort"), errors);
        }
        errors.extend(one_of(
            format!("{field}.protocol"),
            object::text(port, "/protocol"),
            &["SCTP", "TCP", "UDP"],
        ));
    }
}

/// Two containers of a pod cannot take the same port of the node.
fn host_ports(spec: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let mut seen = BTreeSet::new();
    for (container_index, container) in object::items(spec, "/containers").iter().enumerate() {
        for (index, port) in object::items(container, "/ports").iter().enumerate() {
            let number = object::integer(port, "/hostPort");
            let address = object::text(port, "/hostIP");
            let protocol = object::text(port, "/protocol");
            if number != 0 && !seen.insert((protocol, address, number)) {
                let field =
                    format!("{field}.containers[{container_index}].ports[{index}].hostPort");
                let value = format!("{address}/{protocol}/{number}");
                errors.push(FieldError::duplicate(field, value));
            }
        }
    }
}

fn environment(container: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for (index, variable) in object::items(container, "/env").iter().enumerate() {
        let field = format!("{field}.env[{index}]");
        let name = object::text(variable, "/name");
        if name.is_empty() {
            errors.push(FieldError::required(format!("{field}.name"), ""));
        } else {
            for why in names::environment_name(name) {
                errors.push(FieldError::invalid(format!("{field}.name"), name, &why));
            }
        }
        let Some(from) = variable.get("valueFrom").and_then(Value::as_object) else { continue };
        if !object::text(variable, "/value").is_empty() {
            let detail = "may not be specified when `value` is not empty";
            errors.push(FieldError::invalid(format!("{field}.valueFrom"), "", detail));
        }
        if from.len() != 1 {
            let detail = if from.is_empty() {
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or \
                 `secretKeyRef`"
            } else {
                "may not have more than one field specified at a time"
            };
            errors.push(FieldError::invalid(format!("{field}.valueFrom"), "", detail));
        }
        for name in ["configMapKeyRef", "secretKeyRef"] {
            if let Some(reference) = from.get(name) {
                for key in ["name", "key"] {
                    if object::text(reference, &format!("/{key}")).is_empty() {
                        let field = format!("{field}.valueFrom.{name}.{key}");
                        errors.push(FieldError::required(field, ""));
                    }
                }
            }
        }
        if let Some(reference) = from.get("fieldRef") {
            let path = object::text(reference, "/fieldPath");
            const PATHS: &[&str] = &[
                "metadata.name",
                "metadata.namespace",
                "metadata.uid",
                "spec.nodeName",
                "spec.serviceAccountName",
                "status.hostIP",
                "status.hostIPs",
                "status.podIP",
                "status.podIPs",
            ];
            let subscript =
                path.starts_with("metadata.labels['") || path.starts_with("metadata.annotations['");
            if !subscript {
                errors.extend(one_of(format!("{field}.valueFrom.fieldRef.fieldPath"), path, PATHS));
            }
        }
    }
}

fn mounts(container: &Value, field: &str, volumes: &BTreeSet<&str>, errors: &mut Vec<FieldError>) {
    let mut seen = BTreeSet::new();
    for (index, mount) in object::items(container, "/volumeMounts").iter().enumerate() {
        let field = format!("{field}.volumeMounts[{index}]");
        let (name, path) = (object::text(mount, "/name"), object::text(mount, "/mountPath"));
        if name.is_empty() {
            errors.push(FieldError::required(format!("{field}.name"), ""));
        } else if !volumes.contains(name) {
            errors.push(FieldError::not_found(format!("{field}.name"), name));
        }
        if path.is_empty() {
            errors.push(FieldError::required(format!("{field}.mountPath"), ""));
        } else if !seen.insert(path) {
            let detail = "must be unique";
            errors.push(FieldError::invalid(format!("{field}.mountPath"), path, detail));
        }
        let below = object::text(mount, "/subPath");
        if below.starts_with('/') {
            let detail = "must be a relative path";
            errors.push(FieldError::invalid(format!("{field}.subPath"), below, detail));
        }
        if below.split('/').any(|part| part == "..") {
            let detail = "must not contain '..'";
            errors.push(FieldError::invalid(format!("{field}.subPath"), below, detail));
        }
    }
}

fn resources(container: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let field = format!("{field}.resources");
    let amounts = |kind: &str| {
        let pointer = format!("/resources/{kind}");
        container.pointer(&pointer).and_then(Value::as_object).into_iter().flatten()
    };
    for kind in ["limits", "requests"] {
        for (name, amount) in amounts(kind) {
            let text = amount.as_str().unwrap_or_default();
            for why in names::qualified_name(name) {
                errors.push(FieldError::invalid(format!("{field}.{kind}"), name.as_str(), &why));
            }
            if text.parse::<Quantity>().is_ok_and(|amount| amount.is_negative()) {
                let detail = "must be greater than or equal to 0";
                errors.push(FieldError::invalid(format!("{field}.{kind}[{name}]"), text, detail));
            }
        }
    }
    for (name, request) in amounts("requests") {
        let limit =
            object::text(container, &format!("/resources/limits/{}", name.replace('/', "~1")));
        let request = request.as_str().unwrap_or_default();
        if let (Ok(amount), Ok(bound)) = (request.parse::<Quantity>(), limit.parse::<Quantity>())
            && amount > bound
        {
            let detail = format!("must be less than or equal to {name} limit of {bound}");
            errors.push(FieldError::invalid(format!("{field}.requests"), request, &detail));
        }
    }
}

fn check_probe(probe: &Value, name: &str, field: &str, errors: &mut Vec<FieldError>) {
    let handlers = ["exec", "httpGet", "tcpSocket", "grpc"];
    let found: Vec<&str> =
        handlers.into_iter().filter(|handler| probe.get(handler).is_some()).collect();
    match found.as_slice() {
        [] => errors.push(FieldError::required(field, "must specify a handler type")),
        [_] => {}
        [_, more @ ..] => errors.extend(more.iter().map(|handler| {
            let detail = "may not specify more than 1 handler type";
            FieldError::forbidden(format!("{field}.{handler}"), detail)
        })),
    }
    for key in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        let value = object::integer(probe, &format!("/{key}"));
        if value < 0 {
            let detail = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(format!("{field}.{key}"), value, detail));
        }
    }
    let successes = object::integer(probe, "/successThreshold");
    if name != "readinessProbe" && successes > 1 {
        errors.push(FieldError::invalid(
            format!("{field}.successThreshold"),
            successes,
            "must be 1",
        ));
    }
    for handler in ["httpGet", "tcpSocket"] {
        if let Some(port) = probe.pointer(&format!("/{handler}/port")).and_then(Value::as_i64) {
            port_number(port, format!("{field}.{handler}.port"), errors);
        }
    }
}

fn tolerations(spec: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for (index, toleration) in object::items(spec, "/tolerations").iter().enumerate() {
        let field = format!("{field}.tolerations[{index}]");
        let text = |key: &str| object::text(toleration, &format!("/{key}"));
        let (key, operator, effect) = (text("key"), text("operator"), text("effect"));
        if key.is_empty() && operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all \
                          values and all keys\"";
            errors.push(FieldError::invalid(format!("{field}.operator"), operator, detail));
        }
        if operator == "Exists" && !text("value").is_empty() {
            let detail = "value must be empty when `operator` is 'Exists'";
            errors.push(FieldError::invalid(format!("{field}.operator"), text("value"), detail));
        }
        if !operator.is_empty() {
            let known = ["Equal", "Exists"];
            errors.extend(one_of(format!("{field}.operator"), operator, &known));
        }
        if !effect.is_empty() {
            let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
            errors.extend(one_of(format!("{field}.effect"), effect, &known));
        }
        if toleration.get("tolerationSeconds").is_some() && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(format!("{field}.effect"), effect, detail));
        }
    }
}
