//! Protobuf's wire format: tags, varints and lengths.

use super::DecodeProtobufError;

/// One value as the wire has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// Reads fields one after the other.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Next field with its number; none at the end.
    pub(crate) fn field(&mut self) -> Result<Option<(u32, Scalar<'a>)>, DecodeProtobufError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| DecodeProtobufError::Truncated)?;
        let scalar = match tag & 7 {
            0 => Scalar::Varint(self.varint()?),
            1 => Scalar::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| DecodeProtobufError::Truncated)?;
                Scalar::Bytes(self.take(length)?)
            }
            5 => Scalar::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(DecodeProtobufError::Field { message: "?", number }),
        };
        Ok(Some((number, scalar)))
    }

    /// Next number of a packed list; none at the end.
    pub(crate) fn packed(&mut self) -> Result<Option<u64>, DecodeProtobufError> {
        if self.rest.is_empty() { Ok(None) } else { self.varint().map(Some) }
    }

    fn varint(&mut self) -> Result<u64, DecodeProtobufError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeProtobufError::Truncated)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeProtobufError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(DecodeProtobufError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeProtobufError> {
        let (head, rest) =
            self.rest.split_at_checked(length).ok_or(DecodeProtobufError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }
}
