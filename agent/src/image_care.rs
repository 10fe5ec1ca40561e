//! Removes images that no pod of this node uses when the disk gets full.
//!
//! What is in use is read from the disk, not from memory: containers outlive the agent that mounted
//! their roots.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bramble_agent_core::image_care::is_due;
use bramble_image::{Digest, Keep, Reference, mounted_image};

use crate::executor::all_containers;
use crate::node::Node;

/// Interval at which the disk is looked at: the kubelet's is five minutes, and a card is small.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Looks after the disk, for ever.
pub(crate) async fn keep(node: Arc<Node>) {
    loop {
        let no_room = tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => false,
            () = node.no_room.notified() => true,
        };
        let due = node.image_store.disk().is_ok_and(|(total, free)| is_due(total, free, no_room));
        if !due {
            continue;
        }
        let node = Arc::clone(&node);
        let collected = tokio::task::spawn_blocking(move || collect(&node)).await;
        if let Ok(Err(error)) = collected {
            tracing::warn!(%error, "unused images were not removed");
        }
        // Pulls that find no room again and again must not read the store each time.
        tokio::time::sleep(LOOK_INTERVAL / 6).await;
    }
}

fn collect(node: &Node) -> io::Result<()> {
    let references = {
        let desired = node.desired();
        let containers = desired.pods.values().flat_map(all_containers);
        containers.filter_map(|each| Reference::parse(&each.image).ok()).collect()
    };
    // An image whose root is mounted and of which nobody can say which it is keeps all.
    let digests = mounted_images(&node.config.data_dir.join("pods"))?;
    let keep = Keep { references, digests };
    node.image_store.garbage_collect(&keep).map_err(io::Error::other)?;
    Ok(())
}

/// The images of all containers' roots beneath the folder of pods.
fn mounted_images(pods: &Path) -> io::Result<BTreeSet<Digest>> {
    let mut found = BTreeSet::new();
    for pod in folders(pods)? {
        for container in folders(&pod.join("containers"))? {
            found.extend(mounted_image(&container)?);
        }
    }
    Ok(found)
}

fn folders(path: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn images_in_use_are_read_from_the_disk_and_unknown_ones_keep_all() {
        let pods = tempfile::tempdir().unwrap();
        assert!(mounted_images(&pods.path().join("none")).unwrap().is_empty());
        let container = pods.path().join("u1/containers/web.0");
        fs::create_dir_all(container.join("rootfs")).unwrap();
        fs::create_dir_all(pods.path().join("u1/containers/ended.0")).unwrap();
        fs::create_dir_all(pods.path().join("u2/volumes")).unwrap();
        assert!(mounted_images(pods.path()).is_err(), "a root of before this was noted");
        let digest = format!("sha256:{}", "ab".repeat(32));
        fs::write(container.join("image"), &digest).unwrap();
        let found = mounted_images(pods.path()).unwrap();
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [digest]);
    }
}
