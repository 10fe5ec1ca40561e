//! Service accounts, roles and tokens through real kubectl.
//!
//! Skips, with a reason, where there is no kubectl.

mod cluster;

use std::fs;

use cluster::{Master, kubectl_missing};

/// A kubeconfig of somebody who has this token and no certificate.
fn with_token(master: &Master, token: &str) -> String {
    let text = fs::read_to_string(master.kubeconfig()).expect("a kubeconfig");
    let (head, _) = text.split_once("    client-certificate-data").expect("a certificate");
    let (_, contexts) = text.split_once("contexts:").expect("contexts");
    let path = master.folder().join("token.kubeconfig");
    fs::write(&path, format!("{head}    token: {token}\ncontexts:{contexts}")).expect("written");
    path.to_str().expect("a path in UTF-8").to_owned()
}

#[test]
fn every_namespace_has_its_account_and_the_certificate_again_and_again() {
    if kubectl_missing() {
        return;
    }
    let master = Master::start();
    master.check("create namespace shop", "created");
    master.wait_for("get serviceaccounts -n shop", "default");
    let certificate = "get configmap kube-root-ca.crt -n shop -o jsonpath={.data}";
    master.wait_for(certificate, "BEGIN CERTIFICATE");
    master.check("delete serviceaccount default -n shop", "deleted");
    master.wait_for("get serviceaccounts -n shop", "default");
    let patch =
        r#"patch configmap kube-root-ca.crt -n shop --type=merge -p {"data":{"ca.crt":"evil"}}"#;
    master.check(patch, "patched");
    master.wait_for(certificate, "BEGIN CERTIFICATE");
    master.check("delete configmap kube-root-ca.crt -n shop", "deleted");
    master.wait_for(certificate, "BEGIN CERTIFICATE");
}

#[test]
fn pod_needs_an_account_that_is_there() {
    if kubectl_missing() {
        return;
    }
    let master = Master::start();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n\
               spec: {serviceAccountName: nobody, containers: [{name: c, image: i}]}\n";
    let path = master.folder().join("pod.yaml");
    fs::write(&path, pod).expect("a manifest");
    let path = path.to_str().expect("a path in UTF-8");
    master.refuse(
        &format!("create -f {path}"),
        "pods \"a\" is forbidden: error looking up service account default/nobody: \
         serviceaccount \"nobody\" not found",
    );
    master.check("create serviceaccount nobody", "created");
    master.check(&format!("create -f {path}"), "created");
}

#[test]
fn accounts_token_may_do_what_its_roles_allow() {
    if kubectl_missing() {
        return;
    }
    let master = Master::start();
    master.check("create namespace shop", "created");
    master.check("create serviceaccount seller -n shop", "created");
    let token = master.kubectl(&["create", "token", "seller", "-n", "shop"]).expect("a token");
    let who = format!("--kubeconfig {}", with_token(&master, token.trim()));

    master.check(&format!("auth whoami {who}"), "system:serviceaccount:shop:seller");
    master.check(&format!("auth whoami {who}"), "system:serviceaccounts:shop");
    master.check(&format!("api-resources {who}"), "deployments");
    master.refuse(
        &format!("get pods -n shop {who}"),
        "pods is forbidden: User \"system:serviceaccount:shop:seller\" cannot list resource \"pods\" \
         in API group \"\" in the namespace \"shop\"",
    );
    master.refuse(&format!("get --raw /metrics {who}"), "cannot get path \"/metrics\"");

    master.check("create role looks -n shop --verb=get,list --resource=pods", "created");
    let bind = "create rolebinding looks -n shop --role=looks --serviceaccount=shop:seller";
    master.check(bind, "created");
    master.wait_for(&format!("auth can-i list pods -n shop {who}"), "yes");
    master.check(&format!("get pods -n shop {who}"), "");
    master.check(&format!("auth can-i --list -n shop {who}"), "pods");
    master.refuse(&format!("get pods -n default {who}"), "in the namespace \"default\"");
    master.refuse(&format!("get pods -A {who}"), "at the cluster scope");
    master.refuse(&format!("get secrets -n shop {who}"), "forbidden");
    master.refuse(&format!("delete pod a -n shop {who}"), "cannot delete resource");

    // In another's name only who may do that.
    master.check("auth can-i list pods -n shop --as system:serviceaccount:shop:seller", "yes");
    master.refuse(&format!("get pods -n shop --as admin {who}"), "cannot impersonate resource");

    // Without its binding it may nothing any more, without its account it is nobody.
    master.check("delete rolebinding looks -n shop", "deleted");
    master.wait_for_refusal(&format!("get pods -n shop {who}"), "forbidden");
    master.check("delete serviceaccount seller -n shop", "deleted");
    master.refuse(&format!("get pods -n shop {who}"), "logged in");
}

#[test]
fn default_roles_are_there_and_aggregated() {
    if kubectl_missing() {
        return;
    }
    let master = Master::start();
    master.wait_for("get clusterrole cluster-admin", "cluster-admin");
    let admin = "get clusterrole admin -o jsonpath={.rules[*].resources}";
    master.wait_for(admin, "rolebindings");
    master.wait_for(admin, "deployments");
    master.check("create clusterrole more --verb=get --resource=leases", "created");
    master.check(
        "label clusterrole more rbac.authorization.k8s.io/aggregate-to-view=true",
        "labeled",
    );
    master.wait_for(admin, "leases");
    master.check("create rolebinding reader --clusterrole=view --user=eve", "created");
    master.wait_for("auth can-i get configmaps --as eve", "yes");
    master.wait_for_refusal("get secrets --as eve", "forbidden");
}

#[test]
fn person_gets_a_kubeconfig_of_his_own_and_gives_no_more_than_he_has() {
    if kubectl_missing() {
        return;
    }
    let master = Master::start();
    let file = master.folder().join("eve.kubeconfig");
    let file = file.to_str().expect("a path in UTF-8");
    let create = ["kubeconfig", "create", "eve", "--group", "sellers", "-o", file];
    master.client(&create).expect("a kubeconfig");
    let who = format!("--kubeconfig {file}");
    master.check(&format!("auth whoami {who}"), "eve");
    master.check(&format!("auth whoami {who}"), "sellers");
    master.refuse(&format!("get pods {who}"), "User \"eve\" cannot list resource \"pods\"");
    let said = master.client(&["auth", "can-i", "list", "pods", "--kubeconfig", file]);
    assert!(said.is_err(), "{said:?}");

    master.check("create rolebinding sellers --clusterrole=admin --group=sellers", "created");
    master.wait_for(&format!("auth can-i list pods {who}"), "yes");
    let said = master.client(&["auth", "can-i", "list", "pods", "--kubeconfig", file]);
    assert_eq!(said.as_deref(), Ok("yes\n"));
    master.wait_for(
        &format!("create rolebinding bob --clusterrole=edit --user=bob {who}"),
        "created",
    );
    master.refuse(
        &format!("create rolebinding eve --clusterrole=cluster-admin --user=eve {who}"),
        "is attempting to grant RBAC permissions not currently held",
    );
    master.refuse(
        &format!("create role more --verb=create --resource=nodes {who}"),
        "{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"create\"]}",
    );
    let masters = ["kubeconfig", "create", "eve", "--group", "system:masters"];
    let error = master.client(&masters).expect_err("nobody becomes an administrator so");
    assert!(error.contains("system:masters group is not allowed"), "{error}");
    // Its requests are gone.
    master.check("get csr -o name", "");
}

#[test]
fn audit_log_has_who_changed_what_and_who_was_refused() {
    if kubectl_missing() {
        return;
    }
    let master = Master::start();
    master.check("create namespace shop", "created");
    master.check("label namespace shop pod-security.kubernetes.io/audit=restricted", "labeled");
    master.check("run web --image=nginx -n shop", "created");
    master.refuse("get secrets -n shop --as eve", "forbidden");
    let text = master.kubectl(&["get", "--raw", "/bramble/v1/audit"]).expect("the log");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
    let found =
        |wanted: &dyn Fn(&serde_json::Value) -> bool| lines.iter().find(|line| wanted(line));
    let pod = found(&|line| line["verb"] == "create" && line["objectRef"]["resource"] == "pods");
    let pod = pod.unwrap_or_else(|| panic!("no pod in {text}"));
    assert_eq!(pod["user"]["username"], "bramble-admin");
    assert_eq!(pod["responseStatus"]["code"], 201);
    let violations = &pod["annotations"]["pod-security.kubernetes.io/audit-violations"];
    assert!(violations.to_string().contains("would violate PodSecurity"), "{pod}");
    let refused = found(&|line| line["impersonatedUser"]["username"] == "eve");
    let refused = refused.unwrap_or_else(|| panic!("no refusal in {text}"));
    assert_eq!(refused["responseStatus"]["code"], 403);
    assert_eq!(refused["annotations"]["authorization.k8s.io/decision"], "forbid");
    // What was read and answered leaves no line.
    assert!(
        found(&|line| line["verb"] == "list" && line["responseStatus"]["code"] == 200).is_none()
    );
}
