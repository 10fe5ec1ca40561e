//! A pod's phase and status, computed from its containers as the kubelet does.

use bramble_shared::link::{ContainerState, ContainerStatus, PodPhase, RestartPolicy};

/// What the phase depends on.
#[derive(Clone, Copy, Debug)]
pub struct PhaseInput<'a> {
    /// `spec.restartPolicy`.
    pub restart_policy: RestartPolicy,
    /// Init containers in order, with whether each is a sidecar.
    pub init: &'a [(ContainerStatus, bool)],
    /// Containers in order.
    pub containers: &'a [ContainerStatus],
}

/// The phase: the kubelet's `getPhase`, case by case.
#[must_use]
pub fn phase(input: &PhaseInput<'_>) -> PodPhase {
    let mut pending_init = false;
    let mut sidecar_runs = false;
    for (status, sidecar) in input.init {
        let ended_badly = |state: &ContainerState| exit_code(state).is_some_and(|code| code != 0);
        if *sidecar {
            sidecar_runs |= matches!(status.state, ContainerState::Running { .. });
            pending_init |= exit_code(&status.state).is_none() && !status.started;
            continue;
        }
        match &status.state {
            ContainerState::Running { .. } => pending_init = true,
            ContainerState::Terminated { .. } if ended_badly(&status.state) => {
                if input.restart_policy == RestartPolicy::Never {
                    return PodPhase::Failed;
                }
                pending_init = true;
            }
            ContainerState::Terminated { .. } => {}
            ContainerState::Waiting { .. } => pending_init = true,
        }
    }
    let count = |test: fn(&ContainerStatus) -> bool| {
        input.containers.iter().filter(|status| test(status)).count()
    };
    let running = count(|status| matches!(status.state, ContainerState::Running { .. }));
    let waiting = count(|status| {
        matches!(status.state, ContainerState::Waiting { .. }) && status.last_state.is_none()
    });
    let succeeded = count(|status| last_exit_code(status) == Some(0));
    let all = input.containers.len();
    // A sidecar that waits for its restart does not undo what was begun after it.
    let begun = count(|status| {
        !matches!(status.state, ContainerState::Waiting { .. }) || status.last_state.is_some()
    });
    if pending_init && begun == 0 || waiting > 0 {
        return PodPhase::Pending;
    }
    if running > 0 || sidecar_runs {
        return PodPhase::Running;
    }
    match input.restart_policy {
        RestartPolicy::Always => PodPhase::Running,
        RestartPolicy::OnFailure | RestartPolicy::Never if succeeded == all => PodPhase::Succeeded,
        RestartPolicy::Never => PodPhase::Failed,
        RestartPolicy::OnFailure => PodPhase::Running,
    }
}

/// The phase of a pod of which nothing runs and nothing will: a pod that is deleted ends as if it
/// were never restarted, and one that never ran has failed.
#[must_use]
pub fn phase_at_end(computed: PodPhase, containers: &[ContainerStatus]) -> PodPhase {
    match computed {
        PodPhase::Succeeded | PodPhase::Failed => computed,
        PodPhase::Pending | PodPhase::Running => {
            match containers.iter().all(|status| last_exit_code(status) == Some(0)) {
                true => PodPhase::Succeeded,
                false => PodPhase::Failed,
            }
        }
    }
}

/// Exit code of a state, once there is one.
#[must_use]
pub fn exit_code(state: &ContainerState) -> Option<i32> {
    match state {
        ContainerState::Terminated { exit_code, .. } => Some(*exit_code),
        ContainerState::Waiting { .. } | ContainerState::Running { .. } => None,
    }
}

/// Exit code of the current or, while a restart is awaited, the last run.
fn last_exit_code(status: &ContainerStatus) -> Option<i32> {
    match (&status.state, &status.last_state) {
        (ContainerState::Waiting { .. }, Some(last)) => exit_code(last),
        (state, _) => exit_code(state),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: ContainerState, last: Option<i32>) -> ContainerStatus {
        ContainerStatus {
            name: "c".to_owned(),
            container_id: String::new(),
            image: String::new(),
            image_id: String::new(),
            restart_count: 0,
            ready: false,
            started: matches!(state, ContainerState::Running { .. }),
            state,
            last_state: last.map(ended),
            resources: None,
        }
    }

    fn ended(exit_code: i32) -> ContainerState {
        ContainerState::Terminated {
            exit_code,
            signal: 0,
            reason: String::new(),
            message: String::new(),
            started_ms: 0,
            finished_ms: 0,
        }
    }

    const RUNNING: ContainerState = ContainerState::Running { started_ms: 0 };

    fn waiting() -> ContainerState {
        ContainerState::Waiting { reason: String::new(), message: String::new() }
    }

    fn check(
        restart_policy: RestartPolicy,
        init: &[(ContainerState, bool)],
        containers: &[(ContainerState, Option<i32>)],
        expected: PodPhase,
    ) {
        let init: Vec<_> = init.iter().map(|(s, side)| (status(s.clone(), None), *side)).collect();
        let containers: Vec<_> =
            containers.iter().map(|(state, last)| status(state.clone(), *last)).collect();
        let input = PhaseInput { restart_policy, init: &init, containers: &containers };
        assert_eq!(phase(&input), expected, "{restart_policy:?} {init:?} {containers:?}");
    }

    #[test]
    fn phases_are_the_kubelets() {
        use PodPhase::{Failed, Pending, Running, Succeeded};
        use RestartPolicy::{Always, Never, OnFailure};
        check(Always, &[], &[(waiting(), None)], Pending);
        check(Always, &[], &[(RUNNING, None)], Running);
        check(Always, &[], &[(RUNNING, None), (waiting(), None)], Pending);
        check(Always, &[], &[(waiting(), Some(1))], Running);
        check(Always, &[], &[(ended(0), None)], Running);
        check(Never, &[], &[(ended(0), None)], Succeeded);
        check(Never, &[], &[(ended(0), None), (ended(2), None)], Failed);
        check(Never, &[], &[(ended(2), None), (RUNNING, None)], Running);
        check(OnFailure, &[], &[(ended(0), None)], Succeeded);
        check(OnFailure, &[], &[(waiting(), Some(2))], Running);
        check(Never, &[(ended(1), false)], &[(waiting(), None)], Failed);
        check(Always, &[(ended(1), false)], &[(waiting(), None)], Pending);
        check(Always, &[(RUNNING, false)], &[(waiting(), None)], Pending);
        check(Never, &[(RUNNING, true)], &[(ended(0), None)], Running);
        check(Never, &[(ended(137), true)], &[(ended(0), None)], Succeeded);
        check(Always, &[(waiting(), true)], &[(waiting(), None)], Pending);
        check(Always, &[(waiting(), true)], &[(RUNNING, None)], Running);
        check(Always, &[(waiting(), true)], &[(waiting(), Some(1))], Running);
        check(Always, &[(waiting(), true)], &[(RUNNING, None), (waiting(), None)], Pending);
    }

    #[test]
    fn a_deleted_pod_ends_in_a_phase_that_is_final() {
        use PodPhase::{Failed, Pending, Running, Succeeded};
        let check = |computed, states: &[(ContainerState, Option<i32>)], expected| {
            let containers: Vec<_> =
                states.iter().map(|(state, last)| status(state.clone(), *last)).collect();
            assert_eq!(phase_at_end(computed, &containers), expected, "{computed:?} {states:?}");
        };
        check(Running, &[(ended(0), None), (ended(0), None)], Succeeded);
        check(Running, &[(ended(0), None), (ended(143), None)], Failed);
        check(Running, &[(waiting(), Some(0))], Succeeded);
        check(Pending, &[(waiting(), None)], Failed);
        check(Failed, &[(ended(0), None)], Failed);
    }
}
