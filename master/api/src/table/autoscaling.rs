//! Columns of HorizontalPodAutoscaler.

use serde_json::Value;

use super::{Column, age, integer, name, name_column, number, shown, text};
use crate::object;

/// Metrics that are printed; the rest is counted.
const METRICS_MAX: usize = 2;

pub(crate) const COLUMNS: &[Column] = &[
    name_column(),
    text("Reference"),
    text("Targets"),
    text("MinPods"),
    integer("MaxPods"),
    integer("Replicas"),
    text("Age"),
];

pub(crate) fn cells(object: &Value, now: i64) -> Vec<Value> {
    let target = |field: &str| object::text(object, &format!("/spec/scaleTargetRef/{field}"));
    vec![
        name(object),
        format!("{}/{}", target("kind"), target("name")).into(),
        targets(object).into(),
        shown(object, "/spec/minReplicas", "<unset>"),
        number(object, "/spec/maxReplicas"),
        number(object, "/status/currentReplicas"),
        age(object, now),
    ]
}

fn targets(object: &Value) -> String {
    let metrics = object::items(object, "/spec/metrics");
    if metrics.is_empty() {
        return "<none>".to_owned();
    }
    let current = object::items(object, "/status/currentMetrics");
    let shown: Vec<String> = metrics
        .iter()
        .zip(current.iter().map(Some).chain(std::iter::repeat(None)))
        .take(METRICS_MAX)
        .map(|(metric, current)| one_target(metric, current))
        .collect();
    match metrics.len().saturating_sub(METRICS_MAX) {
        0 => shown.join(", "),
        more => format!("{} + {more} more...", shown.join(", ")),
    }
}

fn one_target(metric: &Value, current: Option<&Value>) -> String {
    let kind = object::text(metric, "/type");
    let source = match kind {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        "External" => "external",
        _ => return "<unknown type>".to_owned(),
    };
    let read = |value: Option<&Value>, side: &str| {
        let side = value?.get(source)?.get(side)?;
        if let Some(percent) = side.get("averageUtilization").and_then(Value::as_i64) {
            return Some(format!("{percent}%"));
        }
        ["averageValue", "value"]
            .iter()
            .find_map(|field| side.get(*field).and_then(Value::as_str))
            .map(ToOwned::to_owned)
    };
    let unknown = || "<unknown>".to_owned();
    let now = read(current, "current").unwrap_or_else(unknown);
    let wanted = read(Some(metric), "target").unwrap_or_else(unknown);
    let label = match kind {
        "Resource" | "ContainerResource" => {
            format!("{}: ", object::text(metric, &format!("/{source}/name")))
        }
        _ => String::new(),
    };
    format!("{label}{now}/{wanted}")
}
