//! What users get wrong is told in upstream's words.

use serde_json::{Value, json};

use super::{create, update};
use crate::{defaults, registry};

fn errors(group: &str, kind: &str, mut object: Value) -> Vec<String> {
    let resource = registry::by_kind(group, kind).unwrap();
    defaults::apply(resource, &mut object);
    create(resource, &object).iter().map(ToString::to_string).collect()
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
