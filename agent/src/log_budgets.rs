//! Tells pods that their budget of logs is used up, which only the log writer knows.

use std::collections::BTreeSet;
use std::time::Duration;

use bramble_agent_core::pod_worker::Event;
use bramble_runtime::logs::pods_without_budget;
use bramble_runtime::run_dir::RunDir;
use tokio::sync::mpsc;

use crate::pod_manager::PodEvent;

/// Interval at which the log writer's note is looked at: a person has not read the log sooner.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Tells each pod once a day, for ever.
pub(crate) async fn tell(run_dir: RunDir, budget_bytes: u64, events: mpsc::Sender<PodEvent>) {
    let mut told = BTreeSet::new();
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let used_up = pods_without_budget(&run_dir);
        for uid in used_up.difference(&told) {
            if events.send((uid.clone(), Event::LogBudgetUsedUp { budget_bytes })).await.is_err() {
                return;
            }
        }
        told = used_up;
    }
}

#[cfg(test)]
mod tests {
    use bramble_runtime::log_writer::note_used_up;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_pod_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(folder.path());
        let (events, mut told) = mpsc::channel(8);
        let telling = tokio::spawn(tell(run_dir.clone(), 7, events));
        let event = |uid: &str| (uid.to_owned(), Event::LogBudgetUsedUp { budget_bytes: 7 });
        note_used_up(&run_dir, &["default_web_u1"]);
        assert_eq!(told.recv().await, Some(event("u1")));
        note_used_up(&run_dir, &["default_web_u1", "kube-system_dns_u2"]);
        assert_eq!(told.recv().await, Some(event("u2")));
        // The next day.
        note_used_up(&run_dir, &[]);
        tokio::time::sleep(LOOK_INTERVAL * 2).await;
        note_used_up(&run_dir, &["default_web_u1"]);
        assert_eq!(told.recv().await, Some(event("u1")));
        telling.abort();
    }
}
