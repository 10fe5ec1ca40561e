//! A question as it is put to the node's resolvers, and remembered.

use crate::UDP_LEN_MAX;
use crate::message::{HEADER_LEN, Query, kind};
use crate::name::Name;

/// A question whose answer may be given to everybody who asks the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    name: Name,
    kind: u16,
    edns: bool,
    dnssec_ok: bool,
    unchecked: bool,
}

impl Question {
    /// What a client asks.
    #[must_use]
    pub fn of(query: &Query) -> Self {
        Self {
            name: query.name.clone(),
            kind: query.kind,
            edns: query.edns.is_some(),
            dnssec_ok: query.edns.is_some_and(|edns| edns.dnssec_ok),
            unchecked: query.unchecked,
        }
    }

    /// The same for another name.
    #[must_use]
    pub fn about(query: &Query, name: Name) -> Self {
        Self { name, ..Self::of(query) }
    }

    /// The packet.
    #[must_use]
    pub fn packet(&self, id: u16) -> Vec<u8> {
        let mut packet = Vec::with_capacity(HEADER_LEN + self.name.as_bytes().len() + 15);
        packet.extend(id.to_be_bytes());
        packet.extend([1, if self.unchecked { 0x10 } else { 0 }]);
        packet.extend([0, 1, 0, 0, 0, 0, 0, u8::from(self.edns)]);
        packet.extend(self.section());
        if self.edns {
            packet.push(0);
            packet.extend(kind::OPT.to_be_bytes());
            packet.extend(u16::try_from(UDP_LEN_MAX).unwrap_or(u16::MAX).to_be_bytes());
            packet.extend([0, 0, if self.dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]);
        }
        packet
    }

    /// Whether a packet answers this question, as it was asked with this number.
    #[must_use]
    pub fn answered_by(&self, id: u16, packet: &[u8]) -> bool {
        let Some(&[id0, id1, flags, _, q0, q1]) = packet.first_chunk() else { return false };
        let section = self.section();
        let found = packet.get(HEADER_LEN..).and_then(|rest| rest.get(..section.len()));
        u16::from_be_bytes([id0, id1]) == id
            && flags & 0xf8 == 0x80
            && [q0, q1] == [0, 1]
            && found.is_some_and(|found| found.eq_ignore_ascii_case(&section))
    }

    fn section(&self) -> Vec<u8> {
        let [high, low] = self.kind.to_be_bytes();
        [self.name.as_bytes(), &[high, low, 0, 1]].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::ask;

    #[test]
    fn only_the_answer_to_it_is_taken() {
        let query = Query::parse(&ask("Example.com", kind::A, Some(4096))).unwrap();
        let question = Question::of(&query);
        let packet = question.packet(7);
        let asked = Query::parse(&packet).unwrap();
        assert_eq!((asked.name, asked.id, asked.recursion), (query.name, 7, true));
        assert_eq!(asked.edns.unwrap().udp_len, 1232);
        let mut answer = packet.clone();
        assert!(!question.answered_by(7, &answer), "a question is no answer");
        answer[2] |= 0x80;
        assert!(question.answered_by(7, &answer));
        assert!(!question.answered_by(8, &answer));
        answer[14] ^= 1;
        assert!(!question.answered_by(7, &answer), "another name");
        assert!(!question.answered_by(7, &[0; 4]));
    }
}
