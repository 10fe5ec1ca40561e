//! A pod: where it runs, how its containers do, and why not.

use serde_json::Value;

use super::conditions;
use super::generic::{controlled_by, labels, metadata};
use super::text::Text;
use crate::object::{flag, items, number, pairs, plain, terminating, text};

/// Describes a pod, without its events.
pub(super) fn describe(pod: &Value, out: &mut Text) {
    metadata(true, pod, out);
    out.field(0, "Priority", number(pod, "/spec/priority").to_string());
    out.field_if(0, "Priority Class Name", text(pod, "/spec/priorityClassName"));
    out.field_if(0, "Service Account", text(pod, "/spec/serviceAccountName"));
    out.field(0, "Node", node(pod));
    out.field_if(0, "Start Time", text(pod, "/status/startTime"));
    labels(pod, out);
    status(pod, out);
    out.field_if(0, "Controlled By", &controlled_by(pod));
    containers(
        pod,
        "Init Containers",
        "/spec/initContainers",
        "/status/initContainerStatuses",
        out,
    );
    containers(pod, "Containers", "/spec/containers", "/status/containerStatuses", out);
    conditions::write(pod, out);
    volumes(pod, out);
    out.field_if(0, "QoS Class", text(pod, "/status/qosClass"));
    let selectors = pairs(pod, "/spec/nodeSelector");
    out.list(0, "Node-Selectors", selectors.into_iter().map(|(k, v)| format!("{k}={v}")));
    out.list(0, "Tolerations", items(pod, "/spec/tolerations").iter().map(toleration));
}

fn node(pod: &Value) -> String {
    match (text(pod, "/spec/nodeName"), text(pod, "/status/hostIP")) {
        ("", _) => "<none>".to_owned(),
        (name, "") => name.to_owned(),
        (name, ip) => format!("{name}/{ip}"),
    }
}

fn status(pod: &Value, out: &mut Text) {
    if terminating(pod) {
        let since = text(pod, "/metadata/deletionTimestamp");
        out.field(0, "Status", format!("Terminating (until {since})"));
        let grace = number(pod, "/metadata/deletionGracePeriodSeconds");
        out.field(0, "Termination Grace Period", format!("{grace}s"));
    } else {
        out.field(0, "Status", text(pod, "/status/phase"));
    }
    out.field_if(0, "Reason", text(pod, "/status/reason"));
    out.field_if(0, "Message", text(pod, "/status/message"));
    out.field(0, "IP", text(pod, "/status/podIP"));
}

fn containers(pod: &Value, heading: &str, specs: &str, statuses: &str, out: &mut Text) {
    let containers = items(pod, specs);
    if containers.is_empty() {
        return;
    }
    out.heading(0, heading);
    for container in containers {
        let name = text(container, "/name");
        let statuses = items(pod, statuses);
        let status = statuses.iter().find(|status| text(status, "/name") == name);
        out.heading(1, name);
        container_fields(container, status.unwrap_or(&Value::Null), out);
    }
}

fn container_fields(container: &Value, status: &Value, out: &mut Text) {
    out.field_if(2, "Container ID", text(status, "/containerID"));
    out.field(2, "Image", text(container, "/image"));
    out.field_if(2, "Image ID", text(status, "/imageID"));
    let ports = items(container, "/ports").iter().map(port).collect::<Vec<_>>().join(", ");
    out.field(2, "Ports", if ports.is_empty() { "<none>" } else { &ports });
    let words =
        |pointer: &str| items(container, pointer).iter().map(plain).collect::<Vec<_>>().join(" ");
    out.field_if(2, "Command", &words("/command"));
    out.field_if(2, "Args", &words("/args"));
    state("State", status.get("state"), out);
    if status.get("lastState").is_some_and(|last| last != &serde_json::json!({})) {
        state("Last State", status.get("lastState"), out);
    }
    out.field(2, "Ready", if flag(status, "/ready") { "True" } else { "False" });
    out.field(2, "Restart Count", number(status, "/restartCount").to_string());
    for (heading, pointer) in [("Limits", "/resources/limits"), ("Requests", "/resources/requests")]
    {
        let amounts = pairs(container, pointer);
        if !amounts.is_empty() {
            out.list(
                2,
                heading,
                amounts.into_iter().map(|(name, value)| format!("{name}: {value}")),
            );
        }
    }
    for (heading, field) in [
        ("Liveness", "livenessProbe"),
        ("Readiness", "readinessProbe"),
        ("Startup", "startupProbe"),
    ] {
        if let Some(probe) = container.get(field) {
            out.field(2, heading, self::probe(probe));
        }
    }
    let env = items(container, "/env").iter().map(variable);
    out.list(2, "Environment", env);
    let mounts = items(container, "/volumeMounts").iter().map(|mount| {
        let mode = if flag(mount, "/readOnly") { "ro" } else { "rw" };
        format!("{} from {} ({mode})", text(mount, "/mountPath"), text(mount, "/name"))
    });
    out.list(2, "Mounts", mounts);
}

fn port(port: &Value) -> String {
    let protocol = match text(port, "/protocol") {
        "" => "TCP",
        protocol => protocol,
    };
    let plain = format!("{}/{protocol}", number(port, "/containerPort"));
    match number(port, "/hostPort") {
        0 => plain,
        host => format!("{plain} (host port {host})"),
    }
}

fn state(heading: &str, state: Option<&Value>, out: &mut Text) {
    let state = state.and_then(Value::as_object).and_then(|state| state.iter().next());
    match state {
        Some((kind, details)) if kind == "running" => {
            out.field(2, heading, "Running");
            out.field_if(3, "Started", text(details, "/startedAt"));
        }
        Some((kind, details)) if kind == "terminated" => {
            out.field(2, heading, "Terminated");
            out.field_if(3, "Reason", text(details, "/reason"));
            out.field_if(3, "Message", text(details, "/message").trim());
            out.field(3, "Exit Code", number(details, "/exitCode").to_string());
            if number(details, "/signal") != 0 {
                out.field(3, "Signal", number(details, "/signal").to_string());
            }
            out.field_if(3, "Started", text(details, "/startedAt"));
            out.field_if(3, "Finished", text(details, "/finishedAt"));
        }
        Some((_, details)) => {
            out.field(2, heading, "Waiting");
            out.field_if(3, "Reason", text(details, "/reason"));
            out.field_if(3, "Message", text(details, "/message").trim());
        }
        None => out.field(2, heading, "Waiting"),
    }
}

fn probe(probe: &Value) -> String {
    let what = if let Some(http) = probe.get("httpGet") {
        let scheme = text(http, "/scheme").to_lowercase();
        let scheme = if scheme.is_empty() { "http" } else { &scheme };
        let port = http.get("port").map(plain).unwrap_or_default();
        format!("http-get {scheme}://{}:{port}{}", text(http, "/host"), text(http, "/path"))
    } else if let Some(tcp) = probe.get("tcpSocket") {
        format!("tcp-socket :{}", tcp.get("port").map(plain).unwrap_or_default())
    } else if let Some(grpc) = probe.get("grpc") {
        format!("grpc :{}", number(grpc, "/port"))
    } else {
        let command = items(probe, "/exec/command").iter().map(plain).collect::<Vec<_>>();
        format!("exec [{}]", command.join(" "))
    };
    format!(
        "{what} delay={}s timeout={}s period={}s #success={} #failure={}",
        number(probe, "/initialDelaySeconds"),
        number(probe, "/timeoutSeconds").max(1),
        number(probe, "/periodSeconds"),
        number(probe, "/successThreshold").max(1),
        number(probe, "/failureThreshold"),
    )
}

fn variable(variable: &Value) -> String {
    let name = text(variable, "/name");
    let Some(from) = variable.get("valueFrom") else {
        return format!("{name}: {}", text(variable, "/value"));
    };
    for (field, kind) in [("configMapKeyRef", "config map"), ("secretKeyRef", "secret")] {
        if let Some(source) = from.get(field) {
            let (key, object) = (text(source, "/key"), text(source, "/name"));
            return format!("{name}: <set to the key '{key}' in {kind} '{object}'>");
        }
    }
    let field = [text(from, "/fieldRef/fieldPath"), text(from, "/resourceFieldRef/resource")];
    format!("{name}: ({})", field.concat())
}

fn volumes(pod: &Value, out: &mut Text) {
    let rows = items(pod, "/spec/volumes").iter().map(|volume| {
        let source = volume.as_object().into_iter().flatten().find(|(field, _)| *field != "name");
        let (kind, source) = source.map_or(("emptyDir", &Value::Null), |(k, v)| (k.as_str(), v));
        let names = ["/path", "/name", "/secretName", "/claimName"];
        let name = names.into_iter().map(|field| text(source, field)).find(|name| !name.is_empty());
        let name = name.map_or_else(String::new, |name| format!(" {name}"));
        format!("{}: {kind}{name}", text(volume, "/name"))
    });
    out.list(0, "Volumes", rows);
}

fn toleration(toleration: &Value) -> String {
    let mut shown = text(toleration, "/key").to_owned();
    let value = text(toleration, "/value");
    if !value.is_empty() {
        shown.push_str(&format!("={value}"));
    }
    let effect = text(toleration, "/effect");
    if !effect.is_empty() {
        shown.push_str(&format!(":{effect}"));
    }
    if text(toleration, "/operator") == "Exists" {
        shown.push_str(" op=Exists");
    }
    if toleration.get("tolerationSeconds").is_some() {
        shown.push_str(&format!(" for {}s", number(toleration, "/tolerationSeconds")));
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pod_tells_where_it_runs_and_why_not() {
        let pod = json!({
            "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "web-6d5f", "controller": true}]},
            "spec": {
                "nodeName": "pi-2",
                "containers": [{
                    "name": "app", "image": "hello:1", "ports": [{"containerPort": 80}],
                    "env": [{"name": "A", "value": "1"}],
                    "livenessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 10,
                                      "failureThreshold": 3},
                }],
                "volumes": [{"name": "v", "configMap": {"name": "conf"}}],
                "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute",
                                 "tolerationSeconds": 300}],
            },
            "status": {
                "phase": "Pending", "hostIP": "10.0.0.2",
                "containerStatuses": [{
                    "name": "app", "restartCount": 2,
                    "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}},
                    "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
                }],
                "conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}],
            },
        });
        let mut text = Text::default();
        describe(&pod, &mut text);
        insta::assert_snapshot!(text.render());
    }
}
