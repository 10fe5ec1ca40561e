//! Resources of `policy/v1`.

use crate::resource::{Row, Strategy, Subresource};
use crate::{table, validate};

/// How many pods may be missing on purpose.
pub(super) static POD_DISRUPTION_BUDGETS: Row = Row {
    short_names: &["pdb"],
    subresources: &[Subresource::status("policy", "v1", "PodDisruptionBudget")],
    columns: table::policy::POD_DISRUPTION_BUDGET,
    cells: table::policy::pod_disruption_budget,
    validate: validate::policy::pod_disruption_budget,
    generation: true,
    strategy: Strategy {
        unconditional_update: false,
        initial_status: |_| {
            serde_json::json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0,
                "expectedPods": 0})
        },
        ..Strategy::PLAIN
    },
    ..Row::namespaced(
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        "poddisruptionbudget",
    )
};
