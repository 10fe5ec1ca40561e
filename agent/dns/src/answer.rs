//! Answers of the node's resolvers: whether they are good, how long they last, and the form in
//! which a client gets them.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::message::{Data, HEADER_LEN, Query, Record, kind, sections, u16_at, u32_at};
use crate::name::Name;

/// Most records that are looked at; a longer answer is passed on and not kept.
const RECORDS_MAX: usize = 512;

/// What an answer is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    /// It has what was asked for, or says that there is no such thing.
    Good,
    /// It is too long for UDP.
    Truncated,
    /// The resolver could not, or would not, say.
    Failed,
}

/// An answer, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a>(pub &'a [u8]);

/// A record where it stands in the packet.
struct Place {
    name: Name,
    kind: u16,
    /// Where its time to live stands.
    ttl: usize,
    data: usize,
    end: usize,
    answer: bool,
}

impl Answer<'_> {
    /// What it is worth.
    #[must_use]
    pub fn kind(&self) -> AnswerKind {
        let Some(&[_, _, high, low]) = self.0.first_chunk() else { return AnswerKind::Failed };
        match low & 15 {
            _ if high & 2 != 0 => AnswerKind::Truncated,
            0 | 3 => AnswerKind::Good,
            _ => AnswerKind::Failed,
        }
    }

    /// How long it may be given to others, in seconds; none if not at all.
    #[must_use]
    pub fn lasts_s(&self) -> Option<u32> {
        if self.kind() != AnswerKind::Good {
            return None;
        }
        let places = self.places()?;
        let ttl = |place: &Place| u32_at(self.0, place.ttl);
        let no_such_name = self.0.get(3)? & 15 == 3;
        let answers = places.iter().filter(|place| place.answer);
        if !no_such_name && let Some(least) = answers.filter_map(ttl).min() {
            return Some(least);
        }
        // RFC 2308: a "no" lasts as long as the zone's start of authority says, if it is there.
        let start = places.iter().find(|place| place.kind == kind::SOA)?;
        let minimum = u32_at(self.0, start.end.checked_sub(4)?)?;
        Some(minimum.min(ttl(start)?))
    }

    /// The same, some seconds later.
    #[must_use]
    pub fn aged(&self, by_s: u32) -> Vec<u8> {
        let mut packet = self.0.to_vec();
        for place in self.places().unwrap_or_default() {
            let left = u32_at(self.0, place.ttl).unwrap_or(0).saturating_sub(by_s);
            if let Some(ttl) = packet.get_mut(place.ttl..place.ttl + 4) {
                ttl.copy_from_slice(&left.to_be_bytes());
            }
        }
        packet
    }

    /// The packet for a client that asked this, who may have written the name in other letters.
    #[must_use]
    pub fn for_client(&self, query: &Query, tcp: bool) -> Vec<u8> {
        if self.0.len() > query.len_max(tcp) {
            return truncated(query);
        }
        let mut packet = self.0.to_vec();
        if let Some(id) = packet.get_mut(..2) {
            id.copy_from_slice(&query.id.to_be_bytes());
        }
        let question = HEADER_LEN..HEADER_LEN + query.question.len();
        if let Some(asked) = packet.get_mut(question) {
            asked.copy_from_slice(&query.question);
        }
        packet
    }

    /// The names and addresses of the answer, for who was sent there by a name of the cluster.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let record = |place: Place| {
            let data = self.0.get(place.data..place.end)?;
            let data = match place.kind {
                kind::A => Data::A(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?)),
                kind::AAAA => Data::Aaaa(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?)),
                kind::CNAME => Data::Cname(Name::read(self.0, place.data)?.0),
                _ => return None,
            };
            Some(Record { name: place.name, ttl_s: u32_at(self.0, place.ttl)?, data })
        };
        let places = self.places().unwrap_or_default();
        places.into_iter().filter(|place| place.answer).filter_map(record).collect()
    }

    /// All records but EDNS, which has no time to live; none if the packet is malformed.
    fn places(&self) -> Option<Vec<Place>> {
        let packet = self.0;
        let counts = packet.get(4..)?.first_chunk().copied()?;
        let [questions, answers, authorities, additionals] = sections(counts);
        let records = answers + authorities + additionals;
        if questions != 1 || records > RECORDS_MAX {
            return None;
        }
        let mut at = Name::read(packet, HEADER_LEN)?.1 + 4;
        let mut places = Vec::with_capacity(records);
        for number in 0..records {
            let (name, end) = Name::read(packet, at)?;
            let kind = u16_at(packet, end)?;
            let data = end + 10;
            at = data + usize::from(u16_at(packet, end + 8)?);
            let answer = number < answers;
            if kind != kind::OPT {
                places.push(Place { name, kind, ttl: end + 4, data, end: at, answer });
            }
        }
        (at <= packet.len()).then_some(places)
    }
}

/// Sends a client to TCP.
#[must_use]
pub fn truncated(query: &Query) -> Vec<u8> {
    let mut packet = query.answer(&crate::Reply::of(crate::Code::NoError), false);
    if let Some(flags) = packet.get_mut(2) {
        *flags |= 2;
    }
    packet
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::tests::ask;
    use crate::message::{Code, Reply};

    fn query() -> Query {
        Query::parse(&ask("a.b", kind::A, None)).unwrap()
    }

    fn packet(code: Code, ttls: &[u32], authority: Vec<Record>) -> Vec<u8> {
        let name = Name::parse("a.b").unwrap();
        let address = |ttl: &u32| Record {
            name: name.clone(),
            ttl_s: *ttl,
            data: Data::A(Ipv4Addr::new(192, 0, 2, 1)),
        };
        let answers = ttls.iter().map(address).collect();
        query().answer(&Reply { answers, authority, ..Reply::of(code) }, false)
    }

    fn start() -> Record {
        let name = Name::parse("b").unwrap();
        let data =
            Data::Soa { server: name.clone(), mailbox: name.clone(), serial: 1, minimum_s: 60 };
        Record { name, ttl_s: 90, data }
    }

    #[test]
    fn an_answer_lasts_as_long_as_its_shortest_record() {
        let yes = packet(Code::NoError, &[300, 20], vec![]);
        assert_eq!(Answer(&yes).lasts_s(), Some(20));
        assert_eq!(Answer(&Answer(&yes).aged(5)).lasts_s(), Some(15));
        assert_eq!(Answer(&packet(Code::NxDomain, &[], vec![start()])).lasts_s(), Some(60));
        assert_eq!(Answer(&packet(Code::NoError, &[], vec![start()])).lasts_s(), Some(60));
        assert_eq!(Answer(&packet(Code::NxDomain, &[], vec![])).lasts_s(), None);
        let failed = packet(Code::ServFail, &[], vec![]);
        assert_eq!(Answer(&failed).kind(), AnswerKind::Failed);
        assert_eq!(Answer(&failed).lasts_s(), None);
    }

    #[test]
    fn a_client_gets_its_own_letters_and_number() {
        let yes = packet(Code::NoError, &[20], vec![]);
        let mut asked = ask("A.b", kind::A, None);
        asked[0] = 9;
        let query = Query::parse(&asked).unwrap();
        let told = Answer(&yes).for_client(&query, false);
        assert_eq!((told[0], &told[13..14]), (9, b"A".as_slice()));
        assert_eq!(Answer(&told).records().len(), 1);
    }

    #[test]
    fn an_answer_that_is_too_long_for_the_client_sends_it_to_tcp() {
        let long = packet(Code::NoError, &[20; 20], vec![]);
        let mut long = Answer(&long).aged(0);
        long.resize(600, 0);
        let told = Answer(&long).for_client(&query(), false);
        assert_eq!(Answer(&told).kind(), AnswerKind::Truncated);
        assert_eq!(Answer(&long).for_client(&query(), true).len(), 600);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut packet = packet(Code::NoError, &[1], vec![]);
            packet.extend(&bytes);
            packet[7] = 3;
            for packet in [&bytes, &packet] {
                let answer = Answer(packet);
                let _ = (answer.kind(), answer.lasts_s(), answer.aged(1), answer.records());
            }
        }
    }
}
