//! Pods: the first status, and the time to end.

use serde_json::{Value, json};

use crate::object;

/// Seconds that a pod may take to end when neither it nor the client says.
const GRACE_S: i64 = 30;

/// Waiting for a node.
pub(crate) fn initial_status(pod: &Value) -> Value {
    json!({"phase": "Pending", "qosClass": quality_of_service(pod)})
}

/// None but for a pod that runs somewhere.
pub(crate) fn grace_s(pod: &Value) -> Option<i64> {
    let ended = matches!(object::text(pod, "/status/phase"), "Succeeded" | "Failed");
    let bound = !object::text(pod, "/spec/nodeName").is_empty();
    if !bound || ended {
        return None;
    }
    let own_s = pod.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
    Some(own_s.unwrap_or(GRACE_S))
}

/// Quality of service of a pod: `Guaranteed`, `Burstable` or `BestEffort`.
pub(crate) fn quality_of_service(pod: &Value) -> &'static str {
    let containers = object::items(pod, "/spec/initContainers")
        .iter()
        .chain(object::items(pod, "/spec/containers"));
    let (mut any, mut guaranteed) = (false, true);
    for container in containers {
        for name in ["cpu", "memory"] {
            let amount = |kind: &str| {
                let text = object::text(container, &format!("/resources/{kind}/{name}"));
                text.parse::<crate::quantity::Quantity>().ok().filter(|amount| !amount.is_zero())
            };
            let (request, limit) = (amount("requests"), amount("limits"));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_of_service_follows_requests_and_limits() {
        let check = |resources: Value, expected: &str| {
            let pod = json!({"spec": {"containers": [{"resources": resources}]}});
            assert_eq!(quality_of_service(&pod), expected);
        };
        check(json!({}), "BestEffort");
        check(json!({"limits": {"cpu": "1"}}), "Burstable");
        check(json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed");
        check(
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Mi"}}),
            "Burstable",
        );
    }
}
