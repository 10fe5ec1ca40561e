//! Keeps two pods from wanting the same port of a node.

use super::{Reasons, refuse};
use crate::scheduler::node_info::NodeInfo;
use crate::view::pod::PodView;

/// Refuses a node on which a wanted host port is taken.
///
/// # Errors
///
/// Returns the reason of the refusal.
pub fn filter(pod: &PodView, node: &NodeInfo) -> Result<(), Reasons> {
    if node.port_taken(pod) {
        return refuse("node(s) didn't have free ports for the requested pod ports");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::check;
    use super::filter;
    use crate::view::pod::PodView;

    fn pod(port: i32, address: &str, protocol: &str) -> PodView {
        let port: Value =
            json!({"containerPort": 80, "hostPort": port, "hostIP": address, "protocol": protocol});
        check::pod(json!({"spec": {"containers": [{"ports": [port]}]}}))
    }

    #[test]
    fn a_port_is_free_on_another_address_or_protocol() {
        let mut node = check::node(json!({}));
        node.add(&pod(80, "10.0.0.1", "TCP"));
        assert!(filter(&pod(80, "10.0.0.2", "TCP"), &node).is_ok());
        assert!(filter(&pod(80, "10.0.0.1", "UDP"), &node).is_ok());
        assert!(filter(&pod(81, "", ""), &node).is_ok());
        assert!(filter(&pod(80, "", "TCP"), &node).is_err());
        assert!(filter(&pod(80, "10.0.0.1", ""), &node).is_err());
    }

    #[test]
    fn a_port_is_free_again_when_its_pod_is_gone() {
        let mut node = check::node(json!({}));
        node.add(&pod(80, "", "TCP"));
        node.remove(&pod(80, "", "TCP"));
        assert!(filter(&pod(80, "", "TCP"), &node).is_ok());
    }
}
