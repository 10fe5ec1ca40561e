//! Why something could not be done to the node's network.

use std::io;
use std::path::PathBuf;

/// Why something could not be done to the node's network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The kernel refused a netlink request.
    #[error("could not {doing}")]
    Netlink {
        /// What was being tried.
        doing: String,
        /// What the kernel said.
        #[source]
        source: rtnetlink::Error,
    },
    /// A link that must be there is not.
    #[error("no link `{name}` on this node")]
    NoLink {
        /// Its name.
        name: String,
    },
    /// A namespace could not be made or entered.
    #[error("could not {doing} the namespace `{}`", path.display())]
    Namespace {
        /// What was being tried.
        doing: &'static str,
        /// Where it is kept.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A kernel setting could not be written.
    #[error("could not write `{path}`")]
    Setting {
        /// Path below `/proc/sys`.
        path: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The program `nft` could not be run.
    #[error("could not run `nft` (package nftables) or `iptables`")]
    RunNft {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// `nft` refused the rules; none of them was applied.
    #[error("the rules were refused: {message}")]
    Rules {
        /// What it said.
        message: String,
    },
    /// Connection tracking could not be read or changed.
    #[error("could not change connection tracking")]
    Connections {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The pod range has no room for a bridge address.
    #[error("pod range `{network}/{prefix_len}` is too small: it needs at least 4 addresses")]
    RangeTooSmall {
        /// First address.
        network: std::net::Ipv4Addr,
        /// Length of the prefix.
        prefix_len: u8,
    },
}

/// `true` if the kernel says that the thing is there already.
pub(crate) fn exists(error: &rtnetlink::Error) -> bool {
    code(error) == Some(-nix::libc::EEXIST)
}

/// `true` if the kernel says that there is no such thing.
pub(crate) fn absent(error: &rtnetlink::Error) -> bool {
    matches!(code(error), Some(code) if [-nix::libc::ENODEV, -nix::libc::ESRCH, -nix::libc::ENOENT].contains(&code))
}

fn code(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(message.raw_code()),
        rtnetlink::Error::UnexpectedMessage(_)
        | rtnetlink::Error::RequestFailed
        | rtnetlink::Error::NamespaceError(_)
        | rtnetlink::Error::InvalidHardwareAddress(_)
        | rtnetlink::Error::InvalidIp(_)
        | rtnetlink::Error::InvalidAddress(..)
        | rtnetlink::Error::InvalidNla(_) => None,
        // The crate's enum may grow; whatever it is then, it is not a kernel's answer.
        #[expect(unreachable_patterns, reason = "the enum is not marked as closed")]
        _ => None,
    }
}
