//! Every check of the standards, each with what passes and what is told of the rest.

use serde_json::{Value, json};

use super::{Level, Policies, Policy, significant, template, wrong_labels};

/// What `restricted` asks for at least.
fn hardened() -> Value {
    json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "c", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
    })
}

fn told(policy: Policy, change: Value) -> Option<String> {
    let mut spec = hardened();
    crate::patch::merge::apply(&mut spec, &change);
    policy.violations(&Value::Null, &spec)
}

#[track_caller]
fn check(level: Level, change: Value, expected: Option<&str>) {
    let policy = Policy::latest(level);
    let expected = expected.map(|text| format!("PodSecurity \"{policy}\": {text}"));
    assert_eq!(told(policy, change), expected);
}

/// The hardened container with more in it.
fn container(more: Value) -> Value {
    let mut spec = hardened();
    crate::patch::merge::apply(&mut spec["containers"][0], &more);
    json!({"containers": spec["containers"]})
}

fn security(more: Value) -> Value {
    container(json!({ "securityContext": more }))
}

/// Refused by both levels, for this reason.
#[track_caller]
fn both(change: Value, expected: &str) {
    check(Level::Privileged, change.clone(), None);
    check(Level::Baseline, change.clone(), Some(expected));
    check(Level::Restricted, change, Some(expected));
}

#[test]
fn hardened_pods_pass_everywhere() {
    for level in [Level::Privileged, Level::Baseline, Level::Restricted] {
        check(level, json!({}), None);
    }
}

#[test]
fn baseline_keeps_pods_apart_from_their_node() {
    both(json!({"hostNetwork": true}), "host namespaces (hostNetwork=true)");
    both(
        json!({"hostNetwork": true, "hostPID": true, "hostIPC": true}),
        "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
    );
    both(
        security(json!({"privileged": true})),
        "privileged (container \"c\" must not set securityContext.privileged=true)",
    );
    both(
        container(json!({"ports": [{"hostPort": 80}, {"hostPort": 90}, {"containerPort": 1}]})),
        "hostPort (container \"c\" uses hostPorts 80, 90)",
    );
    both(
        security(json!({"procMount": "Unmasked"})),
        "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")",
    );
    both(
        json!({"securityContext": {"seLinuxOptions": {"type": "spc_t", "user": "u", "role": "r"}}}),
        "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"spc_t\"; user may \
         not be set; role may not be set)",
    );
    both(
        json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax"},
            {"name": "net/ipv4/tcp_syncookies"}, {"name": "net.core.somaxconn"}]}}),
        "forbidden sysctls (kernel.msgmax, net.core.somaxconn)",
    );
    both(
        json!({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}),
        "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\")",
    );
    both(
        json!({"securityContext": {"windowsOptions": {"hostProcess": true}}}),
        "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
    );
    both(
        container(json!({"livenessProbe": {"httpGet": {"host": "10.0.0.1"}}})),
        "probe or lifecycle host (container \"c\" uses probe or lifecycle host \"10.0.0.1\")",
    );
}

#[test]
fn what_baseline_allows_is_allowed() {
    for change in [
        security(json!({"seLinuxOptions": {"type": "container_t", "level": "s0"}})),
        security(json!({"procMount": "Default", "privileged": false})),
        security(json!({"appArmorProfile": {"type": "Localhost"}})),
        container(json!({"ports": [{"containerPort": 80}], "livenessProbe": {"httpGet": {}}})),
        json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}}),
        json!({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "secret": {}}]}),
    ] {
        check(Level::Baseline, change.clone(), None);
        check(Level::Restricted, change, None);
    }
    check(Level::Baseline, security(json!({"capabilities": {"add": ["CHOWN"]}})), None);
    check(Level::Baseline, json!({"securityContext": {"runAsNonRoot": null}}), None);
}

#[test]
fn both_levels_have_rules_of_their_own_for_some_things() {
    let change = security(json!({"capabilities": {"add": ["SYS_ADMIN", "NET_RAW"]}}));
    let detail = "(container \"c\" must not include \"NET_RAW\", \"SYS_ADMIN\" in \
                  securityContext.capabilities.add)";
    check(Level::Baseline, change.clone(), Some(&format!("non-default capabilities {detail}")));
    check(Level::Restricted, change, Some(&format!("unrestricted capabilities {detail}")));

    let change = json!({"volumes": [{"name": "v", "hostPath": {}}, {"name": "w", "nfs": {}}]});
    check(Level::Baseline, change.clone(), Some("hostPath volumes (volume \"v\")"));
    check(
        Level::Restricted,
        change,
        Some(
            "restricted volume types (volumes \"v\", \"w\" use restricted volume types \"hostPath\", \
             \"nfs\")",
        ),
    );

    let change = json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}});
    let detail = "seccompProfile (pod must not set securityContext.seccompProfile.type to \
                  \"Unconfined\")";
    check(Level::Baseline, change.clone(), Some(detail));
    check(Level::Restricted, change, Some(detail));
}

#[test]
fn restricted_wants_it_said() {
    let restricted = |change, expected| {
        check(Level::Baseline, Value::clone(&change), None);
        check(Level::Restricted, change, Some(expected));
    };
    restricted(
        json!({"securityContext": null, "containers": [{"name": "nginx"}]}),
        "allowPrivilegeEscalation != false (container \"nginx\" must set \
         securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \
         \"nginx\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod \
         or container \"nginx\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or \
         container \"nginx\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \
         \"Localhost\")",
    );
    restricted(
        json!({"securityContext": {"runAsNonRoot": false}}),
        "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)",
    );
    restricted(
        security(json!({"runAsNonRoot": false})),
        "runAsNonRoot != true (container \"c\" must not set securityContext.runAsNonRoot=false)",
    );
    restricted(
        json!({"securityContext": {"runAsUser": 0}}),
        "runAsUser=0 (pod must not set runAsUser=0)",
    );
    // A container's own word counts more than the pod's.
    let own = json!({"runAsNonRoot": true, "seccompProfile": {"type": "Localhost"}});
    let mut change = security(own);
    change["securityContext"] = json!({"runAsNonRoot": false, "seccompProfile": null});
    check(Level::Restricted, change, None);
}

#[test]
fn init_and_ephemeral_containers_count_too() {
    let privileged = |name: &str| json!({"name": name, "securityContext": {"privileged": true}});
    check(
        Level::Baseline,
        json!({"initContainers": [privileged("i")], "ephemeralContainers": [privileged("e")]}),
        Some("privileged (containers \"i\", \"e\" must not set securityContext.privileged=true)"),
    );
}

#[test]
fn versions_say_which_checks_there_were() {
    let told = |label: &str, change: Value| {
        let namespace = json!({"metadata": {"labels": {
            "pod-security.kubernetes.io/enforce": "restricted",
            "pod-security.kubernetes.io/enforce-version": label}}});
        told(Policies::of_namespace(&namespace, Level::Privileged).enforce, change)
    };
    let root = json!({"securityContext": {"runAsUser": 0}});
    assert_eq!(told("v1.22", root.clone()), None);
    assert_eq!(
        told("v1.23", root.clone()).as_deref(),
        Some("PodSecurity \"restricted:v1.23\": runAsUser=0 (pod must not set runAsUser=0)")
    );
    assert!(told("latest", root.clone()).unwrap().starts_with("PodSecurity \"restricted:latest\""));
    assert!(told("v1.99", root).is_some());
    let sysctl = json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_wmem"}]}});
    assert!(told("v1.31", sysctl.clone()).is_some());
    assert_eq!(told("v1.32", sysctl), None);
    let host = container(json!({"readinessProbe": {"tcpSocket": {"host": "h"}}}));
    assert_eq!(told("v1.33", host.clone()), None);
    assert!(told("v1.34", host).is_some());
    let windows = json!({"os": {"name": "windows"}, "containers": [{"name": "c"}]});
    assert_eq!(told("latest", windows.clone()), None);
    assert!(told("v1.24", windows).is_some());
}

#[test]
fn labels_say_what_holds_and_the_default_what_holds_without() {
    let of = |labels: Value| {
        let namespace = json!({"metadata": {"labels": labels}});
        let policies = Policies::of_namespace(&namespace, Level::Baseline);
        (policies.enforce.to_string(), policies.warn.to_string())
    };
    let pair = |enforce: &str, warn: &str| (enforce.to_owned(), warn.to_owned());
    assert_eq!(of(json!({})), pair("baseline:latest", "privileged:latest"));
    assert_eq!(
        of(json!({"pod-security.kubernetes.io/enforce": "privileged",
            "pod-security.kubernetes.io/warn": "restricted",
            "pod-security.kubernetes.io/warn-version": "v1.30"})),
        pair("privileged:latest", "restricted:v1.30")
    );
    // What was stored before labels were checked must not open the door.
    assert_eq!(
        of(json!({"pod-security.kubernetes.io/enforce": "strict"})),
        pair("restricted:latest", "privileged:latest")
    );
    let namespace = json!({"metadata": {"labels": {
        "pod-security.kubernetes.io/enforce": "strict",
        "pod-security.kubernetes.io/warn-version": "1.30"}}});
    let told: Vec<String> = wrong_labels(&namespace).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be \
             one of privileged, baseline, restricted",
            "metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: \"1.30\": must \
             be \"latest\" or \"v1.x\"",
        ]
    );
}

#[test]
fn templates_are_found_and_only_other_images_matter_later() {
    let spec = json!({"containers": [{"name": "c", "image": "a"}]});
    let template_of = |object: Value| template(&object).map(|(_, spec)| spec.clone());
    let template = json!({"spec": spec});
    assert_eq!(template_of(json!({"spec": {"template": template}})), Some(spec.clone()));
    let job = json!({"spec": {"jobTemplate": {"spec": {"template": template}}}});
    assert_eq!(template_of(job), Some(spec.clone()));
    assert_eq!(template_of(json!({"spec": {}})), None);
    let old = json!({"spec": spec});
    let mut new = old.clone();
    new["metadata"] = json!({"labels": {"a": "b"}});
    assert!(!significant(&old, &new));
    new["spec"]["containers"][0]["image"] = json!("b");
    assert!(significant(&old, &new));
}
