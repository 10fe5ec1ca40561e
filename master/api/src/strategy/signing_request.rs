//! Requests for certificates: who asks is known to the server and not the client's to say.

use serde_json::Value;

use crate::object;

/// Drops what a client says of itself.
pub(crate) fn named(request: &mut Value) {
    let Some(spec) = object::child(request, "spec") else { return };
    for field in ["username", "uid", "groups", "extra"] {
        spec.remove(field);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn nobody_asks_in_the_name_of_another() {
        let mut request = json!({"spec": {"request": "YQ==", "username": "admin", "groups": ["a"],
            "uid": "u", "extra": {"a": ["b"]}}});
        super::named(&mut request);
        assert_eq!(request, json!({"spec": {"request": "YQ=="}}));
    }
}
