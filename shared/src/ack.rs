//! The master's answer to a heartbeat: a lease, and who is unreachable.
//!
//! Carrying the whole set of unreachable nodes in every acknowledgement makes agents fast under
//! loss: they need not wait for TCP to repeat a lost segment.

use serde::{Deserialize, Serialize};

use crate::node_set::NodeSet;
use crate::wire::{self, BODY_LEN_MAX, DecodeBodyError};

/// Length of every acknowledgement's body, in bytes.
pub const ACK_LEN_MAX: usize = 8 + 8 + 4 + 8 + 16;
const _: () = assert!(ACK_LEN_MAX <= BODY_LEN_MAX, "an acknowledgement must fit in a packet");

/// One acknowledgement. Its number is the packet's counter. Frozen: postcard is positional.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Sequence of the heartbeat that is acknowledged.
    #[serde(with = "postcard::fixint::le")]
    pub sequence: u64,
    /// The leader's term; agents refuse lower ones.
    #[serde(with = "postcard::fixint::le")]
    pub term: u64,
    /// Lease in milliseconds, counted from when the agent sent that heartbeat; 0 grants nothing.
    #[serde(with = "postcard::fixint::le")]
    pub lease_ms: u32,
    /// Version of `unreachable` in this term; the newest wins.
    #[serde(with = "postcard::fixint::le")]
    pub unreachable_version: u64,
    /// Nodes that get no traffic now.
    pub unreachable: NodeSet,
}

impl Ack {
    /// Writes the body into `buffer` and returns the written part; none if it does not fit.
    /// [`ACK_LEN_MAX`] bytes are always enough.
    pub fn encode<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        postcard::to_slice(self, buffer).ok().map(|written| &*written)
    }

    /// Reads a body.
    ///
    /// # Errors
    ///
    /// Bytes that are no acknowledgement, or more than one.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeBodyError> {
        wire::decode_body(body)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::NodeId;

    #[test]
    fn ack_bytes_are_frozen() {
        let ack = Ack {
            sequence: 1,
            term: 2,
            lease_ms: 1500,
            unreachable_version: 3,
            unreachable: [NodeId(0), NodeId(9)].into_iter().collect(),
        };
        let mut buffer = [0; ACK_LEN_MAX];
        let bytes = ack.encode(&mut buffer).unwrap();
        let mut expected = std::vec![1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([0xdc, 5, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes, expected);
        assert_eq!(bytes.len(), ACK_LEN_MAX);
        assert_eq!(Ack::decode(bytes), Ok(ack));
    }

    #[test]
    fn trailing_bytes_are_refused() {
        assert_eq!(
            Ack::decode(&[0; ACK_LEN_MAX + 2]),
            Err(DecodeBodyError::TrailingBytes { extra: 2 })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Ack::decode(&bytes);
        }
    }
}
