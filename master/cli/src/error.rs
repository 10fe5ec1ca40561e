//! Why a command did not do it, in words for the user who typed it.

use std::io;
use std::path::PathBuf;

/// Why a command failed. The text is complete: it says what to do next where that is known.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Nobody said which cluster.
    #[error(
        "error: no kubeconfig found (looked at {}).\nOn the master board run this as root; elsewhere \
         copy /etc/bramble/admin.kubeconfig from it to ~/.kube/config, or set KUBECONFIG or \
         --kubeconfig to where it is.",
        looked_at.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NoKubeconfig {
        /// Files that do not exist.
        looked_at: Vec<PathBuf>,
    },
    /// A file could not be read.
    #[error("error: could not read `{}`: {source}", path.display())]
    ReadFile {
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The kubeconfig says too little, or what cannot be used.
    #[error("error: kubeconfig `{origin}`: {problem}")]
    Kubeconfig {
        /// Its file.
        origin: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nobody answers.
    #[error(
        "error: could not reach the API server at {server}: {reason}.\nIs the master powered and on \
         this network? Is the address in the kubeconfig still its address?"
    )]
    Unreachable {
        /// Address from the kubeconfig.
        server: String,
        /// Cause, with its own causes.
        reason: String,
    },
    /// Who answers is not whom the kubeconfig means.
    #[error(
        "error: the API server at {server} could not be trusted: {reason}.\nThe kubeconfig may be of \
         another cluster, or of this one before it was set up anew; fetch it again from the master."
    )]
    Untrusted {
        /// Address from the kubeconfig.
        server: String,
        /// Cause.
        reason: String,
    },
    /// The connection broke or the answer makes no sense.
    #[error("error: the API server at {server} broke off: {reason}")]
    BrokenAnswer {
        /// Address from the kubeconfig.
        server: String,
        /// Cause.
        reason: String,
    },
    /// The server said no.
    #[error("Error from server{}: {message}", in_parentheses(reason))]
    Server {
        /// HTTP status.
        code: u16,
        /// Kubernetes' reason, such as `NotFound`; may be empty.
        reason: String,
        /// Its message.
        message: String,
    },
    /// The API server has no such resource.
    #[error(
        "error: the server doesn't have a resource type \"{name}\"{}",
        suggestion.as_ref().map_or(String::new(), |known| format!("; did you mean \"{known}\"?"))
    )]
    UnknownResource {
        /// What was typed.
        name: String,
        /// What may have been meant.
        suggestion: Option<String>,
    },
    /// Flags and arguments do not make sense together.
    #[error("error: {0}")]
    Usage(String),
    /// A manifest cannot be used.
    #[error("error: {origin}: {problem}")]
    Manifest {
        /// File and document.
        origin: String,
        /// What is wrong with it.
        problem: String,
    },
    /// It took longer than the user wanted to wait.
    #[error("error: timed out waiting for {what}")]
    TimedOut {
        /// What did not happen.
        what: String,
    },
    /// Some of several things failed; each was reported.
    #[error("error: {0}")]
    Incomplete(String),
    /// The result could not be written.
    #[error("error: could not write the result: {source}")]
    Write {
        /// Cause.
        #[from]
        source: io::Error,
    },
}

impl CliError {
    /// The server knows no such object.
    pub(crate) fn not_found(&self) -> bool {
        matches!(self, Self::Server { code: 404, .. })
    }

    /// HTTP status of the server's refusal.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Server { code, .. } => Some(*code),
            Self::NoKubeconfig { .. }
            | Self::ReadFile { .. }
            | Self::Kubeconfig { .. }
            | Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::BrokenAnswer { .. }
            | Self::UnknownResource { .. }
            | Self::Usage(_)
            | Self::Manifest { .. }
            | Self::TimedOut { .. }
            | Self::Incomplete(_)
            | Self::Write { .. } => None,
        }
    }
}

fn in_parentheses(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}
