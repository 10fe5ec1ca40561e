//! Protobuf written with the types of another crate is read as the JSON it stands for.

use std::collections::BTreeMap;

use k8s_pb::api::{apps::v1 as apps, core::v1 as core};
use k8s_pb::apimachinery::pkg::api::resource::Quantity;
use k8s_pb::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_pb::apimachinery::pkg::runtime::{TypeMeta, Unknown};
use k8s_pb::apimachinery::pkg::util::intstr::IntOrString;
use prost::Message as _;
use serde_json::{Value, json};

use super::{DecodeProtobufError, MAGIC, decode};

fn body(api_version: &str, kind: &str, raw: Vec<u8>) -> Vec<u8> {
    let type_meta =
        TypeMeta { api_version: Some(api_version.to_owned()), kind: Some(kind.to_owned()) };
    let unknown = Unknown { type_meta: Some(type_meta), raw: Some(raw), ..Unknown::default() };
    [MAGIC.to_vec(), unknown.encode_to_vec()].concat()
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn metadata(name: &str) -> Option<meta::ObjectMeta> {
    Some(meta::ObjectMeta {
        name: text(name),
        // Go writes empty texts and the empty time too.
        generate_name: text(""),
        generation: Some(0),
        creation_timestamp: Some(meta::Time::default()),
        labels: BTreeMap::from([("app".to_owned(), name.to_owned())]),
        ..meta::ObjectMeta::default()
    })
}

#[test]
fn a_deployment_is_read_with_its_template() {
    let container = core::Container {
        name: text("web"),
        image: text("nginx:1"),
        command: vec!["sleep".to_owned(), "1".to_owned()],
        ports: vec![core::ContainerPort { container_port: Some(80), ..Default::default() }],
        resources: Some(core::ResourceRequirements {
            limits: BTreeMap::from([("cpu".to_owned(), Quantity { string: text("500m") })]),
            ..Default::default()
        }),
        liveness_probe: Some(core::Probe {
            handler: Some(core::ProbeHandler {
                http_get: Some(core::HttpGetAction {
                    port: Some(IntOrString {
                        r#type: Some(1),
                        str_val: text("http"),
                        int_val: None,
                    }),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            period_seconds: Some(0),
            ..Default::default()
        }),
        security_context: Some(core::SecurityContext {
            run_as_user: Some(0),
            ..Default::default()
        }),
        env: vec![core::EnvVar {
            name: text("A"),
            value_from: Some(core::EnvVarSource {
                config_map_key_ref: Some(core::ConfigMapKeySelector {
                    local_object_reference: Some(core::LocalObjectReference { name: text("c") }),
                    key: text("k"),
                    optional: Some(false),
                }),
                ..Default::default()
            }),
            ..Default::default()
        }],
        ..Default::default()
    };
    let volume = core::Volume {
        name: text("tmp"),
        volume_source: Some(core::VolumeSource {
            empty_dir: Some(core::EmptyDirVolumeSource::default()),
            ..Default::default()
        }),
    };
    let pod = core::PodSpec {
        containers: vec![container],
        volumes: vec![volume],
        automount_service_account_token: Some(false),
        host_network: Some(false),
        ..Default::default()
    };
    let deployment = apps::Deployment {
        metadata: metadata("web"),
        spec: Some(apps::DeploymentSpec {
            replicas: Some(0),
            selector: Some(meta::LabelSelector {
                match_labels: BTreeMap::from([("app".to_owned(), "web".to_owned())]),
                ..Default::default()
            }),
            template: Some(core::PodTemplateSpec { metadata: metadata("web"), spec: Some(pod) }),
            min_ready_seconds: Some(0),
            strategy: Some(apps::DeploymentStrategy {
                r#type: text(""),
                rolling_update: Some(apps::RollingUpdateDeployment {
                    max_surge: Some(IntOrString { int_val: Some(1), ..Default::default() }),
                    ..Default::default()
                }),
            }),
            ..Default::default()
        }),
        status: None,
    };
    assert_eq!(
        decode(&body("apps/v1", "Deployment", deployment.encode_to_vec())).unwrap(),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": "web"}},
                "strategy": {"rollingUpdate": {"maxSurge": 1}},
                "template": {
                    "metadata": {"name": "web", "labels": {"app": "web"}},
                    "spec": {
                        "automountServiceAccountToken": false,
                        "containers": [{
                            "name": "web", "image": "nginx:1", "command": ["sleep", "1"],
                            "env": [{"name": "A", "valueFrom": {"configMapKeyRef":
                                {"name": "c", "key": "k", "optional": false}}}],
                            "livenessProbe": {"httpGet": {"port": "http"}},
                            "ports": [{"containerPort": 80}],
                            "resources": {"limits": {"cpu": "500m"}},
                            "securityContext": {"runAsUser": 0},
                        }],
                        "volumes": [{"name": "tmp", "emptyDir": {}}],
                    },
                },
            },
        })
    );
}

#[test]
fn bytes_become_base64_and_times_text() {
    let secret = core::Secret {
        metadata: Some(meta::ObjectMeta {
            name: text("s"),
            deletion_timestamp: Some(meta::Time { seconds: Some(1_767_323_045), nanos: Some(0) }),
            ..Default::default()
        }),
        data: BTreeMap::from([("a".to_owned(), b"foo".to_vec())]),
        immutable: Some(false),
        ..Default::default()
    };
    assert_eq!(
        decode(&body("v1", "Secret", secret.encode_to_vec())).unwrap(),
        json!({
            "apiVersion": "v1", "kind": "Secret", "data": {"a": "Zm9v"}, "immutable": false,
            "metadata": {"name": "s", "deletionTimestamp": "2026-01-02T03:04:05Z"},
        })
    );
}

#[test]
fn lists_in_maps_are_messages_of_one_field() {
    use k8s_pb::api::authentication::v1 as authentication;
    let extra = authentication::ExtraValue { items: vec!["a".to_owned(), "b".to_owned()] };
    let user = authentication::UserInfo {
        username: text("me"),
        extra: BTreeMap::from([("scopes".to_owned(), extra)]),
        ..Default::default()
    };
    let review = authentication::TokenReview {
        status: Some(authentication::TokenReviewStatus { user: Some(user), ..Default::default() }),
        ..Default::default()
    };
    let body = body("authentication.k8s.io/v1", "TokenReview", review.encode_to_vec());
    assert_eq!(
        decode(&body).unwrap()["status"],
        json!({"user": {"username": "me", "extra": {"scopes": ["a", "b"]}}})
    );
}

#[test]
fn delete_options_are_read_in_any_group() {
    let options = meta::DeleteOptions {
        grace_period_seconds: Some(0),
        propagation_policy: text("Foreground"),
        ..Default::default()
    };
    let value = decode(&body("apps/v1", "DeleteOptions", options.encode_to_vec())).unwrap();
    assert_eq!(value["gracePeriodSeconds"], json!(0));
    assert_eq!(value["propagationPolicy"], json!("Foreground"));
}

#[test]
fn what_is_not_understood_is_refused() {
    assert_eq!(decode(b"{}"), Err(DecodeProtobufError::Magic));
    let kind = DecodeProtobufError::UnknownKind {
        api_version: "batch/v1alpha1".to_owned(),
        kind: "Job".to_owned(),
    };
    assert_eq!(decode(&body("batch/v1alpha1", "Job", Vec::new())), Err(kind));
    let whole = body(
        "v1",
        "Pod",
        core::Pod { metadata: metadata("a"), ..Default::default() }.encode_to_vec(),
    );
    for length in 0..whole.len() {
        // No prefix of a message makes the decoder panic.
        let _: Result<Value, DecodeProtobufError> = decode(&whole[..length]);
    }
    assert_eq!(decode(&whole[..whole.len() - 1]), Err(DecodeProtobufError::Truncated));
}
