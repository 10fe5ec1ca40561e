//! Resources of `batch/v1`.

use crate::resource::{Row, Strategy, Subresource};
use crate::{defaults, strategy, table, validate};

/// Jobs.
pub(super) static JOBS: Row = Row {
    categories: &["all"],
    subresources: &[Subresource::status("batch", "v1", "Job")],
    fields: &["status.successful"],
    columns: table::batch::JOB,
    cells: table::batch::job,
    defaults: defaults::batch::job,
    validate: validate::batch::job,
    validate_update: validate::batch::job_update,
    generation: true,
    pod_spec: Some("/spec/template/spec"),
    // Dependents stay by default in this version, as upstream has it.
    strategy: Strategy { named: strategy::job::named, orphans: true, ..Strategy::PLAIN },
    ..Row::namespaced("batch", "v1", "Job", "jobs", "job")
};

/// Jobs that recur.
pub(super) static CRON_JOBS: Row = Row {
    short_names: &["cj"],
    categories: &["all"],
    subresources: &[Subresource::status("batch", "v1", "CronJob")],
    columns: table::batch::CRON_JOB,
    cells: table::batch::cron_job,
    defaults: defaults::batch::cron_job,
    validate: validate::batch::cron_job,
    generation: true,
    pod_spec: Some("/spec/jobTemplate/spec/template/spec"),
    ..Row::namespaced("batch", "v1", "CronJob", "cronjobs", "cronjob")
};
