//! Resources of `certificates.k8s.io/v1`.

use crate::resource::{Handler, Row, STATUS_VERBS, Strategy, Subresource};
use crate::validate::names;
use crate::{table, validate};

const GROUP: &str = "certificates.k8s.io";
const KIND: &str = "CertificateSigningRequest";

/// Requests for certificates.
pub(super) static SIGNING_REQUESTS: Row = Row {
    short_names: &["csr"],
    subresources: &[
        // An approval is a condition of the status.
        Subresource {
            name: "approval",
            group: GROUP,
            version: "v1",
            kind: KIND,
            verbs: STATUS_VERBS,
            handler: Handler::Status,
        },
        Subresource::status(GROUP, "v1", KIND),
    ],
    fields: &["spec.signerName"],
    columns: table::certificates::COLUMNS,
    cells: table::certificates::cells,
    validate: validate::certificates::signing_request,
    validate_update: validate::certificates::update,
    strategy: Strategy { name: names::path_segment, ..Strategy::PLAIN },
    ..Row::cluster(GROUP, "v1", KIND, "certificatesigningrequests", "certificatesigningrequest")
};
