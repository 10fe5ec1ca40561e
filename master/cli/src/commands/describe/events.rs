//! What happened to an object lately.

use serde_json::Value;

use super::text::Text;
use crate::age::{age_of, human, parse_time};
use crate::client::{Client, JSON, Path};
use crate::discovery::Resource;
use crate::error::CliError;
use crate::object::{items, name, namespace, number, text};

/// Asks for the events of an object.
pub(super) async fn of(
    resource: &Resource,
    object: &Value,
    client: &Client,
) -> Result<Vec<Value>, CliError> {
    // Events of objects without namespace are kept in the default one.
    let place = if resource.namespaced { namespace(object) } else { "default" };
    let mut selector =
        format!("involvedObject.name={},involvedObject.kind={}", name(object), resource.kind);
    let uid = text(object, "/metadata/uid");
    // A node's agent does not know the node's uid and writes its name instead.
    if resource.plural != "nodes" && !uid.is_empty() {
        selector.push_str(&format!(",involvedObject.uid={uid}"));
    }
    let path = Path::new("/api/v1/namespaces").join(place).join("events");
    match client.get(&path.with("fieldSelector", &selector), JSON).await {
        Ok(list) => Ok(items(&list, "/items").to_vec()),
        // Who may see the object need not be allowed to see its events.
        Err(CliError::Server { .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Writes them, the oldest first.
pub(super) fn describe(events: &[Value], now: i64, out: &mut Text) {
    if events.is_empty() {
        out.field(0, "Events", "<none>");
        return;
    }
    let mut events: Vec<&Value> = events.iter().collect();
    events.sort_by_key(|event| parse_time(last_seen(event)));
    let rows = events.into_iter().map(|event| row(event, now)).collect();
    out.heading(0, "Events");
    out.table(1, &["Type", "Reason", "Age", "From", "Message"], rows);
}

fn last_seen(event: &Value) -> &str {
    let fields = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime"];
    fields.into_iter().map(|field| text(event, field)).find(|time| !time.is_empty()).unwrap_or("")
}

fn row(event: &Value, now: i64) -> Vec<String> {
    let count = number(event, "/series/count").max(number(event, "/count"));
    let mut age = age_of(last_seen(event), now);
    let first = [text(event, "/firstTimestamp"), text(event, "/eventTime")];
    if let (true, Some(first)) = (count > 1, first.into_iter().find_map(parse_time)) {
        age = format!("{age} (x{count} over {})", human(now - first));
    }
    let from = [text(event, "/source/component"), text(event, "/reportingComponent")];
    let from = from.into_iter().find(|from| !from.is_empty()).unwrap_or("");
    vec![
        text(event, "/type").to_owned(),
        text(event, "/reason").to_owned(),
        age,
        from.to_owned(),
        text(event, "/message").trim().replace('\n', " "),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_ordered_and_counted() {
        let events = [
            json!({"type": "Warning", "reason": "BackOff", "count": 3, "message": "later\n",
                   "firstTimestamp": "1970-01-01T00:00:10Z", "lastTimestamp": "1970-01-01T00:00:50Z",
                   "source": {"component": "kubelet"}}),
            json!({"type": "Normal", "reason": "Pulled", "message": "first",
                   "eventTime": "1970-01-01T00:00:05.000000Z", "reportingComponent": "kubelet"}),
        ];
        let mut text = Text::default();
        describe(&events, 60, &mut text);
        let rendered = text.render();
        let lines: Vec<_> = rendered.lines().collect();
        assert_eq!(lines[3], "  Normal   Pulled   55s                kubelet  first");
        assert_eq!(lines[4], "  Warning  BackOff  10s (x3 over 50s)  kubelet  later");
    }
}
