//! One good object of each resource goes the whole way.

use serde_json::{Value, json};

use super::*;
use crate::decode::{self, FieldValidation};
use crate::{defaults, strategy, validate};

/// What is in a good object besides its metadata.
fn example(resource: &Resource) -> Value {
    let template = json!({"metadata": {"labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let ending = json!({"metadata": {"labels": {"app": "a"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let selector = json!({"matchLabels": {"app": "a"}});
    let storage = json!({"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}});
    let role = json!({"kind": "ClusterRole", "name": "r"});
    let webhook = json!({"webhooks": [{"name": "a.example.com", "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "clientConfig": {"url": "https://a"},
        "rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"],
            "resources": ["*"]}]}]});
    let constraints = json!({"resourceRules": [{"operations": ["*"], "apiGroups": ["*"],
        "apiVersions": ["*"], "resources": ["*"]}]});
    match &*resource.kind {
        "Pod" => json!({"spec": template["spec"]}),
        "PodTemplate" => json!({"template": template}),
        "ReplicationController" => json!({"spec": {"template": template}}),
        "Deployment" | "ReplicaSet" | "DaemonSet" => {
            json!({"spec": {"selector": selector, "template": template}})
        }
        "StatefulSet" => json!({"spec": {"selector": selector, "template": template,
            "serviceName": "s",
            "volumeClaimTemplates": [{"metadata": {"name": "v"}, "spec": storage}]}}),
        "APIService" => json!({"spec": {
            "group": "example.com", "version": "v1", "groupPriorityMinimum": 1000,
            "versionPriority": 10, "service": {"namespace": "a", "name": "b"},
            "insecureSkipTLSVerify": true}}),
        "ControllerRevision" => json!({"data": {"a": 1}, "revision": 1}),
        "Job" => json!({"spec": {"template": ending}}),
        "CronJob" => {
            json!({"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": ending}}}})
        }
        "PersistentVolumeClaim" => json!({"spec": storage}),
        "PersistentVolume" => json!({"spec": {"accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/a"}}}),
        "ResourceQuota" => json!({"spec": {"hard": {"pods": "1"}}}),
        "LimitRange" => {
            json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}})
        }
        "Endpoints" => {
            json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]})
        }
        "EndpointSlice" => json!({"addressType": "IPv4", "endpoints": []}),
        "Service" => json!({"spec": {"ports": [{"port": 80}]}}),
        "Event" if resource.group.is_empty() => {
            json!({"involvedObject": {"kind": "Pod", "name": "a", "namespace": "n"}})
        }
        "Event" => json!({"regarding": {"kind": "Pod", "name": "a", "namespace": "n"},
            "reportingController": "c", "reportingInstance": "i", "action": "a", "reason": "r",
            "eventTime": "2026-01-01T00:00:00.000000Z"}),
        "HorizontalPodAutoscaler" => json!({"spec": {"maxReplicas": 2,
            "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}}}),
        "PodDisruptionBudget" => json!({"spec": {"minAvailable": "50%", "selector": selector}}),
        "Role" | "ClusterRole" => {
            json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]})
        }
        "RoleBinding" | "ClusterRoleBinding" => {
            json!({"roleRef": role, "subjects": [{"kind": "User", "name": "u"}]})
        }
        "Ingress" => json!({"spec": {"rules": [{"host": "a.b", "http": {"paths": [
            {"path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}}),
        "IngressClass" => json!({"spec": {"controller": "a.b/c"}}),
        "NetworkPolicy" => json!({"spec": {"podSelector": {},
            "ingress": [{"ports": [{"port": 80}], "from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}],
            "egress": [{}]}}),
        "ServiceCIDR" => json!({"spec": {"cidrs": ["10.0.0.0/8"]}}),
        "IPAddress" => json!({"spec": {"parentRef":
            {"resource": "services", "name": "s", "namespace": "n"}}}),
        "StorageClass" => json!({"provisioner": "a.b/c"}),
        "VolumeAttachment" => json!({"spec": {"attacher": "a", "nodeName": "n",
            "source": {"persistentVolumeName": "v"}}}),
        "CSIDriver" | "Namespace" | "Node" => json!({"spec": {}}),
        "CSINode" => json!({"spec": {"drivers": [{"name": "a", "nodeID": "b"}]}}),
        "CustomResourceDefinition" => json!({"spec": {"group": "example.com", "scope": "Cluster",
            "names": {"plural": "foos", "kind": "Foo"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "a": {"type": "object", "additionalProperties": {"type": "string"}},
                    "b": {"type": "array", "items": {"type": "string", "default": "x"}}}}}}]}}),
        "CSIStorageCapacity" => json!({"storageClassName": "a"}),
        "VolumeAttributesClass" => json!({"driverName": "a", "parameters": {"a": "b"}}),
        "PriorityClass" => json!({"value": 7}),
        "RuntimeClass" => json!({"handler": "h"}),
        "CertificateSigningRequest" => json!({"spec": {"request": "YQ==", "signerName": "a.b/c",
            "usages": ["client auth"]}}),
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => webhook,
        "ValidatingAdmissionPolicy" => json!({"spec": {"matchConstraints": constraints,
            "validations": [{"expression": "true"}]}}),
        "MutatingAdmissionPolicy" => json!({"spec": {"matchConstraints": constraints,
            "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}]}}),
        "ValidatingAdmissionPolicyBinding" => {
            json!({"spec": {"policyName": "p", "validationActions": ["Deny"],
                "matchResources": constraints}})
        }
        "MutatingAdmissionPolicyBinding" => json!({"spec": {"policyName": "p"}}),
        "FlowSchema" => json!({"spec": {"priorityLevelConfiguration": {"name": "p"}}}),
        "PriorityLevelConfiguration" => json!({"spec": {"type": "Limited",
            "limited": {"limitResponse": {"type": "Queue"}}}}),
        "DeviceClass" => json!({"spec": {}}),
        "ResourceClaim" => json!({"spec": {"devices": {"requests":
            [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}}),
        "ResourceClaimTemplate" => json!({"spec": {"spec": {"devices": {"requests":
            [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}}}),
        "ResourceSlice" => json!({"spec": {"driver": "d", "nodeName": "n",
            "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}}}),
        _ => json!({}),
    }
}

fn created(resource: &Resource) -> Value {
    let mut object = example(resource);
    let name = match &*resource.kind {
        "IPAddress" => "10.0.0.1",
        "CustomResourceDefinition" => "foos.example.com",
        "APIService" => "v1.example.com",
        _ => "a",
    };
    object["metadata"] = json!({"name": name});
    if resource.namespaced {
        object["metadata"]["namespace"] = "n".into();
    }
    let decoded = decode::check(resource, object, FieldValidation::Strict);
    let mut object = decoded.unwrap_or_else(|status| panic!("{}", status.message)).object;
    strategy::prepare_create(resource, &mut object);
    object["metadata"]["uid"] = "u".into();
    defaults::apply(resource, &mut object);
    strategy::named(resource, &mut object);
    object
}

#[test]
fn a_good_object_of_each_resource_is_created_updated_and_printed() {
    for resource in all() {
        let object = created(resource);
        let errors: Vec<String> =
            validate::create(resource, &object).iter().map(ToString::to_string).collect();
        assert_eq!(errors, Vec::<String>::new(), "{}", resource.group_resource());
        // What was filled in has to be fields of the kind, and nothing is filled in twice.
        let decoded = decode::check(resource, object.clone(), FieldValidation::Strict);
        let again = decoded.unwrap_or_else(|status| panic!("{}", status.message)).object;
        assert_eq!(again, object, "{}", resource.group_resource());
        let mut again = object.clone();
        defaults::apply(resource, &mut again);
        assert_eq!(again, object, "{}", resource.group_resource());
        assert!(validate::update(resource, &object, &again).is_empty(), "{}", resource.kind);
        let cells = resource.cells(&object, 0);
        assert_eq!(cells.len(), resource.columns().len(), "{}", resource.kind);
        for (cell, column) in cells.iter().zip(resource.columns()) {
            let fits = match column["type"].as_str().unwrap() {
                "integer" => cell.is_i64() || cell.is_u64(),
                "boolean" => cell.is_boolean(),
                _ => cell.is_string(),
            };
            assert!(fits, "{} of {} is {cell}", column["name"], resource.kind);
        }
    }
}

#[test]
fn kept_and_served_forms_lead_to_each_other() {
    for resource in all() {
        if !resource.converted() {
            continue;
        }
        let kept =
            all().iter().find(|kept| !kept.converted() && kept.prefix() == resource.prefix());
        let kept = kept.unwrap_or_else(|| panic!("nobody keeps {}", resource.group_resource()));
        let object = created(resource);
        let mut other = object.clone();
        resource.write(&mut other);
        assert_eq!(other["apiVersion"], kept.api_version());
        let decoded = decode::check(kept, other.clone(), FieldValidation::Strict);
        assert!(decoded.is_ok(), "{}: {other}", resource.kind);
        resource.read(&mut other);
        assert_eq!(other, object, "{}", resource.kind);
    }
}

#[test]
fn no_group_is_kept_where_something_else_is() {
    for resource in all() {
        // `core` stands for the group without a name, `bramble` for what is no object.
        assert!(!["core", "bramble"].contains(&&*resource.group));
        let same =
            all().iter().filter(|other| other.prefix() == resource.prefix() && !other.converted());
        assert_eq!(same.count(), 1, "{}", resource.prefix());
    }
}

#[test]
fn every_resource_has_a_schema_and_is_found() {
    for resource in all() {
        assert!(resource.schema().is_some(), "{}", resource.kind);
        let found = find(&resource.group, &resource.version, &resource.plural).unwrap();
        assert_eq!(found.kind, resource.kind);
        assert_eq!(by_kind(&resource.group, &resource.kind).unwrap().plural, resource.plural);
    }
}

#[test]
fn rows_have_as_many_cells_as_columns() {
    for resource in all() {
        let cells = resource.cells(&json!({}), 0);
        assert_eq!(cells.len(), resource.columns().len(), "{}", resource.kind);
    }
}

#[test]
fn keys_hold_group_resource_namespace_and_name() {
    let pods = find("", "v1", "pods").unwrap();
    assert_eq!(pods.key("default", "web"), "/core/pods/default/web");
    assert_eq!(pods.prefix(), "/core/pods/");
    let nodes = find("", "v1", "nodes").unwrap();
    assert_eq!(nodes.key("", "pi-1"), "/core/nodes/_/pi-1");
    let deployments = find("apps", "v1", "deployments").unwrap();
    assert_eq!(deployments.namespace_prefix("a"), "/apps/deployments/a/");
    assert_eq!(deployments.group_resource(), "deployments.apps");
}
