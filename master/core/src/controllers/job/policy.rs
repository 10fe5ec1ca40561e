//! What the policies of a job make of pods that failed and of indexes that succeeded.

use std::collections::BTreeSet;

use super::indexes;
use crate::view::condition::{Status, find};
use crate::view::job::{FailureRule, JobSpec, OnExitCodes, SuccessRule};
use crate::view::pod::{Exit, Phase, PodView};

/// What the failure of a pod means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It counts towards the limit of failures.
    Count,
    /// It counts for nothing.
    Ignore,
    /// Its index has failed.
    FailIndex,
    /// The job has failed, for this reason.
    FailJob(String),
}

/// Asks the failure policy of a job about a failed pod.
pub(super) fn failure(spec: &JobSpec, pod: &PodView) -> Verdict {
    let rules = spec.pod_failure_policy.as_ref().map(|policy| policy.rules.as_slice());
    for (number, rule) in rules.unwrap_or_default().iter().enumerate() {
        let Some(why) = reason(rule, pod) else { continue };
        return match &*rule.action {
            "Ignore" => Verdict::Ignore,
            "FailIndex" if spec.backoff_limit_per_index.is_some() => Verdict::FailIndex,
            "FailJob" => {
                let action = &rule.action;
                Verdict::FailJob(format!("{why} matching {action} rule at index {number}"))
            }
            _ => Verdict::Count,
        };
    }
    Verdict::Count
}

/// Why a rule fits a pod, in upstream's words.
fn reason(rule: &FailureRule, pod: &PodView) -> Option<String> {
    let (namespace, name) = (&pod.meta.namespace, &pod.meta.name);
    if let Some(codes) = &rule.on_exit_codes {
        // A pod that is going has not ended in a way that its codes could tell.
        let exit = pod.exits.iter().find(|exit| pod.phase == Phase::Failed && fits(codes, exit))?;
        let Exit { container, code, .. } = exit;
        return Some(format!(
            "Container {container} for pod {namespace}/{name} failed with exit code {code}"
        ));
    }
    rule.on_pod_conditions.iter().find_map(|wanted| {
        let present = find(&pod.conditions, &wanted.kind)?;
        let status = match present.status {
            Status::True => "True",
            Status::False => "False",
            Status::Unknown => "Unknown",
        };
        let asked = if wanted.status.is_empty() { "True" } else { &wanted.status };
        let kind = &wanted.kind;
        (status == asked).then(|| format!("Pod {namespace}/{name} has condition {kind}"))
    })
}

/// Success is no failure, whatever the codes asked for.
fn fits(codes: &OnExitCodes, exit: &Exit) -> bool {
    let named = codes.container_name.as_ref().is_none_or(|name| *name == exit.container);
    let listed = codes.values.contains(&exit.code);
    named && exit.code != 0 && listed == (&*codes.operator != "NotIn")
}

/// The number of the first success rule that the succeeded indexes satisfy.
pub(super) fn success(spec: &JobSpec, succeeded: &BTreeSet<i32>) -> Option<usize> {
    let rules = spec.success_policy.as_ref()?.rules.iter();
    let completions = spec.completions.unwrap_or_default();
    let met = |rule: &SuccessRule| {
        let wanted = rule.succeeded_indexes.as_ref().map(|text| indexes::parse(text, completions));
        let reached = match &wanted {
            Some(wanted) => succeeded.intersection(wanted).count(),
            None => succeeded.len(),
        };
        let all =
            wanted.map_or_else(|| usize::try_from(completions).unwrap_or_default(), |it| it.len());
        let count = rule.succeeded_count.map(|count| usize::try_from(count).unwrap_or_default());
        reached >= count.unwrap_or(all)
    };
    rules.enumerate().find(|(_, rule)| met(rule)).map(|(number, _)| number)
}
