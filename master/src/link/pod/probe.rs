//! Probes and lifecycle hooks of a container, as its node must do them.

use bramble_shared::link::{Handler, Lifecycle, Probe};

use crate::link::field::Field;

/// A probe of a container; none if it has none of the kind.
pub(super) fn convert(container: Field<'_>, name: &str) -> Option<Probe> {
    let probe = container.get(name);
    // 0 and nothing both mean upstream's default.
    let number = |field: &str, default: u32| match probe.get(field).integer() {
        None | Some(0) => default,
        Some(number) => number,
    };
    Some(Probe {
        handler: handler(container, probe)?,
        initial_delay_s: number("initialDelaySeconds", 0),
        timeout_s: number("timeoutSeconds", 1),
        period_s: number("periodSeconds", 10),
        success_threshold: number("successThreshold", 1),
        failure_threshold: number("failureThreshold", 3),
        termination_grace_s: probe.get("terminationGracePeriodSeconds").integer(),
    })
}

/// The hooks of a container.
pub(super) fn lifecycle(container: Field<'_>) -> Lifecycle {
    let lifecycle = container.get("lifecycle");
    Lifecycle {
        post_start: handler(container, lifecycle.get("postStart")),
        pre_stop: handler(container, lifecycle.get("preStop")),
        stop_signal: lifecycle.get("stopSignal").string(),
    }
}

fn handler(container: Field<'_>, of: Field<'_>) -> Option<Handler> {
    let (exec, http, tcp) = (of.get("exec"), of.get("httpGet"), of.get("tcpSocket"));
    let (grpc, sleep) = (of.get("grpc"), of.get("sleep"));
    if exec.is_set() {
        Some(Handler::Exec { command: exec.get("command").strings() })
    } else if http.is_set() {
        let header =
            |header: Field<'_>| (header.get("name").string(), header.get("value").string());
        Some(Handler::Http {
            host: http.get("host").string(),
            port: port(container, http.get("port")),
            path: http.get("path").string(),
            https: http.get("scheme").text() == "HTTPS",
            headers: http.get("httpHeaders").items().map(header).collect(),
        })
    } else if tcp.is_set() {
        Some(Handler::Tcp {
            host: tcp.get("host").string(),
            port: port(container, tcp.get("port")),
        })
    } else if grpc.is_set() {
        let service = grpc.get("service").string();
        Some(Handler::Grpc { port: port(container, grpc.get("port")), service })
    } else if sleep.is_set() {
        Some(Handler::Sleep { seconds: sleep.get("seconds").integer().unwrap_or(0) })
    } else {
        None
    }
}

/// A port's number, or that of the container's port of this name; 0 for none.
fn port(container: Field<'_>, port: Field<'_>) -> u16 {
    let named = || {
        let mut ports = container.get("ports").items();
        let found = ports.find(|found| found.get("name").text() == port.text())?;
        found.get("containerPort").integer()
    };
    let number = port.integer().or_else(|| port.text().parse().ok());
    number.or_else(|| (!port.text().is_empty()).then(named).flatten()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(container: &Value) -> Probe {
        convert(Field(container), "livenessProbe").unwrap()
    }

    #[test]
    fn defaults_are_upstreams_and_named_ports_are_looked_up() {
        let container = json!({
            "ports": [{"name": "web", "containerPort": 8080}],
            "livenessProbe": {"httpGet": {"path": "/x", "port": "web", "scheme": "HTTPS",
                "httpHeaders": [{"name": "A", "value": "b"}]}, "periodSeconds": 0},
        });
        let handler = Handler::Http {
            host: String::new(),
            port: 8080,
            path: "/x".to_owned(),
            https: true,
            headers: vec![("A".to_owned(), "b".to_owned())],
        };
        let expected = Probe {
            handler,
            initial_delay_s: 0,
            timeout_s: 1,
            period_s: 10,
            success_threshold: 1,
            failure_threshold: 3,
            termination_grace_s: None,
        };
        assert_eq!(of(&container), expected);
        assert_eq!(convert(Field(&container), "readinessProbe"), None);
    }

    #[test]
    fn every_handler_is_known() {
        let check = |handler: Value, expected: Handler| {
            assert_eq!(of(&json!({"livenessProbe": handler})).handler, expected);
        };
        let command = vec!["true".to_owned()];
        check(json!({"exec": {"command": ["true"]}}), Handler::Exec { command });
        check(
            json!({"tcpSocket": {"port": 5, "host": "h"}}),
            Handler::Tcp { host: "h".to_owned(), port: 5 },
        );
        check(
            json!({"tcpSocket": {"port": "no such"}}),
            Handler::Tcp { host: String::new(), port: 0 },
        );
        check(
            json!({"grpc": {"port": 6, "service": "s"}}),
            Handler::Grpc { port: 6, service: "s".to_owned() },
        );
        let hooks = lifecycle(Field(&json!({"lifecycle": {
            "preStop": {"sleep": {"seconds": 4}}, "stopSignal": "SIGUSR1"}})));
        assert_eq!(hooks.pre_stop, Some(Handler::Sleep { seconds: 4 }));
        assert_eq!((hooks.post_start, hooks.stop_signal.as_str()), (None, "SIGUSR1"));
    }
}
