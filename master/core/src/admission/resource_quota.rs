//! Quotas: what the objects of a namespace use, and whether one more goes beyond what they may.
//!
//! What is used stands in a quota's status. Whoever admits an object stores the status that is
//! worked out here with it, in one transaction; a recount puts right what nobody told.

use std::collections::{BTreeMap, BTreeSet};

use bramble_api::quantity::Quantity;
use serde_json::{Value, json};

use super::{Amounts, amounts, fields, items, pod_total, quantity, text};

/// An object that counts, and its resource.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its API group; empty for the core group.
    pub group: &'a str,
    /// Its plural name.
    pub plural: &'a str,
    /// The object.
    pub object: &'a Value,
}

/// Amounts that every container must say when a quota has them.
const MUST_SAY: [&str; 6] =
    ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

/// Objects that have a name of their own in quotas beside `count/`.
const OLD_NAMES: [&str; 4] = ["configmaps", "secrets", "replicationcontrollers", "resourcequotas"];

impl Subject<'_> {
    fn is(&self, plural: &str) -> bool {
        self.group.is_empty() && self.plural == plural
    }

    /// Everything that the object uses, by the names of quotas.
    #[must_use]
    pub fn usage(&self) -> Amounts {
        let one = Quantity::from_units(1);
        let count = if self.group.is_empty() {
            format!("count/{}", self.plural)
        } else {
            format!("count/{}.{}", self.plural, self.group)
        };
        let mut usage = Amounts::from([(count, one)]);
        if self.is("pods") {
            pod_usage(self.object, &mut usage);
        } else if self.is("persistentvolumeclaims") {
            claim_usage(self.object, &mut usage);
        } else if self.is("services") {
            service_usage(self.object, &mut usage);
        } else if OLD_NAMES.iter().any(|name| self.is(name)) {
            usage.insert(self.plural.to_owned(), one);
        }
        usage
    }
}

fn pod_usage(pod: &Value, usage: &mut Amounts) {
    // A pod that has ended uses nothing any more but its place in the store.
    if matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
        return;
    }
    usage.insert("pods".to_owned(), Quantity::from_units(1));
    for (name, amount) in pod_total(pod, "requests") {
        let plain = matches!(&*name, "cpu" | "memory" | "ephemeral-storage")
            || name.starts_with("hugepages-");
        if plain {
            usage.insert(name.clone(), amount);
        }
        usage.insert(format!("requests.{name}"), amount);
    }
    for (name, amount) in pod_total(pod, "limits") {
        if matches!(&*name, "cpu" | "memory" | "ephemeral-storage") {
            usage.insert(format!("limits.{name}"), amount);
        }
    }
}

fn claim_usage(claim: &Value, usage: &mut Amounts) {
    let one = Quantity::from_units(1);
    usage.insert("persistentvolumeclaims".to_owned(), one);
    let class = text(claim, "/spec/storageClassName");
    let of_class = |what: &str| format!("{class}.storageclass.storage.k8s.io/{what}");
    if !class.is_empty() {
        usage.insert(of_class("persistentvolumeclaims"), one);
    }
    if let Some(size) = claim.pointer("/spec/resources/requests/storage").and_then(quantity) {
        usage.insert("requests.storage".to_owned(), size);
        if !class.is_empty() {
            usage.insert(of_class("requests.storage"), size);
        }
    }
}

fn service_usage(service: &Value, usage: &mut Amounts) {
    let ports = items(service, "/spec/ports");
    let kind = text(service, "/spec/type");
    let dealt = service.pointer("/spec/allocateLoadBalancerNodePorts") != Some(&Value::Bool(false));
    let node_ports = match kind {
        "NodePort" => ports.len(),
        "LoadBalancer" if dealt => ports.len(),
        "LoadBalancer" => ports.iter().filter(|port| port.get("nodePort").is_some()).count(),
        _ => 0,
    };
    let number = |count: usize| Quantity::from_units(i64::try_from(count).unwrap_or(i64::MAX));
    usage.insert("services".to_owned(), number(1));
    usage.insert("services.nodeports".to_owned(), number(node_ports));
    let balanced = usize::from(kind == "LoadBalancer");
    usage.insert("services.loadbalancers".to_owned(), number(balanced));
}

/// Whether a quota's scopes are about an object at all.
fn in_scope(quota: &Value, subject: &Subject<'_>) -> bool {
    let plain = items(quota, "/spec/scopes").iter().filter_map(Value::as_str);
    let plain = plain.map(|scope| (scope, "Exists", &[][..]));
    let selected = items(quota, "/spec/scopeSelector/matchExpressions")
        .iter()
        .map(|it| (text(it, "/scopeName"), text(it, "/operator"), items(it, "/values")));
    let mut all = plain.chain(selected);
    all.all(|(scope, operator, values)| {
        subject.is("pods") && pod_in_scope(subject.object, scope, operator, values)
    })
}

fn pod_in_scope(pod: &Value, scope: &str, operator: &str, values: &[Value]) -> bool {
    let ends = || {
        pod.pointer("/spec/activeDeadlineSeconds").and_then(Value::as_i64).is_some_and(|s| s >= 0)
    };
    match scope {
        "Terminating" => ends(),
        "NotTerminating" => !ends(),
        "BestEffort" => best_effort(pod),
        "NotBestEffort" => !best_effort(pod),
        "CrossNamespacePodAffinity" => looks_elsewhere(pod),
        "PriorityClass" => {
            let class = text(pod, "/spec/priorityClassName");
            let listed = values.iter().any(|value| value == class);
            match operator {
                "In" => listed,
                "NotIn" => !listed,
                "DoesNotExist" => class.is_empty(),
                _ => !class.is_empty(),
            }
        }
        _ => false,
    }
}

/// Whether no container asks for or is limited in CPU or memory.
fn best_effort(pod: &Value) -> bool {
    let says = |total: Amounts| {
        ["cpu", "memory"].iter().any(|name| total.get(*name).is_some_and(|it| !it.is_zero()))
    };
    !says(pod_total(pod, "requests")) && !says(pod_total(pod, "limits"))
}

/// Whether an affinity of a pod is about pods of other namespaces.
fn looks_elsewhere(pod: &Value) -> bool {
    let elsewhere = |term: &Value| {
        !items(term, "/namespaces").is_empty()
            || term.get("namespaceSelector").is_some_and(|selector| !selector.is_null())
    };
    ["podAffinity", "podAntiAffinity"].iter().any(|half| {
        let list = |when: &str| items(pod, &format!("/spec/affinity/{half}/{when}"));
        let required = list("requiredDuringSchedulingIgnoredDuringExecution").iter();
        let preferred = list("preferredDuringSchedulingIgnoredDuringExecution").iter();
        let mut all = required.chain(preferred.filter_map(|it| it.get("podAffinityTerm")));
        all.any(elsewhere)
    })
}

/// What a quota has to say about a write.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing changes for it.
    Unconcerned,
    /// The object may be stored together with this new list of what is used.
    Used(Value),
    /// The object is forbidden, for this reason.
    Refused(String),
}

/// Asks one quota about an object that is new, or was another before.
#[must_use]
pub fn check(quota: &Value, subject: Subject<'_>, old: Option<&Value>) -> Verdict {
    let before = old.map(|object| Subject { object, ..subject });
    let hard = amounts(quota, "/status/hard");
    let counted = |subject: &Subject<'_>| {
        let usage = if in_scope(quota, subject) { subject.usage() } else { Amounts::new() };
        usage.into_iter().filter(|(name, _)| hard.contains_key(name)).collect::<Amounts>()
    };
    let name = text(quota, "/metadata/name");
    if old.is_none()
        && let Some(missing) = unsaid(&subject, &hard).filter(|_| in_scope(quota, &subject))
    {
        return Verdict::Refused(format!("failed quota: {name}: must specify {missing}"));
    }
    let had = before.as_ref().map(counted).unwrap_or_default();
    let mut more = Amounts::new();
    for (name, amount) in counted(&subject) {
        let had = had.get(&name).copied().unwrap_or(Quantity::ZERO);
        let grown = amount.checked_sub(had).filter(|grown| *grown > Quantity::ZERO);
        more.extend(grown.map(|grown| (name, grown)));
    }
    if more.is_empty() {
        return Verdict::Unconcerned;
    }
    let used = amounts(quota, "/status/used");
    let unknown: Vec<&str> =
        more.keys().filter(|name| !used.contains_key(*name)).map(String::as_str).collect();
    if !unknown.is_empty() {
        let unknown = unknown.join(",");
        return Verdict::Refused(format!("status unknown for quota: {name}, resources: {unknown}"));
    }
    let mut next = used.clone();
    super::add(&mut next, &more);
    let over: BTreeSet<&String> = more
        .keys()
        .filter(|name| next.get(*name).zip(hard.get(*name)).is_none_or(|(next, hard)| next > hard))
        .collect();
    if over.is_empty() {
        return Verdict::Used(json_of(&next));
    }
    let listed = |all: &Amounts| {
        let of = |name: &&String| all.get(*name).map(|amount| format!("{name}={amount}"));
        over.iter().filter_map(of).collect::<Vec<_>>().join(",")
    };
    Verdict::Refused(format!(
        "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
        listed(&more),
        listed(&used),
        listed(&hard)
    ))
}

/// What containers of a pod do not say although a quota has it.
fn unsaid(subject: &Subject<'_>, hard: &Amounts) -> Option<String> {
    if !subject.is("pods") {
        return None;
    }
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let containers = items(subject.object, "/spec/containers").iter();
    for container in containers.chain(items(subject.object, "/spec/initContainers")) {
        let says = |kind: &str, name: &str| {
            let amount = container.get("resources").and_then(|it| it.get(kind)?.get(name));
            amount.is_some_and(|amount| !amount.is_null())
        };
        for wanted in MUST_SAY.into_iter().filter(|wanted| hard.contains_key(*wanted)) {
            let said = match wanted.split_once('.') {
                Some((kind, name)) => says(kind, name),
                None => says("requests", wanted),
            };
            if !said {
                missing.entry(wanted).or_default().push(text(container, "/name"));
            }
        }
    }
    let all = missing.iter().map(|(what, names)| format!("{what} for: {}", names.join(",")));
    Some(all.collect::<Vec<_>>().join("; ")).filter(|all| !all.is_empty())
}

/// The status of a quota, counted anew from all objects of its namespace.
#[must_use]
pub fn recount<'a>(quota: &Value, subjects: impl Iterator<Item = Subject<'a>>) -> Value {
    let hard = amounts(quota, "/spec/hard");
    let mut used: Amounts = hard.keys().map(|name| (name.clone(), Quantity::ZERO)).collect();
    for subject in subjects.filter(|subject| in_scope(quota, subject)) {
        for (name, amount) in subject.usage() {
            if let Some(sum) = used.get_mut(&name) {
                *sum = sum.checked_add(amount).unwrap_or(*sum);
            }
        }
    }
    let wanted = quota.pointer("/spec/hard").cloned().unwrap_or_else(|| json!({}));
    json!({"hard": wanted, "used": json_of(&used)})
}

/// Whether two statuses of a quota say the same amounts.
#[must_use]
pub fn same_status(one: &Value, other: &Value) -> bool {
    ["/hard", "/used"].iter().all(|part| {
        let count = |status| fields(status, part).count();
        amounts(one, part) == amounts(other, part) && count(one) == count(other)
    })
}

/// The resources whose objects a quota counts, as group and plural name; `None` of the plural name
/// is not known from the name in the quota.
#[must_use]
pub fn tracked(quota: &Value) -> BTreeSet<(String, String)> {
    let names = fields(quota, "/spec/hard").map(|(name, _)| name);
    let core = |plural: &str| (String::new(), plural.to_owned());
    names
        .map(|name| match name.strip_prefix("count/") {
            Some(counted) => match counted.split_once('.') {
                Some((plural, group)) => (group.to_owned(), plural.to_owned()),
                None => core(counted),
            },
            None if name == "persistentvolumeclaims"
                || name == "requests.storage"
                || name.contains(".storageclass.storage.k8s.io/") =>
            {
                core("persistentvolumeclaims")
            }
            None if name == "services" || name.starts_with("services.") => core("services"),
            None if OLD_NAMES.contains(&name) => core(name),
            None => core("pods"),
        })
        .collect()
}

fn json_of(amounts: &Amounts) -> Value {
    amounts.iter().map(|(name, amount)| (name.clone(), Value::from(amount.to_string()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(hard: Value, used: Value) -> Value {
        json!({"metadata": {"name": "q"}, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}})
    }

    fn pod(resources: Value) -> Value {
        json!({"spec": {"containers": [{"name": "c", "resources": resources}]}})
    }

    fn of<'a>(plural: &'a str, object: &'a Value) -> Subject<'a> {
        Subject { group: "", plural, object }
    }

    #[test]
    fn what_fits_is_taken_and_what_does_not_is_refused() {
        let quota = quota(
            json!({"pods": "2", "requests.cpu": "1"}),
            json!({"pods": "1", "requests.cpu": "500m"}),
        );
        let small = pod(json!({"requests": {"cpu": "500m"}}));
        let used = Verdict::Used(json!({"pods": "2", "requests.cpu": "1"}));
        assert_eq!(check(&quota, of("pods", &small), None), used);
        let large = pod(json!({"requests": {"cpu": "600m"}}));
        let refused = "exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=500m, \
                       limited: requests.cpu=1";
        assert_eq!(check(&quota, of("pods", &large), None), Verdict::Refused(refused.to_owned()));
        let silent = pod(json!({}));
        let refused = "failed quota: q: must specify requests.cpu for: c";
        assert_eq!(check(&quota, of("pods", &silent), None), Verdict::Refused(refused.to_owned()));
        let service = json!({"spec": {}});
        assert_eq!(check(&quota, of("services", &service), None), Verdict::Unconcerned);
    }

    #[test]
    fn a_change_takes_only_what_is_more() {
        let quota = quota(json!({"services.nodeports": "1"}), json!({"services.nodeports": "0"}));
        let plain = json!({"spec": {"type": "ClusterIP", "ports": [{}]}});
        let open = json!({"spec": {"type": "NodePort", "ports": [{}]}});
        let check = |new, old| check(&quota, of("services", new), Some(old));
        assert_eq!(check(&open, &plain), Verdict::Used(json!({"services.nodeports": "1"})));
        assert_eq!(check(&open, &open), Verdict::Unconcerned);
        assert_eq!(check(&plain, &open), Verdict::Unconcerned);
    }

    #[test]
    fn nothing_is_admitted_before_the_quota_was_counted() {
        let mut quota = quota(json!({"pods": "2"}), json!({}));
        let refused = "status unknown for quota: q, resources: pods".to_owned();
        assert_eq!(check(&quota, of("pods", &pod(json!({}))), None), Verdict::Refused(refused));
        quota["status"] = recount(&quota, std::iter::empty());
        let used = Verdict::Used(json!({"pods": "1"}));
        assert_eq!(check(&quota, of("pods", &pod(json!({}))), None), used);
    }

    #[test]
    fn scopes_choose_pods() {
        let check = |scopes: Value, selector: Value, pod: &Value, wanted: bool| {
            let quota = json!({"spec": {"scopes": scopes, "scopeSelector": {"matchExpressions": selector}}});
            assert_eq!(in_scope(&quota, &of("pods", pod)), wanted, "{quota}");
        };
        let (idle, busy) = (pod(json!({})), pod(json!({"requests": {"cpu": "1"}})));
        check(json!(["BestEffort"]), json!([]), &idle, true);
        check(json!(["BestEffort"]), json!([]), &busy, false);
        check(json!(["NotBestEffort", "NotTerminating"]), json!([]), &busy, true);
        check(
            json!(["Terminating"]),
            json!([]),
            &json!({"spec": {"activeDeadlineSeconds": 5}}),
            true,
        );
        let high = json!({"spec": {"priorityClassName": "high"}});
        let class = |operator: &str, values: Value| json!([{"scopeName": "PriorityClass", "operator": operator, "values": values}]);
        check(json!([]), class("In", json!(["high"])), &high, true);
        check(json!([]), class("NotIn", json!(["high"])), &high, false);
        check(json!([]), class("Exists", json!([])), &idle, false);
        let service = json!({});
        let quota = json!({"spec": {"scopes": ["BestEffort"]}});
        assert!(!in_scope(&quota, &of("services", &service)), "scopes are about pods");
    }

    #[test]
    fn a_recount_adds_up_what_is_there() {
        let quota = json!({"spec": {"hard": {"pods": "5", "count/pods": "5", "requests.storage": "10Gi",
            "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1", "count/deployments.apps": "2"}}});
        let ended = json!({"status": {"phase": "Succeeded"}});
        let running = pod(json!({}));
        let claim = json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}});
        let deployment = json!({});
        let subjects = [
            of("pods", &ended),
            of("pods", &running),
            of("persistentvolumeclaims", &claim),
            Subject { group: "apps", plural: "deployments", object: &deployment },
        ];
        let status = recount(&quota, subjects.into_iter());
        let used = json!({"pods": "1", "count/pods": "2", "requests.storage": "1Gi",
            "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1", "count/deployments.apps": "1"});
        assert_eq!(status, json!({"hard": quota["spec"]["hard"], "used": used}));
        assert!(same_status(&status, &status.clone()));
        let kinds: Vec<_> = tracked(&quota).into_iter().map(|(_, plural)| plural).collect();
        assert_eq!(kinds, ["persistentvolumeclaims", "pods", "deployments"]);
    }
}
