//! Nothing that is done with a client's object grows faster than its size times a logarithm.
//!
//! Every list and map of every kind is filled with N and with eight times as many items, and goes
//! through all that a write goes through. Processor time of this thread is compared, not time on a
//! clock, so that a busy machine does not matter; what is quadratic needs 64 times as much.
#![expect(
    clippy::wildcard_enum_match_arm,
    clippy::cast_precision_loss,
    reason = "types that hold nothing to fill, and small numbers"
)]

use std::collections::BTreeSet;

use bramble_api::decode::{self, FieldValidation, MediaType};
use bramble_api::schema::{Message, Type};
use bramble_api::{Resource, defaults, patch, registry, strategy, validate};
use nix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};

/// Items of the smaller object.
const ITEMS: usize = 400;
/// How much larger the other one is.
const FACTOR: usize = 8;
/// What n log n and a cold cache may add to the factor. Quadratic work is beyond 40 by far.
const MARGIN: f64 = 3.0;
/// Times that a suspicious list is measured: the best counts.
const ATTEMPTS: usize = 5;
/// Nesting of messages to look into, enough for probes in templates.
const DEPTH_MAX: usize = 7;
const NOW: &str = "2026-01-01T00:00:00Z";

/// A list or map of a kind: where it is, and what it holds.
struct Place {
    path: Vec<&'static str>,
    kind: Type<'static>,
}

/// All lists and maps below a message that were not seen in another kind.
fn places(
    message: Message<'static>,
    path: &mut Vec<&'static str>,
    seen: &mut BTreeSet<(&'static str, &'static str)>,
    found: &mut Vec<Place>,
) {
    if path.len() >= DEPTH_MAX {
        return;
    }
    for field in message.fields() {
        path.push(field.name());
        let kind = field.kind();
        let many = matches!(kind, Type::List(..) | Type::Map(_) | Type::AtomicMap(_));
        if many && seen.insert((message.name(), field.name())) {
            found.push(Place { path: path.clone(), kind });
        }
        match kind {
            Type::List(item, _) => {
                if let Type::Message(item) = item.kind() {
                    path.push("0");
                    places(item, path, seen, found);
                    path.pop();
                }
            }
            Type::Message(below) => places(below, path, seen, found),
            _ => {}
        }
        path.pop();
    }
}

fn scalar(kind: Type<'_>, number: usize) -> Option<Value> {
    Some(match kind {
        Type::String => format!("n{number}").into(),
        Type::Int32 | Type::Int64 | Type::IntOrString => (number + 1).into(),
        Type::Double => json!(1.5),
        Type::Bool => true.into(),
        Type::Bytes => "YQ==".into(),
        Type::Quantity => format!("{}m", number + 1).into(),
        Type::Time => NOW.into(),
        Type::MicroTime => "2026-01-01T00:00:00.000000Z".into(),
        _ => return None,
    })
}

fn item(kind: Type<'_>, number: usize) -> Value {
    match kind {
        Type::Message(message) => {
            let fields = message
                .fields()
                .filter_map(|field| Some((field.name().to_owned(), scalar(field.kind(), number)?)));
            Value::Object(fields.collect())
        }
        Type::Union(message) => {
            let mut shapes = message.fields().map(|field| item(field.kind(), number));
            shapes.find(|shape| !shape.is_null()).unwrap_or_default()
        }
        Type::Any | Type::FieldsV1 => json!({}),
        _ => scalar(kind, number).unwrap_or_default(),
    }
}

fn filled(kind: Type<'_>, numbers: impl Iterator<Item = usize>) -> Value {
    match kind {
        Type::List(kind, _) => {
            Value::Array(numbers.map(|number| item(kind.kind(), number)).collect())
        }
        Type::Map(kind) | Type::AtomicMap(kind) => {
            numbers.map(|number| (format!("k{number}"), item(kind.kind(), number))).collect()
        }
        _ => Value::Null,
    }
}

/// An object of a kind with nothing but the value at that path.
fn object(resource: &Resource, path: &[&str], value: Value) -> Value {
    let inner = path.iter().rev().fold(value, |inner, part| match *part {
        "0" => json!([inner]),
        part => json!({ part: inner }),
    });
    let mut object = json!({"apiVersion": resource.api_version(), "kind": resource.kind,
        "metadata": {"name": "a", "namespace": "default"}});
    patch::merge::apply(&mut object, &inner);
    object
}

/// All that two writes of an object go through.
fn work(resource: &'static Resource, place: &Place, items: usize) {
    let first = object(resource, &place.path, filled(place.kind, 0..items));
    let second = object(resource, &place.path, filled(place.kind, (1..=items).rev()));
    let create = |object: &Value| {
        let body = serde_json::to_vec(object).expect("JSON");
        let decoded = decode::decode(resource, &body, MediaType::Json, FieldValidation::Warn)
            .expect("it decodes");
        let mut new = decoded.object;
        strategy::prepare_create(resource, &mut new);
        defaults::apply(resource, &mut new);
        assert!(validate::create(resource, &new).len() <= validate::ERRORS_MAX);
        patch::apply::track_update(resource, None, &mut new, "one", None, NOW);
        let _ = resource.cells(&new, 0);
        new
    };
    let old = create(&first);
    let mut new = second.clone();
    defaults::apply(resource, &mut new);
    assert!(validate::update(resource, &old, &new).len() <= validate::ERRORS_MAX);
    strategy::prepare_update(resource, &old, &mut new, None);
    patch::apply::track_update(resource, Some(&old), &mut new, "two", None, NOW);

    let subresource = (place.path.first() == Some(&"status")).then_some("status");
    let request = patch::apply::Request {
        applied: &second,
        manager: "three",
        force: true,
        subresource,
        now: NOW,
    };
    // Kinds of the table whose items have no keys are refused, which is work, too.
    if let Ok(applied) = patch::apply::apply(resource, Some(&old), &request) {
        let less = object(resource, &place.path, filled(place.kind, 0..items / 2));
        let request = patch::apply::Request { applied: &less, ..request };
        let _ = patch::apply::apply(resource, Some(&applied), &request);
    }
    let _ = patch::strategic::apply(resource, &old, &second);
    let list = filled(place.kind, 0..items);
    if let (Some((name, parents)), Value::Array(list)) = (place.path.split_last(), list) {
        let mut directives = Map::new();
        directives.insert(format!("$setElementOrder/{name}"), Value::Array(list.clone()));
        directives.insert(format!("$deleteFromPrimitiveList/{name}"), Value::Array(list));
        let directed = object(resource, parents, Value::Object(directives));
        let _ = patch::strategic::apply(resource, &old, &directed);
    }
}

fn processor_seconds(resource: &'static Resource, place: &Place, items: usize) -> f64 {
    let clock = ClockId::CLOCK_THREAD_CPUTIME_ID;
    let before = clock_gettime(clock).expect("a clock");
    work(resource, place, items);
    let spent = clock_gettime(clock).expect("a clock") - before;
    std::time::Duration::from(spent).as_secs_f64()
}

/// By how much the work grows at most, best of several times.
fn growth(resource: &'static Resource, place: &Place) -> f64 {
    let limit = FACTOR as f64 * MARGIN;
    let (mut small, mut large) = (f64::MAX, f64::MAX);
    for _ in 0..ATTEMPTS {
        small = small.min(processor_seconds(resource, place, ITEMS));
        large = large.min(processor_seconds(resource, place, ITEMS * FACTOR));
        if large / small <= limit {
            break;
        }
    }
    large / small
}

#[test]
fn work_grows_with_the_size_of_every_list_and_map() {
    let mut seen = BTreeSet::new();
    let (mut measured, mut steep) = (0, Vec::new());
    for resource in registry::all() {
        let message = resource.schema().expect("a schema");
        let mut found = Vec::new();
        places(message, &mut Vec::new(), &mut seen, &mut found);
        for place in &found {
            measured += 1;
            let growth = growth(resource, place);
            if growth > FACTOR as f64 * MARGIN {
                steep.push(format!("{} {}: {growth:.0}", resource.kind, place.path.join(".")));
            }
        }
    }
    assert!(measured > 80, "only {measured} lists and maps were found");
    assert!(steep.is_empty(), "work grows too fast: {steep:#?}");
}
