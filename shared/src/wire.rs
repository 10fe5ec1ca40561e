//! The UDP packet's header, which every sealed packet starts with.
//!
//! Does not seal, open or look into the body: see [`crate::seal`].
//!
//! ```text
//! 0          1       2             4                 8             16
//! | ver/type | flags | key epoch u16 | session index u32 | counter u64 | ciphertext ... | tag 16 |
//! ```
//!
//! All integers are little endian. The upper four bits of the first byte are the version.

use crate::ids::SessionIndex;
use crate::limits::DATAGRAM_LEN_MAX;

/// Version of the UDP packets; the upper half of the first byte.
pub const PROTOCOL_VERSION: u8 = 1;
/// Length of the header, in bytes; all of it is authenticated.
pub const HEADER_LEN: usize = 16;
/// Length of the authentication tag at the end, in bytes.
pub const TAG_LEN: usize = 16;
/// Longest body of a packet, in bytes.
pub const BODY_LEN_MAX: usize = DATAGRAM_LEN_MAX - HEADER_LEN - TAG_LEN;

/// First byte of every heartbeat: what a filter that knows nothing else can look at.
pub const HEARTBEAT_FIRST_BYTE: u8 = PROTOCOL_VERSION << 4 | PacketKind::Heartbeat.number();

/// What a packet's body is; the lower half of the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// A [`crate::heartbeat::Heartbeat`], agent to master.
    Heartbeat,
    /// An [`crate::ack::Ack`], master to agent.
    Ack,
}

impl PacketKind {
    const fn number(self) -> u8 {
        match self {
            Self::Heartbeat => 1,
            Self::Ack => 2,
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Heartbeat),
            2 => Some(Self::Ack),
            _ => None,
        }
    }
}

/// First 16 bytes of every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the body is.
    pub kind: PacketKind,
    /// Epoch of the session's key; a revoked one is refused.
    pub key_epoch: u16,
    /// Which session's key sealed it.
    pub session: SessionIndex,
    /// Invariant: never used twice under one key. The first is 1.
    pub counter: u64,
}

/// Why the start of a datagram is no header of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// No packet is that short or that long.
    #[error("a datagram of {len} bytes is no packet")]
    Length {
        /// Length of the datagram, in bytes.
        len: usize,
    },
    /// Another version.
    #[error("packet version {found}, this build speaks {PROTOCOL_VERSION}")]
    Version {
        /// Its version.
        found: u8,
    },
    /// Unknown kind of packet.
    #[error("packet kind {found} is unknown")]
    Kind {
        /// Its number.
        found: u8,
    },
    /// A flag that this version does not know.
    #[error("packet flags {found:#04x} are unknown")]
    Flags {
        /// The flags.
        found: u8,
    },
}

impl Header {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let fields = [
            &[PROTOCOL_VERSION << 4 | self.kind.number(), 0][..],
            &self.key_epoch.to_le_bytes(),
            &self.session.0.to_le_bytes(),
            &self.counter.to_le_bytes(),
        ];
        for (to, from) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }

    /// Reads the header of a whole datagram.
    ///
    /// # Errors
    ///
    /// Anything that cannot be a packet of this version, judged by length and first two bytes.
    pub fn decode(datagram: &[u8]) -> Result<Self, HeaderError> {
        let len = datagram.len();
        if !(HEADER_LEN + TAG_LEN..=DATAGRAM_LEN_MAX).contains(&len) {
            return Err(HeaderError::Length { len });
        }
        let Some((header, _)) = datagram.split_first_chunk::<HEADER_LEN>() else {
            return Err(HeaderError::Length { len });
        };
        let [first, flags, e0, e1, s0, s1, s2, s3, counter @ ..] = *header;
        if first >> 4 != PROTOCOL_VERSION {
            return Err(HeaderError::Version { found: first >> 4 });
        }
        let kind =
            PacketKind::from_number(first & 15).ok_or(HeaderError::Kind { found: first & 15 })?;
        if flags != 0 {
            return Err(HeaderError::Flags { found: flags });
        }
        Ok(Self {
            kind,
            key_epoch: u16::from_le_bytes([e0, e1]),
            session: SessionIndex(u32::from_le_bytes([s0, s1, s2, s3])),
            counter: u64::from_le_bytes(counter),
        })
    }
}

/// Why a packet's body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeBodyError {
    /// It is not what the header says.
    #[error("malformed body")]
    Malformed,
    /// It is longer than its content.
    #[error("{extra} bytes too many after the body")]
    TrailingBytes {
        /// How many.
        extra: usize,
    },
}

/// Reads a body that must hold exactly one `T`.
pub(crate) fn decode_body<'a, T: serde::Deserialize<'a>>(
    body: &'a [u8],
) -> Result<T, DecodeBodyError> {
    let (value, rest) = postcard::take_from_bytes(body).map_err(|_| DecodeBodyError::Malformed)?;
    match rest.len() {
        0 => Ok(value),
        extra => Err(DecodeBodyError::TrailingBytes { extra }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: Header = Header {
        kind: PacketKind::Heartbeat,
        key_epoch: 0x0102,
        session: SessionIndex(0x0304_0506),
        counter: 0x0708_090a_0b0c_0d0e,
    };

    fn datagram(header: [u8; HEADER_LEN]) -> [u8; HEADER_LEN + TAG_LEN] {
        let mut bytes = [0; HEADER_LEN + TAG_LEN];
        bytes[..HEADER_LEN].copy_from_slice(&header);
        bytes
    }

    #[test]
    fn header_bytes_are_frozen() {
        assert_eq!(
            HEADER.encode(),
            [0x11, 0, 2, 1, 6, 5, 4, 3, 0x0e, 0x0d, 0x0c, 0x0b, 0x0a, 9, 8, 7]
        );
        assert_eq!(Header { kind: PacketKind::Ack, ..HEADER }.encode()[0], 0x12);
        assert_eq!(HEARTBEAT_FIRST_BYTE, 0x11);
    }

    #[test]
    fn header_is_read_back() {
        assert_eq!(Header::decode(&datagram(HEADER.encode())), Ok(HEADER));
    }

    #[test]
    fn other_versions_kinds_flags_and_lengths_are_refused() {
        let mut other = datagram(HEADER.encode());
        other[0] = 0x21;
        assert_eq!(Header::decode(&other), Err(HeaderError::Version { found: 2 }));
        other[0] = 0x1f;
        assert_eq!(Header::decode(&other), Err(HeaderError::Kind { found: 15 }));
        other[0] = 0x11;
        other[1] = 1;
        assert_eq!(Header::decode(&other), Err(HeaderError::Flags { found: 1 }));
        assert_eq!(Header::decode(&other[..31]), Err(HeaderError::Length { len: 31 }));
        assert_eq!(Header::decode(&[0x11; 513]), Err(HeaderError::Length { len: 513 }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(header) = Header::decode(&bytes) {
                prop_assert_eq!(&header.encode()[..], &bytes[..HEADER_LEN]);
            }
        }
    }
}
