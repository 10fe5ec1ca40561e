//! What a request leaves in the audit log, gathered on its way.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bramble_api::timestamp;
use bramble_master_core::access::attributes::Attributes;
use bramble_master_core::access::audit;
use bramble_master_core::access::user::User;
use http::header::USER_AGENT;
use http::{Request, StatusCode};

use super::Api;
use crate::{clock, random};

/// One request on its way; what is not known is empty.
#[derive(Debug, Default)]
pub(super) struct Trail {
    uri: String,
    user_agent: String,
    received_ms: u64,
    /// What it asks for.
    pub(super) asked: Attributes,
    /// In whose name, if in another's.
    pub(super) impersonated: Option<User>,
    /// What those say who admitted it.
    pub(super) annotations: BTreeMap<&'static str, String>,
}

impl Trail {
    /// Begins with a request.
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        let agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
        let method = request.method().as_str().to_ascii_lowercase();
        Self {
            uri: request.uri().path_and_query().map_or_else(String::new, ToString::to_string),
            user_agent: agent.unwrap_or_default().to_owned(),
            received_ms: clock::time_of_day_ms(),
            asked: Attributes::of_path(&method, request.uri().path()),
            ..Self::default()
        }
    }

    /// Ends with an answer.
    pub(super) fn end(self, api: &Api, user: &User, source: IpAddr, code: StatusCode) {
        let request = audit::Request {
            id: String::new(),
            uri: self.uri,
            asked: self.asked,
            user: user.clone(),
            impersonated: self.impersonated,
            source: source.to_string(),
            user_agent: self.user_agent,
            code: code.as_u16(),
            received: micro(self.received_ms),
            answered: String::new(),
            annotations: self.annotations,
        };
        if request.worth_a_line() {
            let (id, answered) = (random::uid(), micro(clock::time_of_day_ms()));
            api.audit.add(&audit::Request { id, answered, ..request });
        }
    }
}

fn micro(ms: u64) -> String {
    timestamp::format_micro(i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000))
}
