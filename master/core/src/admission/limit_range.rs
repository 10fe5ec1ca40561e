//! Limit ranges: what containers of a namespace get when they say nothing, and how little or much
//! containers, pods and claims may ask for.

use std::collections::BTreeSet;

use bramble_api::quantity::Quantity;
use serde_json::{Map, Value};

use super::{Amounts, amounts, fields, items, pod_total, quantity, text};

/// Says which of a pod's amounts are from a limit range, as upstream.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Gives a new pod's containers the defaults of the namespace's limit ranges.
pub fn set_defaults(pod: &mut Value, ranges: &[Value]) {
    let mut said = Vec::new();
    for range in ranges {
        let (requests, limits) = defaults(range);
        for (list, what) in [("containers", "container"), ("initContainers", "init container")] {
            let containers =
                pod.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                let name = text(container, "/name").to_owned();
                for (kind, defaults) in [("request", &requests), ("limit", &limits)] {
                    let set = fill(container, &format!("{kind}s"), defaults);
                    if !set.is_empty() {
                        said.push(format!("{} {kind} for {what} {name}", set.join(", ")));
                    }
                }
            }
        }
    }
    let metadata = pod.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(metadata) = metadata.filter(|_| !said.is_empty()) {
        let annotations = metadata.entry("annotations").or_insert(Value::Null);
        if annotations.is_null() {
            *annotations = Value::Object(Map::new());
        }
        if let Some(annotations) = annotations.as_object_mut() {
            let text = format!("LimitRanger plugin set: {}", said.join("; "));
            annotations.insert(ANNOTATION.to_owned(), text.into());
        }
    }
}

/// What containers get that ask for nothing and are not limited.
fn defaults(range: &Value) -> (Map<String, Value>, Map<String, Value>) {
    let (mut requests, mut limits) = (Map::new(), Map::new());
    for limit in of_kind(range, "Container") {
        let take = |into: &mut Map<String, Value>, pointer: &str| {
            into.extend(fields(limit, pointer).map(|(name, it)| (name.to_owned(), it.clone())));
        };
        take(&mut requests, "/defaultRequest");
        take(&mut limits, "/default");
    }
    (requests, limits)
}

/// Fills in what a container lacks; returns the names of what was.
fn fill(container: &mut Value, what: &str, defaults: &Map<String, Value>) -> Vec<String> {
    let missing: BTreeSet<&String> = defaults
        .keys()
        .filter(|name| {
            container
                .pointer(&format!("/resources/{what}"))
                .and_then(|it| it.get(name.as_str()))
                .is_none()
        })
        .collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let Some(container) = container.as_object_mut() else { return Vec::new() };
    let Some(resources) = child(container, "resources") else { return Vec::new() };
    let Some(amounts) = child(resources, what) else { return Vec::new() };
    for name in &missing {
        if let Some(value) = defaults.get(name.as_str()) {
            amounts.insert((*name).clone(), value.clone());
        }
    }
    missing.into_iter().cloned().collect()
}

fn child<'a>(parent: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Map<String, Value>> {
    let child = parent.entry(name).or_insert(Value::Null);
    if child.is_null() {
        *child = Value::Object(Map::new());
    }
    child.as_object_mut()
}

fn of_kind<'a>(range: &'a Value, kind: &str) -> impl Iterator<Item = &'a Value> {
    items(range, "/spec/limits").iter().filter(move |limit| text(limit, "/type") == kind)
}

/// Checks a new pod against the limit ranges of its namespace.
///
/// # Errors
///
/// Returns all that is too little or too much, for the first range that says so.
pub fn check_pod(pod: &Value, ranges: &[Value]) -> Result<(), String> {
    each(ranges, |range, errors| {
        for limit in of_kind(range, "Container") {
            let containers = items(pod, "/spec/containers").iter();
            for container in containers.chain(items(pod, "/spec/initContainers")) {
                let asked = Asked {
                    requests: amounts(container, "/resources/requests"),
                    limits: amounts(container, "/resources/limits"),
                };
                check(limit, "Container", &asked, errors);
            }
        }
        for limit in of_kind(range, "Pod") {
            let asked =
                Asked { requests: pod_total(pod, "requests"), limits: pod_total(pod, "limits") };
            check(limit, "Pod", &asked, errors);
        }
    })
}

/// Checks a claim against the limit ranges of its namespace.
///
/// # Errors
///
/// As [`check_pod`].
pub fn check_claim(claim: &Value, ranges: &[Value]) -> Result<(), String> {
    each(ranges, |range, errors| {
        for limit in of_kind(range, "PersistentVolumeClaim") {
            let requests = amounts(claim, "/spec/resources/requests");
            let asked = Asked { requests, limits: Amounts::new() };
            check_least(limit, "PersistentVolumeClaim", &asked, errors);
            for (name, most, asked) in bounds(limit, "/max", &asked.requests) {
                let usage = format!("maximum {name} usage per PersistentVolumeClaim is {most}");
                match asked {
                    None => errors.push(format!("{usage}.  No request is specified")),
                    Some(asked) if asked > most => {
                        errors.push(format!("{usage}, but request is {asked}"));
                    }
                    Some(_) => {}
                }
            }
        }
    })
}

fn each(ranges: &[Value], mut check: impl FnMut(&Value, &mut Vec<String>)) -> Result<(), String> {
    for range in ranges {
        let mut errors = Vec::new();
        check(range, &mut errors);
        match &*errors {
            [] => {}
            [one] => return Err(one.clone()),
            all => return Err(format!("[{}]", all.join(", "))),
        }
    }
    Ok(())
}

struct Asked {
    requests: Amounts,
    limits: Amounts,
}

fn bounds<'a>(
    limit: &'a Value,
    pointer: &str,
    asked: &'a Amounts,
) -> impl Iterator<Item = (&'a str, Quantity, Option<Quantity>)> {
    let bounds = fields(limit, pointer);
    bounds.filter_map(|(name, bound)| Some((name, quantity(bound)?, asked.get(name).copied())))
}

fn check_least(limit: &Value, kind: &str, asked: &Asked, errors: &mut Vec<String>) {
    for (name, least, request) in bounds(limit, "/min", &asked.requests) {
        let usage = format!("minimum {name} usage per {kind} is {least}");
        let limited = asked.limits.get(name).filter(|limited| **limited < least);
        match (request, limited) {
            (None, _) => errors.push(format!("{usage}.  No request is specified")),
            (Some(request), _) if request < least => {
                errors.push(format!("{usage}, but request is {request}"));
            }
            (Some(_), Some(limited)) => errors.push(format!("{usage}, but limit is {limited}")),
            (Some(_), None) => {}
        }
    }
}

fn check(limit: &Value, kind: &str, asked: &Asked, errors: &mut Vec<String>) {
    check_least(limit, kind, asked, errors);
    for (name, most, limited) in bounds(limit, "/max", &asked.limits) {
        let usage = format!("maximum {name} usage per {kind} is {most}");
        let request = asked.requests.get(name).filter(|request| **request > most);
        match (limited, request) {
            (None, _) => errors.push(format!("{usage}.  No limit is specified")),
            (Some(limited), _) if limited > most => {
                errors.push(format!("{usage}, but limit is {limited}"));
            }
            (Some(_), Some(request)) => errors.push(format!("{usage}, but request is {request}")),
            (Some(_), None) => {}
        }
    }
    for (name, ratio, request) in bounds(limit, "/maxLimitRequestRatio", &asked.requests) {
        let most = format!("{name} max limit to request ratio per {kind} is {ratio}");
        let nonzero = |amount: &Quantity| !amount.is_zero();
        let limited = asked.limits.get(name).filter(|limited| nonzero(limited));
        match (request.filter(nonzero), limited) {
            (None, _) => {
                errors.push(format!("{most}, but no request is specified or request is 0"));
            }
            (Some(_), None) => {
                errors.push(format!("{most}, but no limit is specified or limit is 0"));
            }
            (Some(request), Some(limited)) => {
                let found = as_number(*limited) / as_number(request).max(f64::MIN_POSITIVE);
                if found > as_number(ratio) {
                    errors.push(format!("{most}, but provided ratio is {found:.6}"));
                }
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for comparing and for people")]
fn as_number(amount: Quantity) -> f64 {
    let milli = amount.milli();
    // Bytes do not fit into thousandths, and have none.
    if milli == i64::MAX { amount.units() as f64 } else { milli as f64 / 1000.0 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn range(limit: Value) -> Vec<Value> {
        vec![json!({"spec": {"limits": [limit]}})]
    }

    #[test]
    fn what_containers_do_not_say_is_filled_in_and_noted() {
        let ranges = range(json!({"type": "Container", "default": {"cpu": "1", "memory": "1Gi"},
            "defaultRequest": {"cpu": "100m"}}));
        let container = json!({"name": "c", "resources": {"limits": {"cpu": "2"}}});
        let mut pod = json!({"metadata": {}, "spec": {"containers": [container]}});
        set_defaults(&mut pod, &ranges);
        let resources =
            json!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "100m"}});
        assert_eq!(pod["spec"]["containers"][0]["resources"], resources);
        assert_eq!(
            pod["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: cpu request for container c; memory limit for container c"
        );
        let before = pod.clone();
        set_defaults(&mut pod, &ranges);
        assert_eq!(pod, before, "nothing is missing any more");
    }

    #[test]
    fn too_little_and_too_much_is_refused_in_upstreams_words() {
        let check = |limit: Value, resources: Value, wanted: &str| {
            let pod = json!({"spec": {"containers": [{"name": "c", "resources": resources}]}});
            let found = check_pod(&pod, &range(limit)).err().unwrap_or_default();
            assert_eq!(found, wanted);
        };
        let least = json!({"type": "Container", "min": {"cpu": "100m"}});
        check(
            least.clone(),
            json!({}),
            "minimum cpu usage per Container is 100m.  No request is specified",
        );
        let low = json!({"requests": {"cpu": "50m"}});
        check(least.clone(), low, "minimum cpu usage per Container is 100m, but request is 50m");
        check(least, json!({"requests": {"cpu": "100m"}}), "");
        let most = json!({"type": "Pod", "max": {"memory": "1Gi"}});
        check(
            most.clone(),
            json!({}),
            "maximum memory usage per Pod is 1Gi.  No limit is specified",
        );
        let high = json!({"limits": {"memory": "2Gi"}});
        check(most, high, "maximum memory usage per Pod is 1Gi, but limit is 2Gi");
        let ratio = json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}});
        let wide = json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "300m"}});
        check(
            ratio,
            wide,
            "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000",
        );
        let both = json!({"type": "Container", "min": {"cpu": "1"}, "max": {"cpu": "1"}});
        check(
            both,
            json!({}),
            "[minimum cpu usage per Container is 1.  No request is specified, \
             maximum cpu usage per Container is 1.  No limit is specified]",
        );
    }

    #[test]
    fn claims_have_bounds_of_their_own() {
        let ranges = range(json!({"type": "PersistentVolumeClaim",
            "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}));
        let check = |size: &str, wanted: Result<(), &str>| {
            let claim = json!({"spec": {"resources": {"requests": {"storage": size}}}});
            assert_eq!(
                check_claim(&claim, &ranges).as_ref().map_err(|it| &**it),
                wanted.as_ref().map_err(|it| *it)
            );
        };
        check("1Gi", Ok(()));
        check(
            "3Gi",
            Err("maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"),
        );
        check(
            "500Mi",
            Err("minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 500Mi"),
        );
    }
}
