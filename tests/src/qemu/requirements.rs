//! What this machine has to have for a cluster of emulated boards.

use std::path::Path;

use crate::programs::installed;
use crate::qemu::{PROGRAM, network};

/// What is missing first, in the words of a skipped test; none if boards can run here.
#[must_use]
pub fn missing() -> Option<&'static str> {
    let requirements = [
        (nix::unistd::geteuid().is_root(), "needs root"),
        (installed(PROGRAM), "qemu-system-aarch64 is not installed"),
        (network::installed(), "dnsmasq is not installed"),
        (installed("docker-registry"), "docker-registry is not installed"),
        (installed("skopeo"), "skopeo is not installed"),
        (Path::new("/dev/net/tun").exists(), "this kernel has no tun device"),
    ];
    requirements.into_iter().find(|(met, _)| !met).map(|(_, why)| why)
}

/// Says why no cluster of emulated boards can run here, and returns from the test.
#[macro_export]
macro_rules! skip_unless_boards_can_run {
    () => {
        let missing = $crate::qemu::requirements::missing();
        $crate::skip_unless!(missing.is_none(), missing.unwrap_or_default());
    };
}
