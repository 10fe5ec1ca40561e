//! A small pod for tests of this crate and of the shell.

use bramble_shared::link::{
    Container, ContainerSecurity, DnsPolicy, DnsSource, Lifecycle, Pod, PodSecurity, PullPolicy,
    Resources, RestartPolicy,
};

/// A pod `default/web` with one container `main`.
#[must_use]
pub fn pod() -> Pod {
    Pod {
        namespace: "default".to_owned(),
        name: "web".to_owned(),
        uid: "u1".to_owned(),
        generation: 1,
        labels: [].into(),
        annotations: [].into(),
        deletion: None,
        service_account: "default".to_owned(),
        hostname: "web".to_owned(),
        subdomain: String::new(),
        host_network: false,
        host_pid: false,
        host_ipc: false,
        host_aliases: vec![],
        dns: DnsPolicy {
            source: DnsSource::Cluster,
            nameservers: vec![],
            searches: vec![],
            options: vec![],
        },
        restart_policy: RestartPolicy::Always,
        termination_grace_s: 30,
        readiness_gates_met: true,
        active_deadline_s: None,
        service_links: true,
        security: PodSecurity::default(),
        pull_secrets: vec![],
        init_containers: vec![],
        ephemeral_containers: vec![],
        containers: vec![container("main")],
        volumes: vec![],
    }
}

/// A container with nothing special about it.
#[must_use]
pub fn container(name: &str) -> Container {
    Container {
        name: name.to_owned(),
        image: "busybox:1".to_owned(),
        pull_policy: PullPolicy::IfNotPresent,
        command: vec![],
        args: vec![],
        working_dir: None,
        env_from: vec![],
        env: vec![],
        ports: vec![],
        resources: Resources::default(),
        mounts: vec![],
        security: ContainerSecurity::default(),
        sidecar: false,
        startup_probe: None,
        liveness_probe: None,
        readiness_probe: None,
        lifecycle: Lifecycle::default(),
        tty: false,
        stdin: false,
        termination_message_path: "/dev/termination-log".to_owned(),
        termination_message_from_log: false,
        stdin_once: false,
        target: String::new(),
        restart_for_cpu: false,
        restart_for_memory: false,
    }
}
