//! Starts jobs at the times of a schedule.
//!
//! Of the times that were missed only the latest is made up for, however many there were: a clock
//! that was wrong at boot must not start a hundred jobs. A job's name holds its time, so none is
//! started twice. Why none is started now is told whenever it is looked at. Knows nothing of pods.

use std::sync::Arc;

use bramble_api::cron::{Schedule, Zone};
use serde_json::{Value, json};

use super::Outcome;
use super::owner::Owner;
use crate::action::{Action, EventKind, Propagation, Target};
use crate::snapshot::Snapshot;
use crate::view::condition::{Condition, Status, find};
use crate::view::cron_job::CronJobView;
use crate::view::job::JobView;
use crate::view::resource::{ObjectKey, Resource};
use crate::view::timestamp::Timestamp;

mod missed;
#[cfg(test)]
mod tests;

/// The annotation that tells for which time a job was started.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// Seconds by which a time may lie in the future and be believed: what clocks of a cluster differ.
const AHEAD_S: i64 = 60;

/// Times that may be missed before it is told, as upstream.
const MISSED_MAX: i64 = 100;

/// Who acts for the cron job.
fn owner(cron: &CronJobView) -> Owner<'_> {
    static RESOURCE: Resource = Resource::CRON_JOBS;
    Owner {
        resource: &RESOURCE,
        api_version: "batch/v1",
        kind: "CronJob",
        component: "cronjob-controller",
        meta: &cron.meta,
    }
}

/// Compares the jobs of every cron job with its schedule.
#[must_use]
pub fn reconcile(snapshot: &Snapshot, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    if snapshot.synced {
        for cron in snapshot.workloads().cron_jobs.values() {
            outcome.merge(reconcile_one(snapshot, cron, now));
        }
    }
    outcome
}

/// As [`reconcile`], for one cron job.
pub(super) fn reconcile_key(snapshot: &Snapshot, key: &ObjectKey, now: Timestamp) -> Outcome {
    let cron = snapshot.workloads().cron_jobs.get(key);
    cron.map(|cron| reconcile_one(snapshot, cron, now)).unwrap_or_default()
}

/// A job of a cron job.
struct Own<'a> {
    job: &'a Arc<JobView>,
    /// `Complete` or `Failed`, if it has ended.
    end: Option<Condition>,
}

impl Own<'_> {
    fn new(job: &Arc<JobView>) -> Own<'_> {
        let stored = job.status.get("conditions").cloned().unwrap_or_default();
        let conditions: Vec<Condition> = serde_json::from_value(stored).unwrap_or_default();
        let holds = |kind| find(&conditions, kind).filter(|it| it.status == Status::True).cloned();
        Own { job, end: holds("Complete").or_else(|| holds("Failed")) }
    }

    fn succeeded(&self) -> bool {
        self.end.as_ref().is_some_and(|end| &*end.kind == "Complete")
    }

    fn time(&self, field: &str) -> Option<Timestamp> {
        Timestamp::parse(self.job.status.get(field)?.as_str()?)
    }

    /// The time that it was started for, in seconds.
    fn scheduled_s(&self) -> Option<i64> {
        let at = Timestamp::parse(self.job.meta.annotations.get(SCHEDULED)?)?;
        Some(at.0.div_euclid(1000))
    }
}

fn reconcile_one(snapshot: &Snapshot, cron: &CronJobView, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    let owner = owner(cron);
    let mut jobs: Vec<Own<'_>> =
        snapshot.jobs_controlled_by(&cron.meta.uid).map(Own::new).collect();
    jobs.sort_by_key(|own| {
        (own.scheduled_s(), own.job.meta.creation_timestamp, own.job.meta.name.clone())
    });
    report(cron, &owner, &jobs, now, &mut outcome);
    if cron.meta.deleting() {
        return outcome;
    }
    for (succeeded, limit, missing) in [
        (true, cron.spec.successful_jobs_history_limit, 3),
        (false, cron.spec.failed_jobs_history_limit, 1),
    ] {
        let limit = usize::try_from(limit.unwrap_or(missing)).unwrap_or_default();
        let mut ended: Vec<&Own<'_>> = jobs
            .iter()
            .filter(|own| own.end.is_some() && own.succeeded() == succeeded)
            .filter(|own| !own.job.meta.deleting())
            .collect();
        // Also those that somebody started by hand, which have no time of the schedule.
        ended.sort_by_key(|own| {
            (own.time("startTime").or(own.job.meta.creation_timestamp), own.job.meta.name.clone())
        });
        let surplus = ended.len().saturating_sub(limit);
        ended.into_iter().take(surplus).for_each(|own| delete(&owner, own, &mut outcome));
    }
    if !cron.spec.suspend {
        start(snapshot, cron, &owner, &jobs, now, &mut outcome);
    }
    outcome
}

fn delete(owner: &Owner<'_>, own: &Own<'_>, outcome: &mut Outcome) {
    outcome.actions.push(Action::Delete {
        target: Target::of(&Resource::JOBS, &own.job.meta),
        grace_seconds: None,
        propagation: Some(Propagation::Background),
    });
    let message = format!("Deleted job {}", own.job.meta.name);
    outcome.actions.push(owner.event(EventKind::Normal, "SuccessfulDelete", message));
}

/// Starts the job whose time has come.
fn start(
    snapshot: &Snapshot,
    cron: &CronJobView,
    owner: &Owner<'_>,
    jobs: &[Own<'_>],
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let mut warn = |reason, message| {
        outcome.actions.push(owner.event(EventKind::Warning, reason, message));
    };
    // Both were checked when the object was written; one that is wrong all the same never starts.
    let zone = match cron.spec.time_zone.as_deref() {
        None => Zone::UTC,
        Some(name) => match Zone::find(name) {
            Some(zone) => zone,
            None => {
                let message = format!("invalid timeZone: {name:?}: unknown time zone {name}");
                return warn("UnknownTimeZone", message);
            }
        },
    };
    let schedule = match Schedule::parse(&cron.spec.schedule) {
        Ok(schedule) => schedule,
        Err(why) => {
            let message = format!("unparseable schedule: {:?} : {why}", cron.spec.schedule);
            return warn("UnparseableSchedule", message);
        }
    };
    let now_s = now.0.div_euclid(1000);
    let next = schedule.next(now_s, &zone);
    let since = since(cron, jobs, now_s, &schedule, &zone);
    let due = missed::latest(&schedule, &zone, since, now_s);
    let name = |due: i64| format!("{}-{}", cron.meta.name, due.div_euclid(60));
    let started = |due: &i64| {
        let key = ObjectKey::new(&cron.meta.namespace, &name(*due));
        snapshot.workloads().jobs.contains_key(&key)
    };
    let due = due.filter(|due| !started(due));
    if let (Some(due), Some(deadline)) = (due, cron.spec.starting_deadline_seconds)
        && due.saturating_add(deadline) < now_s
    {
        let time = missed::mail_date(due);
        warn("MissSchedule", format!("Missed scheduled time to start a job: {time}"));
    }
    if let Some(next) = next {
        outcome.wake_at(Timestamp(next.saturating_mul(1000)));
    }
    let deadline = cron.spec.starting_deadline_seconds.unwrap_or(i64::MAX);
    let Some(due) = due.filter(|due| due.saturating_add(deadline) >= now_s) else { return };
    let active: Vec<&Own<'_>> =
        jobs.iter().filter(|own| own.end.is_none() && !own.job.meta.deleting()).collect();
    match &*cron.spec.concurrency_policy {
        // It is made up for when the present one has ended, if no later time has come by then.
        "Forbid" if !active.is_empty() => {
            let message = "Not starting job because prior execution is running and concurrency \
                 policy is Forbid";
            let told = owner.event(EventKind::Normal, "JobAlreadyActive", message.to_owned());
            return outcome.actions.push(told);
        }
        // The next one comes when they are gone, so that two never run beside each other.
        "Replace" if !active.is_empty() => {
            return active.into_iter().for_each(|own| delete(owner, own, outcome));
        }
        _ => {}
    }
    let step = next.map_or(60, |next| next.saturating_sub(now_s)).max(1);
    if now_s.saturating_sub(since).div_euclid(step) > MISSED_MAX {
        let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds \
             or check clock skew";
        outcome.actions.push(owner.event(
            EventKind::Warning,
            "TooManyMissedTimes",
            message.to_owned(),
        ));
    }
    let name = name(due);
    let object = new_job(cron, owner, &name, due, &zone);
    outcome.actions.push(owner.create(Resource::JOBS, object));
    let message = format!("Created job {name}");
    outcome.actions.push(owner.event(EventKind::Normal, "SuccessfulCreate", message));
}

/// The second after which times count.
fn since(
    cron: &CronJobView,
    jobs: &[Own<'_>],
    now_s: i64,
    schedule: &Schedule,
    zone: &Zone,
) -> i64 {
    let created = cron.meta.creation_timestamp.unwrap_or_default().0.div_euclid(1000);
    let stored = last_schedule(&cron.status).map(|at| at.0.div_euclid(1000));
    let started = jobs.iter().filter_map(Own::scheduled_s);
    let believed = |at: &i64| *at <= now_s.saturating_add(AHEAD_S);
    let last = stored.into_iter().chain(started).filter(believed).max();
    // With a clock that was ahead, what is stored says nothing: begin with the step before now. One
    // that is behind the object's own birth is wrong now, and nothing is due.
    let ahead = stored.is_some_and(|at| !believed(&at)) && believed(&created);
    let step = schedule.next(now_s, zone).map_or(60, |next| next.saturating_sub(now_s)).max(60);
    match last {
        Some(last) => last,
        None if ahead => now_s.saturating_sub(step),
        None => created,
    }
}

fn last_schedule(status: &Value) -> Option<Timestamp> {
    Timestamp::parse(status.get("lastScheduleTime")?.as_str()?)
}

fn new_job(cron: &CronJobView, owner: &Owner<'_>, name: &str, due: i64, zone: &Zone) -> Value {
    let template = cron.spec.job_template.to_value();
    let mut job = owner.pod(&template, name);
    super::owner::set(&mut job, &[], "apiVersion", json!("batch/v1"));
    super::owner::set(&mut job, &[], "kind", json!("Job"));
    let scheduled = zone.format(due).unwrap_or_default();
    super::owner::set_metadata(&mut job, "annotations", SCHEDULED, &scheduled);
    job
}

/// Tells which jobs run, and when the last was started and the last succeeded.
fn report(
    cron: &CronJobView,
    owner: &Owner<'_>,
    jobs: &[Own<'_>],
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let listed = cron.status.get("active").and_then(Value::as_array);
    let listed: Vec<&str> = listed
        .into_iter()
        .flatten()
        .filter_map(|it| it.get("uid").and_then(Value::as_str))
        .collect();
    let running = jobs.iter().filter(|own| own.end.is_none());
    let active: Vec<Value> = running
        .map(|own| {
            let meta = &own.job.meta;
            json!({"apiVersion": "batch/v1", "kind": "Job", "name": meta.name,
                "namespace": meta.namespace, "uid": meta.uid,
                "resourceVersion": own_version(&cron.status, meta)})
        })
        .collect();
    let ahead = Timestamp(now.0.saturating_add(AHEAD_S * 1000));
    let latest = |stored: Option<Timestamp>, seen: Option<Timestamp>| {
        stored.filter(|at| *at <= ahead || seen.is_none()).max(seen)
    };
    let stored = |field: &str| Timestamp::parse(cron.status.get(field)?.as_str()?);
    let started = jobs.iter().filter_map(Own::scheduled_s).max().map(|at| Timestamp(at * 1000));
    let done = jobs.iter().filter(|own| own.succeeded());
    let done = done.filter_map(|own| own.time("completionTime")).max();
    let wanted = json!({
        "active": if active.is_empty() { Value::Null } else { json!(active) },
        "lastScheduleTime": latest(stored("lastScheduleTime"), started),
        "lastSuccessfulTime": latest(stored("lastSuccessfulTime"), done),
    });
    let Some(action) = owner.report(&cron.status, wanted) else { return };
    outcome.actions.push(action);
    for own in jobs.iter().filter(|own| own.end.is_none() && own.scheduled_s().is_none()) {
        if !listed.contains(&&*own.job.meta.uid) {
            let name = &own.job.meta.name;
            let message = format!("Saw a job that the controller did not create or forgot: {name}");
            outcome.actions.push(owner.event(EventKind::Warning, "UnexpectedJob", message));
        }
    }
    for own in jobs {
        let (name, was_active) = (&own.job.meta.name, listed.contains(&&*own.job.meta.uid));
        if let Some(end) = own.end.as_ref().filter(|_| was_active) {
            let message = format!("Saw completed job: {name}, condition: {}", end.kind);
            outcome.actions.push(owner.event(EventKind::Normal, "SawCompletedJob", message));
        }
    }
    for gone in listed.iter().filter(|uid| jobs.iter().all(|own| *own.job.meta.uid != ***uid)) {
        let entries = cron.status.get("active").and_then(Value::as_array).into_iter().flatten();
        let entry =
            entries.into_iter().find(|it| it.get("uid").and_then(Value::as_str) == Some(gone));
        let name = entry.and_then(|it| it.get("name")).and_then(Value::as_str).unwrap_or_default();
        let message = format!("Active job went missing: {name}");
        outcome.actions.push(owner.event(EventKind::Normal, "MissingJob", message));
    }
}

/// The version of a job when it was listed first: it is not to change with the job.
fn own_version(status: &Value, meta: &crate::view::meta::Meta) -> String {
    let listed = status.get("active").and_then(Value::as_array).into_iter().flatten();
    let mut listed = listed.filter(|it| it.get("uid").and_then(Value::as_str) == Some(&*meta.uid));
    let present = listed.next().and_then(|it| it.get("resourceVersion")).and_then(Value::as_str);
    present.map_or_else(|| meta.resource_version.to_string(), str::to_owned)
}
