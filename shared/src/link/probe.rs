//! Probes and lifecycle hooks of a [`Container`](super::Container).

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// A check that a container's node makes again and again. Defaults are applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What is done.
    pub handler: Handler,
    /// Wait after the container's start, in seconds.
    pub initial_delay_s: u32,
    /// Longest wait for an answer, in seconds, at least 1.
    pub timeout_s: u32,
    /// Time between two checks, in seconds, at least 1.
    pub period_s: u32,
    /// Successes in a row that make a success, at least 1.
    pub success_threshold: u32,
    /// Failures in a row that make a failure, at least 1.
    pub failure_threshold: u32,
    /// Grace after a failure that ends the container, in seconds; the pod's without it.
    pub termination_grace_s: Option<u32>,
}

/// What runs after a container's start and before its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// Right after the start; the container counts as running once this is done.
    pub post_start: Option<Handler>,
    /// Before the stop signal, within the grace.
    pub pre_stop: Option<Handler>,
    /// The stop signal (`SIGUSR1`), over the image's; empty for none.
    pub stop_signal: String,
}

/// What a probe or a hook does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handler {
    /// Runs a program in the container.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
    },
    /// Asks for a page.
    Http {
        /// Host name or address; the pod's address if empty.
        host: String,
        /// Port; 0 if the container has none of the name.
        port: u16,
        /// Path with its query.
        path: String,
        /// Over TLS; nobody checks the certificate.
        https: bool,
        /// More headers.
        headers: Vec<(String, String)>,
    },
    /// Opens a connection.
    Tcp {
        /// Host name or address; the pod's address if empty.
        host: String,
        /// Port; 0 if the container has none of the name.
        port: u16,
    },
    /// Asks a service by gRPC's health protocol.
    Grpc {
        /// Port.
        port: u16,
        /// Name of the service, possibly empty.
        service: String,
    },
    /// Does nothing for so many seconds; hooks only.
    Sleep {
        /// How long.
        seconds: u32,
    },
}
