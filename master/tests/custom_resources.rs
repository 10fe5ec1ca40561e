//! What a user does with kinds of their own, with real kubectl against a real master.
//!
//! Skips, with a reason, where there is no kubectl.

mod cluster;

use cluster::{Master, kubectl_missing};

const DEFINITION: &str = include_str!("../../examples/sprinklers.yaml");

fn sprinkler(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: garden.example.com/v1\nkind: Sprinkler\nmetadata: {{name: {name}}}\n\
         spec: {{{spec}}}\n"
    )
}

/// A master that knows sprinklers.
fn gardener() -> Master {
    let master = Master::start();
    let applied = master.apply(DEFINITION);
    assert!(applied.contains("sprinklers.garden.example.com created"), "{applied}");
    master.check("wait --for=condition=Established crd/sprinklers.garden.example.com", "met");
    master
}

#[test]
fn a_kind_of_ones_own_is_used_like_any_other() {
    if kubectl_missing() {
        return;
    }
    let master = gardener();
    master.check("api-resources --api-group=garden.example.com", "spr");
    master.check("get crd", "sprinklers.garden.example.com");

    assert!(master.apply(&sprinkler("roses", "bed: roses")).contains("created"));
    assert!(master.apply(&sprinkler("lawn", "bed: lawn, minutes: 45")).contains("created"));
    master.check("get spr", "BED     MINUTES   WET   AGE");
    master.check("get sprinklers.v1.garden.example.com lawn", "lawn   lawn   45");
    master.check("get garden -A", "roses");
    master.check("get spr roses -o jsonpath={.spec.minutes}/{.metadata.generation}", "10/1");
    master.check(
        "get spr --field-selector spec.bed=lawn -o name",
        "sprinkler.garden.example.com/lawn",
    );
    assert!(master.apply(&sprinkler("roses", "bed: roses")).contains("unchanged"));
    assert!(master.apply(&sprinkler("roses", "bed: roses, minutes: 5")).contains("configured"));
    master.check("get spr roses -o jsonpath={.spec.minutes}/{.metadata.generation}", "5/2");

    // Changes of all kinds, of the object, its status and its scale.
    master.check("label spr roses colour=red", "labeled");
    master.check(r#"patch spr roses --type=merge -p {"spec":{"pressure":"low"}}"#, "patched");
    let bed = r#"[{"op":"replace","path":"/spec/bed","value":"tulips"}]"#;
    let patch_bed = format!("patch spr roses --type=json -p {bed}");
    master.refuse(&patch_bed, "a sprinkler that is open stays in its bed");
    master.check("scale spr roses --replicas=0", "scaled");
    master.check(&patch_bed, "patched");
    master.refuse(
        r#"patch spr roses --type=strategic -p {"spec":{"pressure":3}}"#,
        "application/apply-patch+yaml",
    );
    let wet = r#"{"status":{"conditions":[{"type":"Wet","status":"True"}]}}"#;
    master.check(&format!("patch spr roses --subresource=status --type=merge -p {wet}"), "patched");
    master.check("get spr roses", "tulips   5         True");
    master.check("scale spr roses --replicas=3", "scaled");
    master.check("get spr roses -o jsonpath={.spec.nozzles}", "3");
    master.check("describe spr roses", "Sprinkler");

    // Mistakes are told in upstream's words.
    let refused = |spec: &str, wanted: &str| {
        let file = master.folder().join("bad.yaml");
        std::fs::write(&file, sprinkler("bad", spec)).unwrap();
        master.refuse(&format!("create -f {}", file.display()), wanted);
    };
    refused("minutes: 5", "spec.bed: Required value");
    refused(
        "bed: x, minutes: 500",
        "spec.minutes: Invalid value: 500: spec.minutes in body should be less than or equal to 120",
    );
    refused("bed: x, minuts: 5", "unknown field \"spec.minuts\"");
    refused("bed: x, minutes: 100, nozzles: 3", "the well does not have that much water");
    refused("bed: 5", "spec.bed in body must be of type string: \"integer\"");

    // Explained from what is published.
    master.check("explain sprinkler", "Sprinkler waters a bed of the garden.");
    master.check("explain spr.spec", "minutes\t<integer>");
    master.check("explain spr.spec.bed", "Name of the bed.");
    master.check("explain spr.metadata", "creationTimestamp");

    // Applied on the server, by two managers.
    let file = master.folder().join("applied.yaml");
    std::fs::write(&file, sprinkler("herbs", "bed: herbs, minutes: 7")).unwrap();
    let apply = format!("apply --server-side -f {}", file.display());
    master.check(&format!("{apply} --field-manager=one"), "serverside-applied");
    std::fs::write(&file, sprinkler("herbs", "bed: herbs, minutes: 8")).unwrap();
    master.refuse(&format!("{apply} --field-manager=two"), "conflict with \"one\"");

    // Counted, and gone with its namespace.
    master.check("create namespace beds", "created");
    master
        .check("create quota few --hard=count/sprinklers.garden.example.com=1 -n beds", "created");
    master.wait_for("get quota few -n beds -o jsonpath={.status.used}", ":\"0\"");
    let file = master.folder().join("counted.yaml");
    std::fs::write(&file, sprinkler("one", "bed: one")).unwrap();
    master.check(&format!("create -n beds -f {}", file.display()), "created");
    std::fs::write(&file, sprinkler("two", "bed: two")).unwrap();
    master.refuse(&format!("create -n beds -f {}", file.display()), "exceeded quota: few");
    master.check("delete namespace beds --timeout=60s", "deleted");
    master.refuse("get spr one -n beds", "NotFound");

    // With its definition goes all of it.
    master.check("delete crd sprinklers.garden.example.com --timeout=60s", "deleted");
    master.refuse("get sprinklers", "could not find the requested resource");
    assert!(master.apply(DEFINITION).contains("created"));
    master.check("wait --for=condition=Established crd/sprinklers.garden.example.com", "met");
    master.check("get spr -A -o jsonpath={.items}", "[]");
}

#[test]
fn definitions_and_their_objects_outlive_a_crash() {
    if kubectl_missing() {
        return;
    }
    let mut master = gardener();
    master.apply(&sprinkler("roses", "bed: roses"));
    master.crash_and_restart();
    master.check("get spr", "roses");
    // An owner's end is that of what it owns, of whatever kind.
    master.check("create configmap owner", "created");
    let uid = master.kubectl(&["get", "configmap", "owner", "-o", "jsonpath={.metadata.uid}"]);
    let owner = format!(
        r#"{{"metadata":{{"ownerReferences":[{{"apiVersion":"v1","kind":"ConfigMap","name":"owner","uid":"{}"}}]}}}}"#,
        uid.unwrap()
    );
    master.check(&format!("patch spr roses --type=merge -p {owner}"), "patched");
    master.check("delete configmap owner", "deleted");
    master.wait_for_refusal("get spr roses", "NotFound");
}

#[test]
fn bad_definitions_are_refused() {
    if kubectl_missing() {
        return;
    }
    let master = Master::start();
    let refused = |from: &str, to: &str, wanted: &str| {
        let file = master.folder().join("bad.yaml");
        std::fs::write(&file, DEFINITION.replace(from, to)).unwrap();
        master.refuse(&format!("create -f {}", file.display()), wanted);
    };
    refused("plural: sprinklers", "plural: others", "must be spec.names.plural+\".\"+spec.group");
    refused("scope: Namespaced", "scope: Everywhere", "spec.scope: Unsupported value");
    refused("storage: true", "storage: false", "exactly one version marked as storage version");
    refused(
        "x-kubernetes-int-or-string: true",
        "pattern: '('",
        "properties[pressure].type: Required value: must not be empty for specified object fields",
    );
}
