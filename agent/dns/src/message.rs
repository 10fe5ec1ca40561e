//! Packets of the server's side: questions that come in, answers that go out (RFC 1035, 6891).
//!
//! Does not know what is answered.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::UDP_LEN_MAX;
use crate::name::Name;

/// Bytes of a header.
pub(crate) const HEADER_LEN: usize = 12;
/// Shortest answer over UDP that every client takes, in bytes.
const UDP_LEN_MIN: usize = 512;
/// Names of an answer that later ones may point to; more would cost time that grows with the square.
const POINTERS_MAX: usize = 64;

/// Types of records and questions.
pub mod kind {
    /// IPv4 address.
    pub const A: u16 = 1;
    /// Name server.
    pub const NS: u16 = 2;
    /// Another name of the same.
    pub const CNAME: u16 = 5;
    /// Start of authority.
    pub const SOA: u16 = 6;
    /// Name of an address.
    pub const PTR: u16 = 12;
    /// Text.
    pub const TXT: u16 = 16;
    /// IPv6 address.
    pub const AAAA: u16 = 28;
    /// Host and port of a service.
    pub const SRV: u16 = 33;
    /// EDNS.
    pub const OPT: u16 = 41;
    /// Everything.
    pub const ANY: u16 = 255;
}

/// The class of the internet.
const CLASS_IN: u16 = 1;

/// How a question was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// No error.
    NoError = 0,
    /// The question is malformed.
    FormErr = 1,
    /// No answer could be found.
    ServFail = 2,
    /// There is no such name.
    NxDomain = 3,
    /// Not this kind of question.
    NotImp = 4,
    /// Not to this client, or not of this class.
    Refused = 5,
}

/// What a client says of itself by EDNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// Longest answer over UDP that it takes, in bytes.
    pub udp_len: u16,
    /// It wants DNSSEC's records.
    pub dnssec_ok: bool,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The client's number for it.
    pub id: u16,
    /// Name, in lower case.
    pub name: Name,
    /// Type of the records wanted.
    pub kind: u16,
    /// Class of the records wanted.
    pub class: u16,
    /// Recursion desired.
    pub recursion: bool,
    /// Checking disabled.
    pub unchecked: bool,
    /// EDNS, if the client knows it.
    pub edns: Option<Edns>,
    /// The question as it was asked: clients compare letters' case.
    pub(crate) question: Vec<u8>,
}

/// A packet that is no question that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Nobody waits for an answer.
    Silent,
    /// This is to be answered.
    Answer(Vec<u8>),
}

impl Query {
    /// Reads a packet.
    ///
    /// # Errors
    ///
    /// When it is an answer, another operation than a query, or malformed.
    pub fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        let header: &[u8; HEADER_LEN] = packet.first_chunk().ok_or(Malformed::Silent)?;
        let [id0, id1, high, low, counts @ ..] = *header;
        if high & 0x80 != 0 {
            return Err(Malformed::Silent);
        }
        let id = u16::from_be_bytes([id0, id1]);
        let bare = |code: Code| {
            let flags = [0x80 | high & 0x79, code as u8];
            Malformed::Answer([&[id0, id1], &flags[..], &[0; 8]].concat())
        };
        if high & 0x78 != 0 {
            return Err(bare(Code::NotImp));
        }
        let [questions, answers, authorities, additionals] = sections(counts);
        let parsed = || {
            let (name, end) = Name::read(packet, HEADER_LEN)?;
            // A question comes first, so it can point to nothing.
            let question = packet.get(HEADER_LEN..end + 4)?;
            if question.len() != name.as_bytes().len() + 4 {
                return None;
            }
            let kind = u16_at(packet, end)?;
            let class = u16_at(packet, end + 2)?;
            let edns = edns(packet, end + 4, answers + authorities + additionals)?;
            Some((name, kind, class, question.to_vec(), edns))
        };
        let (name, kind, class, question, edns) =
            (questions == 1).then(parsed).flatten().ok_or_else(|| bare(Code::FormErr))?;
        let (recursion, unchecked) = (high & 1 != 0, low & 0x10 != 0);
        let query = Self { id, name, kind, class, recursion, unchecked, edns, question };
        if class != CLASS_IN {
            return Err(Malformed::Answer(query.answer(&Reply::of(Code::Refused), true)));
        }
        Ok(query)
    }

    /// Longest answer that may be sent, in bytes.
    #[must_use]
    pub fn len_max(&self, tcp: bool) -> usize {
        if tcp {
            return usize::from(u16::MAX);
        }
        let asked = self.edns.map_or(UDP_LEN_MIN, |edns| usize::from(edns.udp_len));
        asked.clamp(UDP_LEN_MIN, UDP_LEN_MAX)
    }

    /// The packet of a reply. One that is too long for UDP says so and is otherwise empty, so that
    /// the client asks again by TCP.
    #[must_use]
    pub fn answer(&self, reply: &Reply, tcp: bool) -> Vec<u8> {
        let len_max = self.len_max(tcp);
        let whole = self.encode(reply, false);
        if whole.len() <= len_max {
            return whole;
        }
        let bare = Reply { additional: Vec::new(), ..reply.clone() };
        let short = self.encode(&bare, false);
        if short.len() <= len_max {
            return short;
        }
        self.encode(&Reply { answers: Vec::new(), authority: Vec::new(), ..bare }, true)
    }

    fn encode(&self, reply: &Reply, truncated: bool) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes.extend(self.id.to_be_bytes());
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.bytes.push(
            0x80 | flag(reply.authoritative, 4) | flag(truncated, 2) | flag(self.recursion, 1),
        );
        out.bytes.push(0x80 | flag(self.unchecked, 0x10) | reply.code as u8);
        let additional = reply.additional.len() + usize::from(self.edns.is_some());
        for count in [1, reply.answers.len(), reply.authority.len(), additional] {
            out.bytes.extend(u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
        }
        out.bytes.extend(&self.question);
        out.remember(&self.name, HEADER_LEN);
        for record in reply.answers.iter().chain(&reply.authority).chain(&reply.additional) {
            out.record(record);
        }
        if self.edns.is_some() {
            out.bytes.push(0);
            out.bytes.extend(kind::OPT.to_be_bytes());
            out.bytes.extend(u16::try_from(UDP_LEN_MAX).unwrap_or(u16::MAX).to_be_bytes());
            out.bytes.extend([0; 6]);
        }
        out.bytes
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// How it went.
    pub code: Code,
    /// The one who answers is the one who decides.
    pub authoritative: bool,
    /// What was asked for.
    pub answers: Vec<Record>,
    /// Who decides, and how long a "no" may be believed.
    pub authority: Vec<Record>,
    /// What will be asked next.
    pub additional: Vec<Record>,
}

impl Reply {
    /// An answer without records.
    #[must_use]
    pub fn of(code: Code) -> Self {
        Self {
            code,
            authoritative: false,
            answers: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
        }
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub name: Name,
    /// How long it may be believed, in seconds.
    pub ttl_s: u32,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of RFC 1035 and 2782")]
pub enum Data {
    /// IPv4 address.
    A(Ipv4Addr),
    /// IPv6 address.
    Aaaa(Ipv6Addr),
    /// Another name of the same.
    Cname(Name),
    /// Name server.
    Ns(Name),
    /// Name of an address.
    Ptr(Name),
    /// Text of at most 255 bytes.
    Txt(&'static str),
    /// Host and port of a service.
    Srv { priority: u16, weight: u16, port: u16, target: Name },
    /// Start of authority; `minimum_s` is how long a "no" may be believed.
    Soa { server: Name, mailbox: Name, serial: u32, minimum_s: u32 },
}

impl Data {
    /// The type of a record that says this.
    #[must_use]
    pub const fn kind(&self) -> u16 {
        match self {
            Self::A(_) => kind::A,
            Self::Aaaa(_) => kind::AAAA,
            Self::Cname(_) => kind::CNAME,
            Self::Ns(_) => kind::NS,
            Self::Ptr(_) => kind::PTR,
            Self::Txt(_) => kind::TXT,
            Self::Srv { .. } => kind::SRV,
            Self::Soa { .. } => kind::SOA,
        }
    }
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    /// Names that were written, with the places where they stand.
    pointers: Vec<(Vec<u8>, u16)>,
}

impl Writer {
    fn record(&mut self, record: &Record) {
        self.name(&record.name);
        self.bytes.extend(record.data.kind().to_be_bytes());
        self.bytes.extend(CLASS_IN.to_be_bytes());
        self.bytes.extend(record.ttl_s.to_be_bytes());
        let at = self.bytes.len();
        self.bytes.extend([0, 0]);
        match &record.data {
            Data::A(ip) => self.bytes.extend(ip.octets()),
            Data::Aaaa(ip) => self.bytes.extend(ip.octets()),
            Data::Cname(name) | Data::Ns(name) | Data::Ptr(name) => self.name(name),
            Data::Txt(text) => {
                self.bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
                self.bytes.extend(text.bytes().take(usize::from(u8::MAX)));
            }
            Data::Srv { priority, weight, port, target } => {
                for number in [priority, weight, port] {
                    self.bytes.extend(number.to_be_bytes());
                }
                // RFC 2782: this name is not compressed.
                self.bytes.extend(target.as_bytes());
            }
            Data::Soa { server, mailbox, serial, minimum_s } => {
                self.name(server);
                self.name(mailbox);
                // Refresh, retry and expiry are for secondary servers, of which there are none.
                for number in [*serial, 7200, 1800, 86_400, *minimum_s] {
                    self.bytes.extend(number.to_be_bytes());
                }
            }
        }
        let len = u16::try_from(self.bytes.len() - at - 2).unwrap_or(u16::MAX);
        if let Some(place) = self.bytes.get_mut(at..at + 2) {
            place.copy_from_slice(&len.to_be_bytes());
        }
    }

    /// Writes a name, or points to where the end of it stands already.
    fn name(&mut self, name: &Name) {
        let start = self.bytes.len();
        let mut rest = name.as_bytes();
        while let Some((len, _)) = rest.split_first().filter(|(len, _)| **len != 0) {
            if let Some((_, at)) = self.pointers.iter().find(|(known, _)| known == rest) {
                let pointer = 0xc000 | *at;
                self.bytes.extend(pointer.to_be_bytes());
                self.remember(name, start);
                return;
            }
            let (label, after) = rest.split_at(usize::from(*len) + 1);
            self.bytes.extend(label);
            rest = after;
        }
        self.bytes.push(0);
        self.remember(name, start);
    }

    fn remember(&mut self, name: &Name, start: usize) {
        let mut rest = name.as_bytes();
        let mut at = start;
        while let Some((len, _)) = rest.split_first().filter(|(len, _)| **len != 0) {
            let Ok(place) = u16::try_from(at) else { return };
            let known = self.pointers.iter().any(|(known, _)| known == rest);
            if place >= 0x4000 || known || self.pointers.len() >= POINTERS_MAX {
                return;
            }
            self.pointers.push((rest.to_vec(), place));
            let label = usize::from(*len) + 1;
            at += label;
            rest = rest.get(label..).unwrap_or_default();
        }
    }
}

/// Records of the four sections of a packet.
pub(crate) fn sections(counts: [u8; 8]) -> [usize; 4] {
    let [a0, a1, b0, b1, c0, c1, d0, d1] = counts;
    [[a0, a1], [b0, b1], [c0, c1], [d0, d1]].map(|count| usize::from(u16::from_be_bytes(count)))
}

pub(crate) fn u16_at(packet: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*packet.get(at..)?.first_chunk()?))
}

pub(crate) fn u32_at(packet: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*packet.get(at..)?.first_chunk()?))
}

/// Finds EDNS among the records behind a question; the outer option is none if they are malformed.
#[expect(clippy::option_option, reason = "a malformed packet is not one without EDNS")]
fn edns(packet: &[u8], mut at: usize, records: usize) -> Option<Option<Edns>> {
    let mut found = None;
    for _ in 0..records {
        let (name, end) = Name::read(packet, at)?;
        let kind = u16_at(packet, end)?;
        if kind == kind::OPT && name.as_bytes().len() == 1 {
            let flags = u32_at(packet, end + 4)?;
            let dnssec_ok = flags & 0x8000 != 0;
            found = Some(Edns { udp_len: u16_at(packet, end + 2)?, dnssec_ok });
        }
        at = end + 10 + usize::from(u16_at(packet, end + 8)?);
    }
    (at <= packet.len()).then_some(found)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A question as a client asks it.
    pub(crate) fn ask(name: &str, kind: u16, edns: Option<u16>) -> Vec<u8> {
        let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            packet.push(u8::try_from(label.len()).unwrap());
            packet.extend(label.as_bytes());
        }
        packet.push(0);
        packet.extend(kind.to_be_bytes());
        packet.extend([0, 1]);
        if let Some(len) = edns {
            packet.extend([0, 0, 41]);
            packet.extend(len.to_be_bytes());
            packet.extend([0; 6]);
        }
        packet
    }

    fn address(name: &str, last: u8) -> Record {
        let data = Data::A(Ipv4Addr::new(10, 0, 0, last));
        Record { name: Name::parse(name).unwrap(), ttl_s: 5, data }
    }

    #[test]
    fn an_answer_repeats_the_question_and_points_to_its_name() {
        let query = Query::parse(&ask("WwW.Example", kind::A, None)).unwrap();
        assert_eq!(query.name.to_string(), "www.example.");
        let reply = Reply {
            authoritative: true,
            answers: vec![address("www.example", 7)],
            ..Reply::of(Code::NoError)
        };
        let packet = query.answer(&reply, false);
        let mut wanted = vec![0x12, 0x34, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        wanted.extend(b"\x03WwW\x07Example\x00\x00\x01\x00\x01");
        wanted.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 0, 0, 7]);
        assert_eq!(packet, wanted);
    }

    #[test]
    fn what_does_not_fit_is_asked_again_by_tcp() {
        let answers: Vec<Record> = (0..60).map(|last| address("a.b", last)).collect();
        let reply = Reply { answers, ..Reply::of(Code::NoError) };
        let plain = Query::parse(&ask("a.b", kind::A, None)).unwrap();
        let packet = plain.answer(&reply, false);
        assert_eq!((packet[2] & 2, packet[7]), (2, 0));
        let roomy = Query::parse(&ask("a.b", kind::A, Some(4096))).unwrap();
        let packet = roomy.answer(&reply, false);
        assert_eq!((packet[2] & 2, packet[7], packet[11]), (0, 60, 1));
        assert!(packet.len() <= UDP_LEN_MAX);
        assert_eq!(plain.answer(&reply, true)[7], 60);
    }

    #[test]
    fn what_is_no_question_is_told_or_ignored() {
        assert_eq!(Query::parse(&[0; 5]), Err(Malformed::Silent));
        let mut answer = ask("a", kind::A, None);
        answer[2] |= 0x80;
        assert_eq!(Query::parse(&answer), Err(Malformed::Silent));
        let mut update = ask("a", kind::A, None);
        update[2] |= 5 << 3;
        let Err(Malformed::Answer(told)) = Query::parse(&update) else { panic!() };
        assert_eq!(told[3], Code::NotImp as u8);
        let mut two = ask("a", kind::A, None);
        two[5] = 2;
        let Err(Malformed::Answer(told)) = Query::parse(&two) else { panic!() };
        assert_eq!(told[3], Code::FormErr as u8);
        let mut chaos = ask("version.bind", kind::TXT, None);
        *chaos.last_mut().unwrap() = 3;
        let Err(Malformed::Answer(told)) = Query::parse(&chaos) else { panic!() };
        assert_eq!(told[3] & 15, Code::Refused as u8);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Query::parse(&bytes);
            let mut query = ask("a.b", kind::A, None);
            query.extend(&bytes);
            query[11] = 3;
            let _ = Query::parse(&query);
        }
    }
}
