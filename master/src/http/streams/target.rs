//! Which container of which pod on which node a stream is for.

use bramble_api::Status;
use serde_json::Value;

use crate::http::Call;
use crate::http::logs::choose_container;

/// Where a stream to a container goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) pod: PodTarget,
    pub(super) container: String,
}

/// Where a stream to a pod goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodTarget {
    pub(super) node: String,
    pub(super) name: String,
    pub(super) uid: String,
}

/// Finds the pod that a request means.
///
/// # Errors
///
/// 404 without the pod, 400 without a node.
pub(super) async fn find_pod(call: &Call<'_>) -> Result<PodTarget, Status> {
    let pod = call.api.objects.get(call.resource, call.namespace, call.name).await?;
    of_pod(&pod, call.name)
}

/// Finds the container that a request means.
///
/// # Errors
///
/// 404 without the pod, 400 without a container or a node.
pub(super) async fn find(call: &Call<'_>, container: Option<&str>) -> Result<Target, Status> {
    let pod = call.api.objects.get(call.resource, call.namespace, call.name).await?;
    of_container(&pod, call.name, container)
}

fn of_container(pod: &Value, name: &str, container: Option<&str>) -> Result<Target, Status> {
    let container = choose_container(pod, name, container)?;
    Ok(Target { pod: of_pod(pod, name)?, container })
}

fn of_pod(pod: &Value, name: &str) -> Result<PodTarget, Status> {
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (node, name) = (text("/spec/nodeName").to_owned(), name.to_owned());
    if node.is_empty() {
        return Err(Status::bad_request(format!("pod {name} does not have a host assigned")));
    }
    Ok(PodTarget { node, name, uid: text("/metadata/uid").to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_without_a_node_has_nothing_to_stream() {
        let mut pod = json!({"metadata": {"uid": "u"}, "spec": {"containers": [{"name": "a"}]}});
        let refused = of_container(&pod, "p", None).unwrap_err();
        assert_eq!(
            (refused.code, refused.message.as_str()),
            (400, "pod p does not have a host assigned")
        );
        pod["spec"]["nodeName"] = json!("n");
        let found = of_container(&pod, "p", None).unwrap();
        assert_eq!((found.pod.node.as_str(), found.container.as_str()), ("n", "a"));
        assert_eq!(
            of_container(&pod, "p", Some("b")).unwrap_err().message,
            "container b is not valid for pod p"
        );
    }
}
