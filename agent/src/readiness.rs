//! Says to the board's first process that the node was Ready in this boot, which is what a trial
//! of a new system waits for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bramble_runtime::whole_file;
use bramble_shared::ids::BootId;

use crate::progress::Progress;

/// Name of the file in the run directory. It is there once this boot's node was accepted by the
/// master, has an acknowledged heartbeat and knows all that it is to run; it ends with the boot.
pub(crate) const FILE: &str = "ready";
/// Interval at which it is looked.
const LOOK: Duration = Duration::from_millis(250);

/// Waits until the node is Ready and writes the file.
pub(crate) async fn keep(path: PathBuf, boot: BootId, progress: Arc<Progress>) {
    let content = format!("{:032x}\n", u128::from_be_bytes(boot.0));
    if std::fs::read_to_string(&path).is_ok_and(|found| found == content) {
        return;
    }
    // A run directory should end with its boot; one that does not must not speak for another.
    let _ = std::fs::remove_file(&path);
    while !progress.was_ready() {
        tokio::time::sleep(LOOK).await;
    }
    match whole_file::replace(&path, content.as_bytes(), 0o644) {
        Ok(()) => tracing::info!("the node is ready"),
        Err(error) => tracing::warn!(%error, path = %path.display(), "could not say so"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_file_appears_once_all_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, "of another boot").unwrap();
        let progress = Arc::new(Progress::default());
        let task = tokio::spawn(keep(path.clone(), BootId([1; 16]), Arc::clone(&progress)));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!path.exists());
        progress.note_acknowledged();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!path.exists());
        progress.note_synced();
        task.await.unwrap();
        assert!(path.exists());
        // A second agent of this boot leaves it.
        keep(path.clone(), BootId([1; 16]), Arc::default()).await;
        assert!(path.exists());
    }
}
