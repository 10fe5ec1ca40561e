//! What users get wrong is told in upstream's words.

use serde_json::{Value, json};

use super::{create, update};
use crate::{defaults, registry};

fn errors(group: &str, kind: &str, mut object: Value) -> Vec<String> {
    let resource = registry::by_kind(group, kind).unwrap();
    defaults::apply(resource, &mut object);
    create(resource, &object).iter().map(ToString::to_string).collect()
}

#[test]
fn pods_of_a_stateful_set_may_mount_its_claims() {
    let set = |mounted: &str| {
        let mounts = json!([{"name": mounted, "mountPath": "/data"}]);
        let template = json!({"metadata": {"labels": {"app": "a"}},
            "spec": {"containers": [{"name": "c", "image": "i", "volumeMounts": mounts}]}});
        let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Mi"}}}});
        json!({"metadata": {"name": "a", "namespace": "n"}, "spec": {"serviceName": "a",
            "selector": {"matchLabels": {"app": "a"}}, "template": template,
            "volumeClaimTemplates": [claim]}})
    };
    assert_eq!(errors("apps", "StatefulSet", set("data")), Vec::<String>::new());
    let told = ["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"other\""];
    assert_eq!(errors("apps", "StatefulSet", set("other")), told);
}

fn pod(change: impl FnOnce(&mut Value)) -> Value {
    let mut pod = json!({"metadata": {"name": "a", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    change(&mut pod);
    pod
}

#[test]
fn good_objects_pass() {
    assert_eq!(errors("", "Pod", pod(|_| {})), Vec::<String>::new());
    let template = json!({"metadata": {"labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = json!({"metadata": {"name": "a", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template}});
    assert_eq!(errors("apps", "Deployment", deployment), Vec::<String>::new());
    let service = json!({"metadata": {"name": "a", "namespace": "default"},
        "spec": {"selector": {"app": "a"}, "ports": [{"port": 80, "targetPort": "http"}]}});
    assert_eq!(errors("", "Service", service), Vec::<String>::new());
    for (kind, object) in [
        ("ConfigMap", json!({"metadata": {"name": "a", "namespace": "n"}, "data": {"a": "b"}})),
        ("Secret", json!({"metadata": {"name": "a", "namespace": "n"}, "stringData": {"a": "b"}})),
        ("Namespace", json!({"metadata": {"name": "a"}})),
        ("Node", json!({"metadata": {"name": "pi-1.lan"}})),
    ] {
        assert_eq!(errors("", kind, object), Vec::<String>::new());
    }
}

#[test]
fn wrong_pods_are_told_so() {
    let check = |change: &dyn Fn(&mut Value), expected: &str| {
        assert_eq!(errors("", "Pod", pod(|pod| change(pod))), [expected]);
    };
    check(&|pod| pod["spec"]["containers"] = json!([]), "spec.containers: Required value");
    check(
        &|pod| pod["spec"]["containers"][0]["image"] = json!(""),
        "spec.containers[0].image: Required value",
    );
    check(
        &|pod| pod["spec"]["restartPolicy"] = json!("Sometimes"),
        "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \
         \"OnFailure\", \"Never\"",
    );
    check(
        &|pod| {
            pod["spec"]["containers"][0]["volumeMounts"] =
                json!([{"name": "x", "mountPath": "/x"}]);
        },
        "spec.containers[0].volumeMounts[0].name: Not found: \"x\"",
    );
    check(
        &|pod| pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 70000}]),
        "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and \
         65535, inclusive",
    );
    check(
        &|pod| {
            let container = pod["spec"]["containers"][0].clone();
            pod["spec"]["containers"].as_array_mut().unwrap().push(container);
        },
        "spec.containers[1].name: Duplicate value: \"c\"",
    );
    check(
        &|pod| {
            pod["spec"]["containers"][0]["resources"] =
                json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}});
        },
        "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal \
         to cpu limit of 1",
    );
    check(
        &|pod| pod["metadata"]["labels"] = json!({"a": "-"}),
        "metadata.labels: Invalid value: \"-\": a valid label must be an empty string or consist \
         of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
         character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
         '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
    );
}

#[test]
fn a_selector_has_to_match_the_template() {
    let template = json!({"metadata": {"labels": {"app": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let set = json!({"metadata": {"name": "a", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template}});
    assert_eq!(
        errors("apps", "ReplicaSet", set),
        [
            "spec.template.metadata.labels: Invalid value: {\"app\":\"b\"}: `selector` does not match \
          template `labels`"
        ]
    );
}

#[test]
fn what_is_immutable_stays() {
    let pods = registry::by_kind("", "Pod").unwrap();
    let mut old = pod(|_| {});
    defaults::apply(pods, &mut old);
    let check = |change: &dyn Fn(&mut Value), count: usize| {
        let mut new = old.clone();
        change(&mut new);
        assert_eq!(update(pods, &old, &new).len(), count);
    };
    check(&|_| {}, 0);
    check(&|pod| pod["spec"]["containers"][0]["image"] = json!("other"), 0);
    check(&|pod| pod["spec"]["containers"][0]["command"] = json!(["x"]), 1);
    check(&|pod| pod["spec"]["nodeName"] = json!("pi-1"), 1);
    check(&|pod| pod["spec"]["tolerations"] = json!([]), 1);
    check(&|pod| pod["spec"]["tolerations"][0]["tolerationSeconds"] = json!(7), 0);
    check(&|pod| pod["metadata"]["name"] = json!("b"), 1);

    let services = registry::by_kind("", "Service").unwrap();
    let mut old = json!({"metadata": {"name": "a", "namespace": "default"},
        "spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 80}]}});
    defaults::apply(services, &mut old);
    let mut new = old.clone();
    new["spec"]["clusterIP"] = json!("10.0.0.2");
    let found: Vec<String> = update(services, &old, &new).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["spec.clusterIPs[0]: Invalid value: \"10.0.0.2\": field is immutable"]);

    let config_maps = registry::by_kind("", "ConfigMap").unwrap();
    let old =
        json!({"metadata": {"name": "a", "namespace": "default"}, "immutable": true, "data": {}});
    let mut new = old.clone();
    new["data"] = json!({"a": "b"});
    let found: Vec<String> =
        update(config_maps, &old, &new).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["data: Forbidden: field is immutable when `immutable` is set"]);
}

/// One mistake in the spec of a pod, and what is told.
fn spec_mistake(change: &dyn Fn(&mut Value), expected: &[&str]) {
    let found = errors("", "Pod", pod(|pod| change(&mut pod["spec"])));
    assert_eq!(found, expected);
    // A template is checked in the same way.
    let mut template = json!({"metadata": {"labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    change(&mut template["spec"]);
    let set = json!({"metadata": {"name": "a", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template}});
    let found = errors("apps", "ReplicaSet", set);
    if !expected.iter().any(|text| text.starts_with("spec.ephemeralContainers")) {
        let expected: Vec<String> =
            expected.iter().map(|text| text.replacen("spec.", "spec.template.spec.", 1)).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn where_a_pod_may_not_want_to_run() {
    let node = |requirement: Value| {
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}}})
    };
    let field = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.\
                 nodeSelectorTerms";
    let first = format!("{field}[0].matchExpressions[0]");
    spec_mistake(
        &|spec| spec["affinity"] = node(json!({"key": "a", "operator": "in", "values": ["b"]})),
        &[&format!("{first}.operator: Invalid value: \"in\": not a valid selector operator")],
    );
    spec_mistake(
        &|spec| spec["affinity"] = node(json!({"key": "a", "operator": "In"})),
        &[&format!(
            "{first}.values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
        )],
    );
    spec_mistake(
        &|spec| {
            spec["affinity"] = node(json!({"key": "a", "operator": "Gt", "values": ["1", "2"]}))
        },
        &[&format!(
            "{first}.values: Required value: must be specified single value when `operator` is 'Lt' \
             or 'Gt'"
        )],
    );
    spec_mistake(
        &|spec| {
            spec["affinity"] = json!({"nodeAffinity":
                {"requiredDuringSchedulingIgnoredDuringExecution": {}}});
        },
        &[&format!("{field}: Required value: must have at least one node selector term")],
    );
    spec_mistake(
        &|spec| {
            spec["affinity"] = json!({"podAntiAffinity":
                {"preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 101, "podAffinityTerm": {"topologyKey": "zone"}}]}});
        },
        &[
            "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: \
           Invalid value: 101: must be in the range 1-100",
        ],
    );
    let found = errors(
        "",
        "Pod",
        pod(|pod| {
            pod["spec"]["affinity"] = json!({"podAntiAffinity":
                {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": ""}]}});
        }),
    );
    assert_eq!(
        found[0],
        "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].\
         topologyKey: Required value: can not be empty"
    );
    let spread = json!({"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "Sometimes"});
    spec_mistake(
        &|spec| spec["topologySpreadConstraints"] = json!([spread]),
        &[
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
            "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"Sometimes\": \
             supported values: \"DoNotSchedule\", \"ScheduleAnyway\"",
        ],
    );
    spec_mistake(
        &|spec| spec["tolerations"] = json!([{"key": "a", "operator": "Exists", "effect": "Away"}]),
        &["spec.tolerations[0].effect: Unsupported value: \"Away\": supported values: \
           \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\""],
    );
}

#[test]
fn who_a_container_may_not_be() {
    const RANGE: &str = "must be between 0 and 2147483647, inclusive";
    for value in [-1, 1_i64 << 31, 1 << 32, i64::MIN, i64::MAX] {
        for name in ["runAsUser", "runAsGroup"] {
            spec_mistake(
                &|spec| spec["containers"][0]["securityContext"] = json!({ name: value }),
                &[&format!(
                    "spec.containers[0].securityContext.{name}: Invalid value: {value}: {RANGE}"
                )],
            );
        }
        for name in ["runAsUser", "runAsGroup", "fsGroup"] {
            spec_mistake(
                &|spec| spec["securityContext"] = json!({ name: value }),
                &[&format!("spec.securityContext.{name}: Invalid value: {value}: {RANGE}")],
            );
        }
        spec_mistake(
            &|spec| spec["securityContext"] = json!({"supplementalGroups": [0, value]}),
            &[&format!(
                "spec.securityContext.supplementalGroups[1]: Invalid value: {value}: {RANGE}"
            )],
        );
    }
    spec_mistake(
        &|spec| {
            spec["containers"][0]["securityContext"] =
                json!({"allowPrivilegeEscalation": false, "privileged": true});
        },
        &["spec.containers[0].securityContext: Invalid value: \
           {\"allowPrivilegeEscalation\":false,\"privileged\":true}: cannot set \
           `allowPrivilegeEscalation` to false and `privileged` to true"],
    );
    spec_mistake(
        &|spec| spec["securityContext"] = json!({"sysctls": [{"name": "Kernel.x", "value": "1"}]}),
        &[
            "spec.securityContext.sysctls[0].name: Invalid value: \"Kernel.x\": must have at most 253 \
           characters and match regex \
           ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
        ],
    );
    spec_mistake(
        &|spec| spec["securityContext"] = json!({"seccompProfile": {"type": "Localhost"}}),
        &[
            "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when \
           seccomp type is Localhost",
        ],
    );
}

#[test]
fn what_containers_and_volumes_may_not_say() {
    spec_mistake(
        &|spec| {
            spec["volumes"] = json!([{"name": "v", "configMap":
                {"name": "c", "items": [{"key": "k", "path": "../x"}]}}]);
        },
        &[
            "spec.volumes[0].configMap.items[0].path: Invalid value: \"../x\": must not contain '..'",
        ],
    );
    spec_mistake(
        &|spec| {
            spec["hostNetwork"] = json!(true);
            spec["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 81}]);
        },
        &[
            "spec.containers[0].ports[0].containerPort: Invalid value: 80: must match `hostPort` when \
           `hostNetwork` is true",
        ],
    );
    spec_mistake(
        &|spec| {
            spec["initContainers"] =
                json!([{"name": "i", "image": "i", "restartPolicy": "Sometimes"}]);
        },
        &["spec.initContainers[0].restartPolicy: Unsupported value: \"Sometimes\": supported \
           values: \"Always\", \"Never\", \"OnFailure\""],
    );
    spec_mistake(
        &|spec| {
            spec["containers"][0]["lifecycle"] = json!({"postStart":
                {"exec": {"command": ["x"]}, "tcpSocket": {"port": 80}}});
        },
        &[
            "spec.containers[0].lifecycle.postStart.tcpSocket: Forbidden: may not specify more than 1 \
           handler type",
        ],
    );
    spec_mistake(
        &|spec| spec["hostAliases"] = json!([{"ip": "x", "hostnames": ["a"]}]),
        &[
            "spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 \
           or 2001:db8::ffff)",
        ],
    );
    for value in [0, -1, 1 << 31, i64::MAX] {
        spec_mistake(
            &|spec| spec["activeDeadlineSeconds"] = json!(value),
            &[&format!(
                "spec.activeDeadlineSeconds: Invalid value: {value}: must be between 1 and \
                 2147483647, inclusive"
            )],
        );
    }
    spec_mistake(
        &|spec| {
            spec["ephemeralContainers"] = json!([{"name": "e", "image": "i"}]);
        },
        &["spec.ephemeralContainers: Forbidden: cannot be set on create"],
    );
    let newline = errors(
        "",
        "Pod",
        pod(|pod| {
            pod["spec"]["hostAliases"] =
                json!([{"ip": "10.0.0.1", "hostnames": ["a\n127.0.0.1 bank.example"]}]);
        }),
    );
    assert!(newline[0].starts_with("spec.hostAliases[0].hostnames[0]: Invalid value: "));
}

#[test]
fn what_masks_the_kernel_in_a_container_is_not_covered() {
    let mount = |path: &str, volume: Value| {
        errors(
            "",
            "Pod",
            pod(|pod| {
                pod["spec"]["volumes"] = json!([volume]);
                pod["spec"]["containers"][0]["volumeMounts"] =
                    json!([{"name": "v", "mountPath": path}]);
            }),
        )
    };
    let own = json!({"name": "v", "emptyDir": {}});
    let host = json!({"name": "v", "hostPath": {"path": "/x"}});
    for path in [
        "/",
        "/proc",
        "/proc/",
        "//proc",
        "/./proc",
        "/x/../proc",
        "/proc/sys",
        "/sys",
        "/sys/fs/cgroup",
        "/dev",
    ] {
        let expected = format!(
            "spec.containers[0].volumeMounts[0].mountPath: Invalid value: \"{path}\": must not \
             cover /proc, /sys or /dev"
        );
        assert_eq!(mount(path, own.clone()), [expected]);
    }
    for path in ["/dev/shm", "/processes", "/system", "/data/proc"] {
        assert_eq!(mount(path, own.clone()), Vec::<String>::new());
    }
    for path in ["/sys", "/dev", "/host/proc"] {
        assert_eq!(mount(path, host.clone()), Vec::<String>::new());
    }
    assert_eq!(mount("/proc", host).len(), 1);
}

#[test]
fn what_other_kinds_may_not_say() {
    let check = |group: &str, kind: &str, object: Value, expected: &str| {
        assert_eq!(errors(group, kind, object), [expected]);
    };
    let named = |rest: Value| {
        let mut object = json!({"metadata": {"name": "a", "namespace": "default"}});
        crate::patch::merge::apply(&mut object, &rest);
        object
    };
    let deployment = |rolling: Value| {
        named(json!({"spec": {"selector": {"matchLabels": {"app": "a"}},
            "strategy": {"rollingUpdate": rolling},
            "template": {"metadata": {"labels": {"app": "a"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]}}}}))
    };
    check(
        "apps",
        "Deployment",
        deployment(json!({"maxUnavailable": "150%"})),
        "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"150%\": must not be greater \
         than 100%",
    );
    assert!(errors("apps", "Deployment", deployment(json!({"maxSurge": "150%"}))).is_empty());
    check(
        "",
        "Service",
        named(json!({"spec": {"internalTrafficPolicy": "Near", "ports": [{"port": 80}]}})),
        "spec.internalTrafficPolicy: Unsupported value: \"Near\": supported values: \"Cluster\", \
         \"Local\"",
    );
    check(
        "",
        "Secret",
        named(json!({"type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": "{"}})),
        "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": EOF while parsing \
         an object at line 1 column 1",
    );
    check(
        "",
        "ConfigMap",
        named(json!({"metadata": {"finalizers": ["mine"]}})),
        "metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name \
         nor is it fully qualified",
    );
    let slice = |address: &str| {
        named(json!({"addressType": "IPv4", "endpoints": [{"addresses": [address]}]}))
    };
    for (address, why) in [
        ("127.0.0.1", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        ("169.254.169.254", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        ("0.0.0.0", "may not be unspecified (0.0.0.0)"),
        ("224.0.0.1", "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ] {
        let expected = format!("endpoints[0].addresses[0]: Invalid value: \"{address}\": {why}");
        check("discovery.k8s.io", "EndpointSlice", slice(address), &expected);
    }
    check(
        "",
        "Node",
        json!({"metadata": {"name": "a"}, "spec": {"taints": [{"key": "a", "effect": "Away"}]}}),
        "spec.taints[0].effect: Unsupported value: \"Away\": supported values: \"NoSchedule\", \
         \"PreferNoSchedule\", \"NoExecute\"",
    );
}

#[test]
fn gates_are_opened_and_never_added() {
    let pods = registry::by_kind("", "Pod").unwrap();
    let mut old = pod(|pod| {
        pod["spec"]["schedulingGates"] = json!([{"name": "example.com/a"}, {"name": "b"}]);
        pod["spec"]["nodeSelector"] = json!({"disk": "fast"});
    });
    defaults::apply(pods, &mut old);
    let told = |change: &dyn Fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new["spec"]);
        update(pods, &old, &new).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let nothing = Vec::<String>::new();
    assert_eq!(told(&|spec| spec["schedulingGates"] = json!([{"name": "b"}])), nothing);
    assert_eq!(told(&|spec| spec["schedulingGates"] = json!([])), nothing);
    assert_eq!(told(&|spec| spec["nodeSelector"]["zone"] = json!("x")), nothing);
    assert_eq!(told(&|spec| spec["nodeSelector"] = json!({"zone": "x"})).len(), 1);
    assert_eq!(
        told(&|spec| spec["schedulingGates"] = json!([{"name": "c"}])),
        ["spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new \
          scheduling gate 'c'"]
    );
}

#[test]
fn only_the_first_of_many_mistakes_are_told() {
    let taints: Vec<Value> =
        (0..10_000).map(|_| json!({"key": "-", "effect": "x".repeat(10_000)})).collect();
    let found = errors("", "Node", json!({"metadata": {"name": "a"}, "spec": {"taints": taints}}));
    assert_eq!(found.len(), super::ERRORS_MAX);
    assert!(found.iter().all(|text| text.len() < 5_000));
}
