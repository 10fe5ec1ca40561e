//! The query parameters that the API knows, parsed once.

use bramble_api::Status;
use bramble_api::decode::FieldValidation;

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
    /// Reads a query string.
    ///
    /// # Errors
    ///
    /// 400 when a value cannot be read, 422 when it is none of those allowed.
    pub(super) fn parse(text: &str) -> Result<Self, Status> {
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
                "limit" => query.limit = parse_number(&key, &value)?,
                "continue" => query.continue_token = Some(value),
                "allowWatchBookmarks" => query.allow_watch_bookmarks = parse_bool(&key, &value)?,
                "sendInitialEvents" => query.send_initial_events = Some(parse_bool(&key, &value)?),
                "timeoutSeconds" => query.timeout_s = Some(parse_number(&key, &value)?),
                "dryRun" => query.dry_run = parse_dry_run(&value)?,
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
                "tailLines" => query.tail_lines = Some(parse_number(&key, &value)?),
                "sinceSeconds" => query.since_s = Some(parse_number(&key, &value)?),
                "sinceTime" => query.since_time = Some(value),
                "limitBytes" => query.limit_bytes = Some(parse_number(&key, &value)?),
                _ => {}
            }
        }
        query.field_validation = FieldValidation::from_query(field_validation.as_deref())?;
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

fn parse_number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, Status> {
    value.parse().map_err(|_| Status::bad_request(format!("invalid number {value:?} for {key}")))
}

/// Reads `dryRun`, of which `All` is the only value.
pub(super) fn parse_dry_run(value: &str) -> Result<bool, Status> {
    if value == "All" {
        Ok(true)
    } else {
        Err(Status::bad_request(format!(
            "invalid dryRun value {value:?}: the only supported value is \"All\""
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn values_are_decoded() {
        let query =
            Query::parse("labelSelector=a%3Db%2Cc+in+(d)&limit=5&watch=true&x=y&follow").unwrap();
        assert_eq!(query.label_selector.as_deref(), Some("a=b,c in (d)"));
        assert_eq!(query.limit, 5);
        assert!(query.watch);
        assert!(!query.follow);
    }

    #[test]
    fn bad_values_are_refused() {
        for text in
            ["limit=x", "limit=-1", "watch=maybe", "dryRun=Some", "a=%", "labelSelector=%ff"]
        {
            assert_eq!(
                Query::parse(text).map(|_| ()).map_err(|status| status.code),
                Err(400),
                "{text}"
            );
        }
    }
}
