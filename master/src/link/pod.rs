//! A pod of the API as its node must run it.
//!
//! Pure: JSON in, [`link::Pod`] out. Knows nothing of the store or of sessions.

mod container;
mod probe;
mod volume;

use std::collections::BTreeSet;

use bramble_shared::link::{
    DataKey, DataKind, Deletion, DnsPolicy, DnsSource, EnvValue, FileSource, HostAlias, Pod,
    PodSecurity, RestartPolicy, VolumeSource,
};
use serde_json::Value;

use super::field::Field;

pub(super) use container::{counted, protocol};

/// Longest host name inside a pod, in bytes.
const HOSTNAME_LEN_MAX: usize = 63;
/// Grace when a pod names none, in seconds: upstream's default.
const GRACE_S: u32 = 30;

/// Why a pod cannot run on any node of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConvertPodError {
    /// The kind of a volume is not known to nodes.
    #[error("volume `{volume}` is of a kind that nodes of this version do not have: {kind}")]
    Volume { volume: String, kind: String },
    /// A quantity cannot be read.
    #[error("{field} of container `{container}` is no quantity: `{value}`")]
    Quantity { container: String, field: String, value: String },
}

/// Makes of a stored pod what its node needs.
///
/// # Errors
///
/// Something that nodes cannot do: better not to run than to run without it.
pub(super) fn convert(object: &Value) -> Result<Pod, ConvertPodError> {
    let pod = Field(object);
    let (metadata, spec) = (pod.get("metadata"), pod.get("spec"));
    let host_network = spec.get("hostNetwork").flag().unwrap_or(false);
    let security = spec.get("securityContext");
    let containers = |list: &str| -> Result<Vec<_>, _> {
        spec.get(list).items().map(|item| container::convert(item, security)).collect()
    };
    Ok(Pod {
        namespace: metadata.get("namespace").string(),
        name: metadata.get("name").string(),
        uid: metadata.get("uid").string(),
        generation: metadata.get("generation").integer().unwrap_or(1),
        labels: metadata.get("labels").string_map(),
        annotations: metadata.get("annotations").string_map(),
        deletion: metadata.get("deletionTimestamp").is_set().then(|| Deletion {
            grace_s: metadata.get("deletionGracePeriodSeconds").integer().unwrap_or(0),
        }),
        service_account: spec.get("serviceAccountName").string(),
        hostname: hostname(metadata, spec),
        subdomain: spec.get("subdomain").string(),
        host_network,
        host_pid: spec.get("hostPID").flag().unwrap_or(false),
        host_ipc: spec.get("hostIPC").flag().unwrap_or(false),
        host_aliases: spec.get("hostAliases").items().map(host_alias).collect(),
        dns: dns(spec, host_network),
        restart_policy: match spec.get("restartPolicy").text() {
            "Never" => RestartPolicy::Never,
            "OnFailure" => RestartPolicy::OnFailure,
            _ => RestartPolicy::Always,
        },
        termination_grace_s: spec.get("terminationGracePeriodSeconds").integer().unwrap_or(GRACE_S),
        readiness_gates_met: unmet_gates(pod).next().is_none(),
        active_deadline_s: spec.get("activeDeadlineSeconds").integer(),
        service_links: spec.get("enableServiceLinks").flag().unwrap_or(true),
        security: pod_security(spec, security),
        pull_secrets: spec
            .get("imagePullSecrets")
            .items()
            .map(|secret| secret.get("name").string())
            .filter(|name| !name.is_empty())
            .collect(),
        init_containers: containers("initContainers")?,
        containers: containers("containers")?,
        volumes: spec.get("volumes").items().map(volume::convert).collect::<Result<_, _>>()?,
        ephemeral_containers: containers("ephemeralContainers")?,
    })
}

/// The ConfigMaps and Secrets that a pod uses: all that its node may read.
pub(super) fn data_keys(pod: &Pod) -> BTreeSet<DataKey> {
    let mut names: BTreeSet<(DataKind, &String)> = BTreeSet::new();
    names.extend(pod.pull_secrets.iter().map(|name| (DataKind::Secret, name)));
    let containers = pod.init_containers.iter().chain(&pod.containers);
    for container in containers.chain(&pod.ephemeral_containers) {
        names.extend(container.env_from.iter().map(|source| (source.kind, &source.name)));
        for variable in &container.env {
            if let EnvValue::Data { kind, name, .. } = &variable.value {
                names.insert((*kind, name));
            }
        }
    }
    for volume in &pod.volumes {
        let VolumeSource::Files { sources, .. } = &volume.source else { continue };
        for source in sources {
            if let FileSource::Data { kind, name, .. } = source {
                names.insert((*kind, name));
            }
        }
    }
    names
        .into_iter()
        .map(|(kind, name)| DataKey { kind, namespace: pod.namespace.clone(), name: name.clone() })
        .collect()
}

/// The conditions that a pod's readiness gates name and that do not hold, with their status; that is
/// empty for one that is not there.
pub(super) fn unmet_gates<'a>(pod: Field<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    let conditions = pod.get("status").get("conditions");
    let gates = pod.get("spec").get("readinessGates").items();
    let gates = gates.map(move |gate| {
        let kind = gate.get("conditionType").text();
        let mut conditions = conditions.items();
        let found = conditions.find(|condition| condition.get("type").text() == kind);
        (kind, found.map_or("", |found| found.get("status").text()))
    });
    gates.filter(|(_, status)| *status != "True")
}

fn hostname(metadata: Field<'_>, spec: Field<'_>) -> String {
    let wanted = spec.get("hostname").text();
    if !wanted.is_empty() {
        return wanted.to_owned();
    }
    let name = metadata.get("name").text();
    let cut = name.get(..HOSTNAME_LEN_MAX).unwrap_or(name);
    cut.trim_end_matches(['-', '.']).to_owned()
}

fn host_alias(alias: Field<'_>) -> HostAlias {
    HostAlias { ip: alias.get("ip").string(), hostnames: alias.get("hostnames").strings() }
}

fn dns(spec: Field<'_>, host_network: bool) -> DnsPolicy {
    let source = match spec.get("dnsPolicy").text() {
        "None" => DnsSource::None,
        "Default" => DnsSource::Node,
        "ClusterFirstWithHostNet" => DnsSource::Cluster,
        // Upstream's rule: a pod in the node's network resolves as its node does.
        _ if host_network => DnsSource::Node,
        _ => DnsSource::Cluster,
    };
    let config = spec.get("dnsConfig");
    let option = |option: Field<'_>| {
        let (name, value) = (option.get("name").text(), option.get("value"));
        if value.is_set() { format!("{name}:{}", value.text()) } else { name.to_owned() }
    };
    DnsPolicy {
        source,
        nameservers: config.get("nameservers").strings(),
        searches: config.get("searches").strings(),
        options: config.get("options").items().map(option).collect(),
    }
}

fn pod_security(spec: Field<'_>, security: Field<'_>) -> PodSecurity {
    PodSecurity {
        run_as_user: security.get("runAsUser").id(),
        run_as_group: security.get("runAsGroup").id(),
        run_as_non_root: security.get("runAsNonRoot").flag().unwrap_or(false),
        fs_group: security.get("fsGroup").id(),
        supplemental_groups: security
            .get("supplementalGroups")
            .items()
            .filter_map(Field::integer)
            .collect(),
        sysctls: security
            .get("sysctls")
            .items()
            .map(|sysctl| (sysctl.get("name").string(), sysctl.get("value").string()))
            .collect(),
        share_process_namespace: spec.get("shareProcessNamespace").flag().unwrap_or(false),
    }
}

#[cfg(test)]
mod tests {
    use bramble_shared::link::{
        Container, ContainerPort, ContainerSecurity, DataItem, EnvFrom, EnvVar, Handler, Lifecycle,
        Mount, Probe, Protocol, PullPolicy, ResourceField, Resources, Volume,
    };
    use serde_json::json;

    use super::*;

    fn rich_probe() -> Value {
        json!({
            "tcpSocket": {"port": "http"}, "initialDelaySeconds": 1,
            "timeoutSeconds": 2, "periodSeconds": 3, "failureThreshold": 5,
            "terminationGracePeriodSeconds": 6,
        })
    }

    fn rich_volumes() -> Value {
        json!([
            {"name": "conf", "configMap": {"name": "files", "defaultMode": 416,
                "items": [{"key": "k", "path": "p", "mode": 256}]}},
            {"name": "sec", "secret": {"secretName": "tls", "optional": true}},
            {"name": "all", "projected": {"defaultMode": 384, "sources": [
                {"configMap": {"name": "more"}},
                {"secret": {"name": "hidden", "optional": true}},
                {"downwardAPI": {"items": [
                    {"path": "labels", "mode": 292,
                     "fieldRef": {"fieldPath": "metadata.labels"}},
                    {"path": "cpu", "resourceFieldRef":
                        {"containerName": "web", "resource": "limits.cpu"}}]}},
                {"serviceAccountToken": {"audience": "vault", "path": "token"}}]}},
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
            {"name": "disk", "emptyDir": {}},
            {"name": "host", "hostPath": {"path": "/dev", "type": "Directory"}},
        ])
    }

    fn rich_env() -> Value {
        json!([
            {"name": "PORT", "value": "80"},
            {"name": "EMPTY"},
            {"name": "MODE", "valueFrom": {"configMapKeyRef":
                {"name": "modes", "key": "mode", "optional": true}}},
            {"name": "PASS", "valueFrom": {"secretKeyRef":
                {"name": "db", "key": "pass"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef":
                {"resource": "limits.cpu", "divisor": "1m"}}},
            {"name": "MEM", "valueFrom": {"resourceFieldRef":
                {"containerName": "web", "resource": "limits.memory",
                 "divisor": "1Mi"}}},
        ])
    }

    fn rich_security() -> Value {
        json!({
            "runAsUser": 1000, "runAsGroup": 1001, "runAsNonRoot": true, "fsGroup": 2000,
            "supplementalGroups": [5, 6], "seccompProfile": {"type": "Unconfined"},
            "sysctls": [{"name": "net.core.somaxconn", "value": "256"}],
        })
    }

    fn rich_container() -> Value {
        json!({
            "name": "web", "image": "web:2", "imagePullPolicy": "Always",
            "command": ["/web"], "args": ["--port", "$(PORT)"], "workingDir": "/srv",
            "envFrom": [
                {"prefix": "C_", "configMapRef": {"name": "settings", "optional": true}},
                {"secretRef": {"name": "keys"}},
            ],
            "env": rich_env(),
            "ports": [{"name": "http", "containerPort": 80, "hostPort": 8080,
                       "protocol": "TCP"},
                      {"containerPort": 53, "protocol": "UDP"}],
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"},
                          "limits": {"cpu": "1.5", "memory": "128Mi"}},
            "volumeMounts": [{"name": "conf", "mountPath": "/conf", "readOnly": true,
                              "subPath": "a", "subPathExpr": "b/$(PORT)"}],
            "securityContext": {
                "runAsUser": 7, "readOnlyRootFilesystem": true,
                "allowPrivilegeEscalation": true,
                "capabilities": {"add": ["CAP_NET_ADMIN"], "drop": ["ALL"]},
            },
            "tty": true, "stdin": true, "stdinOnce": true,
            "resizePolicy": [
                {"resourceName": "cpu", "restartPolicy": "NotRequired"},
                {"resourceName": "memory", "restartPolicy": "RestartContainer"},
            ],
            "livenessProbe": rich_probe(),
            "lifecycle": {"preStop": {"sleep": {"seconds": 2}}},
            "terminationMessagePath": "/end",
            "terminationMessagePolicy": "FallbackToLogsOnError",
        })
    }

    fn rich() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "web-0", "namespace": "shop", "uid": "u-1", "generation": 3,
                "labels": {"app": "web"}, "annotations": {"note": "x"},
                "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 7,
            },
            "spec": {
                "serviceAccountName": "seller", "subdomain": "web", "hostPID": true,
                "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["db", "cache"]}],
                "dnsPolicy": "ClusterFirst",
                "dnsConfig": {
                    "nameservers": ["9.9.9.9"], "searches": ["lan"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
                },
                "restartPolicy": "OnFailure", "terminationGracePeriodSeconds": 12,
                "readinessGates": [{"conditionType": "example.com/gate"}],
                "activeDeadlineSeconds": 99, "enableServiceLinks": false,
                "imagePullSecrets": [{"name": "registry"}],
                "securityContext": rich_security(),
                "shareProcessNamespace": true,
                "initContainers": [{
                    "name": "proxy", "image": "proxy:1", "restartPolicy": "Always",
                    "imagePullPolicy": "IfNotPresent",
                }],
                "containers": [rich_container()],
                "ephemeralContainers": [{
                    "name": "debugger", "image": "proxy:1", "imagePullPolicy": "IfNotPresent",
                    "targetContainerName": "web",
                }],
                "volumes": rich_volumes(),
            },
        })
    }

    fn literal(name: &str, value: &str) -> EnvVar {
        EnvVar { name: name.to_owned(), value: EnvValue::Literal(value.to_owned()) }
    }

    fn data(name: &str, kind: DataKind, object: &str, key: &str, optional: bool) -> EnvVar {
        let (object, key) = (object.to_owned(), key.to_owned());
        EnvVar {
            name: name.to_owned(),
            value: EnvValue::Data { kind, name: object, key, optional },
        }
    }

    #[test]
    fn everything_of_a_rich_manifest_arrives() {
        let pod = convert(&rich()).unwrap();
        let sidecar = Container {
            name: "proxy".into(),
            image: "proxy:1".into(),
            pull_policy: PullPolicy::IfNotPresent,
            command: vec![],
            args: vec![],
            working_dir: None,
            env_from: vec![],
            env: vec![],
            ports: vec![],
            resources: Resources::default(),
            mounts: vec![],
            security: ContainerSecurity { seccomp_unconfined: true, ..Default::default() },
            sidecar: true,
            startup_probe: None,
            liveness_probe: None,
            readiness_probe: None,
            lifecycle: Lifecycle::default(),
            tty: false,
            stdin: false,
            stdin_once: false,
            target: String::new(),
            restart_for_cpu: false,
            restart_for_memory: false,
            termination_message_path: "/dev/termination-log".into(),
            termination_message_from_log: false,
        };
        let resource = |name: &str, container: &str, resource: &str, divisor| EnvVar {
            name: name.into(),
            value: EnvValue::Resource(ResourceField {
                container: container.into(),
                resource: resource.into(),
                divisor,
            }),
        };
        let web = Container {
            name: "web".into(),
            image: "web:2".into(),
            pull_policy: PullPolicy::Always,
            command: vec!["/web".into()],
            args: vec!["--port".into(), "$(PORT)".into()],
            working_dir: Some("/srv".into()),
            env_from: vec![
                EnvFrom {
                    prefix: "C_".into(),
                    kind: DataKind::ConfigMap,
                    name: "settings".into(),
                    optional: true,
                },
                EnvFrom {
                    prefix: String::new(),
                    kind: DataKind::Secret,
                    name: "keys".into(),
                    optional: false,
                },
            ],
            env: vec![
                literal("PORT", "80"),
                literal("EMPTY", ""),
                data("MODE", DataKind::ConfigMap, "modes", "mode", true),
                data("PASS", DataKind::Secret, "db", "pass", false),
                EnvVar { name: "IP".into(), value: EnvValue::Field("status.podIP".into()) },
                resource("CPU", "", "limits.cpu", 1),
                resource("MEM", "web", "limits.memory", 1 << 20),
            ],
            ports: vec![
                ContainerPort {
                    name: "http".into(),
                    port: 80,
                    host_port: 8080,
                    host_ip: None,
                    protocol: Protocol::Tcp,
                },
                ContainerPort {
                    name: String::new(),
                    port: 53,
                    host_port: 0,
                    host_ip: None,
                    protocol: Protocol::Udp,
                },
            ],
            resources: Resources {
                cpu_request_milli: Some(100),
                cpu_limit_milli: Some(1500),
                memory_request: Some(64 << 20),
                memory_limit: Some(128 << 20),
            },
            mounts: vec![Mount {
                volume: "conf".into(),
                path: "/conf".into(),
                sub_path: "a".into(),
                sub_path_expr: "b/$(PORT)".into(),
                read_only: true,
            }],
            security: ContainerSecurity {
                run_as_user: Some(7),
                run_as_group: None,
                run_as_non_root: None,
                read_only_root: true,
                privileged: false,
                allow_privilege_escalation: true,
                capabilities_add: vec!["NET_ADMIN".into()],
                capabilities_drop: vec!["ALL".into()],
                seccomp_unconfined: true,
            },
            sidecar: false,
            startup_probe: None,
            liveness_probe: Some(Probe {
                handler: Handler::Tcp { host: String::new(), port: 80 },
                initial_delay_s: 1,
                timeout_s: 2,
                period_s: 3,
                success_threshold: 1,
                failure_threshold: 5,
                termination_grace_s: Some(6),
            }),
            readiness_probe: None,
            lifecycle: Lifecycle {
                pre_stop: Some(Handler::Sleep { seconds: 2 }),
                ..Lifecycle::default()
            },
            tty: true,
            stdin: true,
            termination_message_path: "/end".into(),
            stdin_once: true,
            target: String::new(),
            restart_for_cpu: false,
            restart_for_memory: true,
            termination_message_from_log: true,
        };
        let volume = |name: &str, source: VolumeSource| Volume { name: name.to_owned(), source };
        let files = |mode, sources| VolumeSource::Files { mode, sources };
        let whole = |kind, name: &str, optional| FileSource::Data {
            kind,
            name: name.to_owned(),
            optional,
            items: vec![],
        };
        let expected = Pod {
            namespace: "shop".into(),
            name: "web-0".into(),
            uid: "u-1".into(),
            generation: 3,
            labels: [("app".into(), "web".into())].into(),
            annotations: [("note".into(), "x".into())].into(),
            deletion: Some(Deletion { grace_s: 7 }),
            service_account: "seller".into(),
            hostname: "web-0".into(),
            subdomain: "web".into(),
            host_network: false,
            host_pid: true,
            host_ipc: false,
            host_aliases: vec![HostAlias {
                ip: "10.0.0.1".into(),
                hostnames: vec!["db".into(), "cache".into()],
            }],
            dns: DnsPolicy {
                source: DnsSource::Cluster,
                nameservers: vec!["9.9.9.9".into()],
                searches: vec!["lan".into()],
                options: vec!["ndots:2".into(), "edns0".into()],
            },
            restart_policy: RestartPolicy::OnFailure,
            termination_grace_s: 12,
            readiness_gates_met: false,
            active_deadline_s: Some(99),
            service_links: false,
            security: PodSecurity {
                run_as_user: Some(1000),
                run_as_group: Some(1001),
                run_as_non_root: true,
                fs_group: Some(2000),
                supplemental_groups: vec![5, 6],
                sysctls: [("net.core.somaxconn".into(), "256".into())].into(),
                share_process_namespace: true,
            },
            pull_secrets: vec!["registry".into()],
            init_containers: vec![sidecar.clone()],
            ephemeral_containers: vec![Container {
                name: "debugger".into(),
                target: "web".into(),
                sidecar: false,
                ..sidecar
            }],
            containers: vec![web],
            volumes: vec![
                volume(
                    "conf",
                    files(
                        0o640,
                        vec![FileSource::Data {
                            kind: DataKind::ConfigMap,
                            name: "files".into(),
                            optional: false,
                            items: vec![DataItem {
                                key: "k".into(),
                                path: "p".into(),
                                mode: Some(0o400),
                            }],
                        }],
                    ),
                ),
                volume("sec", files(0o644, vec![whole(DataKind::Secret, "tls", true)])),
                volume(
                    "all",
                    files(
                        0o600,
                        vec![
                            whole(DataKind::ConfigMap, "more", false),
                            whole(DataKind::Secret, "hidden", true),
                            FileSource::Field {
                                field: "metadata.labels".into(),
                                path: "labels".into(),
                                mode: Some(0o444),
                            },
                            FileSource::Resource {
                                resource: ResourceField {
                                    container: "web".into(),
                                    resource: "limits.cpu".into(),
                                    divisor: 1000,
                                },
                                path: "cpu".into(),
                                mode: None,
                            },
                            FileSource::Token {
                                audience: "vault".into(),
                                expiration_s: 3600,
                                path: "token".into(),
                            },
                        ],
                    ),
                ),
                volume("tmp", VolumeSource::EmptyDir { memory: true, size_limit: Some(1 << 30) }),
                volume("disk", VolumeSource::EmptyDir { memory: false, size_limit: None }),
                volume(
                    "host",
                    VolumeSource::HostPath { path: "/dev".into(), kind: "Directory".into() },
                ),
            ],
        };
        assert_eq!(pod, expected);
    }

    #[test]
    fn exactly_the_data_that_a_pod_names_is_its_own() {
        let pod = convert(&rich()).unwrap();
        let keys: Vec<_> =
            data_keys(&pod).into_iter().map(|key| (key.kind, key.namespace, key.name)).collect();
        let expected = [
            (DataKind::ConfigMap, "files"),
            (DataKind::ConfigMap, "modes"),
            (DataKind::ConfigMap, "more"),
            (DataKind::ConfigMap, "settings"),
            (DataKind::Secret, "db"),
            (DataKind::Secret, "hidden"),
            (DataKind::Secret, "keys"),
            (DataKind::Secret, "registry"),
            (DataKind::Secret, "tls"),
        ];
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(kind, name)| (kind, "shop".to_owned(), name.to_owned()))
            .collect();
        assert_eq!(keys, expected);
    }

    #[test]
    fn a_volume_that_nodes_do_not_have_is_named() {
        let object = json!({"spec": {"volumes": [{"name": "v", "nfs": {"server": "s"}}]}});
        let error = convert(&object).unwrap_err();
        assert_eq!(
            error,
            ConvertPodError::Volume { volume: "v".to_owned(), kind: "nfs".to_owned() }
        );
        let bundle = json!({"clusterTrustBundle": {"name": "x", "path": "y"}});
        let object =
            json!({"spec": {"volumes": [{"name": "v", "projected": {"sources": [bundle]}}]}});
        let told = convert(&object).unwrap_err().to_string();
        assert!(told.ends_with("do not have: projected with clusterTrustBundle"), "{told}");
    }

    #[test]
    fn host_network_resolves_as_its_node_unless_told_otherwise() {
        let source = |policy: &str| {
            let object = json!({"spec": {"hostNetwork": true, "dnsPolicy": policy}});
            convert(&object).unwrap().dns.source
        };
        assert_eq!(source("ClusterFirst"), DnsSource::Node);
        assert_eq!(source("ClusterFirstWithHostNet"), DnsSource::Cluster);
        assert_eq!(source("None"), DnsSource::None);
    }
}
