//! Whatever a patch says, it is applied or refused: nothing panics, and no result is larger or
//! deeper than an object may be.

use bramble_api::patch::{self, bounds};
use bramble_api::{Resource, registry};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const NOW: &str = "2026-01-01T00:00:00Z";

/// Names that objects and patches share, so that patches meet what is there.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("metadata".to_owned()),
        Just("spec".to_owned()),
        Just("containers".to_owned()),
        Just("name".to_owned()),
        Just("labels".to_owned()),
        Just("finalizers".to_owned()),
        Just("managedFields".to_owned()),
        Just("fieldsV1".to_owned()),
        Just("$patch".to_owned()),
        Just("$retainKeys".to_owned()),
        Just("$setElementOrder/containers".to_owned()),
        Just("$deleteFromPrimitiveList/finalizers".to_owned()),
        Just("f:spec".to_owned()),
        Just("k:{\"name\":\"a\"}".to_owned()),
        Just(".".to_owned()),
        "[a-c~/]{0,3}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!("delete")),
        Just(json!("replace")),
        "[a-c]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((name(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn object() -> impl Strategy<Value = Value> {
    (value(), value()).prop_map(|(metadata, spec)| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    })
}

fn pointer() -> impl Strategy<Value = String> {
    let part = prop_oneof![name(), Just("0".to_owned()), Just("-".to_owned()), "-?[0-9]{1,20}"];
    proptest::collection::vec(part, 0..5)
        .prop_map(|parts| parts.iter().map(|part| format!("/{part}")).collect())
}

fn operation() -> impl Strategy<Value = Value> {
    let kind = prop_oneof![
        Just("add"),
        Just("remove"),
        Just("replace"),
        Just("move"),
        Just("copy"),
        Just("test"),
        Just("explode"),
    ];
    (kind, pointer(), pointer(), value()).prop_map(
        |(kind, from, path, value)| json!({"op": kind, "from": from, "path": path, "value": value}),
    )
}

/// Copies and moves of what is really there, which is how values grow.
fn growing() -> impl Strategy<Value = Value> {
    let place =
        prop_oneof![Just(""), Just("/a"), Just("/b"), Just("/a/x"), Just("/list"), Just("/list/-")];
    let kind = prop_oneof![4 => Just("copy"), 1 => Just("move"), 1 => Just("add")];
    (kind, place.clone(), place)
        .prop_map(|(kind, from, path)| json!({"op": kind, "from": from, "path": path, "value": {}}))
}

fn pods() -> &'static Resource {
    registry::by_kind("", "Pod").expect("pods are built in")
}

fn bounded(result: &Value) {
    assert!(bounds::check(result).is_ok());
    assert!(result.to_string().len() <= 2 * bounds::RESULT_LEN_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_json_patch_is_applied_or_refused(
        object in object(),
        operations in proptest::collection::vec(operation(), 0..12),
    ) {
        if let Ok(result) = patch::json::apply(&object, &Value::Array(operations)) {
            bounded(&result);
        }
    }

    #[test]
    fn any_value_as_a_patch_is_applied_or_refused(object in object(), patch in value()) {
        let _ = patch::json::apply(&object, &patch);
        let _ = patch::strategic::apply(pods(), &object, &patch);
        let mut merged = object.clone();
        patch::merge::apply(&mut merged, &patch);
        bounded(&merged);
        let request = patch::apply::Request {
            applied: &patch, manager: "m", force: true, subresource: None, now: NOW,
        };
        let _ = patch::apply::apply(pods(), Some(&object), &request);
    }

    #[test]
    fn any_object_is_applied_or_refused(live in object(), patch in object(), force in any::<bool>()) {
        if let Ok(result) = patch::strategic::apply(pods(), &live, &patch) {
            bounded(&result);
        }
        let request = patch::apply::Request {
            applied: &patch, manager: "m", force, subresource: None, now: NOW,
        };
        if let Ok(result) = patch::apply::apply(pods(), Some(&live), &request) {
            bounded(&result);
            // Who applies the same again changes nothing.
            let again = patch::apply::apply(pods(), Some(&result), &request).unwrap();
            prop_assert_eq!(again, result);
        }
        let mut new = patch.clone();
        patch::apply::track_update(pods(), Some(&live), &mut new, "m", None, NOW);
        bounded(&new);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_sequence_of_copies_grows_beyond_the_bounds(
        operations in proptest::collection::vec(growing(), 1..10_000),
    ) {
        let object = json!({"a": {}, "b": {"x": {}}, "list": ["x".repeat(1_000)]});
        if let Ok(result) = patch::json::apply(&object, &Value::Array(operations)) {
            bounded(&result);
        }
    }
}
