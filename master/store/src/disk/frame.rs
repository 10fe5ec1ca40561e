//! Bytes of the log: frames, and the rows in them. Pure.
//!
//! ```text
//!  0        4            8          16            24
//!  | length | head check | sequence | body check  | rows ...  | zeros to the next sector |
//! ```
//! A frame is one commit: all of it is there, or nothing of it counts. Frames begin at sectors, so
//! that no write touches a sector that was acknowledged before. Checks are seeded with a number
//! that only this file knows: no value that somebody stores can pass for a frame.

use std::sync::Arc;

use twox_hash::XxHash64;

use crate::{KeyValue, Revision};

/// What every disk and card can write at once, or not at all.
pub(super) const SECTOR: usize = 512;
/// Bytes before the rows.
pub(super) const HEAD_LEN: usize = 24;
/// Largest body that is believed in: a commit of some hundred of the largest objects.
const BODY_LEN_MAX: usize = 1 << 30;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const RESERVED: u8 = 3;
const BASED: u8 = 4;
const CLOSED: u8 = 5;
const CAPACITY: u8 = 6;

/// One thing that a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// An entry is this now.
    Put(KeyValue),
    /// An entry is gone.
    Delete(Arc<str>),
    /// Revisions up to this may have been handed out.
    Reserved(Revision),
    /// Ends the base: so many entries came before, and frames count on from `sequence`.
    Based {
        /// Entries of the base.
        entries: u64,
        /// Sequence of the next frame.
        sequence: u64,
    },
    /// The store was closed; whatever came before is whole.
    Closed,
    /// The file has this length from now on.
    Capacity(u64),
}

/// Rows of a frame that is being put together.
#[derive(Debug)]
pub(super) struct Body(Vec<u8>);

impl Body {
    pub(super) fn new() -> Self {
        Self(vec![0; HEAD_LEN])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.len() == HEAD_LEN
    }

    /// Bytes of the frame, were it sealed now.
    pub(super) fn frame_len(&self) -> usize {
        self.0.len().next_multiple_of(SECTOR)
    }

    pub(super) fn put(&mut self, entry: &KeyValue) {
        self.0.push(PUT);
        self.number(entry.create_revision);
        self.number(entry.mod_revision);
        self.number(entry.version);
        self.bytes(entry.key.as_bytes());
        self.bytes(&entry.value);
    }

    pub(super) fn delete(&mut self, key: &str) {
        self.0.push(DELETE);
        self.bytes(key.as_bytes());
    }

    pub(super) fn reserved(&mut self, revision: Revision) {
        self.0.push(RESERVED);
        self.number(revision);
    }

    pub(super) fn based(&mut self, entries: u64, sequence: u64) {
        self.0.push(BASED);
        self.number(entries);
        self.number(sequence);
    }

    pub(super) fn closed(&mut self) {
        self.0.push(CLOSED);
    }

    pub(super) fn capacity(&mut self, len: u64) {
        self.0.push(CAPACITY);
        self.number(len);
    }

    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.0.extend_from_slice(bytes);
    }

    /// The frame, whole sectors of it.
    pub(super) fn seal(mut self, salt: u64, sequence: u64) -> Vec<u8> {
        let body = self.0.get(HEAD_LEN..).unwrap_or_default();
        assert!(body.len() <= BODY_LEN_MAX, "a commit of {} bytes", body.len());
        let head = Head { len: body.len(), sequence, body_check: XxHash64::oneshot(salt, body) };
        let bytes = head.encode(salt);
        if let Some(space) = self.0.get_mut(..HEAD_LEN) {
            space.copy_from_slice(&bytes);
        }
        self.0.resize(self.frame_len(), 0);
        self.0
    }
}

/// What stands before the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the rows.
    pub(super) len: usize,
    /// Counts frames.
    pub(super) sequence: u64,
    body_check: u64,
}

impl Head {
    fn encode(self, salt: u64) -> [u8; HEAD_LEN] {
        let len = u32::try_from(self.len).unwrap_or(u32::MAX);
        let check = self.check(salt);
        let mut bytes = [0; HEAD_LEN];
        let parts = [
            len.to_le_bytes().as_slice(),
            &check.to_le_bytes(),
            &self.sequence.to_le_bytes(),
            &self.body_check.to_le_bytes(),
        ]
        .concat();
        bytes.copy_from_slice(&parts);
        bytes
    }

    /// Reads a head; none if this is not one.
    pub(super) fn decode(bytes: &[u8], salt: u64) -> Option<Self> {
        let (len, rest) = bytes.split_first_chunk()?;
        let (check, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (body_check, _) = rest.split_first_chunk()?;
        let head = Self {
            len: usize::try_from(u32::from_le_bytes(*len)).ok()?,
            sequence: u64::from_le_bytes(*sequence),
            body_check: u64::from_le_bytes(*body_check),
        };
        let right = head.check(salt) == u32::from_le_bytes(*check) && head.len <= BODY_LEN_MAX;
        right.then_some(head)
    }

    fn check(self, salt: u64) -> u32 {
        let len = u64::try_from(self.len).unwrap_or(u64::MAX);
        let text = [len, self.sequence, self.body_check].map(u64::to_le_bytes).concat();
        let [a, b, c, d, ..] = XxHash64::oneshot(salt, &text).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// Whether these are the rows that belong to it.
    pub(super) fn is_of(self, body: &[u8], salt: u64) -> bool {
        body.len() == self.len && XxHash64::oneshot(salt, body) == self.body_check
    }

    /// Bytes of the whole frame.
    pub(super) fn frame_len(self) -> usize {
        (HEAD_LEN + self.len).next_multiple_of(SECTOR)
    }
}

/// Takes the next row off a body; none if it makes no sense.
pub(super) fn take_row(body: &mut &[u8]) -> Option<Row> {
    let (&[tag], rest) = body.split_first_chunk()?;
    *body = rest;
    Some(match tag {
        PUT => {
            let (create_revision, mod_revision) = (take_number(body)?, take_number(body)?);
            let version = take_number(body)?;
            let key = std::str::from_utf8(take_bytes(body)?).ok()?.into();
            let value = take_bytes(body)?.into();
            Row::Put(KeyValue { key, value, create_revision, mod_revision, version })
        }
        DELETE => Row::Delete(std::str::from_utf8(take_bytes(body)?).ok()?.into()),
        RESERVED => Row::Reserved(take_number(body)?),
        BASED => Row::Based { entries: take_number(body)?, sequence: take_number(body)? },
        CLOSED => Row::Closed,
        CAPACITY => Row::Capacity(take_number(body)?),
        _ => return None,
    })
}

fn take_number(body: &mut &[u8]) -> Option<u64> {
    let (number, rest) = body.split_first_chunk()?;
    *body = rest;
    Some(u64::from_le_bytes(*number))
}

fn take_bytes<'a>(body: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(take_number(body)?).ok()?;
    let (bytes, rest) = body.split_at_checked(len)?;
    *body = rest;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SALT: u64 = 7;

    fn entry(key: &str, value: Vec<u8>) -> KeyValue {
        let (create_revision, mod_revision, version) = (3, 5, 2);
        KeyValue { key: key.into(), value: value.into(), create_revision, mod_revision, version }
    }

    proptest! {
        #[test]
        fn rows_come_back_as_they_went(key in ".{0,40}", value: Vec<u8>, number: u64) {
            let mut body = Body::new();
            body.put(&entry(&key, value.clone()));
            body.delete(&key);
            body.reserved(number);
            body.based(number, 1);
            body.capacity(number);
            body.closed();
            let frame = body.seal(SALT, number);
            prop_assert!(frame.len().is_multiple_of(SECTOR));
            let head = Head::decode(&frame, SALT).unwrap();
            prop_assert_eq!((head.sequence, head.frame_len()), (number, frame.len()));
            let mut rows = &frame[HEAD_LEN..HEAD_LEN + head.len];
            prop_assert!(head.is_of(rows, SALT));
            let expected = [
                Row::Put(entry(&key, value)),
                Row::Delete(key.as_str().into()),
                Row::Reserved(number),
                Row::Based { entries: number, sequence: 1 },
                Row::Capacity(number),
                Row::Closed,
            ];
            for row in expected {
                prop_assert_eq!(take_row(&mut rows), Some(row));
            }
            prop_assert!(rows.is_empty());
        }

        #[test]
        fn changed_frame_is_noticed(value: Vec<u8>, at: prop::sample::Index, bit in 0..8u8) {
            let mut body = Body::new();
            body.put(&entry("/a", value));
            let mut frame = body.seal(SALT, 1);
            let end = HEAD_LEN + Head::decode(&frame, SALT).unwrap().len;
            let at = at.index(end);
            frame[at] ^= 1 << bit;
            let right = Head::decode(&frame, SALT).is_some_and(|head| {
                frame.get(HEAD_LEN..HEAD_LEN + head.len).is_some_and(|body| head.is_of(body, SALT))
            });
            prop_assert!(!right);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = Head::decode(&bytes, SALT);
            let mut rows = bytes.as_slice();
            while take_row(&mut rows).is_some() {}
        }
    }

    #[test]
    fn frame_of_another_file_is_not_one_of_ours() {
        let mut body = Body::new();
        body.closed();
        assert_eq!(Head::decode(&body.seal(SALT, 1), SALT + 1), None);
    }
}
