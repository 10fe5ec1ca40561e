//! Which server a proxied request is for.
//!
//! The choice is pure; what it chooses among is read from the object service.

use std::net::Ipv4Addr;

use bramble_api::Status;
use bramble_api::selector::Selector;
use serde_json::Value;

use crate::http::Call;
use crate::objects::{ListOptions, Objects};
use crate::random;

/// Label that says whose a slice of endpoints is.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// The port by which upstream's nodes are asked; ours are asked over their links.
const NODE_PORT: &str = "10250";

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum To {
    Pod,
    Service,
    Node,
}

/// A server and the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) node: String,
    pub(super) server: Server,
    pub(super) https: bool,
    /// Host and port, as the server's own links may have them.
    pub(super) authority: String,
}

/// Who answers on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Server {
    Pod { uid: String, port: u16 },
    NodePages,
}

/// `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place<'a> {
    https: bool,
    name: &'a str,
    port: &'a str,
}

/// 503 that does not tell clients to come again by themselves, as upstream's.
pub(super) fn unavailable(message: impl Into<String>) -> Status {
    Status { retry_after_secs: None, ..Status::unavailable(message, 1) }
}

/// Finds the server that a request means.
///
/// # Errors
///
/// 400 for a name that is none, 404 without the object, 503 when nobody would answer.
pub(super) async fn find(call: &Call<'_>, to: To) -> Result<Target, Status> {
    let objects = &call.api.objects;
    let invalid =
        |kind: &str| Status::bad_request(format!("invalid {kind} request {:?}", call.name));
    match to {
        To::Pod => {
            let place = Place::parse(call.name).ok_or_else(|| invalid("pod"))?;
            let pod = objects.get(call.resource, call.namespace, place.name).await?;
            of_pod(&pod, place)
        }
        To::Service => {
            let place = Place::parse(call.name).ok_or_else(|| invalid("service"))?;
            let service = objects.get(call.resource, call.namespace, place.name).await?;
            of_service(call, &service, place).await
        }
        To::Node => {
            let place = Place::parse(call.name).ok_or_else(|| invalid("node"))?;
            objects.get(call.resource, "", place.name).await?;
            if !matches!(place.port, "" | NODE_PORT) {
                let port = place.port;
                let message = format!("nodes answer on port {NODE_PORT} only, not on {port}");
                return Err(Status::bad_request(message));
            }
            let authority = format!("{}:{NODE_PORT}", place.name);
            let node = place.name.to_owned();
            Ok(Target { node, server: Server::NodePages, https: false, authority })
        }
    }
}

impl<'a> Place<'a> {
    fn parse(id: &'a str) -> Option<Self> {
        let parts: Vec<&str> = id.split(':').collect();
        let (scheme, name, port) = match *parts.as_slice() {
            [name] => ("", name, ""),
            [name, port] => ("", name, port),
            [scheme, name, port] => (scheme, name, port),
            _ => return None,
        };
        let https = match scheme {
            "" | "http" => false,
            "https" => true,
            _ => return None,
        };
        (!name.is_empty()).then_some(Self { https, name, port })
    }

    fn default_port(self) -> u16 {
        if self.https { 443 } else { 80 }
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Items of a list.
fn items<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn port_number(port: &Value) -> Option<u16> {
    u16::try_from(port.as_u64()?).ok()
}

fn of_pod(pod: &Value, place: Place<'_>) -> Result<Target, Status> {
    let first =
        || items(pod, "/spec/containers").find_map(|it| it.pointer("/ports/0/containerPort"));
    let port = match place.port {
        "" => first().and_then(port_number).unwrap_or_else(|| place.default_port()),
        port => port.parse().map_err(|_| {
            let why = format!("dial tcp: lookup tcp/{port}: unknown port");
            unavailable(format!("error trying to reach service: {why}"))
        })?,
    };
    at_pod(pod, port, place.https)
}

/// A port of a pod that has an address.
fn at_pod(pod: &Value, port: u16, https: bool) -> Result<Target, Status> {
    let ip = text(pod, "/status/podIP").parse::<Ipv4Addr>().ok();
    let ip = ip.filter(|ip| !ip.is_loopback() && !ip.is_unspecified());
    let ip = ip.ok_or_else(|| Status::bad_request("address not allowed"))?;
    let own = |pointer: &str| text(pod, pointer).to_owned();
    let server = Server::Pod { uid: own("/metadata/uid"), port };
    Ok(Target { node: own("/spec/nodeName"), server, https, authority: format!("{ip}:{port}") })
}

/// A pod behind a Service, and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    pod: String,
    address: String,
    port: u16,
}

async fn of_service(call: &Call<'_>, service: &Value, place: Place<'_>) -> Result<Target, Status> {
    let name = port_name(service, place)?;
    let slices = Objects::resource("discovery.k8s.io", "endpointslices");
    let labels = Selector::parse(&format!("{SERVICE_NAME_LABEL}={}", place.name))
        .map_err(|error| Status::bad_request(error.to_string()))?;
    let options = ListOptions { labels: Some(labels), ..ListOptions::default() };
    let slices = call.api.objects.list(slices, call.namespace, &options).await?.items;
    let endpoints = endpoints(&slices, call.namespace, &name);
    let begin = usize::from_le_bytes(random::bytes()).checked_rem(endpoints.len()).unwrap_or(0);
    let pods = Objects::resource("", "pods");
    for endpoint in endpoints.iter().cycle().skip(begin).take(endpoints.len()) {
        // Nobody is proxied to what only says that it is a pod.
        let pod = call.api.objects.get(pods, call.namespace, &endpoint.pod).await;
        if let Ok(pod) = pod
            && items(&pod, "/status/podIPs").any(|ip| text(ip, "/ip") == endpoint.address)
        {
            return at_pod(&pod, endpoint.port, place.https);
        }
    }
    let name = if endpoints.is_empty() { place.name } else { call.name };
    Err(unavailable(format!("no endpoints available for service {name:?}")))
}

/// The name of the port that is meant: it is named, numbered, or the one without a name.
fn port_name(service: &Value, place: Place<'_>) -> Result<String, Status> {
    let Ok(number) = place.port.parse::<u64>() else { return Ok(place.port.to_owned()) };
    let found = items(service, "/spec/ports")
        .find(|port| port.get("port").and_then(Value::as_u64) == Some(number));
    found.map(|port| text(port, "/name").to_owned()).ok_or_else(|| {
        let name = place.name;
        unavailable(format!("no service port {number} found for service {name:?}"))
    })
}

/// The pods of a namespace that answer on a port of a Service.
fn endpoints(slices: &[Value], namespace: &str, port: &str) -> Vec<Endpoint> {
    let of_slice = |slice: &Value| {
        let found = items(slice, "/ports").find(|found| text(found, "/name") == port);
        let port = found.and_then(|found| found.get("port")).and_then(port_number);
        let endpoints = items(slice, "/endpoints").filter(|endpoint| {
            let ready = endpoint.pointer("/conditions/ready").and_then(Value::as_bool);
            let target = |field: &str| text(endpoint, &format!("/targetRef/{field}"));
            ready.unwrap_or(true) && target("kind") == "Pod" && target("namespace") == namespace
        });
        let endpoints = endpoints.filter_map(move |endpoint| {
            let pod = text(endpoint, "/targetRef/name").to_owned();
            Some(Endpoint { pod, address: text(endpoint, "/addresses/0").to_owned(), port: port? })
        });
        endpoints.collect::<Vec<_>>()
    };
    slices.iter().flat_map(of_slice).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_have_schemes_and_ports() {
        let check = |id: &str, expected: Option<(bool, &str, &str)>| {
            let found = Place::parse(id).map(|place| (place.https, place.name, place.port));
            assert_eq!(found, expected, "{id}");
        };
        check("a", Some((false, "a", "")));
        check("a:80", Some((false, "a", "80")));
        check("https:a:", Some((true, "a", "")));
        check(":a:web", Some((false, "a", "web")));
        check("ftp:a:21", None);
        check("http:a:80:b", None);
        check(":80", None);
        check("", None);
    }

    #[test]
    fn a_pod_answers_on_the_port_that_is_asked_or_its_first() {
        let mut pod = json!({
            "metadata": {"uid": "u"},
            "spec": {"nodeName": "n", "containers": [
                {"name": "a"}, {"name": "b", "ports": [{"containerPort": 8080}]},
            ]},
            "status": {"podIP": "10.0.0.2"},
        });
        let check = |pod: &Value, id: &str, expected: Result<&str, u16>| {
            let found = of_pod(pod, Place::parse(id).unwrap());
            let found = found.map(|target| target.authority).map_err(|status| status.code);
            assert_eq!(found, expected.map(str::to_owned), "{id}");
        };
        check(&pod, "p", Ok("10.0.0.2:8080"));
        check(&pod, "p:81", Ok("10.0.0.2:81"));
        check(&pod, "p:web", Err(503));
        check(&pod, "p:70000", Err(503));
        pod["spec"]["containers"] = json!([{"name": "a"}]);
        check(&pod, "p", Ok("10.0.0.2:80"));
        check(&pod, "https:p:", Ok("10.0.0.2:443"));
        pod["status"]["podIP"] = json!("127.0.0.1");
        check(&pod, "p", Err(400));
        pod["status"] = json!({});
        check(&pod, "p", Err(400));
    }

    #[test]
    fn ports_of_a_service_are_named_or_numbered() {
        let service = json!({"spec": {"ports": [{"name": "web", "port": 80}, {"port": 81}]}});
        let name = |id: &str| port_name(&service, Place::parse(id).unwrap());
        assert_eq!(name("s").unwrap(), "");
        assert_eq!(name("s:web").unwrap(), "web");
        assert_eq!(name("s:80").unwrap(), "web");
        assert_eq!(name("s:81").unwrap(), "");
        let refused = name("s:82").unwrap_err();
        assert_eq!(refused.code, 503);
        assert_eq!(refused.message, "no service port 82 found for service \"s\"");
        assert_eq!(refused.retry_after_secs, None);
    }

    #[test]
    fn only_ready_pods_of_the_namespace_answer() {
        let endpoint = |pod: &str, namespace: &str, ready: Value| {
            json!({"addresses": ["10.0.0.2"], "conditions": {"ready": ready},
                "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod}})
        };
        let slice = json!({"ports": [{"name": "web", "port": 8080}], "endpoints": [
            endpoint("a", "d", json!(true)),
            endpoint("b", "d", json!(false)),
            endpoint("c", "d", Value::Null),
            endpoint("d", "other", json!(true)),
            {"addresses": ["10.0.0.3"]},
        ]});
        let found = endpoints(std::slice::from_ref(&slice), "d", "web");
        let names: Vec<&str> = found.iter().map(|endpoint| endpoint.pod.as_str()).collect();
        assert_eq!(names, ["a", "c"]);
        assert_eq!(found[0].port, 8080);
        assert_eq!(endpoints(&[slice], "d", "else"), []);
    }
}
