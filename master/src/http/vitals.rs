//! How the boards are, for `bramble node list`: what heartbeats told last, never stored.
//!
//! Private to bramble; not part of the Kubernetes API. What nobody can tell is left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use bramble_api::Status;
use bramble_master_core::vitals::{PowerState, Vitals};
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::Api;
use super::response::{self, Body};

/// Answers `GET /bramble/v1/nodes`.
pub(super) fn handle(api: &Api, method: &Method) -> Result<Response<Body>, Status> {
    if method != Method::GET {
        return Err(Status::not_found_path());
    }
    Ok(response::json(StatusCode::OK, &list(&api.nodes.vitals())))
}

fn list(vitals: &BTreeMap<Arc<str>, Vitals>) -> Value {
    let items: Vec<Value> = vitals.iter().map(|(name, vitals)| item(name, vitals)).collect();
    json!({"items": items})
}

fn item(name: &str, vitals: &Vitals) -> Value {
    let mut fields = vec![
        ("name", Value::from(name)),
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
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
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
            list(&[(Arc::from("pc"), silent), (Arc::from("pi-3"), full)].into()),
            json!({"items": [
                {"name": "pc", "heartbeatsSent": 1, "heartbeatsLost": 0, "uptimeSeconds": 2},
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
