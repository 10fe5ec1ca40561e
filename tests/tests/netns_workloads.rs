//! The kinds that run pods for others, as a Kubernetes user meets them, with the manifests of
//! `examples/` and real kubectl.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, too, fail by panicking"
)]

use std::time::Duration;

use bramble_tests::cluster::Cluster;
use bramble_tests::kubectl::Kubectl;
use bramble_tests::skip_unless;
use bramble_tests::state::{self, condition, items, text};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);
/// A schedule of every minute, and the time that its pod may take.
const TWO_MINUTES: Duration = Duration::from_secs(120);

/// One after another in one cluster: its start costs more than a scene.
#[test]
fn workloads_are_run_as_upstreams_controllers_run_them() {
    skip_unless!(nix::unistd::geteuid().is_root(), "needs root");
    let mut cluster = Cluster::start(43).unwrap();
    for board in ["n1", "n2", "n3"] {
        cluster.add_agent(board).unwrap();
    }
    cluster.wait_until_ready().unwrap();
    let story = Story { kubectl: cluster.kubectl().unwrap(), cluster: &cluster };
    // The first minute of a schedule passes meanwhile.
    story.apply_example("cron-job");
    story.stateful_set_starts_in_order_with_disks_of_its_own();
    story.stateful_set_is_updated_from_the_last_and_only_beyond_the_partition();
    story.stateful_set_shrinks_from_the_last_and_keeps_its_disks();
    story.daemon_set_has_one_pod_on_every_node();
    story.indexed_job_does_each_piece_once_and_goes_by_itself();
    story.job_that_keeps_failing_fails();
    story.job_that_rests_goes_on();
    story.sets_keep_their_number_and_say_what_hinders_them();
    story.budget_decides_who_may_be_evicted();
    story.endpoints_follow_pods_and_are_mirrored();
    story.cron_job_starts_by_itself_and_by_hand();
    drop(story);
    cluster.stop_and_check().unwrap();
}

struct Story<'a> {
    cluster: &'a Cluster,
    kubectl: Kubectl,
}

impl Story<'_> {
    fn apply_example(&self, name: &str) {
        let file = format!("{}/../examples/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        self.kubectl.run(&["apply", "-f", &file]).unwrap();
    }

    #[track_caller]
    fn wait(
        &self,
        what: &str,
        bound: Duration,
        state: impl FnMut() -> anyhow::Result<Option<String>>,
    ) {
        self.cluster.wait_until(what, bound, state).unwrap();
    }

    /// Waits until a field of an object is this, as text.
    #[track_caller]
    fn wait_for(&self, object: &str, pointer: &str, wanted: &Value) {
        self.wait(&format!("{pointer} of {object} is {wanted}"), SOON, || {
            let seen = self.get(object)?;
            let reached = seen.pointer(pointer).unwrap_or(&Value::Null) == wanted;
            Ok((!reached).then(|| seen["status"].to_string()))
        });
    }

    fn get(&self, object: &str) -> anyhow::Result<Value> {
        self.kubectl.json(&["get", object])
    }

    fn list(&self, kind: &str, label: &str) -> Vec<Value> {
        let list = self.kubectl.json(&["get", kind, "-l", label]).unwrap();
        items(&list).to_vec()
    }

    /// Reasons and messages of the events of an object, one a line.
    fn events(&self, name: &str) -> String {
        let selector = format!("involvedObject.name={name}");
        let events = self.kubectl.json(&["get", "events", "--field-selector", &selector]).unwrap();
        let line =
            |event: &Value| format!("{}: {}\n", text(event, "/reason"), text(event, "/message"));
        items(&events).iter().map(line).collect()
    }

    /// What a pod of the counter serves.
    fn page(&self, name: &str) -> String {
        let ip = text(&self.get(&format!("pod/{name}")).unwrap(), "/status/podIP").to_owned();
        let answer = self.cluster.agent("n1").unwrap().ask(&ip, 80);
        answer.unwrap_or_else(|error| format!("{error:#}"))
    }

    fn stateful_set_starts_in_order_with_disks_of_its_own(&self) {
        self.apply_example("stateful-set");
        self.kubectl.run(&["rollout", "status", "statefulset/counter", "--timeout=120s"]).unwrap();
        let pods = self.list("pods", "app=counter");
        let names: Vec<&str> = pods.iter().map(|pod| text(pod, "/metadata/name")).collect();
        assert_eq!(names, ["counter-0", "counter-1", "counter-2"]);
        for (pod, next) in pods.iter().zip(pods.iter().skip(1)) {
            let ready = ready_since(pod);
            let created = text(next, "/metadata/creationTimestamp");
            assert!(ready.as_str() <= created, "{created} is before {ready}");
        }
        let last = &pods[2];
        assert_eq!(text(last, "/metadata/labels/apps.kubernetes.io~1pod-index"), "2");
        assert_eq!(text(last, "/spec/hostname"), "counter-2");
        let claims = self.list("persistentvolumeclaims", "app=counter");
        let claims: Vec<(&str, &str)> = claims
            .iter()
            .map(|claim| (text(claim, "/metadata/name"), text(claim, "/status/phase")))
            .collect();
        let bound =
            ["data-counter-0", "data-counter-1", "data-counter-2"].map(|name| (name, "Bound"));
        assert_eq!(claims, bound);
        assert!(self.page("counter-1").contains("counter-1 start 1"), "{}", self.page("counter-1"));
        // One that is lost comes again under its name, with its disk.
        self.kubectl.run(&["delete", "pod", "counter-1"]).unwrap();
        self.wait("counter-1 is back", SOON, || {
            let page = self.page("counter-1");
            Ok((!page.contains("counter-1 start 2")).then_some(page))
        });
        let told = self.events("counter");
        assert!(
            told.contains("SuccessfulCreate: create Pod counter-0 in StatefulSet counter"),
            "{told}"
        );
        assert!(told.contains("create Claim data-counter-0 Pod counter-0"), "{told}");
    }

    fn stateful_set_is_updated_from_the_last_and_only_beyond_the_partition(&self) {
        let before = self.revisions();
        let partition = "{\"spec\":{\"updateStrategy\":{\"rollingUpdate\":{\"partition\":2}}}}";
        self.kubectl.run(&["patch", "statefulset", "counter", "-p", partition]).unwrap();
        self.kubectl.run(&["set", "env", "statefulset/counter", "COLOUR=green"]).unwrap();
        self.kubectl.run(&["rollout", "status", "statefulset/counter", "--timeout=60s"]).unwrap();
        let partly = self.revisions();
        assert_eq!(partly[..2], before[..2]);
        assert_ne!(partly[2], before[2]);
        let set = self.get("statefulset/counter").unwrap();
        assert_eq!(text(&set, "/status/currentRevision"), before[0]);
        assert_eq!(text(&set, "/status/updateRevision"), partly[2]);
        let rest = partition.replace('2', "0");
        self.kubectl.run(&["patch", "statefulset", "counter", "-p", &rest]).unwrap();
        self.kubectl.run(&["rollout", "status", "statefulset/counter", "--timeout=120s"]).unwrap();
        assert!(self.revisions().iter().all(|revision| *revision == partly[2]));
        self.wait_for("statefulset/counter", "/status/currentRevision", &partly[2].clone().into());
        // Back to what it was: no new revision, the old one counts again.
        self.kubectl.run(&["rollout", "undo", "statefulset/counter"]).unwrap();
        self.kubectl.run(&["rollout", "status", "statefulset/counter", "--timeout=120s"]).unwrap();
        assert_eq!(self.revisions(), before);
        assert_eq!(self.list("controllerrevisions", "app=counter").len(), 2);
    }

    /// The revisions of the counter's pods, by ordinal.
    fn revisions(&self) -> Vec<String> {
        let pods = self.list("pods", "app=counter");
        let revision = |pod| text(pod, "/metadata/labels/controller-revision-hash").to_owned();
        pods.iter().map(revision).collect()
    }

    fn stateful_set_shrinks_from_the_last_and_keeps_its_disks(&self) {
        self.kubectl.run(&["scale", "statefulset", "counter", "--replicas=1"]).unwrap();
        self.wait("one is left", SOON, || state::pods_ready(&self.kubectl, "app=counter", 1));
        self.wait_for("statefulset/counter", "/status/replicas", &1.into());
        let told = self.events("counter");
        assert!(told.contains("delete Pod counter-2 in StatefulSet counter successful"), "{told}");
        assert_eq!(self.list("pods", "app=counter").len(), 1);
        assert_eq!(self.list("persistentvolumeclaims", "app=counter").len(), 3);
        self.kubectl.run(&["delete", "statefulset", "counter"]).unwrap();
        self.wait("its last pod is gone", SOON, || {
            let left = self.list("pods", "app=counter").len();
            Ok((left > 0).then(|| format!("{left} left")))
        });
        let claims = ["delete", "persistentvolumeclaims", "-l", "app=counter", "--timeout=60s"];
        self.kubectl.run(&claims).unwrap();
    }

    fn daemon_set_has_one_pod_on_every_node(&self) {
        self.kubectl.run(&["cordon", "n3"]).unwrap();
        self.apply_example("daemon-set");
        self.kubectl.run(&["rollout", "status", "daemonset/watcher", "--timeout=60s"]).unwrap();
        self.kubectl.run(&["uncordon", "n3"]).unwrap();
        assert_eq!(self.nodes_of_the_watcher(), ["n1", "n2", "n3"]);
        self.kubectl.run(&["set", "env", "daemonset/watcher", "COLOUR=green"]).unwrap();
        self.kubectl.run(&["rollout", "status", "daemonset/watcher", "--timeout=120s"]).unwrap();
        assert_eq!(self.nodes_of_the_watcher(), ["n1", "n2", "n3"]);
        let set = self.get("daemonset/watcher").unwrap();
        for count in ["updatedNumberScheduled", "numberAvailable", "desiredNumberScheduled"] {
            assert_eq!(set["status"][count], 3, "{count}");
        }
        let history = self.kubectl.run(&["rollout", "history", "daemonset/watcher"]).unwrap();
        assert!(history.contains('2'), "{history}");
        // Only where it is wanted.
        let selector =
            "{\"spec\":{\"template\":{\"spec\":{\"nodeSelector\":{\"garden\":\"yes\"}}}}}";
        self.kubectl.run(&["label", "node", "n2", "garden=yes"]).unwrap();
        self.kubectl.run(&["patch", "daemonset", "watcher", "-p", selector]).unwrap();
        self.wait("only n2 has one", SOON, || {
            let nodes = self.nodes_of_the_watcher();
            Ok((nodes != ["n2"]).then(|| format!("{nodes:?}")))
        });
        self.kubectl.run(&["delete", "daemonset", "watcher", "--cascade=foreground"]).unwrap();
        assert_eq!(self.list("pods", "app=watcher").len(), 0);
        self.kubectl.run(&["label", "node", "n2", "garden-"]).unwrap();
    }

    /// Nodes of the watcher's pods that stay.
    fn nodes_of_the_watcher(&self) -> Vec<String> {
        let pods = self.list("pods", "app=watcher");
        let staying =
            pods.iter().filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none());
        let mut nodes: Vec<String> =
            staying.map(|pod| text(pod, "/spec/nodeName").to_owned()).collect();
        nodes.sort();
        nodes
    }

    fn indexed_job_does_each_piece_once_and_goes_by_itself(&self) {
        self.apply_example("job");
        self.kubectl
            .run(&["wait", "--for=condition=complete", "job/pieces", "--timeout=60s"])
            .unwrap();
        let job = self.get("job/pieces").unwrap();
        assert_eq!(job["status"]["succeeded"], 5);
        assert_eq!(text(&job, "/status/completedIndexes"), "0-4");
        assert_eq!(condition(&job, "SuccessCriteriaMet"), "True");
        let pods = self.list("pods", "job-name=pieces");
        let mut said: Vec<String> = pods
            .iter()
            .map(|pod| self.kubectl.run(&["logs", text(pod, "/metadata/name")]).unwrap())
            .collect();
        said.sort();
        let wanted: Vec<String> = (0..5).map(|piece| format!("piece {piece} of 5\n")).collect();
        assert_eq!(said, wanted);
        let told = self.events("pieces");
        assert!(told.contains("Completed: Job completed"), "{told}");
        self.wait("the job goes by itself, with its pods", SOON, || {
            let left =
                self.kubectl.run(&["get", "jobs,pods", "-l", "job-name=pieces", "-o", "name"])?;
            Ok((!left.is_empty()).then_some(left))
        });
        assert!(self.kubectl.refused(&["get", "job", "pieces"]).unwrap().contains("not found"));
    }

    fn job_that_keeps_failing_fails(&self) {
        self.kubectl.apply(&job("fails", "backoffLimit: 1", "exit 3")).unwrap();
        self.kubectl
            .run(&["wait", "--for=condition=failed", "job/fails", "--timeout=60s"])
            .unwrap();
        let job = self.get("job/fails").unwrap();
        assert_eq!(job["status"]["failed"], 2);
        let conditions = job["status"]["conditions"].to_string();
        assert!(conditions.contains("BackoffLimitExceeded"), "{conditions}");
        assert_eq!(self.list("pods", "job-name=fails").len(), 2, "pods stay to be looked at");
        self.kubectl.run(&["delete", "job", "fails"]).unwrap();
        self.wait("its pods are gone", SOON, || {
            let left = self.list("pods", "job-name=fails").len();
            Ok((left > 0).then(|| format!("{left} left")))
        });
    }

    fn job_that_rests_goes_on(&self) {
        let spec = "suspend: true, completions: 2, parallelism: 2";
        self.kubectl.apply(&job("rests", spec, "exit 0")).unwrap();
        self.kubectl
            .run(&["wait", "--for=condition=suspended", "job/rests", "--timeout=30s"])
            .unwrap();
        assert_eq!(self.list("pods", "job-name=rests").len(), 0);
        self.kubectl
            .run(&["patch", "job", "rests", "-p", "{\"spec\":{\"suspend\":false}}"])
            .unwrap();
        self.kubectl
            .run(&["wait", "--for=condition=complete", "job/rests", "--timeout=60s"])
            .unwrap();
        self.kubectl.run(&["delete", "job", "rests"]).unwrap();
    }

    fn sets_keep_their_number_and_say_what_hinders_them(&self) {
        for (example, label, object) in [
            ("replication-controller", "app=old-web", "replicationcontroller/old-web"),
            ("replica-set", "app=plain-web", "replicaset/plain-web"),
        ] {
            self.apply_example(example);
            self.wait("two are ready", SOON, || state::pods_ready(&self.kubectl, label, 2));
            self.wait_for(object, "/status/availableReplicas", &2.into());
            let quota = ["create", "quota", "few", "--hard=pods=2"];
            self.kubectl.run(&quota).unwrap();
            self.kubectl.run(&["scale", object, "--replicas=3"]).unwrap();
            self.wait("the quota is named", SOON, || {
                let status = self.get(object)?["status"].to_string();
                let told =
                    status.contains("ReplicaFailure") && status.contains("exceeded quota: few");
                Ok((!told).then_some(status))
            });
            self.kubectl.run(&["delete", "quota", "few"]).unwrap();
            self.wait("three are ready", SOON, || state::pods_ready(&self.kubectl, label, 3));
            self.wait("nothing hinders it", SOON, || {
                let status = self.get(object)?["status"].to_string();
                Ok(status.contains("ReplicaFailure").then_some(status))
            });
            let pod = text(&self.list("pods", label)[0], "/metadata/name").to_owned();
            self.kubectl.run(&["label", "pod", &pod, "app=look", "--overwrite"]).unwrap();
            self.wait("it is replaced", SOON, || state::pods_ready(&self.kubectl, label, 3));
            let released = self.get(&format!("pod/{pod}")).unwrap();
            assert_eq!(released.pointer("/metadata/ownerReferences"), None);
            self.kubectl.run(&["delete", object, &format!("pod/{pod}")]).unwrap();
            self.wait("its pods are gone", SOON, || {
                let left = self.list("pods", label).len();
                Ok((left > 0).then(|| format!("{left} left")))
            });
        }
    }

    fn budget_decides_who_may_be_evicted(&self) {
        self.apply_example("web");
        self.wait("three are ready", SOON, || state::pods_ready(&self.kubectl, "app=web", 3));
        let budget = ["create", "pdb", "web", "--selector=app=web", "--min-available=3"];
        self.kubectl.run(&budget).unwrap();
        self.wait_for("pdb/web", "/status/currentHealthy", &3.into());
        let pod = text(&self.list("pods", "app=web")[0], "/metadata/name").to_owned();
        let refused = self.evict(&pod).unwrap_err().to_string();
        assert!(refused.contains("violate the pod's disruption budget"), "{refused}");
        let fewer = "{\"spec\":{\"minAvailable\":2}}";
        self.kubectl.run(&["patch", "pdb", "web", "-p", fewer]).unwrap();
        self.wait_for("pdb/web", "/status/disruptionsAllowed", &1.into());
        self.evict(&pod).unwrap();
        self.wait("it is replaced", SOON, || state::pods_ready(&self.kubectl, "app=web", 3));
        self.wait_for("pdb/web", "/status/disruptionsAllowed", &1.into());
        self.kubectl.run(&["delete", "pdb", "web"]).unwrap();
    }

    /// Evicts a pod of the default namespace.
    fn evict(&self, pod: &str) -> anyhow::Result<String> {
        let file = self.cluster.folder().join("eviction.yaml");
        std::fs::write(
            &file,
            format!(
                "{{\"apiVersion\": \"policy/v1\", \"kind\": \"Eviction\", \"metadata\": {{\"name\": \"{pod}\"}}}}"
            ),
        )?;
        let path = format!("/api/v1/namespaces/default/pods/{pod}/eviction");
        self.kubectl.run(&["create", "--raw", &path, "-f", &file.to_string_lossy()])
    }

    fn endpoints_follow_pods_and_are_mirrored(&self) {
        self.wait("the Endpoints have three addresses", SOON, || {
            let endpoints = self.get("endpoints/web")?;
            let addresses = endpoints.pointer("/subsets/0/addresses").and_then(Value::as_array);
            let count = addresses.map_or(0, Vec::len);
            Ok((count != 3).then(|| endpoints.to_string()))
        });
        let ip = text(&self.list("pods", "app=web")[0], "/status/podIP").to_owned();
        let manual = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: manual}}\nspec: {{clusterIP: 10.43.0.90, \
             ports: [{{port: 80}}]}}\n---\napiVersion: v1\nkind: Endpoints\nmetadata: {{name: manual}}\n\
             subsets: [{{addresses: [{{ip: {ip}}}], ports: [{{port: 80}}]}}]\n"
        );
        self.kubectl.apply(&manual).unwrap();
        self.wait("who asks the Service is answered", SOON, || {
            let answer = self.cluster.agent("n1")?.ask("10.43.0.90", 80)?;
            Ok((!answer.starts_with("hello from web-")).then_some(answer))
        });
        let label = "kubernetes.io/service-name=manual";
        assert_eq!(self.list("endpointslices", label).len(), 1);
        self.kubectl.run(&["delete", "endpoints", "manual"]).unwrap();
        self.wait("its slice is gone", SOON, || {
            let left = self.list("endpointslices", label).len();
            Ok((left > 0).then(|| format!("{left} left")))
        });
        self.kubectl.run(&["delete", "service", "manual", "web"]).unwrap();
        self.wait("its endpoints go with a Service", SOON, || {
            let left = self.kubectl.output(&["get", "endpoints", "web"])?.status.success();
            Ok(left.then(|| "still there".to_owned()))
        });
        self.kubectl.run(&["delete", "deployment", "web", "--cascade=foreground"]).unwrap();
        assert_eq!(self.list("pods", "app=web").len(), 0);
    }

    fn cron_job_starts_by_itself_and_by_hand(&self) {
        self.kubectl.run(&["create", "job", "by-hand", "--from=cronjob/clock"]).unwrap();
        self.kubectl
            .run(&["wait", "--for=condition=complete", "job/by-hand", "--timeout=60s"])
            .unwrap();
        let by_itself = || {
            let jobs = self.kubectl.json(&["get", "jobs"])?;
            let done = items(&jobs).iter().any(|job| {
                text(job, "/metadata/name").starts_with("clock-")
                    && condition(job, "Complete") == "True"
            });
            Ok((!done).then(|| jobs.to_string()))
        };
        self.wait("a job was started by the clock", TWO_MINUTES, by_itself);
        self.wait("the time of its start is told", SOON, || {
            let clock = self.get("cronjob/clock")?;
            let time = text(&clock, "/status/lastScheduleTime");
            Ok((!time.ends_with(":00Z")).then(|| clock["status"].to_string()))
        });
        let told = self.events("clock");
        assert!(told.contains("SuccessfulCreate: Created job clock-"), "{told}");
        let forgotten =
            "UnexpectedJob: Saw a job that the controller did not create or forgot: by-hand";
        assert!(told.contains(forgotten), "{told}");
        self.kubectl.run(&["delete", "cronjob", "clock"]).unwrap();
        self.wait("its jobs go with it", SOON, || {
            let jobs = self.kubectl.run(&["get", "jobs,pods", "-o", "name"])?;
            Ok(jobs.contains("/clock-").then_some(jobs))
        });
    }
}

/// A job of the test image; `spec` is YAML in one line.
fn job(name: &str, spec: &str, script: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec: {{{spec}, template: {{\
         spec: {{restartPolicy: Never, containers: [{{name: c, image: 'registry.local/hello:1', \
         command: [sh, -c, '{script}']}}]}}}}}}\n"
    )
}

/// When a pod became ready.
fn ready_since(pod: &Value) -> String {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let mut conditions = conditions.into_iter().flatten();
    let ready = conditions.find(|condition| text(condition, "/type") == "Ready");
    ready.map_or_else(String::new, |ready| text(ready, "/lastTransitionTime").to_owned())
}
