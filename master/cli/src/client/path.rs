//! Path and query of a request.

use std::fmt;

/// A path, with everything that came from outside encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    path: String,
    query: String,
}

impl Path {
    /// Starts from a path of our own, such as `/api/v1`.
    pub(crate) fn new(path: &str) -> Self {
        Self { path: path.to_owned(), query: String::new() }
    }

    /// Goes one segment down.
    pub(crate) fn join(mut self, segment: &str) -> Self {
        self.path.push('/');
        encode(segment, &mut self.path);
        self
    }

    /// Adds a parameter.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.query.push(if self.query.is_empty() { '?' } else { '&' });
        self.query.push_str(name);
        self.query.push('=');
        encode(value, &mut self.query);
        self
    }

    /// Adds a parameter if there is a value.
    pub(crate) fn with_some(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.path, self.query)
    }
}

/// Keeps the unreserved characters of RFC 3986 and encodes all others.
fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                into.push(char::from(byte));
            }
            _ => into.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_and_values_are_encoded() {
        let path = Path::new("/api/v1").join("pods").join("../x y");
        let path = path.with("labelSelector", "app=web,tier!=db").with_some("limit", None);
        let path = path.with_some("fieldSelector", Some("a&b"));
        assert_eq!(
            path.to_string(),
            "/api/v1/pods/..%2Fx%20y?labelSelector=app%3Dweb%2Ctier%21%3Ddb&fieldSelector=a%26b"
        );
    }
}
