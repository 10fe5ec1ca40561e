//! ConfigMaps and Secrets as nodes need them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bramble_shared::link::{Data, DataKey, DataKind};
use serde_json::Value;

use super::field::Field;

/// Makes of a stored ConfigMap or Secret what a node needs; `revision` is that of its last change.
///
/// Values that are no base64 are left out: the API refuses them.
pub(super) fn convert(key: &DataKey, object: &Value, revision: u64) -> Data {
    let object = Field(object);
    let decoded = |list: &str| {
        let values = object.get(list).entries();
        let decode = |(name, value): (&str, Field<'_>)| {
            Some((name.to_owned(), STANDARD.decode(value.text()).ok()?))
        };
        values.filter_map(decode).collect::<BTreeMap<_, _>>()
    };
    let entries = match key.kind {
        DataKind::Secret => decoded("data"),
        DataKind::ConfigMap => {
            let mut entries = decoded("binaryData");
            let texts = object.get("data").entries();
            entries.extend(
                texts.map(|(name, text)| (name.to_owned(), text.text().as_bytes().to_vec())),
            );
            entries
        }
    };
    let secret_type = match key.kind {
        DataKind::Secret => object.get("type").string(),
        DataKind::ConfigMap => String::new(),
    };
    Data { key: key.clone(), revision, secret_type, entries }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(kind: DataKind) -> DataKey {
        DataKey { kind, namespace: "n".to_owned(), name: "d".to_owned() }
    }

    #[test]
    fn secret_values_are_decoded() {
        let secret = json!({"type": "Opaque", "data": {"a": "aGk=", "bad": "%"}});
        let data = convert(&key(DataKind::Secret), &secret, 4);
        assert_eq!(data.entries, [("a".to_owned(), b"hi".to_vec())].into());
        assert_eq!((data.secret_type.as_str(), data.revision), ("Opaque", 4));
    }

    #[test]
    fn config_maps_have_texts_and_bytes() {
        let map = json!({"data": {"a": "x"}, "binaryData": {"b": "AP8="}});
        let data = convert(&key(DataKind::ConfigMap), &map, 1);
        let expected = [("a".to_owned(), b"x".to_vec()), ("b".to_owned(), vec![0, 255])];
        assert_eq!(data.entries, expected.into());
    }
}
