//! What is generated says what upstream says.

use super::*;

fn message(group: &str, version: &str, kind: &str, path: &[&str]) -> Message<'static> {
    let mut message = built_in().find(group, version, kind).unwrap();
    for name in path {
        let mut kind = message.field(name).unwrap().kind();
        while let Type::List(inner, _) | Type::Map(inner) = kind {
            kind = inner.kind();
        }
        let Type::Message(inner) = kind else { panic!("{name} is no message") };
        message = inner;
    }
    message
}

fn apply_rule(message: Message<'static>, field: &str) -> String {
    let Type::List(_, list) = message.field(field).unwrap().kind() else {
        panic!("{field} is no list")
    };
    match list {
        ListType::Map(keys) => keys.iter().collect::<Vec<_>>().join(","),
        ListType::Set => "set".to_owned(),
        ListType::Atomic => "atomic".to_owned(),
    }
}

#[test]
fn strategic_merge_and_apply_have_rules_of_their_own() {
    let check = |path: &[&str], field: &str, strategic: Merge<'_>, apply: &str| {
        let message = message("", "v1", "Pod", path);
        assert_eq!(message.field(field).unwrap().merge(), strategic, "{field}");
        assert_eq!(apply_rule(message, field), apply, "{field}");
    };
    let container = ["spec", "containers"];
    check(&container, "ports", Merge::ByKey("containerPort"), "containerPort,protocol");
    check(&["spec", "containers", "resources"], "claims", Merge::Replace, "name");
    check(&container, "args", Merge::Replace, "atomic");
    check(
        &["spec"],
        "topologySpreadConstraints",
        Merge::ByKey("topologyKey"),
        "topologyKey,whenUnsatisfiable",
    );
    check(&["spec"], "tolerations", Merge::Replace, "atomic");
    check(&["spec"], "imagePullSecrets", Merge::ByKey("name"), "name");
    check(&["metadata"], "finalizers", Merge::Values, "set");
    check(&["metadata"], "ownerReferences", Merge::ByKey("uid"), "uid");
}

#[test]
fn fields_of_embedded_messages_are_the_outer_ones() {
    let volume = message("", "v1", "Pod", &["spec", "volumes"]);
    let config_map = volume.field("configMap").unwrap();
    assert!(matches!(config_map.kind(), Type::Message(message)
        if message.name() == "ConfigMapVolumeSource"));
    assert!(volume.field("volumeSource").is_none());
    let Some(Wire::Embedded(source)) = volume.wires().find(2) else { panic!("not embedded") };
    assert!(matches!(source.find(19), Some(Wire::Field(field)) if field.name() == "configMap"));
    assert!(volume.field("name").unwrap().required());
    assert!(message("", "v1", "Pod", &["spec"]).field("volumes").unwrap().retains_keys());
}

#[test]
fn objects_that_apply_owns_as_a_whole_are_known() {
    assert!(message("", "v1", "Service", &["metadata"]).field("labels").is_some());
    let spec = message("", "v1", "Service", &["spec"]);
    assert!(matches!(spec.field("selector").unwrap().kind(), Type::AtomicMap(_)));
    assert!(message("apps", "v1", "Deployment", &["spec", "selector"]).atomic());
    assert!(!message("apps", "v1", "Deployment", &["spec", "template"]).atomic());
}

#[test]
fn pointers_and_required_fields_keep_their_zero() {
    let keeps = |path: &[&str], field: &str| {
        message("apps", "v1", "Deployment", path).field(field).unwrap().keeps_zero()
    };
    assert!(keeps(&["spec"], "replicas"));
    assert!(!keeps(&["spec"], "minReadySeconds"));
    assert!(keeps(&["spec", "template", "spec", "containers"], "name"));
    assert!(keeps(&["spec", "template", "spec", "containers", "securityContext"], "runAsUser"));
    assert!(!keeps(&["spec", "template", "spec"], "hostNetwork"));
    assert!(!keeps(&["metadata"], "generation"));
}

#[test]
fn upstreams_names_are_kept() {
    let probe = ["spec", "containers", "livenessProbe", "httpGet"];
    assert_eq!(
        format!("{:?}", message("", "v1", "Pod", &probe)),
        "io.k8s.api.core.v1.HTTPGetAction"
    );
    let options = ["spec", "securityContext", "seLinuxOptions"];
    assert_eq!(
        format!("{:?}", message("", "v1", "Pod", &options)),
        "io.k8s.api.core.v1.SELinuxOptions"
    );
    assert_eq!(message("autoscaling", "v2", "HorizontalPodAutoscaler", &[]).version(), "v2");
}

#[test]
fn every_stable_kind_is_there() {
    for (group, version, kind) in [
        ("", "v1", "PersistentVolumeClaim"),
        ("admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicy"),
        ("apps", "v1", "StatefulSet"),
        ("authentication.k8s.io", "v1", "TokenReview"),
        ("autoscaling", "v1", "Scale"),
        ("batch", "v1", "CronJob"),
        ("certificates.k8s.io", "v1", "CertificateSigningRequest"),
        ("events.k8s.io", "v1", "Event"),
        ("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema"),
        ("networking.k8s.io", "v1", "ServiceCIDR"),
        ("node.k8s.io", "v1", "RuntimeClass"),
        ("policy", "v1", "Eviction"),
        ("rbac.authorization.k8s.io", "v1", "ClusterRole"),
        ("resource.k8s.io", "v1", "ResourceSlice"),
        ("scheduling.k8s.io", "v1", "PriorityClass"),
        ("storage.k8s.io", "v1", "VolumeAttributesClass"),
        ("any.group", "v7", "DeleteOptions"),
    ] {
        assert!(built_in().find(group, version, kind).is_some(), "{group}/{version} {kind}");
    }
    assert!(built_in().find("apps", "v1beta1", "Deployment").is_none());
}

#[test]
fn every_message_and_almost_every_field_is_described() {
    let (mut fields, mut silent) = (0, Vec::new());
    let mut package = ("", Descriptions::default());
    for number in 0.. {
        let Some(message) = built_in().message(number) else { break };
        if package.0 != message.package() {
            package = (message.package(), built_in().descriptions(message.package()));
        }
        let descriptions = &package.1;
        let names: Vec<&str> = message.fields().map(Field::name).collect();
        assert!(names.is_sorted(), "{message:?}");
        for (place, name) in names.into_iter().enumerate() {
            fields += 1;
            if descriptions.field(message, place).is_empty() {
                silent.push(format!("{message:?}.{name}"));
            }
        }
        assert!(!descriptions.message(message).is_empty(), "{message:?}");
    }
    assert!(fields > 1_500, "{fields}");
    // The language of schemas is described elsewhere.
    silent.retain(|field| !field.contains(".JSONSchemaProps"));
    assert!(silent.len() < 30, "{silent:?}");
    let pod = message("", "v1", "Pod", &[]);
    let descriptions = built_in().descriptions(pod.package());
    assert!(descriptions.message(pod).starts_with("Pod is a collection of containers"));
    let place = pod.fields().position(|field| field.name() == "spec").unwrap();
    assert!(descriptions.field(pod, place).starts_with("Specification of the desired behavior"));
}
