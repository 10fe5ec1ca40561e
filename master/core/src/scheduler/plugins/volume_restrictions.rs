//! Keeps a second pod from a claim that is for one pod only.

use super::{Context, Filter, FilterPlugin, Prepared, Refusal};
use crate::scheduler::cluster::Cluster;
use crate::scheduler::node_info::NodeInfo;
use crate::scheduler::queue::ClusterEvent;
use crate::view::pod::PodView;
use crate::view::resource::ObjectKey;

/// The plug-in.
#[derive(Clone, Copy, Debug)]
pub struct VolumeRestrictions;

/// How many other pods have one of the claims.
#[derive(Debug)]
struct Alone<'a> {
    pod: &'a PodView,
    claims: Vec<&'a str>,
    others: i64,
}

impl FilterPlugin for VolumeRestrictions {
    fn name(&self) -> &'static str {
        "VolumeRestrictions"
    }

    fn prepare<'a>(&self, pod: &'a PodView, context: &Context<'a>) -> Prepared<'a> {
        let key = |name: &str| ObjectKey::new(&pod.meta.namespace, name);
        let alone = |name: &&str| {
            context.snapshot.storage().claims.get(&key(name)).is_some_and(|it| it.for_one_pod())
        };
        let claims: Vec<&str> = pod.claims.iter().map(|name| &**name).filter(alone).collect();
        if claims.is_empty() {
            return Prepared::Skip;
        }
        let others = claims.iter().map(|name| context.cluster.users_of(&key(name))).sum();
        Prepared::Ask(Box::new(Alone { pod, claims, others }))
    }

    fn helped_by(&self, pod: &PodView, event: &ClusterEvent<'_>, _: &Cluster) -> bool {
        match event {
            ClusterEvent::PodGone { pod: gone, .. } => {
                gone.meta.namespace == pod.meta.namespace
                    && gone.claims.iter().any(|name| pod.claims.contains(name))
            }
            ClusterEvent::NodeAdded(_)
            | ClusterEvent::NodeChanged { .. }
            | ClusterEvent::PodPlaced(_)
            | ClusterEvent::Volumes { .. } => false,
        }
    }
}

impl Filter for Alone<'_> {
    fn filter(&self, _: usize, _: &NodeInfo) -> Result<(), Refusal> {
        if self.others > 0 {
            return Err(Refusal::resolvable(
                "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod \
                 access mode",
            ));
        }
        Ok(())
    }

    fn shift(&mut self, other: &PodView, _: usize, by: i64) {
        if other.meta.namespace == self.pod.meta.namespace {
            let shared = other.claims.iter().filter(|name| self.claims.contains(&&***name));
            self.others += by * i64::try_from(shared.count()).unwrap_or(0);
        }
    }
}
