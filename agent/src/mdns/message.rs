//! Packets of multicast DNS, as far as names and IPv4 addresses go.

use std::net::Ipv4Addr;

use simple_dns::rdata::{A, RData};
use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, ResourceRecord, SimpleDnsError, TYPE,
};

/// A question for the addresses of `name`, from a socket that only listens for the answer.
pub(super) fn question(name: &str, id: u16) -> Result<Vec<u8>, SimpleDnsError> {
    let mut packet = Packet::new_query(id);
    packet.questions.push(ask(name, QTYPE::TYPE(TYPE::A), false)?);
    packet.build_bytes_vec()
}

/// The address of `name` in an answer to question `id`.
pub(super) fn answer_to(packet: &[u8], name: &str, id: u16) -> Option<Ipv4Addr> {
    let packet = Packet::parse(packet).ok()?;
    if !packet.has_flags(PacketFlag::RESPONSE) || packet.id() != id {
        return None;
    }
    addresses(&packet.answers, name).next()
}

/// Asks whether anybody has `name` already, saying which address we would give it.
pub(super) fn probe(name: &str, address: Ipv4Addr) -> Result<Vec<u8>, SimpleDnsError> {
    let mut packet = Packet::new_query(0);
    packet.questions.push(ask(name, QTYPE::ANY, true)?);
    packet.name_servers.push(record(name, address, TTL_S, false)?);
    packet.build_bytes_vec()
}

/// Tells everybody the address of `name`.
pub(super) fn announcement(name: &str, address: Ipv4Addr) -> Result<Vec<u8>, SimpleDnsError> {
    let mut packet = Packet::new_reply(0);
    packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    packet.answers.push(record(name, address, TTL_S, true)?);
    packet.build_bytes_vec()
}

/// Answers a plain DNS resolver: with its question and id, and to be forgotten soon.
pub(super) fn legacy_answer(
    name: &str,
    address: Ipv4Addr,
    id: u16,
    any: bool,
) -> Result<Vec<u8>, SimpleDnsError> {
    let mut packet = Packet::new_reply(id);
    packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    let kind = if any { QTYPE::ANY } else { QTYPE::TYPE(TYPE::A) };
    packet.questions.push(ask(name, kind, false)?);
    packet.answers.push(record(name, address, LEGACY_TTL_S, false)?);
    packet.build_bytes_vec()
}

/// What a packet says about one name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// It is an answer, not a question.
    pub(super) answer: bool,
    /// Its id.
    pub(super) id: u16,
    /// Somebody asks for the name's address.
    pub(super) asked: bool,
    /// ... and for everything else about it.
    pub(super) any: bool,
    /// ... and wants the answer alone.
    pub(super) alone: bool,
    /// Addresses that the packet gives the name; in a question those that the asker knows well.
    pub(super) given: Vec<Ipv4Addr>,
    /// Addresses that the asker would like to give the name.
    pub(super) proposed: Vec<Ipv4Addr>,
}

/// Reads a packet; none if it is malformed.
pub(super) fn read(packet: &[u8], name: &str) -> Option<Heard> {
    let packet = Packet::parse(packet).ok()?;
    let answer = packet.has_flags(PacketFlag::RESPONSE);
    let mut heard = Heard { answer, id: packet.id(), ..Heard::default() };
    for question in &packet.questions {
        let wanted = matches!(question.qtype, QTYPE::ANY | QTYPE::TYPE(TYPE::A));
        let class = matches!(question.qclass, QCLASS::ANY | QCLASS::CLASS(CLASS::IN));
        if wanted && class && same(&question.qname, name) {
            heard.asked = true;
            heard.any |= matches!(question.qtype, QTYPE::ANY);
            heard.alone |= question.unicast_response;
        }
    }
    // A known answer counts while it is good for half of its life (RFC 6762, 7.1).
    let fresh = packet.answers.iter().filter(|record| answer || record.ttl >= TTL_S / 2);
    heard.given = addresses(fresh, name).collect();
    if answer {
        heard.given.extend(addresses(&packet.additional_records, name));
    }
    heard.proposed = addresses(&packet.name_servers, name).collect();
    Some(heard)
}

/// Life of our record, in seconds (RFC 6762, 10).
const TTL_S: u32 = 120;
/// Its life where it is not kept up to date, in seconds (RFC 6762, 6.7).
const LEGACY_TTL_S: u32 = 10;

fn ask(name: &str, kind: QTYPE, alone: bool) -> Result<Question<'_>, SimpleDnsError> {
    Ok(Question::new(Name::new(name)?, kind, QCLASS::CLASS(CLASS::IN), alone))
}

fn record(
    name: &str,
    address: Ipv4Addr,
    ttl_s: u32,
    flush: bool,
) -> Result<ResourceRecord<'_>, SimpleDnsError> {
    let data = RData::A(A { address: address.into() });
    Ok(ResourceRecord::new(Name::new(name)?, CLASS::IN, ttl_s, data).with_cache_flush(flush))
}

fn addresses<'a>(
    records: impl IntoIterator<Item = &'a ResourceRecord<'a>>,
    name: &str,
) -> impl Iterator<Item = Ipv4Addr> {
    records.into_iter().filter(move |record| same(&record.name, name)).filter_map(|record| {
        let RData::A(found) = &record.rdata else { return None };
        Some(Ipv4Addr::from(found.address))
    })
}

/// Names are the same whatever their case.
fn same(name: &Name<'_>, other: &str) -> bool {
    name.to_string().trim_end_matches('.').eq_ignore_ascii_case(other.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

    #[test]
    fn answers_are_found_by_name_and_id() {
        let answer = legacy_answer("pi-1.local", ADDRESS, 7, false).unwrap();
        assert_eq!(answer_to(&answer, "PI-1.local", 7), Some(ADDRESS));
        assert_eq!(answer_to(&answer, "pi-1.local.", 7), Some(ADDRESS));
        assert_eq!(answer_to(&answer, "pi-1.local", 8), None);
        assert_eq!(answer_to(&answer, "pi-2.local", 7), None);
        // A question is no answer.
        assert_eq!(answer_to(&question("pi-1.local", 7).unwrap(), "pi-1.local", 7), None);
    }

    #[test]
    fn packets_have_the_bytes_of_the_standard() {
        let mut expected = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        expected.extend(b"\x04pi-1\x05local\0");
        // Type A, class IN with the cache-flush bit, 120 s, four bytes.
        expected.extend([0, 1, 0x80, 1, 0, 0, 0, 120, 0, 4, 192, 0, 2, 7]);
        assert_eq!(announcement("pi-1.local", ADDRESS).unwrap(), expected);
    }

    #[test]
    fn torn_packets_are_nothing_or_less() {
        let packet = probe("pi-1.local", ADDRESS).unwrap();
        let whole = read(&packet, "pi-1.local").unwrap();
        assert!(whole.asked && whole.any && whole.alone && !whole.answer);
        assert_eq!(whole.proposed, [ADDRESS]);
        for len in 0..packet.len() {
            let heard = read(&packet[..len], "pi-1.local");
            assert!(heard.is_none_or(|heard| heard.proposed.is_empty()), "{len}");
        }
        // A name that points at itself.
        let mut endless = vec![0; 12];
        endless[5] = 1;
        endless.extend([0xc0, 12, 0, 1, 0, 1]);
        assert!(read(&endless, "pi-1.local").is_none_or(|heard| !heard.asked));
    }
}
