//! The `log` subresource of pods: finds the container and asks its node.

use std::io;

use bramble_api::{Status, timestamp};
use bramble_shared::link::LogsRequest;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::Response;
use serde_json::Value;

use super::response::{self, Body};
use super::{Call, Query};
use crate::clock;

/// Type of a log.
const TEXT: &str = "text/plain";

/// Streams a container's log.
pub(super) async fn handle(call: &Call<'_>) -> Result<Response<Body>, Status> {
    Ok(response::stream(TEXT, open(call).await?))
}

/// Opens a container's log, to be read piece by piece.
///
/// # Errors
///
/// When there is no such container, or it has not begun.
pub(super) async fn open(
    call: &Call<'_>,
) -> Result<impl Stream<Item = Result<Bytes, io::Error>> + Send + use<>, Status> {
    let pod = call.api.objects.get(call.resource, call.namespace, call.name).await?;
    let container = choose_container(&pod, call.name, call.query.container.as_deref())?;
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let node = text("/spec/nodeName");
    let chunks = if node.is_empty() {
        // Nothing can have been written yet, as upstream says it.
        stream::empty().boxed()
    } else {
        check_state(&pod, call.name, &container, call.query.previous)?;
        let request = request(call.query, text("/metadata/uid").to_owned(), container)?;
        call.api.nodes.logs(node, request).await?
    };
    let mut stopping = call.api.stopping.clone();
    let chunks = chunks.map(|chunk: Result<Bytes, Status>| chunk.map_err(io::Error::other));
    Ok(chunks.take_until(async move {
        let _ = stopping.wait_for(|stop| *stop).await;
    }))
}

fn request(query: &Query, uid: String, container: String) -> Result<LogsRequest, Status> {
    let since_ms = match (query.since_s, &query.since_time) {
        (Some(_), Some(_)) => {
            return Err(Status::bad_request(
                "at most one of `sinceTime` or `sinceSeconds` may be specified",
            ));
        }
        (Some(seconds), None) => {
            Some(clock::time_of_day_ms().saturating_sub(seconds.saturating_mul(1_000)))
        }
        (None, Some(text)) => {
            let seconds = timestamp::parse(text)
                .ok_or_else(|| Status::bad_request(format!("invalid sinceTime {text:?}")))?;
            Some(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000))
        }
        (None, None) => None,
    };
    Ok(LogsRequest {
        uid,
        container,
        follow: query.follow,
        previous: query.previous,
        timestamps: query.timestamps,
        tail_lines: query.tail_lines,
        since_ms,
        limit_bytes: query.limit_bytes,
    })
}

/// Returns the container that is meant: the only one, where none is named.
pub(super) fn choose_container(
    pod: &Value,
    pod_name: &str,
    asked: Option<&str>,
) -> Result<String, Status> {
    let regular = names(pod, "containers");
    let init = names(pod, "initContainers");
    let ephemeral = names(pod, "ephemeralContainers");
    match (asked, regular.as_slice()) {
        (Some(asked), _) if [&regular, &init, &ephemeral].iter().any(|n| n.contains(&asked)) => {
            Ok(asked.to_owned())
        }
        (Some(asked), _) => {
            Err(Status::bad_request(format!("container {asked} is not valid for pod {pod_name}")))
        }
        (None, [only]) => Ok((*only).to_owned()),
        (None, _) => {
            let mut message = format!(
                "a container name must be specified for pod {pod_name}, choose one of: [{}]",
                regular.join(" ")
            );
            if !init.is_empty() {
                message.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(Status::bad_request(message))
        }
    }
}

fn names<'a>(pod: &'a Value, field: &str) -> Vec<&'a str> {
    let list = pod.pointer(&format!("/spec/{field}")).and_then(Value::as_array);
    let name = |container: &'a Value| container.get("name").and_then(Value::as_str);
    list.into_iter().flatten().filter_map(name).collect()
}

/// Refuses early what the node could not answer either.
fn check_state(pod: &Value, pod_name: &str, container: &str, previous: bool) -> Result<(), Status> {
    let status = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"]
        .iter()
        .filter_map(|field| pod.pointer(&format!("/status/{field}"))?.as_array())
        .flatten()
        .find(|status| status.get("name").and_then(Value::as_str) == Some(container));
    let at = |pointer: &str| status.and_then(|status| status.pointer(pointer));
    let ended_before = at("/lastState/terminated").is_some();
    if previous && !ended_before {
        return Err(Status::bad_request(format!(
            "previous terminated container {container:?} in pod {pod_name:?} not found"
        )));
    }
    let ran = at("/state/running").is_some() || at("/state/terminated").is_some();
    // A node that has not reported the container yet has not started it either.
    if !ran && !ended_before {
        let reason = at("/state/waiting/reason").and_then(Value::as_str);
        let reason = reason.unwrap_or("ContainerCreating");
        return Err(Status::bad_request(format!(
            "container {container:?} in pod {pod_name:?} is waiting to start: {reason}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{check_state, choose_container};

    #[test]
    fn only_container_need_not_be_named() {
        let pod =
            json!({"spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "i"}]}});
        assert_eq!(choose_container(&pod, "p", None).unwrap(), "a");
        assert_eq!(choose_container(&pod, "p", Some("i")).unwrap(), "i");
        let error = choose_container(&pod, "p", Some("x")).unwrap_err();
        assert_eq!(error.message, "container x is not valid for pod p");
    }

    #[test]
    fn one_of_several_must_be_named() {
        let pod = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        let error = choose_container(&pod, "p", None).unwrap_err();
        assert_eq!(error.code, 400);
        assert!(error.message.ends_with("choose one of: [a b]"), "{}", error.message);
    }

    #[test]
    fn container_that_never_ran_has_no_log() {
        let pod = |status| json!({"status": {"containerStatuses": [status]}});
        let waiting =
            pod(json!({"name": "a", "state": {"waiting": {"reason": "ImagePullBackOff"}}}));
        let error = check_state(&waiting, "p", "a", false).unwrap_err();
        assert!(error.message.ends_with("is waiting to start: ImagePullBackOff"));
        let unreported = check_state(&json!({"status": {}}), "p", "a", false).unwrap_err();
        assert_eq!(unreported.code, 400);
        assert_eq!(
            unreported.message,
            "container \"a\" in pod \"p\" is waiting to start: ContainerCreating"
        );
        let crashed = pod(json!({"name": "a", "state": {"waiting": {}},
            "lastState": {"terminated": {"exitCode": 1}}}));
        assert!(check_state(&crashed, "p", "a", false).is_ok());
        assert!(check_state(&crashed, "p", "a", true).is_ok());
        let running = pod(json!({"name": "a", "state": {"running": {}}}));
        assert!(check_state(&running, "p", "a", false).is_ok());
        assert!(check_state(&running, "p", "a", true).is_err());
    }
}
