//! In which form a client wants its answer.

use bramble_api::Status;
use http::HeaderMap;
use http::header::ACCEPT;

/// Form of an answer about objects. All are JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The objects.
    Object,
    /// A table of columns and rows.
    Table,
    /// The objects' metadata only.
    Metadata,
}

/// One clause of an `Accept` header.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Clause<'a> {
    pub(super) media: &'a str,
    pub(super) as_kind: &'a str,
    pub(super) group: &'a str,
    pub(super) version: &'a str,
}

/// Splits an `Accept` header into its clauses, in the client's order.
pub(super) fn clauses(headers: &HeaderMap) -> Vec<Clause<'_>> {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let mut found = Clause { media: parts.next().unwrap_or(""), ..Clause::default() };
            for part in parts {
                match part.split_once('=') {
                    Some(("as", value)) => found.as_kind = value,
                    Some(("g", value)) => found.group = value,
                    Some(("v", value)) => found.version = value,
                    Some(_) | None => {}
                }
            }
            found
        })
        .filter(|clause| !clause.media.is_empty())
        .collect()
}

/// Returns the first form in the client's list that we have.
///
/// # Errors
///
/// 406 when we have none of them.
pub(super) fn form(headers: &HeaderMap) -> Result<Form, Status> {
    let clauses = clauses(headers);
    if clauses.is_empty() {
        return Ok(Form::Object);
    }
    clauses
        .iter()
        .filter(|clause| matches!(clause.media, "application/json" | "application/*" | "*/*"))
        .find_map(|clause| match clause.as_kind {
            "" => Some(Form::Object),
            "Table" if matches!(clause.version, "v1" | "v1beta1") => Some(Form::Table),
            "PartialObjectMetadata" | "PartialObjectMetadataList" if clause.version == "v1" => {
                Some(Form::Metadata)
            }
            _ => None,
        })
        .ok_or_else(|| Status::not_acceptable(&["application/json"]))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::ACCEPT;

    use super::{Form, form};

    #[track_caller]
    fn check(accept: &str, expected: Option<Form>) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        assert_eq!(form(&headers).ok(), expected, "{accept}");
    }

    #[test]
    fn first_known_form_wins() {
        check("application/json", Some(Form::Object));
        check("*/*", Some(Form::Object));
        check("application/vnd.kubernetes.protobuf,application/json", Some(Form::Object));
        check("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Some(Form::Table));
        check("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", Some(Form::Object));
        check(
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            Some(Form::Metadata),
        );
        check("application/vnd.kubernetes.protobuf", None);
        check("text/html", None);
    }
}
