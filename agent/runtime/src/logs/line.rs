//! One line of a log file, as the log writer makes it: `time stream tag text`.

use crate::timestamp;

/// Length in bytes of what stands before the text: time, stream and tag, with their spaces.
pub(super) const PREFIX_LEN_MAX: usize = 64;

/// One line, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) time: &'a str,
    pub(super) at_us: u64,
    /// More of what the container wrote as one line follows.
    pub(super) partial: bool,
    pub(super) text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Takes a line apart; none for what is not the log writer's.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(4, |&byte| byte == b' ');
        let (time, _stream, tag, text) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let time = std::str::from_utf8(time).ok()?;
        let at_us = timestamp::parse(time)?;
        Some(Self { time, at_us, partial: tag == b"P", text })
    }
}
