//! The channels of `channel.k8s.io` and its later versions: what the first byte of a message says,
//! and how a program's end is told.
//!
//! Pure. Input may be of any length and is passed on piece by piece; a size of a terminal is kept
//! until it is whole, and is short.

use bramble_api::Status;
use bramble_shared::link::{EXEC_PIECE_LEN_MAX, ExecInput};
use serde_json::{Value, json};

use super::websocket::Input;

/// What clients may speak, by the names in use; the newest first.
pub(super) const PROTOCOLS: &[(&str, Protocol)] = &[
    ("v5.channel.k8s.io", Protocol::V5),
    ("v4.channel.k8s.io", Protocol::V4),
    ("channel.k8s.io", Protocol::V1),
];

/// A way of using channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// As V4, but only a failure is told, in words.
    V1,
    /// Input cannot end before the connection does.
    V4,
    /// A message on channel 255 names one that ends.
    V5,
}

pub(super) const STDIN: u8 = 0;
pub(super) const STDOUT: u8 = 1;
pub(super) const STDERR: u8 = 2;
pub(super) const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// Longest size of a terminal as text: `{"Width":65535,"Height":65535}` and some room.
const SIZE_LEN_MAX: usize = 256;

/// Turns a client's messages into input of a program.
#[derive(Debug)]
pub(super) struct Reader {
    protocol: Protocol,
    channel: Option<u8>,
    /// The message so far, of channels whose messages are kept.
    kept: Vec<u8>,
}

impl Reader {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self { protocol, channel: None, kept: Vec::new() }
    }

    /// What a piece of a message means to the program.
    pub(super) fn read(&mut self, input: Input) -> Vec<ExecInput> {
        let Input::Data { first, last, bytes } = input else { return Vec::new() };
        if first {
            self.channel = None;
            self.kept.clear();
        }
        let bytes = match (self.channel, bytes.split_first()) {
            (Some(_), _) => bytes.as_slice(),
            (None, Some((channel, rest))) => {
                self.channel = Some(*channel);
                rest
            }
            (None, None) => return Vec::new(),
        };
        match self.channel {
            Some(STDIN) => bytes
                .chunks(EXEC_PIECE_LEN_MAX)
                .map(|piece| ExecInput::Data(piece.into()))
                .collect(),
            Some(RESIZE | CLOSE) => {
                let room = SIZE_LEN_MAX.saturating_sub(self.kept.len());
                self.kept.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
                if last { self.whole().into_iter().collect() } else { Vec::new() }
            }
            Some(_) | None => Vec::new(),
        }
    }

    fn whole(&self) -> Option<ExecInput> {
        match (self.channel?, self.protocol) {
            (RESIZE, _) => size(&self.kept),
            (CLOSE, Protocol::V5) => (self.kept.first() == Some(&STDIN)).then_some(ExecInput::End),
            _ => None,
        }
    }
}

fn size(text: &[u8]) -> Option<ExecInput> {
    let size: Value = serde_json::from_slice(text).ok()?;
    let side = |name: &str| {
        let side = size.get(name).and_then(Value::as_u64)?;
        Some(u16::try_from(side).unwrap_or(u16::MAX))
    };
    Some(ExecInput::Resize { columns: side("Width")?, rows: side("Height")? })
}

/// How a program has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By itself, with this code.
    Exited(i32),
    /// It could not be begun, or its end is not known.
    Failed(String),
}

impl End {
    /// The message that tells it, for the channel of errors; empty where there is none.
    pub(super) fn told(&self, protocol: Protocol) -> String {
        match (protocol, self) {
            (Protocol::V4 | Protocol::V5, end) => end.status().to_string(),
            (Protocol::V1, Self::Exited(0)) => String::new(),
            (Protocol::V1, Self::Exited(code)) => exit_words(*code),
            (Protocol::V1, Self::Failed(message)) => message.clone(),
        }
    }

    fn status(&self) -> Value {
        match self {
            Self::Exited(code) => exit_status(*code),
            Self::Failed(message) => {
                Status::internal(format!("Internal error occurred: {message}")).to_value()
            }
        }
    }
}

fn exit_words(code: i32) -> String {
    format!("command terminated with non-zero exit code: exit status {code}")
}

fn exit_status(code: i32) -> Value {
    if code == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    json!({
        "metadata": {},
        "status": "Failure",
        "message": exit_words(code),
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(first: bool, last: bool, bytes: &[u8]) -> Input {
        Input::Data { first, last, bytes: bytes.to_vec() }
    }

    #[test]
    fn the_first_byte_of_a_message_is_its_channel() {
        let mut reader = Reader::new(Protocol::V5);
        let mut check = |input, expected: &[ExecInput]| assert_eq!(reader.read(input), expected);
        check(data(true, true, b"\0abc"), &[ExecInput::Data(b"abc".to_vec())]);
        check(data(true, false, b""), &[]);
        check(data(false, false, b"\0a"), &[ExecInput::Data(b"a".to_vec())]);
        check(data(false, true, b"\0b"), &[ExecInput::Data(b"\0b".to_vec())]);
        check(data(true, false, b"\x04{\"Width\":80,"), &[]);
        check(
            data(false, true, b"\"Height\":99999}"),
            &[ExecInput::Resize { columns: 80, rows: 65_535 }],
        );
        check(data(true, true, b"\x04{\"Width\":-1}"), &[]);
        check(data(true, true, b"\x07what"), &[]);
        check(data(true, true, b"\xff\x01"), &[]);
        check(data(true, true, b"\xff\x00"), &[ExecInput::End]);
        check(Input::Close, &[]);
    }

    #[test]
    fn input_of_old_clients_ends_with_the_connection() {
        assert_eq!(Reader::new(Protocol::V4).read(data(true, true, b"\xff\x00")), []);
    }

    #[test]
    fn pieces_are_as_long_as_a_node_takes_and_sizes_are_short() {
        let mut reader = Reader::new(Protocol::V5);
        let pieces = reader.read(data(true, true, &vec![0; 3 * EXEC_PIECE_LEN_MAX + 2]));
        assert_eq!(pieces.len(), 4);
        reader.read(data(true, false, &[RESIZE]));
        for _ in 0..100 {
            reader.read(data(false, false, &[b' '; 4096]));
        }
        assert!(reader.kept.len() <= SIZE_LEN_MAX);
    }

    #[test]
    fn exit_codes_are_causes() {
        let status = |code| -> Value {
            serde_json::from_str(&End::Exited(code).told(Protocol::V4)).unwrap()
        };
        assert_eq!(status(0)["status"], "Success");
        let cause = json!({"reason": "ExitCode", "message": "7"});
        assert_eq!(status(7)["details"]["causes"][0], cause);
    }

    #[test]
    fn the_first_clients_are_told_failures_only() {
        let check = |end: End, expected: &str| assert_eq!(end.told(Protocol::V1), expected);
        check(End::Exited(0), "");
        check(End::Exited(7), "command terminated with non-zero exit code: exit status 7");
        check(End::Failed("no".to_owned()), "no");
    }
}
