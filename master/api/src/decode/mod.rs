//! From the body of a request to an object that has only fields of its kind.

mod check;
mod parse;
mod place;
mod repeated;

use serde_json::Value;

pub use self::check::{CheckTypesError, prune};
pub use self::parse::{Parsed, parse};
pub use self::repeated::repeated;
use crate::protobuf::is_protobuf;
use crate::resource::Resource;
use crate::schema;
use crate::status::Status;

/// How deep objects may be nested; deeper ones could exhaust the stack of a recursion.
pub const DEPTH_MAX: usize = 100;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// JSON text.
    Json,
    /// YAML text, one document.
    Yaml,
    /// Kubernetes protobuf: four bytes and a `runtime.Unknown`.
    Protobuf,
}

impl MediaType {
    /// Reads the header `Content-Type`; none if it is a type that is not known.
    #[must_use]
    pub fn from_content_type(text: &str) -> Option<Self> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        match essence {
            "" | "application/json" => Some(Self::Json),
            "application/yaml" => Some(Self::Yaml),
            "application/vnd.kubernetes.protobuf" => Some(Self::Protobuf),
            _ => None,
        }
    }
}

/// What happens to unknown and duplicate fields; they are dropped in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValidation {
    /// Nothing.
    Ignore,
    /// The client is warned.
    Warn,
    /// The request is refused.
    Strict,
}

impl FieldValidation {
    /// Reads the query parameter `fieldValidation`.
    ///
    /// # Errors
    /// It is none of the three words.
    pub fn from_query(text: Option<&str>) -> Result<Self, Status> {
        match text {
            None | Some("" | "Warn") => Ok(Self::Warn),
            Some("Ignore") => Ok(Self::Ignore),
            Some("Strict") => Ok(Self::Strict),
            Some(other) => Err(Status::bad_request(format!(
                "fieldValidation: Unsupported value: \"{other}\": supported values: \"Ignore\", \
                 \"Strict\", \"Warn\""
            ))),
        }
    }
}

/// A decoded object.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The object, pruned, with `apiVersion` and `kind`.
    pub object: Value,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
}

/// Decodes a body that has to hold an object of the resource.
///
/// # Errors
/// The body is malformed, of another kind, has wrong types, or (strict) unknown fields.
pub fn decode(
    resource: &Resource,
    body: &[u8],
    media: MediaType,
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let mut parsed = parse_of(resource, body, media)?;
    if parsed.value.is_null() {
        // Upstream reads null as an object that says nothing.
        parsed.value = Value::Object(serde_json::Map::new());
    }
    check_resource(resource, parsed.value, &parsed.duplicates, validation)
}

/// Decodes a body that has to hold an object of a (group, version, kind), such as those of
/// subresources: `Scale`, `Binding`, `Eviction`, `DeleteOptions`.
///
/// # Errors
/// The body is malformed, of another kind, has wrong types, or (strict) unknown fields.
pub fn decode_kind(
    kind: (&str, &str, &str),
    body: &[u8],
    media: MediaType,
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let mut parsed = parse(body, media)?;
    if parsed.value.is_null() {
        // Upstream reads null as an object that says nothing.
        parsed.value = Value::Object(serde_json::Map::new());
    }
    check_kind(kind, parsed.value, &parsed.duplicates, validation)
}

/// Checks an object that a patch has made.
///
/// # Errors
/// It is of another kind, has wrong types, or (strict) unknown fields.
pub fn check(
    resource: &Resource,
    object: Value,
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    check_resource(resource, object, &[], validation)
}

/// Reads a body; custom resources have no form in protobuf.
fn parse_of(resource: &Resource, body: &[u8], media: MediaType) -> Result<Parsed, Status> {
    if resource.custom().is_some() && (media == MediaType::Protobuf || is_protobuf(body)) {
        return Err(Status::unsupported_media_type(&["application/json", "application/yaml"]));
    }
    parse(body, media)
}

fn check_resource(
    resource: &Resource,
    object: Value,
    duplicates: &[String],
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let kind = (&*resource.group, &*resource.version, &*resource.kind);
    match resource.custom() {
        None => check_kind(kind, object, duplicates, validation),
        Some(custom) => check_with(kind, object, duplicates, validation, |object| {
            let mut unknown = prune_metadata(object)?;
            unknown.extend(custom.prune(object));
            Ok(unknown)
        }),
    }
}

/// Looks at the metadata of an object only.
fn prune_metadata(object: &mut Value) -> Result<Vec<String>, CheckTypesError> {
    let (Some(message), Some(metadata)) = (schema::object_meta(), object.get_mut("metadata"))
    else {
        return Ok(Vec::new());
    };
    if metadata.is_null() {
        *metadata = Value::Object(serde_json::Map::new());
    }
    let unknown = prune(message, metadata)?;
    Ok(unknown.into_iter().map(|path| format!("metadata.{path}")).collect())
}

fn check_kind(
    (group, version, kind): (&str, &str, &str),
    object: Value,
    duplicates: &[String],
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let Some(message) = schema::built_in().find(group, version, kind) else {
        return Err(Status::internal(format!("no schema for kind `{kind}`")));
    };
    let prune = |object: &mut Value| prune(message, object);
    check_with((group, version, kind), object, duplicates, validation, prune)
}

fn check_with(
    (group, version, kind): (&str, &str, &str),
    mut object: Value,
    duplicates: &[String],
    validation: FieldValidation,
    prune: impl FnOnce(&mut Value) -> Result<Vec<String>, CheckTypesError>,
) -> Result<Decoded, Status> {
    let api_version =
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let refuse = |sent_version: &str, sent_kind: &str, why: &str| {
        Status::bad_request(format!(
            "{sent_kind} in version \"{sent_version}\" cannot be handled as a {kind}: {why}"
        ))
    };
    let Some(fields) = object.as_object_mut() else {
        return Err(refuse(&api_version, kind, "json: cannot unmarshal into a Go struct"));
    };
    // Delete options go with any version: clients send those of what they delete.
    let lenient = kind == "DeleteOptions";
    for (key, expected) in [("apiVersion", api_version.as_str()), ("kind", kind)] {
        let found = fields.get(key).and_then(Value::as_str).unwrap_or_default();
        if found.is_empty() {
            fields.insert(key.to_owned(), expected.into());
        } else if found != expected && !lenient {
            return Err(if key == "kind" {
                refuse(&api_version, found, &format!("expected kind {kind}"))
            } else {
                Status::bad_request(format!(
                    "the API version in the data ({found}) does not match the expected API \
                     version ({expected})"
                ))
            });
        }
    }
    let unknown =
        prune(&mut object).map_err(|error| refuse(&api_version, kind, &error.to_string()))?;
    let unknown = unknown.iter().map(|path| format!("unknown field \"{path}\""));
    let duplicates = duplicates.iter().map(|path| format!("duplicate field \"{path}\""));
    let warnings: Vec<String> = unknown.chain(duplicates).collect();
    match validation {
        FieldValidation::Ignore => Ok(Decoded { object, warnings: Vec::new() }),
        FieldValidation::Strict if !warnings.is_empty() => {
            let why = format!("strict decoding error: {}", warnings.join(", "));
            Err(refuse(&api_version, kind, &why))
        }
        FieldValidation::Warn | FieldValidation::Strict => Ok(Decoded { object, warnings }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;
    use serde_json::json;

    fn decode_pod(body: &str, validation: FieldValidation) -> Result<Decoded, String> {
        let pods = registry::find("", "v1", "pods").unwrap();
        decode(pods, body.as_bytes(), MediaType::Json, validation).map_err(|status| status.message)
    }

    #[test]
    fn unknown_and_duplicate_fields_are_dropped_warned_of_or_refused() {
        let body = r#"{"spec": {"foo": 1, "containers": [{"name": "a", "imag": "x"}],
            "hostname": "a", "hostname": "b"}}"#;
        let expected = json!({"apiVersion": "v1", "kind": "Pod",
            "spec": {"containers": [{"name": "a"}], "hostname": "b"}});
        let ignored = decode_pod(body, FieldValidation::Ignore).unwrap();
        assert_eq!((ignored.object, ignored.warnings), (expected.clone(), vec![]));
        let warned = decode_pod(body, FieldValidation::Warn).unwrap();
        assert_eq!(warned.object, expected);
        assert_eq!(
            warned.warnings,
            [
                "unknown field \"spec.containers[0].imag\"",
                "unknown field \"spec.foo\"",
                "duplicate field \"spec.hostname\"",
            ]
        );
        assert_eq!(
            decode_pod(body, FieldValidation::Strict).unwrap_err(),
            "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown \
             field \"spec.containers[0].imag\", unknown field \"spec.foo\", duplicate field \
             \"spec.hostname\""
        );
    }

    #[test]
    fn wrong_types_are_refused_with_their_path() {
        let check = |body: &str, expected: &str| {
            let message = decode_pod(body, FieldValidation::Ignore).unwrap_err();
            let (_, why) = message.split_once("as a Pod: ").unwrap();
            assert_eq!(why, expected);
        };
        check(
            r#"{"spec": {"containers": "x"}}"#,
            "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type \
             []v1.Container",
        );
        check(
            r#"{"spec": {"containers": [{"env": [{"name": "A", "value": 1}]}]}}"#,
            "json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value \
             of type string",
        );
        check(
            r#"{"spec": {"terminationGracePeriodSeconds": 1.5}}"#,
            "json: cannot unmarshal number 1.5 into Go struct field \
             PodSpec.spec.terminationGracePeriodSeconds of type int64",
        );
        check(
            r#"{"spec": {"containers": [{"resources": {"limits": {"cpu": "1x"}}}]}}"#,
            "quantities must match the regular expression \
             '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$' (spec.containers.resources.limits.cpu)",
        );
    }

    #[test]
    fn quantities_are_stored_in_canonical_form_and_nulls_are_dropped() {
        let body = r#"{"metadata": {"creationTimestamp": null},
            "spec": {"containers": [{"resources": {"limits": {"cpu": 0.5, "memory": "1.5Gi"}}}]}}"#;
        let decoded = decode_pod(body, FieldValidation::Strict).unwrap().object;
        assert_eq!(decoded["metadata"], json!({}));
        let limits = &decoded["spec"]["containers"][0]["resources"]["limits"];
        assert_eq!(limits, &json!({"cpu": "500m", "memory": "1536Mi"}));
    }

    #[test]
    fn empty_lists_and_maps_are_none_unless_they_have_to_be_there() {
        let body = r#"{"metadata": {"labels": {}, "finalizers": []},
            "spec": {"containers": [], "volumes": [{"name": "a", "emptyDir": {}}],
                "tolerations": [], "nodeSelector": {}}}"#;
        let decoded = decode_pod(body, FieldValidation::Strict).unwrap().object;
        assert_eq!(decoded["metadata"], json!({}));
        let volumes = json!([{"name": "a", "emptyDir": {}}]);
        assert_eq!(decoded["spec"], json!({"containers": [], "volumes": volumes}));
    }

    #[test]
    fn another_kind_or_version_is_refused() {
        assert_eq!(
            decode_pod(r#"{"kind": "Node", "apiVersion": "v1"}"#, FieldValidation::Warn)
                .unwrap_err(),
            "Node in version \"v1\" cannot be handled as a Pod: expected kind Pod"
        );
        assert_eq!(
            decode_pod(r#"{"kind": "Pod", "apiVersion": "v2"}"#, FieldValidation::Warn)
                .unwrap_err(),
            "the API version in the data (v2) does not match the expected API version (v1)"
        );
    }

    #[test]
    fn yaml_is_read_and_its_duplicates_are_seen() {
        let config_maps = registry::find("", "v1", "configmaps").unwrap();
        let body = b"kind: ConfigMap\ndata:\n  a: x\n  a: \"1\"\n";
        let decoded = decode(config_maps, body, MediaType::Yaml, FieldValidation::Warn).unwrap();
        assert_eq!(decoded.object["data"], json!({"a": "1"}));
        assert_eq!(decoded.warnings, ["duplicate field \"data.a\""]);
    }

    #[test]
    fn deep_nesting_and_garbage_are_refused() {
        let deep = format!("{}{}", "[".repeat(120), "]".repeat(120));
        assert!(decode_pod(&deep, FieldValidation::Warn).is_err());
        assert!(decode_pod("{", FieldValidation::Warn).is_err());
        assert!(decode_pod("{} {}", FieldValidation::Warn).is_err());
        assert!(decode_pod("[]", FieldValidation::Warn).is_err());
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
                    c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n\
                    e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
        assert!(parse(bomb.as_bytes(), MediaType::Yaml).is_err());
    }

    #[test]
    fn what_yaml_aliases_and_brackets_may_cost_is_bounded() {
        let text = "x".repeat(1 << 20);
        let many = format!("a: &a {text}\nb: [{}]\n", "*a,".repeat(200_000));
        let refused = parse(many.as_bytes(), MediaType::Yaml).unwrap_err();
        assert!(refused.message.contains("excessive aliasing"), "{}", refused.message);
        let few = "a: &a x\nb: [*a,*a,*a]\n";
        let parsed = parse(few.as_bytes(), MediaType::Yaml).unwrap();
        assert_eq!(parsed.value, json!({"a": "x", "b": ["x", "x", "x"]}));
        let open = "[".repeat(1 << 20);
        let refused = parse(open.as_bytes(), MediaType::Yaml).unwrap_err();
        assert!(refused.message.contains("open at once"), "{}", refused.message);
        for levels in ["- ".repeat(1 << 20), "? ".repeat(101), "-\t".repeat(101)] {
            let refused = parse(levels.as_bytes(), MediaType::Yaml).unwrap_err();
            assert!(refused.message.contains("levels deep"), "{}", refused.message);
        }
        let long = "-\n".repeat(1 << 20);
        let refused = parse(long.as_bytes(), MediaType::Yaml).unwrap_err();
        assert!(refused.message.contains("tokens"), "{}", refused.message);
        // A line of dashes is a text, and what is JSON needs no reader of YAML.
        let ruler = format!("a: |\n  {}\n  {}\n", "-".repeat(200), "- ".repeat(50));
        assert!(parse(ruler.as_bytes(), MediaType::Yaml).is_ok());
        let json = format!(r#" {{"a": "{}", "b": [1, 1]}}"#, "- : ?".repeat(200_000));
        assert_eq!(parse(json.as_bytes(), MediaType::Yaml).unwrap().value["b"], json!([1, 1]));
        // Colours in a script look like brackets that nobody closes.
        let script = format!("a: |\n{}", "  echo \"\\033[1mhello\\033[0m\"\n".repeat(1_000));
        assert!(parse(script.as_bytes(), MediaType::Yaml).is_ok());
    }

    #[test]
    fn long_keys_and_many_mistakes_are_told_briefly() {
        let key = "k".repeat(1 << 20);
        let body = format!(r#"{{"data": {{"a": "", "{key}": [{}0]}}}}"#, "0,".repeat(100_000));
        let config_maps = registry::find("", "v1", "configmaps").unwrap();
        let media = MediaType::Json;
        let refused = decode(config_maps, body.as_bytes(), media, FieldValidation::Warn);
        assert!(refused.unwrap_err().message.len() < 1_000);
        let unknown: Vec<String> =
            (0..100_000).map(|number| format!(r#""u{number}": 1"#)).collect();
        let body = format!("{{{}}}", unknown.join(","));
        let decoded = decode(config_maps, body.as_bytes(), media, FieldValidation::Warn).unwrap();
        assert_eq!(decoded.warnings.len(), 100);
    }

    #[test]
    fn times_are_stored_in_the_one_form_that_typed_clients_read() {
        let leases = registry::find("coordination.k8s.io", "v1", "leases").unwrap();
        let check = |time: &str, expected: Option<&str>| {
            let body = json!({"spec": {"renewTime": time}}).to_string();
            let decoded = decode(leases, body.as_bytes(), MediaType::Json, FieldValidation::Strict);
            let stored = decoded.ok().map(|decoded| decoded.object["spec"]["renewTime"].clone());
            assert_eq!(stored, expected.map(Value::from), "{time}");
        };
        check("2026-01-02T03:04:05.103Z", Some("2026-01-02T03:04:05.103000Z"));
        check("2026-01-02T03:04:05.103456789Z", Some("2026-01-02T03:04:05.103456Z"));
        check("2026-01-02T03:04:05Z", Some("2026-01-02T03:04:05.000000Z"));
        check("2026-01-02T03:04:05.103456+02:00", Some("2026-01-02T01:04:05.103456Z"));
        check("9999-12-31T23:59:59.000000-01:00", Some("9999-12-31T23:59:59.000000Z"));
        check("20260-01-02T03:04:05Z", None);
        let body = r#"{"metadata": {"creationTimestamp": "2026-01-02T03:04:05.5+01:00"}}"#;
        let decoded = decode_pod(body, FieldValidation::Strict).unwrap().object;
        assert_eq!(decoded["metadata"]["creationTimestamp"], json!("2026-01-02T02:04:05Z"));
    }
}
