//! Tokens of the service accounts of a node's own pods, which their projected volumes hold.
//!
//! ```text
//! agent --ToMaster::Token(TokenRequest)--> master      control stream; answered in any order
//! agent <--ToAgent::Token(TokenReply)----- master
//! ```
//! The master answers only for a pod that is bound to the node that asks. The token ends with the
//! pod. Times are spans, since no two boards have the same clock.

use alloc::string::String;

use serde::{Deserialize, Serialize};

/// Asks for a token of the account of a pod that is bound here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRequest {
    /// Comes back with the answer.
    pub number: u64,
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Uid of the pod.
    pub uid: String,
    /// For whom the token is; empty for the API server.
    pub audience: String,
    /// Seconds that it is to live, as the volume says: 600 at least.
    pub expires_in_s: u64,
}

/// Answer to a [`TokenRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenReply {
    /// Number of the request.
    pub number: u64,
    /// The token, or why there is none.
    pub answer: TokenAnswer,
}

/// What came of a [`TokenRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenAnswer {
    /// The token.
    Token {
        /// Three parts with dots between them; at most a few KB.
        token: String,
        /// Seconds after which the pod should have another one.
        expires_in_s: u64,
    },
    /// There is none now; the text says why.
    Refused {
        /// For the pod's events.
        message: String,
    },
}
