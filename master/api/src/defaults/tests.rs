//! Defaults of every kind.

use serde_json::{Value, json};

use super::apply;
use crate::registry;

fn check(group: &str, kind: &str, mut object: Value, expected: Value) {
    let resource = registry::by_kind(group, kind).unwrap();
    apply(resource, &mut object);
    assert_eq!(object, expected);
    apply(resource, &mut object);
    assert_eq!(object, expected, "defaulting again has to change nothing");
}

#[test]
fn a_pod_gets_upstreams_defaults() {
    check(
        "",
        "Pod",
        json!({"spec": {
            "containers": [{"name": "a", "image": "nginx", "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "1"}},
                "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}],
            "volumes": [{"name": "c", "configMap": {"name": "c"}}, {"name": "e"}],
        }}),
        json!({"metadata": {}, "spec": {
            "containers": [{"name": "a", "image": "nginx", "imagePullPolicy": "Always",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
                "env": [{"name": "IP", "valueFrom": {"fieldRef":
                    {"apiVersion": "v1", "fieldPath": "status.podIP"}}}],
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File"}],
            "volumes": [{"name": "c", "configMap": {"name": "c", "defaultMode": 420}},
                {"name": "e", "emptyDir": {}}],
            "dnsPolicy": "ClusterFirst", "enableServiceLinks": true,
            "restartPolicy": "Always", "schedulerName": "default-scheduler",
            "securityContext": {}, "serviceAccount": "default", "serviceAccountName": "default",
            "terminationGracePeriodSeconds": 30,
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists",
                    "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists",
                    "effect": "NoExecute", "tolerationSeconds": 300},
            ],
        }}),
    );
}

#[test]
fn a_controlled_pod_leaves_an_unreachable_node_at_once_unless_the_user_says_otherwise() {
    let pods = registry::by_kind("", "Pod").unwrap();
    let seconds = |tolerations: Value| {
        let mut pod = json!({"metadata": {"ownerReferences": [{"controller": true}]},
            "spec": {"tolerations": tolerations}});
        apply(pods, &mut pod);
        let list = pod["spec"]["tolerations"].as_array().unwrap().clone();
        let unreachable =
            list.into_iter().find(|one| one["key"] == json!("node.kubernetes.io/unreachable"));
        unreachable.map(|one| one["tolerationSeconds"].clone())
    };
    assert_eq!(seconds(json!([])), Some(json!(0)));
    let own = json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute",
        "operator": "Exists", "tolerationSeconds": 60}]);
    assert_eq!(seconds(own), Some(json!(60)));
    assert_eq!(seconds(json!([{"operator": "Exists"}])), None);
}

#[test]
fn a_deployment_rolls_by_quarters() {
    check(
        "apps",
        "Deployment",
        json!({"spec": {}}),
        json!({"metadata": {}, "spec": {"replicas": 1, "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600, "strategy": {"type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}}}),
    );
}

#[test]
fn a_service_listens_where_its_pods_do() {
    check(
        "",
        "Service",
        json!({"spec": {"ports": [{"port": 80}]}}),
        json!({"metadata": {}, "spec": {"type": "ClusterIP", "sessionAffinity": "None",
            "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}]}}),
    );
}

#[test]
fn namespaces_and_secrets_get_theirs() {
    check(
        "",
        "Namespace",
        json!({"metadata": {"name": "a"}}),
        json!({"metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}},
            "spec": {"finalizers": ["kubernetes"]}}),
    );
    check(
        "",
        "Secret",
        json!({"stringData": {"a": "foo"}}),
        json!({"metadata": {}, "type": "Opaque", "data": {"a": "Zm9v"}}),
    );
}
