//! Deleting objects: preconditions, grace, finalizers, propagation.

use bramble_api::{Resource, Status, timestamp};
use serde_json::Value;

use super::admission::Attempt;
use super::commit::{ATTEMPTS_MAX, Outcome};
use super::{DeleteOptions, Objects, Propagation, WriteOptions, meta};
use crate::clock;

/// Finalizer that makes the garbage collector delete the dependents first.
const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer that makes the garbage collector let go of the dependents.
const ORPHAN: &str = "orphan";
/// Longest time that a pod gets to end in: what an agent can count, 68 years.
const GRACE_MAX_S: i64 = i32::MAX as i64;

impl Objects {
    pub(super) async fn delete_object(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<(Value, bool), Status> {
        for _ in 0..ATTEMPTS_MAX {
            let old = self.load(resource, namespace, name).await?;
            let attempt = Attempt::delete(resource, &old.object, options.user.as_deref());
            let mut going = old.object.clone();
            self.admission.mutate(self, &attempt, &mut going).await?;
            check_preconditions(resource, &old.object, options)?;
            self.admission.validate(self, &attempt, &old.object).await?;
            let new = marked(resource, &old.object, options, clock::time_of_day_s());
            let grace_s = meta::number(&new, "deletionGracePeriodSeconds").unwrap_or(0);
            let outcome = if grace_s == 0 && !meta::held(resource, &new) {
                self.remove(resource, &old, new, options.dry_run).await?
            } else {
                let write = WriteOptions { dry_run: options.dry_run, ..WriteOptions::default() };
                self.replace(resource, &old, new, &write).await?
            };
            match outcome {
                Outcome::Stored(object) => return Ok((object, false)),
                Outcome::Removed(object) => return Ok((object, true)),
                Outcome::Conflict | Outcome::Outdated => {}
            }
        }
        Err(Status::conflict_modified(resource, name))
    }

    pub(super) async fn remove_pod(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<(), Status> {
        let pods = Self::resource("", "pods");
        for _ in 0..ATTEMPTS_MAX {
            let Some(old) = self.find(pods, namespace, name).await? else {
                return Ok(());
            };
            if meta::text(&old.object, "uid") != uid || !meta::deleting(&old.object) {
                return Ok(());
            }
            let mut new = old.object.clone();
            meta::set(&mut new, "deletionGracePeriodSeconds", Value::from(0));
            match self.replace(pods, &old, new, &WriteOptions::default()).await? {
                Outcome::Stored(_) | Outcome::Removed(_) => return Ok(()),
                Outcome::Conflict | Outcome::Outdated => {}
            }
        }
        Err(Status::conflict_modified(pods, name))
    }
}

fn check_preconditions(
    resource: &Resource,
    object: &Value,
    options: &DeleteOptions,
) -> Result<(), Status> {
    let check = |asked: &Option<String>, field: &str, word: &str| {
        let present = meta::text(object, field);
        match asked {
            Some(asked) if asked != present => Err(Status::conflict(
                resource,
                meta::text(object, "name"),
                &format!(
                    "Precondition failed: {word} in precondition: {asked}, {word} in object meta: \
                     {present}"
                ),
            )),
            Some(_) | None => Ok(()),
        }
    };
    check(&options.uid, "uid", "UID")?;
    check(&options.resource_version, "resourceVersion", "ResourceVersion")
}

/// Returns the object as it is once its deletion was asked for.
fn marked(resource: &Resource, object: &Value, options: &DeleteOptions, now_s: i64) -> Value {
    let mut new = object.clone();
    let own = resource.strategy.orphans.then_some(Propagation::Orphan);
    set_propagation(&mut new, options.propagation.or(own));
    let grace_s = grace_s(resource, object, options);
    if meta::deleting(object) {
        // A second request may only shorten the first, and only if it says so.
        let before_s = meta::number(object, "deletionGracePeriodSeconds").unwrap_or(0);
        if options.grace_period_s.is_some() && grace_s < before_s {
            let end_s = timestamp::parse(meta::text(object, "deletionTimestamp")).unwrap_or(now_s);
            let end = timestamp::format(end_s.saturating_sub(before_s).saturating_add(grace_s));
            meta::set(&mut new, "deletionTimestamp", Value::from(end));
            meta::set(&mut new, "deletionGracePeriodSeconds", Value::from(grace_s));
        }
        return new;
    }
    meta::set(
        &mut new,
        "deletionTimestamp",
        Value::from(timestamp::format(now_s.saturating_add(grace_s))),
    );
    meta::set(&mut new, "deletionGracePeriodSeconds", Value::from(grace_s));
    meta::raise_generation(&mut new);
    (resource.strategy.deleting)(&mut new);
    new
}

/// Seconds that the object may take to end.
fn grace_s(resource: &Resource, object: &Value, options: &DeleteOptions) -> i64 {
    let Some(own_s) = (resource.strategy.grace_s)(object) else { return 0 };
    match options.grace_period_s.unwrap_or(own_s) {
        // Upstream's rule: what makes no sense becomes the shortest period.
        negative if negative < 0 => 1,
        seconds => seconds.min(GRACE_MAX_S),
    }
}

fn set_propagation(object: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else {
        return;
    };
    let mut finalizers: Vec<Value> = object
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let wanted = match propagation {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    finalizers.retain(|name| *name != FOREGROUND && *name != ORPHAN);
    finalizers.extend(wanted.map(Value::from));
    if finalizers.is_empty() {
        meta::remove(object, "finalizers");
    } else {
        meta::set(object, "finalizers", Value::from(finalizers));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use bramble_api::Resource;

    use super::{DeleteOptions, GRACE_MAX_S, Propagation};
    use crate::objects::Objects;

    fn pods() -> &'static Arc<Resource> {
        Objects::resource("", "pods")
    }

    fn marked(object: &Value, options: &DeleteOptions, now_s: i64) -> Value {
        super::marked(pods(), object, options, now_s)
    }

    fn pod(node: &str) -> Value {
        json!({"kind": "Pod", "metadata": {"name": "a", "generation": 1},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 20}})
    }

    #[track_caller]
    fn check(object: &Value, grace_period_s: Option<i64>, expected_s: i64) {
        check_of(pods(), object, grace_period_s, expected_s);
    }

    #[track_caller]
    fn check_of(resource: &Resource, object: &Value, grace_period_s: Option<i64>, expected_s: i64) {
        let options = DeleteOptions { grace_period_s, ..DeleteOptions::default() };
        let new = super::marked(resource, object, &options, 1_000);
        assert_eq!(new["metadata"]["deletionGracePeriodSeconds"], json!(expected_s));
        assert_eq!(
            new["metadata"]["deletionTimestamp"],
            json!(bramble_api::timestamp::format(1_000 + expected_s))
        );
    }

    #[test]
    fn only_bound_pods_get_time_to_end() {
        check(&pod("n1"), None, 20);
        check(&pod("n1"), Some(5), 5);
        check(&pod("n1"), Some(-3), 1);
        check(&pod("n1"), Some(0), 0);
        for long in [1 << 31, 1 << 32, i64::MAX] {
            check(&pod("n1"), Some(long), GRACE_MAX_S);
        }
        check(&pod("n1"), Some(i64::MIN), 1);
        check(&pod(""), None, 0);
        let services = Objects::resource("", "services");
        check_of(services, &json!({"metadata": {}}), Some(9), 0);
        let mut ended = pod("n1");
        ended["status"] = json!({"phase": "Succeeded"});
        check(&ended, None, 0);
    }

    #[test]
    fn second_request_shortens_and_never_extends() {
        let first = marked(&pod("n1"), &DeleteOptions::default(), 1_000);
        let ask =
            |seconds| DeleteOptions { grace_period_s: Some(seconds), ..DeleteOptions::default() };
        assert_eq!(marked(&first, &ask(60), 1_001), first);
        // One that says nothing changes nothing, also when the pod's own time is shorter by now.
        let shortened = marked(&pod("n1"), &ask(25), 1_000);
        assert_eq!(marked(&shortened, &DeleteOptions::default(), 1_001), shortened);
        let shorter = marked(&first, &ask(5), 1_001);
        assert_eq!(
            shorter["metadata"]["deletionTimestamp"],
            json!(bramble_api::timestamp::format(1_005))
        );
    }

    #[test]
    fn dependents_of_jobs_stay_unless_the_client_wants_otherwise() {
        let jobs = Objects::resource("batch", "jobs");
        let job = json!({"metadata": {"name": "j"}});
        let kept = super::marked(jobs, &job, &DeleteOptions::default(), 1);
        assert_eq!(kept["metadata"]["finalizers"], json!(["orphan"]));
        let ask = DeleteOptions {
            propagation: Some(Propagation::Background),
            ..DeleteOptions::default()
        };
        assert_eq!(super::marked(jobs, &job, &ask, 1)["metadata"].get("finalizers"), None);
    }

    #[test]
    fn times_of_deletion_can_always_be_read() {
        let mut odd = pod("n1");
        odd["spec"]["terminationGracePeriodSeconds"] = json!(i64::MAX);
        let first = marked(&odd, &DeleteOptions::default(), i64::MAX);
        let time = first["metadata"]["deletionTimestamp"].as_str().unwrap();
        assert!(bramble_api::timestamp::parse(time).is_some(), "{time}");
        // What an older release stored.
        let mut stored = first.clone();
        stored["metadata"]["deletionGracePeriodSeconds"] = json!(i64::MAX);
        let ask = DeleteOptions { grace_period_s: Some(0), ..DeleteOptions::default() };
        let now = marked(&stored, &ask, 1_000);
        assert_eq!(now["metadata"]["deletionGracePeriodSeconds"], json!(0));
        let time = now["metadata"]["deletionTimestamp"].as_str().unwrap();
        assert!(bramble_api::timestamp::parse(time).is_some(), "{time}");
    }

    #[test]
    fn propagation_becomes_a_finalizer() {
        let ask = |propagation| DeleteOptions {
            propagation: Some(propagation),
            ..DeleteOptions::default()
        };
        let object = json!({"kind": "Deployment", "metadata": {"finalizers": ["mine"]}});
        let foreground = marked(&object, &ask(Propagation::Foreground), 1);
        assert_eq!(foreground["metadata"]["finalizers"], json!(["mine", "foregroundDeletion"]));
        let orphan = marked(&foreground, &ask(Propagation::Orphan), 1);
        assert_eq!(orphan["metadata"]["finalizers"], json!(["mine", "orphan"]));
        let background = marked(&orphan, &ask(Propagation::Background), 1);
        assert_eq!(background["metadata"]["finalizers"], json!(["mine"]));
    }
}
