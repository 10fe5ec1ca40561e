//! What the audit log says of one request: `audit.k8s.io/v1`, level Metadata.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::attributes::Attributes;
use super::user::User;

/// One request that was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// An id of its own.
    pub id: String,
    /// Path and query as they were sent.
    pub uri: String,
    /// What was asked for.
    pub asked: Attributes,
    /// Who asked.
    pub user: User,
    /// In whose name, if in another's.
    pub impersonated: Option<User>,
    /// Address of the client.
    pub source: String,
    /// Program of the client, as it says.
    pub user_agent: String,
    /// Status code of the answer.
    pub code: u16,
    /// When it came, as the API writes times with parts of a second.
    pub received: String,
    /// When it was answered.
    pub answered: String,
    /// What those say who admitted it.
    pub annotations: BTreeMap<&'static str, String>,
}

/// Longest text of a client that is kept, in bytes.
const TEXT_LEN_MAX: usize = 1024;

impl Request {
    /// Whether it belongs into the log: who changed something or tried to, and who was refused.
    /// Reads that were answered would drown these.
    #[must_use]
    pub fn worth_a_line(&self) -> bool {
        let reads = matches!(self.asked.verb.as_str(), "get" | "list" | "watch" | "head");
        !reads || matches!(self.code, 401 | 403)
    }

    /// The line, without its end.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let asked = &self.asked;
        let decision = if self.code == 403 { "forbid" } else { "allow" };
        let mut annotations: BTreeMap<&str, &str> =
            self.annotations.iter().map(|(key, text)| (*key, text.as_str())).collect();
        annotations.insert("authorization.k8s.io/decision", decision);
        let mut event = json!({
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": self.id,
            "stage": "ResponseComplete",
            "requestURI": shortened(&self.uri),
            "verb": asked.verb,
            "user": self.user.to_json(),
            "sourceIPs": [self.source],
            "userAgent": shortened(&self.user_agent),
            "responseStatus": { "metadata": {}, "code": self.code },
            "requestReceivedTimestamp": self.received,
            "stageTimestamp": self.answered,
            "annotations": annotations,
        });
        if let Some(fields) = event.as_object_mut() {
            if let Some(user) = &self.impersonated {
                fields.insert("impersonatedUser".to_owned(), user.to_json());
            }
            if asked.is_resource() && !asked.resource.is_empty() {
                fields.insert("objectRef".to_owned(), object(asked));
            }
        }
        event
    }
}

fn object(asked: &Attributes) -> Value {
    let parts = [
        ("resource", &asked.resource),
        ("namespace", &asked.namespace),
        ("name", &asked.name),
        ("apiGroup", &asked.group),
        ("apiVersion", &asked.version),
        ("subresource", &asked.subresource),
    ];
    let present = parts.into_iter().filter(|(_, text)| !text.is_empty());
    present
        .map(|(key, text)| (key.to_owned(), shortened(text).into()))
        .collect::<Map<_, _>>()
        .into()
}

fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_LEN_MAX)).unwrap_or_default()
}

/// The newest lines, so many as have room.
#[derive(Clone, Debug)]
pub struct Ring {
    lines: std::collections::VecDeque<Box<str>>,
    len: usize,
    len_max: usize,
}

impl Ring {
    /// A ring that holds so many bytes.
    #[must_use]
    pub fn new(len_max: usize) -> Self {
        Self { lines: std::collections::VecDeque::new(), len: 0, len_max }
    }

    /// Adds a line; the oldest go for it.
    pub fn push(&mut self, line: &str) {
        self.len += line.len();
        self.lines.push_back(line.into());
        while self.len > self.len_max
            && let Some(oldest) = self.lines.pop_front()
        {
            self.len -= oldest.len();
        }
    }

    /// All lines, the oldest first, each with its end.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [&**line, "\n"]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(verb: &str, code: u16) -> Request {
        let asked = Attributes {
            verb: verb.to_owned(),
            version: "v1".to_owned(),
            resource: "pods".to_owned(),
            namespace: "d".to_owned(),
            name: "a".to_owned(),
            ..Attributes::default()
        };
        Request { asked, code, ..Request::default() }
    }

    #[test]
    fn writes_and_refusals_are_worth_a_line() {
        let check = |verb, code, expected| assert_eq!(request(verb, code).worth_a_line(), expected);
        check("get", 200, false);
        check("list", 404, false);
        check("get", 403, true);
        check("watch", 401, true);
        check("create", 201, true);
        check("delete", 404, true);
        check("post", 200, true);
    }

    #[test]
    fn line_says_who_did_what_to_which_object() {
        let mut request = request("delete", 200);
        request.user.name = "eve".to_owned();
        request.uri = "x".repeat(5_000);
        let line = request.to_json();
        assert_eq!(
            line["objectRef"],
            json!({"resource": "pods", "namespace": "d", "name": "a", "apiVersion": "v1"})
        );
        assert_eq!(line["user"]["username"], "eve");
        assert_eq!(line["annotations"]["authorization.k8s.io/decision"], "allow");
        assert_eq!(line["requestURI"].as_str().unwrap().len(), 1_024);
        let path = Request { asked: Attributes::of_path("post", "/a"), ..Request::default() };
        assert_eq!(path.to_json().get("objectRef"), None);
    }

    #[test]
    fn ring_keeps_the_newest_lines() {
        let mut ring = Ring::new(10);
        for line in ["aaaa", "bbbb", "cc", "d"] {
            ring.push(line);
        }
        assert_eq!(ring.text(), "bbbb\ncc\nd\n");
        ring.push("longer than the ring");
        assert_eq!(ring.text(), "");
        ring.push("e");
        assert_eq!(ring.text(), "e\n");
    }
}
