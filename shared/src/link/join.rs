//! A board without a certificate becomes a node: the two messages of a join.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// A board without a certificate asks to become a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// Secret part of the token, `<id>.<secret>`; sent only after the CA was checked.
    pub token: String,
    /// Name that the board wants to have; a DNS label.
    pub node_name: String,
    /// PKCS#10 request, DER; its public key is what a single-use token is bound to.
    pub csr: Vec<u8>,
}

/// Answer to a [`JoinRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinReply {
    /// The board is a node now.
    Accepted {
        /// Node certificate, DER.
        certificate: Vec<u8>,
        /// The cluster's CA, DER.
        ca: Vec<u8>,
    },
    /// It is not; the text says why and what to do.
    Refused {
        /// For the person at the board.
        reason: String,
    },
}
