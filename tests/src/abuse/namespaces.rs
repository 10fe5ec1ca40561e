//! What an administrator may do to the objects that the master itself needs.

use anyhow::{Context, Result, ensure};

use super::{Attack, Stage};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "namespaces/system-namespaces",
        must: "default, kube-system and kube-public cannot be deleted, and the master starts",
        core: false,
        restarts_master: true,
        run: system_namespaces,
    },
    Attack {
        name: "namespaces/bootstrap-objects",
        must: "whatever happened to its own objects, the master starts",
        core: false,
        restarts_master: true,
        run: bootstrap_objects,
    },
];

fn system_namespaces(stage: &mut Stage) -> Result<String> {
    let mut deleted = Vec::new();
    for name in ["default", "kube-system", "kube-public"] {
        let answer = stage.kubectl().output(&["delete", "namespace", name, "--wait=false"])?;
        let said = String::from_utf8_lossy(&answer.stderr).into_owned();
        if answer.status.success() {
            deleted.push(name);
        } else {
            ensure!(said.contains("orbidden") || said.contains("not found"), "{name}: {said}");
        }
    }
    stage.restart_master().context("the master does not start again")?;
    ensure!(deleted.is_empty(), "{} could be deleted", deleted.join(", "));
    Ok(String::new())
}

fn bootstrap_objects(stage: &mut Stage) -> Result<String> {
    let kubectl = stage.kubectl();
    // Each may be refused, or answered in any other way.
    for args in [
        &["delete", "namespace", "kube-node-lease", "--wait=false"][..],
        &["delete", "service", "kubernetes", "--wait=false"],
        &["delete", "endpointslices", "--all", "--wait=false"],
        &["label", "namespace", "default", "kubernetes.io/metadata.name=other", "--overwrite"],
        &["annotate", "service", "kubernetes", "a=b"],
        &["create", "service", "clusterip", "taker", "--clusterip=10.43.0.1", "--tcp=80"],
        &["create", "service", "externalname", "kubernetes", "--external-name=example.com"],
        &["delete", "leases", "--all", "-n", "kube-node-lease", "--wait=false"],
    ] {
        kubectl.output(args)?;
    }
    stage.restart_master().context("the master does not start again")?;
    stage.restart_master().context("the master does not start a second time")?;
    for name in ["taker", "kubernetes"] {
        stage.kubectl().output(&["delete", "service", name, "--wait=false"])?;
    }
    stage.restart_master().context("the master does not start a third time")?;
    stage
        .kubectl()
        .run(&["get", "service", "kubernetes"])
        .context("its own Service is not back")?;
    Ok(String::new())
}
