//! Names and numbers of a roll-out: template hashes, revisions, proportional scaling.

use serde_json::Value;

/// Letters of generated names: no vowels and no look-alikes, as upstream, so that no words appear.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// FNV-1a with 64 bits: stable over versions and platforms, which names must be.
fn hash(parts: &[&str], numbers: &[u64]) -> u64 {
    let mut state: u64 = 0xcbf2_9ce4_8422_2325;
    let mut feed = |byte: u8| {
        state ^= u64::from(byte);
        state = state.wrapping_mul(0x0100_0000_01b3);
    };
    for part in parts {
        part.bytes().for_each(&mut feed);
        feed(0);
    }
    numbers.iter().flat_map(|number| number.to_le_bytes()).for_each(&mut feed);
    // FNV's low bits are weak, and names take them.
    state ^= state >> 33;
    state = state.wrapping_mul(0xff51_afd7_ed55_8ccd);
    state ^ (state >> 33)
}

/// Writes `count` letters that follow from `value`.
fn letters(mut value: u64, count: usize) -> String {
    (0..count)
        .map(|_| {
            let index = usize::try_from(value % 27).unwrap_or_default();
            value /= 27;
            char::from(ALPHABET.get(index).copied().unwrap_or(b'b'))
        })
        .collect()
}

/// Writes each byte of `text` as a letter of generated names, as upstream writes its hashes.
#[must_use]
pub(super) fn safe_encoded(text: &str) -> String {
    let letter = |byte: u8| ALPHABET.get(usize::from(byte) % ALPHABET.len()).copied();
    text.bytes().map(|byte| char::from(letter(byte).unwrap_or(b'b'))).collect()
}

/// Five letters for the name of a pod.
#[must_use]
pub(super) fn safe_suffix(parts: &[&str], seed: u64, number: u64) -> String {
    letters(hash(parts, &[seed, number]), 5)
}

/// The hash of a pod template, for names and the label `pod-template-hash`. Objects are ordered by
/// key (a `serde_json` map is), so it does not depend on how the JSON was written.
#[must_use]
pub(super) fn template_hash(template: &Value, collisions: i32) -> String {
    let text = normalized(template).to_string();
    letters(hash(&[&text], &[u64::from(collisions.unsigned_abs())]), 10)
}

/// The template without the label that tells replica sets apart, for comparing.
#[must_use]
pub(super) fn normalized(template: &Value) -> Value {
    let mut template = template.clone();
    let labels = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut);
    if let Some(labels) = labels {
        labels.remove(super::deployment::TEMPLATE_HASH);
    }
    drop_nulls(&mut template);
    template
}

/// A field that is null is a field that is missing.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_hash_ignores_order_nulls_and_its_own_label() {
        let one = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"b": 1, "c": null}});
        let labels = json!({"pod-template-hash": "x", "a": "1"});
        let two = json!({"spec": {"b": 1}, "metadata": {"labels": labels}});
        assert_eq!(template_hash(&one, 0), template_hash(&two, 0));
        assert_ne!(template_hash(&one, 0), template_hash(&one, 1));
        assert_ne!(template_hash(&one, 0), template_hash(&json!({}), 0));
    }

    #[test]
    fn text_is_encoded_letter_by_letter() {
        // '0' is byte 48, and 48 mod 27 is 21: the letter `4`, after twenty consonants and `2`.
        assert_eq!(safe_encoded("01"), "45");
    }

    #[test]
    fn names_are_stable_over_versions() {
        assert_eq!(safe_suffix(&["uid"], 1, 2), safe_suffix(&["uid"], 1, 2));
        assert_ne!(safe_suffix(&["uid"], 1, 2), safe_suffix(&["uid"], 1, 3));
        assert_eq!(template_hash(&json!({"spec": {}}), 0).len(), 10);
    }
}
