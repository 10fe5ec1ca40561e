//! The workloads of a snapshot, and what is kept like them: one table of kinds, so that a further one
//! is a line.
//!
//! Knows no indexes: the snapshot keeps those.

use std::sync::Arc;

use super::{Objects, decode};
use crate::view::controller_revision::ControllerRevisionView;
use crate::view::cron_job::CronJobView;
use crate::view::daemon_set::DaemonSetView;
use crate::view::endpoints::EndpointsView;
use crate::view::job::JobView;
use crate::view::meta::Meta;
use crate::view::replication_controller::ReplicationControllerView;
use crate::view::resource::{ObjectId, ObjectKey, Resource};
use crate::view::stateful_set::StatefulSetView;

macro_rules! workloads {
    ($($kind:ident, $field:ident, $view:ty, $resource:ident, [$($meta:tt)+];)+) => {
        /// All workloads that have a view of their own.
        #[derive(Clone, Debug, Default)]
        pub struct Workloads {
            $(
                #[doc = concat!("All objects of kind `", stringify!($kind), "`.")]
                pub $field: Objects<$view>,
            )+
        }

        /// A workload that was read and is to be put in its place.
        pub(super) enum Decoded {
            $($kind(Arc<$view>),)+
        }

        impl Workloads {
            /// Whether a resource is one of these.
            pub(super) fn hold(resource: &Resource) -> bool {
                $(*resource == Resource::$resource)||+
            }

            pub(super) fn meta(&self, id: &ObjectId) -> Option<&Meta> {
                $(if id.resource == Resource::$resource {
                    return self.$field.get(&id.key).map(|object| &object.$($meta)+);
                })+
                None
            }

            pub(super) fn metas(&self) -> impl Iterator<Item = (&Resource, &Meta)> {
                $(
                    static $resource: Resource = Resource::$resource;
                )+
                std::iter::empty()
                $(
                    .chain(self.$field.values().map(|object| (&$resource, &object.$($meta)+)))
                )+
            }

            /// Reads an object; `None` if it is none of these.
            pub(super) fn decode(
                id: &ObjectId,
                value: &[u8],
                revision: u64,
            ) -> serde_json::Result<Option<Decoded>> {
                $(if id.resource == Resource::$resource {
                    let view = decode::<$view>(value, id, revision, |view| &mut view.$($meta)+)?;
                    return Ok(Some(Decoded::$kind(view)));
                })+
                Ok(None)
            }

            pub(super) fn insert(&mut self, key: ObjectKey, decoded: Decoded) {
                match decoded {
                    $(Decoded::$kind(view) => drop(self.$field.insert(key, view)),)+
                }
            }

            pub(super) fn remove(&mut self, id: &ObjectId) {
                $(if id.resource == Resource::$resource {
                    self.$field.remove(&id.key);
                })+
            }
        }
    };
}

workloads! {
    StatefulSet, stateful_sets, StatefulSetView, STATEFUL_SETS, [meta];
    DaemonSet, daemon_sets, DaemonSetView, DAEMON_SETS, [meta];
    ControllerRevision, controller_revisions, ControllerRevisionView, CONTROLLER_REVISIONS, [meta];
    Job, jobs, JobView, JOBS, [meta];
    CronJob, cron_jobs, CronJobView, CRON_JOBS, [meta];
    Endpoints, endpoints, EndpointsView, ENDPOINTS, [meta];
    ReplicationController, replication_controllers, ReplicationControllerView,
        REPLICATION_CONTROLLERS, [0.meta];
}
