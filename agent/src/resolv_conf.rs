//! The node's own resolver configuration, for itself and for its pods.

use std::path::Path;

use bramble_agent_core::hosts;

use crate::facts;

/// What the node's programs read.
const OWN: &str = "/etc/resolv.conf";
/// What systemd-resolved knows beside that: the resolvers that it asks itself.
const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";

/// What the node's programs read.
pub(crate) fn own() -> String {
    facts::text(OWN)
}

/// What pods can use: a resolver at a loopback address is not one of theirs, so what stands behind
/// systemd's is taken, as the kubelet is told to do on such systems.
pub(crate) fn for_pods() -> String {
    let own = own();
    if hosts::only_loopback_nameservers(&own) && Path::new(BEHIND_STUB).exists() {
        return facts::text(BEHIND_STUB);
    }
    own
}
