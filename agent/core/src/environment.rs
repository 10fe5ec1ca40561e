//! The environment variables, command and arguments of a container.
//!
//! Order, as the kubelet's: the image's variables, those of Services, `envFrom`, `env`; a later
//! one replaces an earlier one of the same name, and `$(NAME)` sees what came before it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use bramble_shared::link::{
    Container, Data, DataKey, DataKind, EnvValue, Mount, Pod, Protocol, ResourceField, Resources,
    Service,
};

use crate::volume::resource;

/// What a container's environment is made from, besides its pod.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// Name of the node.
    pub node_name: &'a str,
    /// Address of the node.
    pub host_ip: Ipv4Addr,
    /// Address of the pod.
    pub pod_ip: Ipv4Addr,
    /// What a container without limits could use.
    pub node: NodeResources,
    /// ConfigMaps and Secrets.
    pub data: &'a BTreeMap<DataKey, Data>,
    /// Services by namespace and name.
    pub services: &'a BTreeMap<(String, String), Service>,
}

/// Resources of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeResources {
    /// Processor time, in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
}

/// Why an environment cannot be made; the texts are the kubelet's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildEnvironmentError {
    /// The object is not there.
    #[error("{} \"{name}\" not found", resource(*.kind))]
    NotFound {
        /// Which of the two.
        kind: DataKind,
        /// Name of the object.
        name: String,
    },
    /// The object lacks a key.
    #[error("couldn't find key {key} in {} {namespace}/{name}", kind_word(*.kind))]
    NoKey {
        /// Which of the two.
        kind: DataKind,
        /// Namespace of the object.
        namespace: String,
        /// Name of the object.
        name: String,
        /// The key.
        key: String,
    },
    /// A field that this kubelet does not offer.
    #[error("unsupported fieldPath: {path}")]
    NoField {
        /// The path.
        path: String,
    },
    /// A container that does not exist.
    #[error("container {container} not found")]
    NoContainer {
        /// Its name.
        container: String,
    },
    /// A resource that does not exist.
    #[error("unsupported container resource: {resource}")]
    NoResource {
        /// The resource as written.
        resource: String,
    },
}

fn kind_word(kind: DataKind) -> &'static str {
    match kind {
        DataKind::ConfigMap => "ConfigMap",
        DataKind::Secret => "Secret",
    }
}

/// The variables of a container, in order and without duplicates.
///
/// # Errors
///
/// If a source that is not optional is missing.
pub fn variables(
    pod: &Pod,
    container: &Container,
    image_env: &[String],
    world: &World<'_>,
) -> Result<Vec<(String, String)>, BuildEnvironmentError> {
    let services = service_variables(pod, world.services);
    let mut own: Vec<(String, String)> = Vec::new();
    for source in &container.env_from {
        let key = data_key(pod, source.kind, &source.name);
        let Some(data) = world.data.get(&key) else {
            if source.optional {
                continue;
            }
            return Err(BuildEnvironmentError::NotFound {
                kind: source.kind,
                name: source.name.clone(),
            });
        };
        for (name, value) in &data.entries {
            let value = String::from_utf8_lossy(value).into_owned();
            set(&mut own, format!("{}{name}", source.prefix), value);
        }
    }
    for variable in &container.env {
        let lookup = |name: &str| get(&own, name).or_else(|| get(&services, name));
        let value = match &variable.value {
            EnvValue::Literal(text) => Some(expand(text, lookup)),
            EnvValue::Data { kind, name, key, optional } => {
                data_value(pod, *kind, name, key, *optional, world)?
            }
            EnvValue::Field(path) => Some(field(pod, path, world)?),
            EnvValue::Resource(wanted) => {
                Some(resource_value(pod, Some(container), wanted, world.node)?)
            }
        };
        if let Some(value) = value {
            set(&mut own, variable.name.clone(), value);
        }
    }
    let mut all: Vec<(String, String)> = image_env
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for (name, value) in services.into_iter().chain(own) {
        set(&mut all, name, value);
    }
    Ok(all)
}

/// Replaces `$(NAME)` in every argument; `$$(NAME)` stands for `$(NAME)` itself.
#[must_use]
pub fn expand_all(arguments: &[String], variables: &[(String, String)]) -> Vec<String> {
    arguments.iter().map(|text| expand(text, |name| get(variables, name))).collect()
}

/// Why the path of a mount in its volume cannot be made; the texts are the kubelet's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandSubPathError {
    /// A variable is not there, or empty.
    #[error("missing value for \"{name}\"")]
    Missing {
        /// Its name.
        name: String,
    },
    /// It would lead out of the volume.
    #[error("error SubPath `{path}` must not be an absolute path")]
    Absolute {
        /// The path.
        path: String,
    },
    /// It would lead out of the volume.
    #[error("unable to provision SubPath `{path}`: must not contain '..'")]
    Backsteps {
        /// The path.
        path: String,
    },
}

/// The path of a mount in its volume, with the variables that `subPathExpr` names.
///
/// # Errors
///
/// If one of them is missing, or makes a path that leads out of the volume.
pub fn sub_path(
    mount: &Mount,
    variables: &[(String, String)],
) -> Result<String, ExpandSubPathError> {
    let mut missing = None;
    let path = match mount.sub_path_expr.as_str() {
        "" => mount.sub_path.clone(),
        expression => expand(expression, |name| {
            let value = get(variables, name).filter(|value| !value.is_empty());
            if value.is_none() && missing.is_none() {
                missing = Some(name.to_owned());
            }
            value
        }),
    };
    if let Some(name) = missing {
        return Err(ExpandSubPathError::Missing { name });
    }
    if path.starts_with('/') {
        return Err(ExpandSubPathError::Absolute { path });
    }
    if path.split('/').any(|part| part == "..") {
        return Err(ExpandSubPathError::Backsteps { path });
    }
    Ok(path)
}

/// The command line of a container: what the pod says, else what the image says.
#[must_use]
pub fn command_line(
    container: &Container,
    image_entrypoint: &[String],
    image_command: &[String],
    variables: &[(String, String)],
) -> Vec<String> {
    // A command without arguments also drops the image's arguments, as upstream.
    let (head, tail): (&[String], &[String]) =
        match (container.command.is_empty(), container.args.is_empty()) {
            (true, true) => return [image_entrypoint, image_command].concat(),
            (true, false) => {
                let mut line = image_entrypoint.to_vec();
                line.extend(expand_all(&container.args, variables));
                return line;
            }
            (false, _) => (&container.command, &container.args),
        };
    let mut line = expand_all(head, variables);
    line.extend(expand_all(tail, variables));
    line
}

fn expand(text: &str, mut lookup: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(escaped) = after.strip_prefix('$') {
            out.push('$');
            rest = escaped;
        } else if let Some((name, tail)) =
            after.strip_prefix('(').and_then(|inner| inner.split_once(')'))
        {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                // An unknown name stays as it is written.
                None => {
                    let _ = write!(out, "$({name})");
                }
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

fn get(variables: &[(String, String)], name: &str) -> Option<String> {
    variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

fn set(variables: &mut Vec<(String, String)>, name: String, value: String) {
    match variables.iter_mut().find(|(known, _)| *known == name) {
        Some((_, old)) => *old = value,
        None => variables.push((name, value)),
    }
}

fn data_key(pod: &Pod, kind: DataKind, name: &str) -> DataKey {
    DataKey { kind, namespace: pod.namespace.clone(), name: name.to_owned() }
}

fn data_value(
    pod: &Pod,
    kind: DataKind,
    name: &str,
    key: &str,
    optional: bool,
    world: &World<'_>,
) -> Result<Option<String>, BuildEnvironmentError> {
    let Some(data) = world.data.get(&data_key(pod, kind, name)) else {
        return match optional {
            true => Ok(None),
            false => Err(BuildEnvironmentError::NotFound { kind, name: name.to_owned() }),
        };
    };
    match data.entries.get(key) {
        Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
        None if optional => Ok(None),
        None => Err(BuildEnvironmentError::NoKey {
            kind,
            namespace: pod.namespace.clone(),
            name: name.to_owned(),
            key: key.to_owned(),
        }),
    }
}

/// A field of the pod, as `fieldRef` names it.
///
/// # Errors
///
/// If there is no such field.
pub fn field(pod: &Pod, path: &str, world: &World<'_>) -> Result<String, BuildEnvironmentError> {
    if let Some(key) = subscript(path, "metadata.labels") {
        return Ok(pod.labels.get(key).cloned().unwrap_or_default());
    }
    if let Some(key) = subscript(path, "metadata.annotations") {
        return Ok(pod.annotations.get(key).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => pod.name.clone(),
        "metadata.namespace" => pod.namespace.clone(),
        "metadata.uid" => pod.uid.clone(),
        "metadata.labels" => map_text(&pod.labels),
        "metadata.annotations" => map_text(&pod.annotations),
        "spec.nodeName" => world.node_name.to_owned(),
        "spec.serviceAccountName" => pod.service_account.clone(),
        "status.hostIP" | "status.hostIPs" => world.host_ip.to_string(),
        "status.podIP" | "status.podIPs" => world.pod_ip.to_string(),
        _ => return Err(BuildEnvironmentError::NoField { path: path.to_owned() }),
    })
}

fn subscript<'a>(path: &'a str, map: &str) -> Option<&'a str> {
    path.strip_prefix(map)?.strip_prefix("['")?.strip_suffix("']")
}

fn map_text(map: &BTreeMap<String, String>) -> String {
    let lines: Vec<String> =
        map.iter().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
    lines.join("\n")
}

/// A text in double quotes, as Go's `%q` writes it; letters of all scripts stay as they are.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if letter.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(letter));
            }
            _ if letter.is_control() || matches!(letter, '\u{feff}' | '\u{2028}' | '\u{2029}') => {
                let _ = write!(out, "\\u{:04x}", u32::from(letter));
            }
            _ => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// A resource of a container, as `resourceFieldRef` names it; `this` is the container whose variable
/// it is.
///
/// # Errors
///
/// If there is no such container or resource.
pub fn resource_value(
    pod: &Pod,
    this: Option<&Container>,
    wanted: &ResourceField,
    node: NodeResources,
) -> Result<String, BuildEnvironmentError> {
    let ResourceField { container: named, resource, divisor } = wanted;
    let unknown = || BuildEnvironmentError::NoResource { resource: resource.clone() };
    let all = || {
        let containers = pod.containers.iter().chain(&pod.init_containers);
        containers.chain(&pod.ephemeral_containers)
    };
    let container = match (named.as_str(), this) {
        ("", Some(this)) => this,
        (name, _) => all()
            .find(|container| container.name == name)
            .ok_or_else(|| BuildEnvironmentError::NoContainer { container: named.clone() })?,
    };
    let Resources { cpu_request_milli, cpu_limit_milli, memory_request, memory_limit } =
        container.resources;
    let amount = match resource.as_str() {
        // Without a limit a container may use the whole node.
        "limits.cpu" => cpu_limit_milli.unwrap_or(node.cpu_milli),
        "limits.memory" => memory_limit.unwrap_or(node.memory_bytes),
        "requests.cpu" => cpu_request_milli.or(cpu_limit_milli).unwrap_or(0),
        "requests.memory" => memory_request.or(memory_limit).unwrap_or(0),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => 0,
        _ => return Err(unknown()),
    };
    Ok(amount.div_ceil((*divisor).max(1)).to_string())
}

/// The variables of Services: those of the pod's namespace, and always the API server's.
fn service_variables(
    pod: &Pod,
    services: &BTreeMap<(String, String), Service>,
) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for service in services.values() {
        let api_server = service.namespace == "default" && service.name == "kubernetes";
        let linked = pod.service_links && service.namespace == pod.namespace;
        if let Some(ip) = service.cluster_ip.filter(|_| api_server || linked) {
            one_service(service, ip, &mut variables);
        }
    }
    variables
}

fn one_service(service: &Service, ip: Ipv4Addr, variables: &mut Vec<(String, String)>) {
    let Some(first) = service.ports.first() else { return };
    let prefix = upper(&service.name);
    set(variables, format!("{prefix}_SERVICE_HOST"), ip.to_string());
    set(variables, format!("{prefix}_SERVICE_PORT"), first.port.to_string());
    for port in service.ports.iter().filter(|port| !port.name.is_empty()) {
        let name = format!("{prefix}_SERVICE_PORT_{}", upper(&port.name));
        set(variables, name, port.port.to_string());
    }
    let url = |protocol, port| format!("{protocol}://{ip}:{port}");
    set(variables, format!("{prefix}_PORT"), url(protocol_word(first.protocol), first.port));
    for port in &service.ports {
        let protocol = protocol_word(port.protocol);
        let base = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
        set(variables, base.clone(), url(protocol, port.port));
        set(variables, format!("{base}_PROTO"), protocol.to_owned());
        set(variables, format!("{base}_PORT"), port.port.to_string());
        set(variables, format!("{base}_ADDR"), ip.to_string());
    }
}

fn upper(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

fn protocol_word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod_worker::example::{container, pod};
    use bramble_shared::link::{EnvFrom, EnvVar, ServicePort};

    struct Fixture {
        pod: Pod,
        data: BTreeMap<DataKey, Data>,
        services: BTreeMap<(String, String), Service>,
    }

    fn fixture(env: &[(&str, EnvValue)]) -> Fixture {
        let mut pod = pod();
        pod.labels = [("app".to_owned(), "web".to_owned())].into();
        let mut one = container("main");
        one.env = env
            .iter()
            .map(|(name, value)| EnvVar { name: (*name).to_owned(), value: value.clone() })
            .collect();
        pod.containers = vec![one];
        let key = data_key(&pod, DataKind::ConfigMap, "settings");
        let data = Data {
            key: key.clone(),
            revision: 1,
            secret_type: String::new(),
            entries: [("colour".to_owned(), b"red".to_vec())].into(),
        };
        Fixture { pod, data: [(key, data)].into(), services: BTreeMap::new() }
    }

    fn build(fixture: &Fixture) -> Result<Vec<(String, String)>, BuildEnvironmentError> {
        let world = World {
            node_name: "pi-1",
            host_ip: Ipv4Addr::new(10, 77, 0, 1),
            pod_ip: Ipv4Addr::new(10, 42, 0, 9),
            node: NodeResources { cpu_milli: 4000, memory_bytes: 1 << 30 },
            data: &fixture.data,
            services: &fixture.services,
        };
        let image = ["PATH=/bin".to_owned(), "A=image".to_owned()];
        variables(&fixture.pod, &fixture.pod.containers[0], &image, &world)
    }

    fn check(env: &[(&str, EnvValue)], expected: &[(&str, &str)]) {
        let found = build(&fixture(env)).unwrap();
        for (name, value) in expected {
            assert_eq!(get(&found, name).as_deref(), Some(*value), "{name} of {found:?}");
        }
    }

    fn literal(text: &str) -> EnvValue {
        EnvValue::Literal(text.to_owned())
    }

    #[test]
    fn names_are_expanded_as_upstream() {
        check(
            &[
                ("A", literal("1")),
                ("B", literal("$(A)-$(NOT_THERE)-$$(A)-$A-$")),
                ("C", literal("$(B")),
                ("A", literal("$(A)2")),
            ],
            &[("A", "12"), ("B", "1-$(NOT_THERE)-$(A)-$A-$"), ("C", "$(B"), ("PATH", "/bin")],
        );
    }

    #[test]
    fn fields_and_resources_are_filled_in() {
        let resource = |resource: &str, divisor| {
            EnvValue::Resource(ResourceField {
                container: String::new(),
                resource: resource.to_owned(),
                divisor,
            })
        };
        check(
            &[
                ("NAME", EnvValue::Field("metadata.name".to_owned())),
                ("IP", EnvValue::Field("status.podIP".to_owned())),
                ("NODE", EnvValue::Field("spec.nodeName".to_owned())),
                ("APP", EnvValue::Field("metadata.labels['app']".to_owned())),
                ("CPU", resource("limits.cpu", 1000)),
                ("MEM", resource("limits.memory", 1 << 20)),
            ],
            &[
                ("NAME", "web"),
                ("IP", "10.42.0.9"),
                ("NODE", "pi-1"),
                ("APP", "web"),
                ("CPU", "4"),
                ("MEM", "1024"),
            ],
        );
    }

    #[test]
    fn missing_sources_are_told_in_the_kubelets_words() {
        let value = |name: &str, key: &str, optional| EnvValue::Data {
            kind: DataKind::ConfigMap,
            name: name.to_owned(),
            key: key.to_owned(),
            optional,
        };
        check(&[("X", value("settings", "colour", false))], &[("X", "red")]);
        let error = build(&fixture(&[("X", value("none", "colour", false))])).unwrap_err();
        assert_eq!(error.to_string(), "configmap \"none\" not found");
        let error = build(&fixture(&[("X", value("settings", "size", false))])).unwrap_err();
        assert_eq!(error.to_string(), "couldn't find key size in ConfigMap default/settings");
        let found = build(&fixture(&[("X", value("none", "colour", true))])).unwrap();
        assert_eq!(get(&found, "X"), None);
    }

    #[test]
    fn env_from_takes_every_key_with_its_prefix() {
        let mut fixture = fixture(&[]);
        fixture.pod.containers[0].env_from = vec![EnvFrom {
            prefix: "CFG_".to_owned(),
            kind: DataKind::ConfigMap,
            name: "settings".to_owned(),
            optional: false,
        }];
        assert_eq!(get(&build(&fixture).unwrap(), "CFG_colour").as_deref(), Some("red"));
    }

    #[test]
    fn services_of_the_namespace_and_the_api_server_are_linked() {
        let mut fixture = fixture(&[]);
        for (namespace, name) in
            [("default", "kubernetes"), ("default", "my-db"), ("elsewhere", "hidden")]
        {
            let service = Service {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                cluster_ip: Some(Ipv4Addr::new(10, 43, 0, 1)),
                ports: vec![ServicePort {
                    name: "https".to_owned(),
                    protocol: Protocol::Tcp,
                    port: 443,
                    node_port: 0,
                    endpoints: vec![],
                }],
                ..Service::default()
            };
            fixture.services.insert((namespace.to_owned(), name.to_owned()), service);
        }
        let found = build(&fixture).unwrap();
        assert_eq!(get(&found, "KUBERNETES_SERVICE_HOST").as_deref(), Some("10.43.0.1"));
        assert_eq!(get(&found, "KUBERNETES_SERVICE_PORT_HTTPS").as_deref(), Some("443"));
        assert_eq!(get(&found, "MY_DB_PORT_443_TCP_ADDR").as_deref(), Some("10.43.0.1"));
        assert_eq!(get(&found, "MY_DB_PORT").as_deref(), Some("tcp://10.43.0.1:443"));
        assert_eq!(get(&found, "HIDDEN_SERVICE_HOST"), None);
        fixture.pod.service_links = false;
        let found = build(&fixture).unwrap();
        assert_eq!(get(&found, "MY_DB_SERVICE_HOST"), None);
        assert!(get(&found, "KUBERNETES_SERVICE_HOST").is_some());
    }

    #[test]
    fn paths_in_volumes_are_made_of_variables_and_stay_inside() {
        let variables = [("A".to_owned(), "x/y".to_owned()), ("E".to_owned(), String::new())];
        let check = |expression: &str, expected: Result<&str, &str>| {
            let mount = Mount {
                volume: "v".to_owned(),
                path: "/v".to_owned(),
                sub_path: "plain".to_owned(),
                sub_path_expr: expression.to_owned(),
                read_only: false,
            };
            let found = sub_path(&mount, &variables).map_err(|error| error.to_string());
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{expression}");
        };
        check("", Ok("plain"));
        check("$(A)/z", Ok("x/y/z"));
        check("$$(A)", Ok("$(A)"));
        check("$(B)", Err("missing value for \"B\""));
        check("$(E)/z", Err("missing value for \"E\""));
        check("/$(A)", Err("error SubPath `/x/y` must not be an absolute path"));
        check("$(A)/../z", Err("unable to provision SubPath `x/y/../z`: must not contain '..'"));
    }

    #[test]
    fn command_line_prefers_the_pod() {
        let text = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let variables = [("A".to_owned(), "1".to_owned())];
        let line = |command: &[&str], args: &[&str]| {
            let mut one = container("main");
            one.command = text(command);
            one.args = text(args);
            command_line(&one, &text(&["/entry"]), &text(&["default"]), &variables).join(" ")
        };
        assert_eq!(line(&[], &[]), "/entry default");
        assert_eq!(line(&[], &["x$(A)"]), "/entry x1");
        assert_eq!(line(&["run"], &[]), "run");
        assert_eq!(line(&["run"], &["$(A)"]), "run 1");
    }
}
