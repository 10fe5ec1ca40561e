//! Requests that an administrator may send, made as heavy as the bounds of a request allow.

use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};

use super::stage::NAMESPACE;
use super::{Attack, Stage};
use crate::place::connect_from;
use crate::state::{items, text};
use crate::wait::now;

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "requests/large-config-maps",
        must: "60 parallel ConfigMaps of 2.9 MB with 220,000 keys starve no heartbeat",
        core: false,
        restarts_master: false,
        run: large_config_maps,
    },
    Attack {
        name: "requests/many-containers",
        must: "2,000 containers in one pod, eight times, starve nobody",
        core: true,
        restarts_master: false,
        run: many_containers,
    },
    Attack {
        name: "requests/many-finalizers",
        must: "10,000 finalizers starve nobody",
        core: false,
        restarts_master: false,
        run: many_finalizers,
    },
    Attack {
        name: "requests/yaml-aliases",
        must: "200,000 aliases of 1 MB are refused while they are read",
        core: true,
        restarts_master: false,
        run: yaml_aliases,
    },
    Attack {
        name: "requests/deep",
        must: "a hundred thousand levels are refused",
        core: true,
        restarts_master: false,
        run: deep,
    },
    Attack {
        name: "requests/endless-watch",
        must: "the largest numbers in a query end no process",
        core: false,
        restarts_master: false,
        run: endless_watch,
    },
    Attack {
        name: "requests/numbers",
        must: "numbers that do not fit are refused: no -1 and no 2^32 becomes root",
        core: true,
        restarts_master: false,
        run: numbers,
    },
    Attack {
        name: "requests/grace-periods",
        must: "the longest grace periods neither kill at once nor make an object immortal",
        core: false,
        restarts_master: false,
        run: grace_periods,
    },
    Attack {
        name: "requests/pod-specs",
        must: "what a pod must not have is refused with a reason",
        core: false,
        restarts_master: false,
        run: pod_specs,
    },
];

const CONFIG_MAPS: &str = "/api/v1/namespaces/abuse/configmaps";
const PODS: &str = "/api/v1/namespaces/abuse/pods";
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";

fn large_config_maps(stage: &mut Stage) -> Result<String> {
    let data: serde_json::Map<String, Value> =
        (0..220_000).map(|key| (format!("k{key:06}"), json!(""))).collect();
    let count = stage.count(12, 60);
    let bodies: Vec<Vec<u8>> = (0..count)
        .map(|number| {
            let metadata = json!({"name": format!("large-{number}"), "namespace": NAMESPACE});
            serde_json::to_vec(&json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data,
            }))
        })
        .collect::<Result<_, _>>()?;
    let posts: Vec<Post<'_>> =
        bodies.iter().map(|body| ("POST", CONFIG_MAPS, JSON, &body[..])).collect();
    let answers = at_once(stage, &posts)?;
    // What was stored is mallory's to keep; the memory that it took is to come back with it.
    let mut connection = stage.mallory_connected()?;
    for number in 0..count {
        connection.request("DELETE", &format!("{CONFIG_MAPS}/large-{number}"), None)?;
    }
    Ok(answers)
}

fn many_containers(stage: &mut Stage) -> Result<String> {
    let containers: Vec<Value> = (0..2_000)
        .map(|n| json!({"name": format!("c{n}"), "image": "registry.local/hello:1"}))
        .collect();
    let bodies: Vec<Vec<u8>> = (0..stage.count(2, 8))
        .map(|number| {
            let selector = json!({"no": "node"});
            serde_json::to_vec(&json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("many-{number}"), "namespace": NAMESPACE},
                "spec": {"containers": containers, "nodeSelector": selector},
            }))
        })
        .collect::<Result<_, _>>()?;
    let posts: Vec<Post<'_>> = bodies.iter().map(|body| ("POST", PODS, JSON, &body[..])).collect();
    at_once(stage, &posts)
}

fn many_finalizers(stage: &mut Stage) -> Result<String> {
    let finalizers: Vec<String> = (0..10_000).map(|n| format!("example.com/f{n}")).collect();
    let body = |name: &str| {
        serde_json::to_vec(&json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": NAMESPACE, "finalizers": finalizers},
        }))
    };
    let bodies: Vec<Vec<u8>> =
        (0..4).map(|n| body(&format!("held-{n}"))).collect::<Result<_, _>>()?;
    let posts: Vec<Post<'_>> =
        bodies.iter().map(|body| ("POST", CONFIG_MAPS, JSON, &body[..])).collect();
    let answers = at_once(stage, &posts)?;
    let mut connection = stage.mallory_connected()?;
    for n in 0..4 {
        let path = format!("{CONFIG_MAPS}/held-{n}");
        let nothing = br#"{"metadata":{"finalizers":null}}"#;
        let merge = "application/merge-patch+json";
        connection.request_as("PATCH", &path, Some((merge, nothing)))?;
    }
    Ok(answers)
}

fn yaml_aliases(stage: &mut Stage) -> Result<String> {
    let mut body = String::from("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: aliases}\n");
    writeln!(body, "immutable: &a {}", "x".repeat(1 << 20))?;
    body += "data:\n";
    for key in 0..150_000 {
        writeln!(body, " k{key}: *a")?;
    }
    body.truncate(3_000_000);
    refused(stage, &[("POST", CONFIG_MAPS, YAML, body.as_bytes())])
}

fn deep(stage: &mut Stage) -> Result<String> {
    let object = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"deep"},"data":"#;
    let arrays = format!("{object}{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let maps = format!("{object}{}1{}}}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    let mut blocks =
        String::from("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: deep}\ndata:\n");
    for level in 1..2_000 {
        writeln!(blocks, "{}a:", " ".repeat(level))?;
    }
    let compact = format!("data:\n  {}a\n", "- ".repeat(1_000_000));
    let posts = [
        ("POST", CONFIG_MAPS, YAML, compact.as_bytes()),
        ("POST", CONFIG_MAPS, JSON, arrays.as_bytes()),
        ("POST", CONFIG_MAPS, JSON, maps.as_bytes()),
        ("POST", CONFIG_MAPS, YAML, arrays.as_bytes()),
        ("POST", CONFIG_MAPS, YAML, maps.as_bytes()),
        ("POST", CONFIG_MAPS, YAML, blocks.as_bytes()),
    ];
    refused(stage, &posts)
}

fn endless_watch(stage: &mut Stage) -> Result<String> {
    let largest = i64::MAX.to_string();
    for number in [&largest, "18446744073709551615", "-1", "99999999999999999999999", "1e309"] {
        for query in [
            format!("watch=1&timeoutSeconds={number}"),
            format!("limit={number}"),
            format!("resourceVersion={number}"),
            format!("watch=1&timeoutSeconds=1&resourceVersion={number}"),
        ] {
            let api = stage.mallory()?.with_timeout(Duration::from_millis(500));
            let mut connection = stage.connect(&api)?;
            // A watch may well go on: what matters is that the next connection is served.
            let _ = connection.request("GET", &format!("{CONFIG_MAPS}?{query}"), None);
        }
    }
    stage.mallory_connected()?.get(CONFIG_MAPS)?;
    Ok(String::new())
}

fn numbers(stage: &mut Stage) -> Result<String> {
    let mut connection = stage.mallory_connected()?;
    for number in [json!(-1), json!(4_294_967_296_i64), json!(i64::MAX), json!(i64::MIN)] {
        for spec in [
            json!({"securityContext": {"runAsUser": number}}),
            json!({"securityContext": {"runAsGroup": number}}),
            json!({"securityContext": {"fsGroup": number}}),
            json!({"securityContext": {"supplementalGroups": [number]}}),
            json!({"activeDeadlineSeconds": number}),
            json!({"containers": [container(&json!({"securityContext": {"runAsUser": number}}))]}),
            json!({"containers": [container(&json!({"securityContext": {"runAsGroup": number}}))]}),
            json!({"containers": [container(&json!({"ports": [{"containerPort": number}]}))]}),
        ] {
            let body = pod("number", &spec)?;
            let (status, said) = connection.request("POST", PODS, Some(&body))?;
            let said = String::from_utf8_lossy(&said);
            ensure!((400..500).contains(&status), "{spec} was answered with {status}: {said}");
            ensure!(!said.contains("panic"), "{said}");
        }
    }
    Ok(String::new())
}

fn grace_periods(stage: &mut Stage) -> Result<String> {
    // It goes at the polite signal only, which it answers after a while.
    let script = "trap 'sleep 2; exit 0' TERM; while true; do sleep 0.1; done";
    let largest = i64::MAX;
    let mut notes = Vec::new();
    for (name, query) in [
        ("four-billion", "gracePeriodSeconds=4294967296".to_owned()),
        ("largest", format!("gracePeriodSeconds={largest}")),
        ("smallest", format!("gracePeriodSeconds={}", i64::MIN)),
    ] {
        stage.run_script(name, "n1", script)?;
        stage.wait_for_phase(name, &["Running"])?;
        let path = format!("{PODS}/{name}");
        let (status, said) =
            stage.mallory_connected()?.request("DELETE", &format!("{path}?{query}"), None)?;
        let said = String::from_utf8_lossy(&said).into_owned();
        notes.push(format!("{query}: {status}"));
        if status == 200 && name != "smallest" {
            // Accepted: then the container has its two seconds.
            crate::wait::pause(Duration::from_millis(700));
            let left = stage.cluster().agent("n1")?.processes_with("trap 'sleep 2")?;
            ensure!(!left.is_empty(), "{query} killed at once");
        }
        let listed = stage.mallory_connected()?.get(PODS)?;
        let stored = items(&listed).iter().find(|pod| text(pod, "/metadata/name") == name);
        if let Some(stored) =
            stored.filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_some())
        {
            let time = text(stored, "/metadata/deletionTimestamp");
            // RFC 3339 with a year of four digits, which everybody reads.
            ensure!(
                time.len() == "2026-01-01T00:00:00Z".len() && time.starts_with(['2', '3', '9']),
                "{query} stores the time `{time}`; it was answered: {said}"
            );
        }
        // And it can be removed in an ordinary way.
        let flags = ["-n", NAMESPACE, "--grace-period=1", "--timeout=20s", "--ignore-not-found"];
        stage.kubectl().run(&[&["delete", "pod", name], &flags[..]].concat())?;
    }
    let nothing = json!({"metadata": {}, "gracePeriodSeconds": largest});
    let body = serde_json::to_vec(&nothing)?;
    stage.mallory_connected()?.request("DELETE", &format!("{PODS}/none"), Some(&body))?;
    let spec = json!({"terminationGracePeriodSeconds": largest, "nodeName": "n1"});
    let (status, _) =
        stage.mallory_connected()?.request("POST", PODS, Some(&pod("patient", &spec)?))?;
    if status == 201 {
        stage.mallory_connected()?.request("DELETE", &format!("{PODS}/patient"), None)?;
        let flags = ["-n", NAMESPACE, "--grace-period=1", "--timeout=20s", "--ignore-not-found"];
        stage.kubectl().run(&[&["delete", "pod", "patient"], &flags[..]].concat())?;
    }
    Ok(notes.join(", "))
}

fn pod_specs(stage: &mut Stage) -> Result<String> {
    let mut connection = stage.mallory_connected()?;
    let over = |path: &str| {
        json!({
            "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [container(&json!({"volumeMounts": [{"name": "v", "mountPath": path}]}))],
        })
    };
    let alias = |ip: &str, name: &str| json!({"hostAliases": [{"ip": ip, "hostnames": [name]}]});
    let mut accepted = Vec::new();
    for spec in [
        over("/proc"),
        over("/proc/self"),
        over("/sys"),
        over("/sys/fs/cgroup"),
        over("/"),
        over("/x/../proc"),
        alias("10.0.0.1\n10.0.0.2 evil", "a"),
        alias("10.0.0.1", "a\n10.77.0.1 registry.local"),
    ] {
        let (status, said) = connection.request("POST", PODS, Some(&pod("spec", &spec)?))?;
        if status == 201 {
            // Accepted is no harm if the node refuses it with a reason, as with upstream.
            accepted.push(spec.to_string());
            let phase = stage.cluster().wait_until(
                "it runs or says why not",
                Duration::from_secs(30),
                || {
                    let pod = stage.kubectl().json(&["get", "pod", "spec", "-n", NAMESPACE])?;
                    let state = "/status/containerStatuses/0/state";
                    let waiting = text(&pod, &format!("{state}/waiting/reason")).to_owned();
                    let failed = text(&pod, "/status/phase") == "Failed"
                        || waiting.contains("Err")
                        || waiting.contains("Backoff")
                        || waiting.contains("BackOff");
                    let running = text(&pod, "/status/phase") == "Running";
                    ensure!(!running, "a pod with {spec} runs");
                    Ok((!failed)
                        .then(|| pod.get("status").map_or_else(String::new, Value::to_string)))
                },
            );
            phase.with_context(|| String::from_utf8_lossy(&said).into_owned())?;
            let flags = ["-n", NAMESPACE, "--grace-period=0", "--force"];
            stage.kubectl().run(&[&["delete", "pod", "spec"], &flags[..]].concat())?;
        }
    }
    Ok(if accepted.is_empty() {
        String::new()
    } else {
        format!("left to the node: {}", accepted.join(" "))
    })
}

fn container(fields: &Value) -> Value {
    let mut container =
        json!({"name": "main", "image": "registry.local/hello:1", "command": ["sleep", "60"]});
    if let (Some(container), Some(fields)) = (container.as_object_mut(), fields.as_object()) {
        container.extend(fields.clone());
    }
    container
}

fn pod(name: &str, spec: &Value) -> Result<Vec<u8>> {
    let mut whole = json!({"containers": [container(&json!({}))], "nodeName": "n1"});
    if let (Some(whole), Some(fields)) = (whole.as_object_mut(), spec.as_object()) {
        whole.extend(fields.clone());
    }
    let metadata = json!({"name": name, "namespace": NAMESPACE});
    Ok(serde_json::to_vec(
        &json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": whole}),
    )?)
}

/// Method, path, media type and body.
type Post<'a> = (&'a str, &'a str, &'a str, &'a [u8]);

/// Sends all at once, each over a connection of its own; whatever the answers are, there must be
/// one to each.
fn at_once(stage: &Stage, posts: &[Post<'_>]) -> Result<String> {
    let api = stage.mallory()?.with_timeout(Duration::from_secs(60));
    let from = stage.attacker().addresses().to_vec();
    let start = now();
    let answers = stage.attacker().inside(|| {
        thread::scope(|scope| {
            let threads: Vec<_> = posts
                .iter()
                .zip(from.iter().cycle())
                .map(|((method, path, media, body), from)| {
                    let api = &api;
                    scope.spawn(move || {
                        let socket = connect_from(*from, api.address(), Duration::from_secs(5))?;
                        let mut connection = api.connect_over(socket)?;
                        Ok::<_, anyhow::Error>(
                            connection.request_as(method, path, Some((media, body)))?.0,
                        )
                    })
                })
                .collect();
            threads.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        })
    })?;
    let mut counts = std::collections::BTreeMap::new();
    for answer in answers {
        // A connection that was closed on an attacker is an answer, too.
        let word = match answer.map_err(|_| anyhow!("a sender panicked"))? {
            Ok(status) => status.to_string(),
            Err(_) => "closed".to_owned(),
        };
        *counts.entry(word).or_insert(0_usize) += 1;
    }
    let words: Vec<String> =
        counts.iter().map(|(word, count)| format!("{count} x {word}")).collect();
    Ok(format!("{} in {:.1} s", words.join(", "), start.elapsed().as_secs_f64()))
}

/// Sends one after the other; each must be refused as a client's mistake.
fn refused(stage: &Stage, posts: &[Post<'_>]) -> Result<String> {
    let start = now();
    for (method, path, media, body) in posts {
        let (status, said) = stage
            .mallory_connected()?
            .request_as(method, path, Some((media, body)))
            .with_context(|| format!("no answer to {media} of {} bytes", body.len()))?;
        let said = String::from_utf8_lossy(&said);
        ensure!(
            (400..500).contains(&status),
            "{media} of {} bytes: {status} {said:.200}",
            body.len()
        );
    }
    Ok(format!("{:.1} s", start.elapsed().as_secs_f64()))
}
