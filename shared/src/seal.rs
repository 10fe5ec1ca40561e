//! Seals and opens UDP packets with ChaCha20-Poly1305, one key per direction.
//!
//! Keys come from the TLS exporter of the node link, so a power cut can never reuse a nonce and
//! no counter is ever stored. Knows nothing of what is inside.
//!
//! ```text
//! nonce = 0x00000000 || counter, little endian;   associated data = the header, 16 bytes
//! ```

use core::fmt;

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, Key, KeyInit, Nonce, Tag};

use crate::ids::SessionIndex;
use crate::replay::ReplayWindow;
use crate::wire::{HEADER_LEN, Header, HeaderError, PacketKind, TAG_LEN};

/// The two keys of a session. Not printable.
#[derive(Clone)]
pub struct SessionKeys {
    /// Seals what the agent sends.
    pub to_master: [u8; 32],
    /// Seals what the master sends.
    pub to_agent: [u8; 32],
}

impl SessionKeys {
    /// Splits what the TLS exporter yields: first agent to master, then master to agent.
    #[must_use]
    pub fn from_exported(bytes: &[u8; 64]) -> Self {
        let mut keys = Self { to_master: [0; 32], to_agent: [0; 32] };
        for (to, from) in keys.to_master.iter_mut().chain(&mut keys.to_agent).zip(bytes) {
            *to = *from;
        }
        keys
    }
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKeys").finish_non_exhaustive()
    }
}

/// Seals one direction of a session.
#[derive(Debug)]
pub struct Sealer {
    cipher: ChaCha20Poly1305,
    kind: PacketKind,
    session: SessionIndex,
    key_epoch: u16,
    /// Counter of the last sealed packet.
    counter: u64,
}

/// A packet was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its length, in bytes.
    pub len: usize,
    /// Its counter.
    pub counter: u64,
}

/// Why a packet could not be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The buffer cannot hold header, body and tag.
    #[error("a body of {len} bytes does not fit in the buffer")]
    TooLong {
        /// Length of the body, in bytes.
        len: usize,
    },
    /// All counters of this key are used; a new session is needed.
    #[error("the session's counters are used up")]
    Exhausted,
}

impl Sealer {
    /// A sealer that starts at counter 1. A key must be given to one sealer only.
    #[must_use]
    pub fn new(key: &[u8; 32], kind: PacketKind, session: SessionIndex, key_epoch: u16) -> Self {
        let cipher = ChaCha20Poly1305::new(&Key::from(*key));
        Self { cipher, kind, session, key_epoch, counter: 0 }
    }

    /// Writes the sealed packet to the start of `out`.
    ///
    /// # Errors
    ///
    /// The buffer is too small, or the counters are used up; no counter is spent then.
    pub fn seal(&mut self, body: &[u8], out: &mut [u8]) -> Result<Sealed, SealError> {
        let counter = self.counter.checked_add(1).ok_or(SealError::Exhausted)?;
        let too_long = SealError::TooLong { len: body.len() };
        let len = HEADER_LEN + body.len() + TAG_LEN;
        let (header_out, rest) = out
            .get_mut(..len)
            .and_then(|packet| packet.split_first_chunk_mut::<HEADER_LEN>())
            .ok_or(too_long)?;
        let (body_out, tag_out) = rest.split_at_mut_checked(body.len()).ok_or(too_long)?;
        let header =
            Header { kind: self.kind, key_epoch: self.key_epoch, session: self.session, counter };
        *header_out = header.encode();
        body_out.copy_from_slice(body);
        let tag = self
            .cipher
            .encrypt_inout_detached(&nonce(counter), header_out, InOutBuf::from(body_out))
            .map_err(|_| too_long)?;
        tag_out.copy_from_slice(&tag);
        self.counter = counter;
        Ok(Sealed { len, counter })
    }
}

/// Opens one direction of a session.
#[derive(Debug)]
pub struct Opener {
    cipher: ChaCha20Poly1305,
    kind: PacketKind,
    session: SessionIndex,
    key_epoch: u16,
    window: ReplayWindow,
}

/// An authenticated packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// Its counter.
    pub counter: u64,
    /// Its body, in the clear.
    pub body: &'a [u8],
}

/// Why a packet was not opened. Nothing may be answered to any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Its start is no header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// It is of another session, key epoch or direction.
    #[error("the packet is not of this session")]
    OtherSession,
    /// It was seen before, or is too old to know.
    #[error("counter {counter} was seen before")]
    Replayed {
        /// Its counter.
        counter: u64,
    },
    /// It was not sealed by the other side, or was changed.
    #[error("the packet is not authentic")]
    Forged,
}

impl Opener {
    /// An opener that has seen nothing.
    #[must_use]
    pub fn new(key: &[u8; 32], kind: PacketKind, session: SessionIndex, key_epoch: u16) -> Self {
        let cipher = ChaCha20Poly1305::new(&Key::from(*key));
        Self { cipher, kind, session, key_epoch, window: ReplayWindow::new() }
    }

    /// Checks and decrypts a datagram in place; cheapest checks first, and the replay window
    /// moves only for what is authentic.
    ///
    /// # Errors
    ///
    /// Everything that is not a fresh packet of this session.
    pub fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Result<Opened<'a>, OpenError> {
        let header = Header::decode(datagram)?;
        let ours = header.kind == self.kind
            && header.session == self.session
            && header.key_epoch == self.key_epoch;
        if !ours {
            return Err(OpenError::OtherSession);
        }
        let counter = header.counter;
        if !self.window.is_fresh(counter) {
            return Err(OpenError::Replayed { counter });
        }
        let (header_bytes, rest) =
            datagram.split_first_chunk_mut::<HEADER_LEN>().ok_or(OpenError::Forged)?;
        let (body, tag) = rest.split_last_chunk_mut::<TAG_LEN>().ok_or(OpenError::Forged)?;
        self.cipher
            .decrypt_inout_detached(
                &nonce(counter),
                header_bytes,
                InOutBuf::from(&mut *body),
                &Tag::from(*tag),
            )
            .map_err(|_| OpenError::Forged)?;
        self.window.accept(counter);
        Ok(Opened { counter, body })
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = Nonce::default();
    for (to, from) in nonce.iter_mut().skip(4).zip(counter.to_le_bytes()) {
        *to = from;
    }
    nonce
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 32] = [7; 32];
    const SESSION: SessionIndex = SessionIndex(5);

    fn pair() -> (Sealer, Opener) {
        (
            Sealer::new(&KEY, PacketKind::Heartbeat, SESSION, 1),
            Opener::new(&KEY, PacketKind::Heartbeat, SESSION, 1),
        )
    }

    fn sealed(sealer: &mut Sealer, body: &[u8]) -> Vec<u8> {
        let mut buffer = [0; 512];
        let sealed = sealer.seal(body, &mut buffer).unwrap();
        buffer[..sealed.len].to_vec()
    }

    #[test]
    fn sealed_bytes_are_frozen() {
        let (mut sealer, _) = pair();
        let bytes = sealed(&mut sealer, b"bramble");
        assert_eq!(bytes.len(), HEADER_LEN + 7 + TAG_LEN);
        assert_eq!(bytes[..HEADER_LEN], [0x11, 0, 1, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(hex(&bytes[HEADER_LEN..]), GOLDEN);
    }

    /// Computed once; a change means that released agents cannot be understood.
    const GOLDEN: &str = "d821510d471ad454068b44754a29992a4f68bfc4344be2";

    fn hex(bytes: &[u8]) -> std::string::String {
        bytes.iter().map(|byte| std::format!("{byte:02x}")).collect()
    }

    #[test]
    fn what_was_sealed_is_opened_once() {
        let (mut sealer, mut opener) = pair();
        let packet = sealed(&mut sealer, b"one");
        let mut copy = packet.clone();
        assert_eq!(opener.open(&mut copy), Ok(Opened { counter: 1, body: b"one" }));
        assert_eq!(opener.open(&mut packet.clone()), Err(OpenError::Replayed { counter: 1 }));
    }

    #[test]
    fn another_direction_session_or_epoch_is_refused() {
        let (mut sealer, _) = pair();
        let packet = sealed(&mut sealer, b"one");
        for mut opener in [
            Opener::new(&KEY, PacketKind::Ack, SESSION, 1),
            Opener::new(&KEY, PacketKind::Heartbeat, SessionIndex(6), 1),
            Opener::new(&KEY, PacketKind::Heartbeat, SESSION, 2),
        ] {
            assert_eq!(opener.open(&mut packet.clone()), Err(OpenError::OtherSession));
        }
        let mut other_key = Opener::new(&[8; 32], PacketKind::Heartbeat, SESSION, 1);
        assert_eq!(other_key.open(&mut packet.clone()), Err(OpenError::Forged));
    }

    #[test]
    fn a_forged_counter_does_not_move_the_window() {
        let (mut sealer, mut opener) = pair();
        let mut packet = sealed(&mut sealer, b"one");
        packet[15] = 0xff;
        assert_eq!(opener.open(&mut packet), Err(OpenError::Forged));
        assert!(opener.open(&mut sealed(&mut sealer, b"two")).is_ok());
    }

    #[test]
    fn a_buffer_that_is_too_small_spends_no_counter() {
        let (mut sealer, _) = pair();
        assert_eq!(sealer.seal(b"one", &mut [0; 34]), Err(SealError::TooLong { len: 3 }));
        assert_eq!(sealer.seal(b"one", &mut [0; 35]), Ok(Sealed { len: 35, counter: 1 }));
    }

    proptest! {
        #[test]
        fn every_flipped_bit_is_noticed(byte in 0_usize..39, bit in 0_u8..8) {
            let (mut sealer, mut opener) = pair();
            let mut packet = sealed(&mut sealer, b"bramble");
            packet[byte] ^= 1 << bit;
            prop_assert!(opener.open(&mut packet).is_err());
        }

        #[test]
        fn any_bytes_are_refused_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let (_, mut opener) = pair();
            prop_assert!(opener.open(&mut bytes).is_err());
        }
    }
}
