//! What a taken-over board may say of itself and of its pods: well-formed, and too much.

use std::net::Ipv4Addr;

use bramble_shared::ids::{BootId, Incarnation};
use bramble_shared::link::{
    ContainerState, ContainerStatus, Event, FenceKind, Hello, NodeFacts, PodPhase, PodStatus,
};

use crate::board::Board;

/// A hello of a board that started `boot` times.
pub(super) fn hello(board: &Board, boot: u8) -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        boot_id: BootId([boot; 16]),
        serial: format!("serial-{}", board.name),
        incarnation: Incarnation(u64::from(boot)),
        facts: NodeFacts {
            architecture: crate::image::architecture().to_owned(),
            os_image: "evil".to_owned(),
            kernel_version: "6".to_owned(),
            agent_version: "0".to_owned(),
            machine_id: board.name.clone(),
            hostname: board.name.clone(),
            address: board.address,
            cpu_milli: 1_000,
            memory_bytes: 1 << 30,
            storage_bytes: 1 << 30,
            pods_max: 110,
            fence: FenceKind::Soft,
            labels: std::collections::BTreeMap::new(),
            boot: None,
        },
    }
}

/// A status of a pod that is Ready at `ip`, with so many containers, whose words are `text`.
pub(super) fn ready(
    name: &str,
    uid: &str,
    ip: Ipv4Addr,
    containers: usize,
    text: &str,
) -> PodStatus {
    let container = |number: usize| ContainerStatus {
        name: if number == 0 { "main".to_owned() } else { format!("c{number}") },
        container_id: "bramble://1".to_owned(),
        image: "registry.local/hello:1".to_owned(),
        image_id: String::new(),
        restart_count: 0,
        ready: true,
        started: true,
        state: ContainerState::Running { started_ms: 1 },
        last_state: None,
        resources: None,
    };
    PodStatus {
        namespace: super::stage::NAMESPACE.to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        observed_generation: 1,
        phase: PodPhase::Running,
        reason: String::new(),
        message: text.to_owned(),
        pod_ip: Some(ip),
        started_ms: 1,
        sandbox_ready: true,
        initialized: true,
        containers_ready: true,
        ephemeral_containers: vec![],
        resize_failure: String::new(),
        ready: true,
        init_containers: Vec::new(),
        containers: (0..containers).map(container).collect(),
    }
}

/// An event of a pod.
pub(super) fn event(name: &str, uid: &str, reason: String, message: String) -> Event {
    Event {
        namespace: super::stage::NAMESPACE.to_owned(),
        pod: name.to_owned(),
        uid: uid.to_owned(),
        field_path: String::new(),
        warning: true,
        reason,
        message,
    }
}
