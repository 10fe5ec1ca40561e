//! Deployments and the like: how many pods there are of how many wanted.

use serde_json::Value;

use super::conditions;
use super::generic::{controlled_by, labels, metadata};
use super::text::Text;
use crate::discovery::Resource;
use crate::object::{items, number, pairs, plain, selector, text};

/// Describes a workload, without its events.
pub(super) fn describe(resource: &Resource, object: &Value, out: &mut Text) {
    metadata(true, object, out);
    out.field(0, "CreationTimestamp", text(object, "/metadata/creationTimestamp"));
    labels(object, out);
    let query = selector(object.pointer("/spec/selector").unwrap_or(&Value::Null));
    out.field(0, "Selector", if query.is_empty() { "<none>" } else { &query });
    out.field_if(0, "Controlled By", &controlled_by(object));
    out.field(0, "Replicas", replicas(resource, object));
    let strategy = [text(object, "/spec/strategy/type"), text(object, "/spec/updateStrategy/type")];
    out.field_if(0, "StrategyType", &strategy.concat());
    if resource.plural == "deployments" {
        out.field(0, "MinReadySeconds", number(object, "/spec/minReadySeconds").to_string());
    }
    let rolling = ["/spec/strategy/rollingUpdate", "/spec/updateStrategy/rollingUpdate"];
    let rolling: Vec<_> = rolling
        .into_iter()
        .flat_map(|pointer| pairs(object, pointer))
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    out.field_if(0, "RollingUpdateStrategy", &rolling.join(", "));
    template(object, out);
    conditions::write(object, out);
}

fn replicas(resource: &Resource, object: &Value) -> String {
    let status = |field: &str| number(object, &format!("/status/{field}"));
    match resource.plural.as_str() {
        "deployments" => format!(
            "{} desired | {} updated | {} total | {} available | {} unavailable",
            number(object, "/spec/replicas"),
            status("updatedReplicas"),
            status("replicas"),
            status("availableReplicas"),
            status("unavailableReplicas"),
        ),
        "daemonsets" => format!(
            "{} desired | {} scheduled | {} up to date | {} available",
            status("desiredNumberScheduled"),
            status("currentNumberScheduled"),
            status("updatedNumberScheduled"),
            status("numberAvailable"),
        ),
        _ => format!(
            "{} desired | {} total | {} ready",
            number(object, "/spec/replicas"),
            status("replicas"),
            status("readyReplicas"),
        ),
    }
}

fn template(object: &Value, out: &mut Text) {
    out.heading(0, "Pod Template");
    let labels = pairs(object, "/spec/template/metadata/labels");
    out.list(1, "Labels", labels.into_iter().map(|(name, value)| format!("{name}={value}")));
    for (heading, pointer) in [
        ("Init Containers", "/spec/template/spec/initContainers"),
        ("Containers", "/spec/template/spec/containers"),
    ] {
        let containers = items(object, pointer);
        if containers.is_empty() {
            continue;
        }
        out.heading(1, heading);
        for container in containers {
            out.heading(2, text(container, "/name"));
            out.field(3, "Image", text(container, "/image"));
            let ports: Vec<_> = items(container, "/ports")
                .iter()
                .map(|port| {
                    let protocol = text(port, "/protocol");
                    let protocol = if protocol.is_empty() { "TCP" } else { protocol };
                    format!("{}/{protocol}", number(port, "/containerPort"))
                })
                .collect();
            out.field_if(3, "Ports", &ports.join(", "));
            let words = |pointer: &str| {
                items(container, pointer).iter().map(plain).collect::<Vec<_>>().join(" ")
            };
            out.field_if(3, "Command", &words("/command"));
            out.field_if(3, "Args", &words("/args"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::discovery::tests::discovery;

    #[test]
    fn deployment_tells_how_far_it_is() {
        let discovery = discovery();
        let resource = discovery.find("deploy").unwrap()[0];
        let deployment = json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
                "strategy": {"type": "RollingUpdate",
                             "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
                    {"name": "app", "image": "hello:1", "ports": [{"containerPort": 80}]}]}},
            },
            "status": {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 1,
                "unavailableReplicas": 2, "conditions": [{"type": "Available", "status": "False",
                "reason": "MinimumReplicasUnavailable"}]},
        });
        let mut text = Text::default();
        describe(resource, &deployment, &mut text);
        insta::assert_snapshot!(text.render());
    }
}
