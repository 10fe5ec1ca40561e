//! Resources of `admissionregistration.k8s.io/v1`.

use crate::resource::{Row, Subresource};
use crate::{defaults, table, validate};

const GROUP: &str = "admissionregistration.k8s.io";

/// Webhooks that change objects.
pub(super) static MUTATING_WEBHOOKS: Row = Row {
    categories: &["api-extensions"],
    columns: table::admissionregistration::WEBHOOKS,
    cells: table::admissionregistration::webhooks,
    defaults: defaults::admissionregistration::mutating_webhooks,
    validate: validate::admissionregistration::webhooks,
    generation: true,
    ..Row::cluster(
        GROUP,
        "v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        "mutatingwebhookconfiguration",
    )
};

/// Webhooks that refuse objects.
pub(super) static VALIDATING_WEBHOOKS: Row = Row {
    categories: &["api-extensions"],
    columns: table::admissionregistration::WEBHOOKS,
    cells: table::admissionregistration::webhooks,
    defaults: defaults::admissionregistration::validating_webhooks,
    validate: validate::admissionregistration::webhooks,
    generation: true,
    ..Row::cluster(
        GROUP,
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        "validatingwebhookconfiguration",
    )
};

/// Rules that refuse objects.
pub(super) static VALIDATING_POLICIES: Row = Row {
    categories: &["api-extensions"],
    subresources: &[Subresource::status(GROUP, "v1", "ValidatingAdmissionPolicy")],
    columns: table::admissionregistration::VALIDATING_POLICY,
    cells: table::admissionregistration::validating_policy,
    defaults: defaults::admissionregistration::policy,
    validate: validate::admissionregistration::validating_policy,
    generation: true,
    ..Row::cluster(
        GROUP,
        "v1",
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        "validatingadmissionpolicy",
    )
};

/// Where those rules hold.
pub(super) static VALIDATING_BINDINGS: Row = Row {
    categories: &["api-extensions"],
    columns: table::admissionregistration::BINDING,
    cells: table::admissionregistration::binding,
    defaults: defaults::admissionregistration::binding,
    validate: validate::admissionregistration::validating_binding,
    generation: true,
    ..Row::cluster(
        GROUP,
        "v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        "validatingadmissionpolicybinding",
    )
};

/// Rules that change objects.
pub(super) static MUTATING_POLICIES: Row = Row {
    categories: &["api-extensions"],
    columns: table::admissionregistration::MUTATING_POLICY,
    cells: table::admissionregistration::mutating_policy,
    defaults: defaults::admissionregistration::policy,
    validate: validate::admissionregistration::mutating_policy,
    generation: true,
    ..Row::cluster(
        GROUP,
        "v1",
        "MutatingAdmissionPolicy",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicy",
    )
};

/// Where those rules hold.
pub(super) static MUTATING_BINDINGS: Row = Row {
    categories: &["api-extensions"],
    columns: table::admissionregistration::BINDING,
    cells: table::admissionregistration::binding,
    defaults: defaults::admissionregistration::binding,
    validate: validate::admissionregistration::binding,
    generation: true,
    ..Row::cluster(
        GROUP,
        "v1",
        "MutatingAdmissionPolicyBinding",
        "mutatingadmissionpolicybindings",
        "mutatingadmissionpolicybinding",
    )
};
