//! WebSocket's frames (RFC 6455), as a server reads and writes them.
//!
//! Pure: bytes come in as they arrive, and what they mean comes out piece by piece, so that the
//! length of a frame costs nothing, whatever a client says it is. Extensions are never agreed on.
//!
//! ```text
//! fin, opcode | mask, length (7 bits, 16 or 64 more) | mask (4) | payload
//! ```

use bytes::Bytes;

/// Longest payload of a control frame.
const CONTROL_LEN_MAX: usize = 125;
/// Longest head of a frame: two bytes, a length of eight and a mask of four.
const HEAD_LEN_MAX: usize = 14;

/// What a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A piece of a message.
    Data {
        /// The message begins with it.
        first: bool,
        /// The message ends with it.
        last: bool,
        /// Its bytes, possibly none.
        bytes: Vec<u8>,
    },
    /// Wants a pong with the same bytes.
    Ping(Vec<u8>),
    /// The client ends the connection.
    Close,
}

/// Why what a client sent is no WebSocket; the connection ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    /// A client must mask what it sends.
    #[error("a frame is not masked")]
    NotMasked,
    /// It uses an extension.
    #[error("a frame has reserved bits")]
    Reserved,
    /// It is of an unknown kind.
    #[error("a frame has the unknown opcode {opcode}")]
    Opcode { opcode: u8 },
    /// A control frame is too long or in pieces.
    #[error("a control frame is too long or in pieces")]
    Control,
    /// A message begins within another, or goes on without having begun.
    #[error("a message is out of order")]
    Order,
    /// Its length has a sign.
    #[error("a frame has an impossible length")]
    Length,
}

/// Reads a client's frames.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// What is not read yet: an incomplete head or control frame.
    buffer: Vec<u8>,
    /// The data frame that is being read.
    frame: Option<Payload>,
    /// A message has begun and not ended.
    within_message: bool,
}

/// What is still to come of a data frame.
#[derive(Clone, Copy, Debug)]
struct Payload {
    left: u64,
    mask: [u8; 4],
    masked: usize,
    first: bool,
    last: bool,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    opcode: u8,
    last: bool,
    len: u64,
    mask: [u8; 4],
    /// Bytes of the head itself.
    bytes: usize,
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

impl Decoder {
    /// Takes what arrived and returns what it means.
    ///
    /// # Errors
    ///
    /// It is no WebSocket; nothing more can be read.
    pub(super) fn decode(&mut self, arrived: &[u8]) -> Result<Vec<Input>, FrameError> {
        self.buffer.extend_from_slice(arrived);
        let mut inputs = Vec::new();
        while let Some(input) = self.next()? {
            inputs.extend(input);
        }
        Ok(inputs)
    }

    /// The next step; none until more arrives, and nothing in it for what says nothing.
    #[expect(clippy::option_option, reason = "a step may have no meaning of its own")]
    fn next(&mut self) -> Result<Option<Option<Input>>, FrameError> {
        if let Some(mut frame) = self.frame.take() {
            let there = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
            let len = usize::try_from(frame.left.min(there)).unwrap_or(usize::MAX);
            if len == 0 && frame.left > 0 {
                self.frame = Some(frame);
                return Ok(None);
            }
            let mut bytes: Vec<u8> = self.buffer.drain(..len).collect();
            unmask(&mut bytes, frame.mask, frame.masked);
            frame.masked = (frame.masked + len) % 4;
            frame.left -= u64::try_from(len).unwrap_or(0);
            let whole = frame.left == 0;
            let (first, last) = (frame.first, frame.last && whole);
            frame.first = false;
            if !whole {
                self.frame = Some(frame);
            }
            return Ok(Some(Some(Input::Data { first, last, bytes })));
        }
        let Some(head) = head(&self.buffer)? else { return Ok(None) };
        if head.opcode >= CLOSE {
            return self.control(head);
        }
        if (head.opcode == CONTINUATION) != self.within_message {
            return Err(FrameError::Order);
        }
        self.within_message = !head.last;
        self.buffer.drain(..head.bytes);
        let first = head.opcode != CONTINUATION;
        let Head { len: left, mask, last, .. } = head;
        self.frame = Some(Payload { left, mask, masked: 0, first, last });
        Ok(Some(None))
    }

    #[expect(clippy::option_option, reason = "a pong has no meaning")]
    fn control(&mut self, head: Head) -> Result<Option<Option<Input>>, FrameError> {
        let len = usize::try_from(head.len).unwrap_or(usize::MAX);
        if len > CONTROL_LEN_MAX || !head.last {
            return Err(FrameError::Control);
        }
        let Some(payload) = self.buffer.get(head.bytes..head.bytes + len) else { return Ok(None) };
        let mut payload = payload.to_vec();
        unmask(&mut payload, head.mask, 0);
        self.buffer.drain(..head.bytes + len);
        Ok(Some(match head.opcode {
            CLOSE => Some(Input::Close),
            PING => Some(Input::Ping(payload)),
            _ => None,
        }))
    }
}

/// Reads a head, if all of it is there.
fn head(buffer: &[u8]) -> Result<Option<Head>, FrameError> {
    let buffer = buffer.get(..HEAD_LEN_MAX.min(buffer.len())).unwrap_or_default();
    let [first, second, rest @ ..] = buffer else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(FrameError::Reserved);
    }
    let opcode = first & 0x0f;
    if !matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG) {
        return Err(FrameError::Opcode { opcode });
    }
    if second & 0x80 == 0 {
        return Err(FrameError::NotMasked);
    }
    let (len, rest, bytes) = match (second & 0x7f, rest) {
        (126, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), rest, 4),
        (127, rest) => {
            let Some((len, rest)) = rest.split_first_chunk::<8>() else { return Ok(None) };
            (u64::from_be_bytes(*len), rest, 10)
        }
        (126, _) => return Ok(None),
        (len, rest) => (u64::from(len), rest, 2),
    };
    if len > i64::MAX.unsigned_abs() {
        return Err(FrameError::Length);
    }
    let Some(&mask) = rest.first_chunk::<4>() else { return Ok(None) };
    Ok(Some(Head { opcode, last: first & 0x80 != 0, len, mask, bytes: bytes + 4 }))
}

fn unmask(bytes: &mut [u8], mask: [u8; 4], from: usize) {
    for (byte, mask) in bytes.iter_mut().zip(mask.into_iter().cycle().skip(from)) {
        *byte ^= mask;
    }
}

/// A whole binary message made of a few parts.
pub(super) fn message(parts: &[&[u8]]) -> Bytes {
    frame(BINARY, parts)
}

/// The answer to a ping.
pub(super) fn pong(bytes: &[u8]) -> Bytes {
    frame(PONG, &[bytes])
}

/// The end of the connection, with its code: 1000 for a good one, 1002 for a broken client.
pub(super) fn close(code: u16) -> Bytes {
    frame(CLOSE, &[&code.to_be_bytes()])
}

fn frame(opcode: u8, parts: &[&[u8]]) -> Bytes {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut frame = Vec::with_capacity(len + 10);
    frame.push(0x80 | opcode);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ ..=125), _) => frame.push(short),
        (_, Ok(middle)) => {
            frame.push(126);
            frame.extend(middle.to_be_bytes());
        }
        (_, Err(_)) => {
            frame.push(127);
            frame.extend(u64::try_from(len).unwrap_or(u64::MAX).to_be_bytes());
        }
    }
    for part in parts {
        frame.extend_from_slice(part);
    }
    Bytes::from(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client's frame.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut bytes = vec![first];
        match payload.len() {
            len @ ..=125 => bytes.push(0x80 | u8::try_from(len).unwrap()),
            len => {
                bytes.push(0x80 | 126);
                bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
            }
        }
        bytes.extend(mask);
        let mut payload = payload.to_vec();
        unmask(&mut payload, mask, 0);
        bytes.extend(payload);
        bytes
    }

    /// Joins the pieces of messages.
    fn messages(decoder: &mut Decoder, arrived: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        for input in decoder.decode(arrived).unwrap() {
            let Input::Data { first, bytes, .. } = input else { continue };
            if first {
                found.push(Vec::new());
            }
            found.last_mut().unwrap().extend(bytes);
        }
        found
    }

    #[test]
    fn frames_that_arrive_in_any_pieces_are_the_same_messages() {
        let long = vec![7; 40_000];
        let sent = [
            masked(0x82, b"\x00hello"),
            masked(0x02, b"\x00in "),
            masked(0x89, b"ping"),
            masked(0x00, b"two"),
            masked(0x80, b" parts"),
            masked(0x82, &long),
            masked(0x82, b""),
        ]
        .concat();
        let expected: Vec<Vec<u8>> =
            vec![b"\x00hello".to_vec(), b"\x00in two parts".to_vec(), long, Vec::new()];
        assert_eq!(messages(&mut Decoder::default(), &sent), expected);
        let mut decoder = Decoder::default();
        let mut joined: Vec<Vec<u8>> = Vec::new();
        for byte in &sent {
            for input in decoder.decode(&[*byte]).unwrap() {
                match input {
                    Input::Data { first, bytes, .. } => {
                        if first {
                            joined.push(Vec::new());
                        }
                        joined.last_mut().unwrap().extend(bytes);
                    }
                    other @ (Input::Ping(_) | Input::Close) => {
                        assert_eq!(other, Input::Ping(b"ping".to_vec()));
                    }
                }
            }
            assert!(decoder.buffer.len() <= HEAD_LEN_MAX + CONTROL_LEN_MAX);
        }
        assert_eq!(joined, expected);
    }

    #[test]
    fn the_length_of_a_frame_costs_nothing() {
        let mut decoder = Decoder::default();
        let giant = [&[0x82, 0xff][..], &i64::MAX.to_be_bytes(), &[0; 4]].concat();
        assert!(decoder.decode(&giant).unwrap().is_empty());
        for _ in 0..1000 {
            let inputs = decoder.decode(&[0; 4096]).unwrap();
            assert!(matches!(&inputs[..], [Input::Data { last: false, .. }]));
            assert!(decoder.buffer.is_empty() && decoder.buffer.capacity() < 16 * 1024);
        }
    }

    #[test]
    fn what_is_no_websocket_is_refused() {
        let check = |bytes: &[u8], expected| {
            assert_eq!(Decoder::default().decode(bytes), Err(expected), "{bytes:?}");
        };
        check(&[0x82, 0x01, 0], FrameError::NotMasked);
        check(&masked(0xc2, b"x"), FrameError::Reserved);
        check(&masked(0x83, b"x"), FrameError::Opcode { opcode: 3 });
        check(&masked(0x09, b"x"), FrameError::Control);
        check(&masked(0x89, &[0; 126]), FrameError::Control);
        check(&masked(0x80, b"x"), FrameError::Order);
        check(&[masked(0x02, b"x"), masked(0x82, b"y")].concat(), FrameError::Order);
        check(&[&[0x82, 0xff][..], &[0xff; 8], &[0; 4]].concat(), FrameError::Length);
        assert_eq!(Decoder::default().decode(&masked(0x88, b"")).unwrap(), [Input::Close]);
    }

    #[test]
    fn heads_of_servers_frames_have_the_shortest_length() {
        assert_eq!(&message(&[b"\x01", b"ab"])[..], b"\x82\x03\x01ab");
        assert_eq!(&message(&[&[0; 126]])[..4], b"\x82\x7e\x00\x7e");
        assert_eq!(&message(&[&[0; 65_536]])[..10], b"\x82\x7f\0\0\0\0\0\x01\0\0");
        assert_eq!(&close(1000)[..], b"\x88\x02\x03\xe8");
        assert_eq!(&pong(b"x")[..], b"\x8a\x01x");
    }
}
