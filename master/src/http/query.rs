//! The query parameters that the API knows, parsed once.

use bramble_api::Status;
use bramble_api::decode::FieldValidation;
use bramble_api::patch::bounds::shortened;
use bramble_api::status::FieldError;

use super::path::decode_percent;

/// Query parameters of a request; the unknown ones are ignored, as upstream.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) watch: bool,
    pub(super) label_selector: Option<String>,
    pub(super) field_selector: Option<String>,
    pub(super) resource_version: Option<String>,
    pub(super) resource_version_match: Option<String>,
    pub(super) limit: usize,
    pub(super) continue_token: Option<String>,
    pub(super) allow_watch_bookmarks: bool,
    pub(super) send_initial_events: Option<bool>,
    pub(super) timeout_s: Option<u64>,
    pub(super) dry_run: bool,
    pub(super) field_manager: Option<String>,
    pub(super) field_validation: FieldValidation,
    pub(super) force: bool,
    pub(super) include_object: Option<String>,
    pub(super) grace_period_s: Option<i64>,
    pub(super) propagation_policy: Option<String>,
    pub(super) orphan_dependents: Option<bool>,
    pub(super) container: Option<String>,
    pub(super) follow: bool,
    pub(super) previous: bool,
    pub(super) timestamps: bool,
    pub(super) tail_lines: Option<u64>,
    pub(super) since_s: Option<u64>,
    pub(super) since_time: Option<String>,
    pub(super) limit_bytes: Option<u64>,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            watch: false,
            label_selector: None,
            field_selector: None,
            resource_version: None,
            resource_version_match: None,
            limit: 0,
            continue_token: None,
            allow_watch_bookmarks: false,
            send_initial_events: None,
            timeout_s: None,
            dry_run: false,
            field_manager: None,
            field_validation: FieldValidation::Warn,
            force: false,
            include_object: None,
            grace_period_s: None,
            propagation_policy: None,
            orphan_dependents: None,
            container: None,
            follow: false,
            previous: false,
            timestamps: false,
            tail_lines: None,
            since_s: None,
            since_time: None,
            limit_bytes: None,
        }
    }
}

impl Query {
    /// Reads a query string; `options` is the kind of options that it stands for, such as
    /// `CreateOptions`.
    ///
    /// # Errors
    ///
    /// 400 when a value cannot be read, 422 when it is none of those allowed.
    pub(super) fn parse(text: &str, options: &str) -> Result<Self, Status> {
        let mut query = Self::default();
        let mut field_validation = None;
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(key), Some(value)) = (decode_percent(key, true), decode_percent(value, true))
            else {
                return Err(Status::bad_request(format!("malformed query parameter {pair:?}")));
            };
            if value.is_empty() {
                continue;
            }
            match key.as_str() {
                "watch" => query.watch = parse_bool(&key, &value)?,
                "labelSelector" => query.label_selector = Some(value),
                "fieldSelector" => query.field_selector = Some(value),
                "resourceVersion" => query.resource_version = Some(value),
                "resourceVersionMatch" => query.resource_version_match = Some(value),
                "limit" => query.limit = parse_count(&key, &value)?,
                "continue" => query.continue_token = Some(value),
                "allowWatchBookmarks" => query.allow_watch_bookmarks = parse_bool(&key, &value)?,
                "sendInitialEvents" => query.send_initial_events = Some(parse_bool(&key, &value)?),
                "timeoutSeconds" => query.timeout_s = Some(parse_count(&key, &value)?),
                "dryRun" => query.dry_run = parse_dry_run(options, &value)?,
                "fieldManager" => query.field_manager = Some(value),
                "fieldValidation" => field_validation = Some(value),
                "force" => query.force = parse_bool(&key, &value)?,
                "includeObject" => query.include_object = Some(value),
                "gracePeriodSeconds" => query.grace_period_s = Some(parse_number(&key, &value)?),
                "propagationPolicy" => query.propagation_policy = Some(value),
                "orphanDependents" => query.orphan_dependents = Some(parse_bool(&key, &value)?),
                "container" => query.container = Some(value),
                "follow" => query.follow = parse_bool(&key, &value)?,
                "previous" => query.previous = parse_bool(&key, &value)?,
                "timestamps" => query.timestamps = parse_bool(&key, &value)?,
                "tailLines" => query.tail_lines = Some(parse_count(&key, &value)?),
                "sinceSeconds" => query.since_s = Some(parse_count(&key, &value)?),
                "sinceTime" => query.since_time = Some(value),
                "limitBytes" => query.limit_bytes = Some(parse_count(&key, &value)?),
                _ => {}
            }
        }
        query.field_validation = match field_validation.as_deref() {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                let known = ["", "Ignore", "Strict", "Warn"];
                let error = FieldError::unsupported("fieldValidation", shortened(other), &known);
                return Err(invalid_options(options, error));
            }
        };
        Ok(query)
    }
}

/// Reads a Go boolean.
fn parse_bool(key: &str, value: &str) -> Result<bool, Status> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Status::bad_request(format!("invalid boolean {value:?} for {key}"))),
    }
}

/// Reads a number as upstream does: 64 bits with a sign.
fn parse_number(key: &str, value: &str) -> Result<i64, Status> {
    value.parse().map_err(|_| {
        let value = shortened(value);
        Status::bad_request(format!("invalid number {value:?} for {key}"))
    })
}

/// Reads a number that says how much; less than nothing is nothing, and what is too large for us
/// is as much as we have.
fn parse_count<T: TryFrom<i64> + Bounded>(key: &str, value: &str) -> Result<T, Status> {
    Ok(T::try_from(parse_number(key, value)?.max(0)).unwrap_or(T::MOST))
}

/// A number type, and its largest value.
trait Bounded {
    /// The largest value.
    const MOST: Self;
}

impl Bounded for u64 {
    const MOST: Self = Self::MAX;
}

impl Bounded for usize {
    const MOST: Self = Self::MAX;
}

/// Reads `dryRun`, of which `All` is the only value; `options` is the kind of options it is in.
pub(super) fn parse_dry_run(options: &str, value: &str) -> Result<bool, Status> {
    if value == "All" {
        return Ok(true);
    }
    let error = FieldError::unsupported("dryRun", shortened(value), &["All"]);
    Err(invalid_options(options, error))
}

/// Options of a request that are not valid, in upstream's words.
pub(super) fn invalid_options(options: &str, error: FieldError) -> Status {
    Status::invalid_kind("meta.k8s.io", options, "", &[error])
}

#[cfg(test)]
mod tests {
    use super::Query;

    fn parse(text: &str) -> Result<Query, (u16, String)> {
        Query::parse(text, "PatchOptions").map_err(|status| (status.code, status.message))
    }

    #[test]
    fn values_are_decoded() {
        let query = parse("labelSelector=a%3Db%2Cc+in+(d)&limit=5&watch=true&x=y&follow").unwrap();
        assert_eq!(query.label_selector.as_deref(), Some("a=b,c in (d)"));
        assert_eq!(query.limit, 5);
        assert!(query.watch);
        assert!(!query.follow);
    }

    #[test]
    fn numbers_saturate() {
        let most = i64::MAX;
        let query = parse(&format!(
            "timeoutSeconds={most}&limit={most}&tailLines=-1&sinceSeconds={most}&limitBytes=-5&\
             gracePeriodSeconds={most}"
        ))
        .unwrap();
        assert_eq!(query.timeout_s, Some(most.unsigned_abs()));
        assert_eq!((query.tail_lines, query.limit_bytes), (Some(0), Some(0)));
        assert_eq!(query.grace_period_s, Some(most));
        assert_eq!(parse("limit=-1").unwrap().limit, 0);
        assert_eq!(parse("limit=9223372036854775808").unwrap_err().0, 400);
    }

    #[test]
    fn bad_values_are_refused() {
        for text in ["limit=x", "watch=maybe", "a=%", "labelSelector=%ff"] {
            assert_eq!(parse(text).unwrap_err().0, 400, "{text}");
        }
        assert_eq!(
            parse("dryRun=Some").unwrap_err(),
            (
                422,
                "PatchOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: \"Some\": \
                 supported values: \"All\""
                    .to_owned()
            )
        );
        assert_eq!(
            parse("fieldValidation=Loose").unwrap_err(),
            (
                422,
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \
                 \"Loose\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""
                    .to_owned()
            )
        );
    }
}
