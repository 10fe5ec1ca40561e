//! How the boards are, for `bramble node list`: what heartbeats told last, never stored, and what is
//! out of the ordinary about who may speak for a node.
//!
//! Private to bramble; not part of the Kubernetes API. What nobody can tell is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bramble_api::Status;
use bramble_master_core::vitals::{PowerState, Vitals};
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::Api;
use super::response::{self, Body};
use crate::clock;
use crate::token::Access;

/// Answers `GET /bramble/v1/nodes`.
pub(super) async fn handle(api: &Api, method: &Method) -> Result<Response<Body>, Status> {
    if method != Method::GET {
        return Err(Status::not_found_path());
    }
    let accesses = api.tokens.accesses(clock::time_of_day_ms()).await;
    let accesses = accesses.map_err(super::token_api::token_status)?;
    Ok(response::json(StatusCode::OK, &list(&api.nodes.vitals(), &accesses)))
}

fn list(vitals: &BTreeMap<Arc<str>, Vitals>, accesses: &BTreeMap<String, Access>) -> Value {
    let names: BTreeSet<&str> =
        vitals.keys().map(|name| &**name).chain(accesses.keys().map(String::as_str)).collect();
    let of = |name: &str| {
        let mut fields = vec![("name", Value::from(name))];
        fields.extend(vitals.get(name).into_iter().flat_map(item));
        let access = accesses.get(name).map(|access| match access {
            Access::Revoked => "revoked",
            Access::Replaceable => "replaceable",
        });
        fields.extend(access.map(|access| ("access", Value::from(access))));
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    };
    json!({"items": names.into_iter().map(of).collect::<Vec<Value>>()})
}

fn item(vitals: &Vitals) -> Vec<(&'static str, Value)> {
    let mut fields = vec![
        ("heartbeatsSent", Value::from(vitals.loss.sent)),
        ("heartbeatsLost", Value::from(vitals.loss.lost)),
        ("uptimeSeconds", Value::from(vitals.up.as_secs())),
    ];
    let known = [
        (
            "roundTripMicroseconds",
            vitals.round_trip.map(|round_trip| Value::from(round_trip.as_micros())),
        ),
        ("temperatureCelsius", vitals.temperature_celsius.map(Value::from)),
        ("power", vitals.power.map(power)),
        ("cardBytesPerDay", vitals.card_bytes_per_day.map(Value::from)),
    ];
    fields.extend(known.into_iter().filter_map(|(name, value)| Some((name, value?))));
    fields
}

fn power(state: PowerState) -> Value {
    json!({"underVoltage": state.under_voltage, "throttled": state.throttled})
}

#[cfg(test)]
mod tests {
    use bramble_master_core::vitals::Loss;
    use embassy_time::Duration;

    use super::*;

    #[test]
    fn what_is_known_is_told_and_the_rest_left_out() {
        let silent = Vitals {
            round_trip: None,
            loss: Loss { lost: 0, sent: 1 },
            temperature_celsius: None,
            power: None,
            up: Duration::from_millis(2_900),
            card_bytes_per_day: None,
        };
        let full = Vitals {
            round_trip: Some(Duration::from_micros(400)),
            loss: Loss { lost: 12, sent: 600 },
            temperature_celsius: Some(-3),
            power: Some(PowerState { under_voltage: true, throttled: false }),
            up: Duration::from_secs(7_380),
            card_bytes_per_day: Some(1_024),
        };
        assert_eq!(
            list(
                &[(Arc::from("pc"), silent), (Arc::from("pi-3"), full)].into(),
                &[("gone".to_owned(), Access::Revoked), ("pc".to_owned(), Access::Replaceable)]
                    .into(),
            ),
            json!({"items": [
                {"name": "gone", "access": "revoked"},
                {"name": "pc", "heartbeatsSent": 1, "heartbeatsLost": 0, "uptimeSeconds": 2, "access": "replaceable"},
                {
                    "name": "pi-3",
                    "heartbeatsSent": 600,
                    "heartbeatsLost": 12,
                    "uptimeSeconds": 7_380,
                    "roundTripMicroseconds": 400,
                    "temperatureCelsius": -3,
                    "power": {"underVoltage": true, "throttled": false},
                    "cardBytesPerDay": 1_024,
                },
            ]})
        );
    }
}
