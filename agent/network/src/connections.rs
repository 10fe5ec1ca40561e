//! Connection tracking: ends what was directed to an address that is gone.
//!
//! Speaks the few messages of ctnetlink (`linux/netfilter/nfnetlink_conntrack.h`) that this
//! takes: dump all entries, delete one by its tuple.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET`.
const GET: u16 = 0x0101;
/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE`.
const DELETE: u16 = 0x0102;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const IPPROTO_UDP: u8 = 17;
/// Bytes of `nlmsghdr`.
const HEADER_LEN: usize = 16;
/// Bytes of `nfgenmsg`.
const FAMILY_LEN: usize = 4;
/// The kernel fills at most this much for one read of a dump.
const BUFFER_LEN: usize = 64 * 1024;

/// What is not there any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Addresses: everything to them ends.
    pub ips: BTreeSet<Ipv4Addr>,
    /// Addresses and ports that datagrams went to. Connections to them end by themselves.
    pub datagrams: BTreeSet<(Ipv4Addr, u16)>,
}

impl Lost {
    /// Nothing is lost.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ips.is_empty() && self.datagrams.is_empty()
    }
}

/// Deletes all entries whose replies would come from what is lost, and returns how many.
///
/// # Errors
/// The kernel's refusal.
pub(crate) fn drop_to(lost: &Lost) -> io::Result<usize> {
    if lost.is_empty() {
        return Ok(0);
    }
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkNetFilter,
    )?;
    let mut dropped = 0;
    for tuple in original_tuples(&socket, lost)? {
        match delete(&socket, &tuple) {
            Ok(()) => dropped += 1,
            // It ended by itself in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(dropped)
}

/// The original tuples (as the kernel wrote them) of the entries that are answered by what is lost.
fn original_tuples(socket: &OwnedFd, lost: &Lost) -> io::Result<Vec<Vec<u8>>> {
    send(socket, GET, NLM_F_DUMP, &[])?;
    let mut found = Vec::new();
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        let len = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        for (kind, body) in messages(buffer.get(..len).unwrap_or_default()) {
            match kind {
                NLMSG_DONE => return Ok(found),
                NLMSG_ERROR => refused(body)?,
                _ => found.extend(tuple_answered_by(body, lost)),
            }
        }
    }
}

fn tuple_answered_by(body: &[u8], lost: &Lost) -> Option<Vec<u8>> {
    let attributes = body.get(FAMILY_LEN..)?;
    let reply = attribute(attributes, CTA_TUPLE_REPLY)?;
    let source = attribute(attribute(reply, CTA_TUPLE_IP)?, CTA_IP_V4_SRC)?;
    let source = Ipv4Addr::from(<[u8; 4]>::try_from(source).ok()?);
    let datagrams = || {
        let transport = attribute(reply, CTA_TUPLE_PROTO)?;
        let udp = attribute(transport, CTA_PROTO_NUM)? == [IPPROTO_UDP];
        let port = <[u8; 2]>::try_from(attribute(transport, CTA_PROTO_SRC_PORT)?).ok()?;
        Some(udp && lost.datagrams.contains(&(source, u16::from_be_bytes(port))))
    };
    if !lost.ips.contains(&source) && datagrams() != Some(true) {
        return None;
    }
    attribute(attributes, CTA_TUPLE_ORIG).map(<[u8]>::to_vec)
}

fn delete(socket: &OwnedFd, tuple: &[u8]) -> io::Result<()> {
    const NLA_F_NESTED: u16 = 0x8000;
    let Ok(len) = u16::try_from(tuple.len() + 4) else {
        return Err(io::Error::other("a connection's tuple is too long"));
    };
    let mut nested = Vec::with_capacity(tuple.len() + 4);
    nested.extend(len.to_ne_bytes());
    nested.extend((CTA_TUPLE_ORIG | NLA_F_NESTED).to_ne_bytes());
    nested.extend(tuple);
    send(socket, DELETE, NLM_F_ACK, &nested)?;
    let mut buffer = vec![0; 4096];
    let len = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
    for (kind, body) in messages(buffer.get(..len).unwrap_or_default()) {
        if kind == NLMSG_ERROR {
            refused(body)?;
        }
    }
    Ok(())
}

fn send(socket: &OwnedFd, kind: u16, flags: u16, attributes: &[u8]) -> io::Result<()> {
    let len = HEADER_LEN + FAMILY_LEN + attributes.len();
    let len = u32::try_from(len).map_err(|_| io::Error::other("request too long"))?;
    let mut message = Vec::new();
    message.extend(len.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((flags | NLM_F_REQUEST).to_ne_bytes());
    message.extend([0; 8]); // sequence and port: one request at a time on this socket
    message.extend([2, 0, 0, 0]); // AF_INET, version 0, resource 0
    message.extend(attributes);
    sendto(socket.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    Ok(())
}

/// Splits what one read returned into (type, body) pairs; stops at the first malformed one.
fn messages(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::try_from(u32::from_ne_bytes(rest.get(..4)?.try_into().ok()?)).ok()?;
        let kind = u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?);
        let body = rest.get(HEADER_LEN..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// Value of the first attribute of this kind.
fn attribute(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    const TYPE_MASK: u16 = 0x3fff;
    loop {
        let len = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?) & TYPE_MASK;
        let value = rest.get(4..len)?;
        if kind == wanted {
            return Some(value);
        }
        rest = rest.get(len.next_multiple_of(4)..)?;
    }
}

/// The kernel's error code of an acknowledgement; 0 is none.
fn refused(body: &[u8]) -> io::Result<()> {
    let code = body.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code.saturating_neg())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_is_found_behind_others_and_padding() {
        let mut bytes = Vec::new();
        bytes.extend(5_u16.to_ne_bytes());
        bytes.extend(7_u16.to_ne_bytes());
        bytes.extend([9, 0, 0, 0]); // one byte of value, three of padding
        bytes.extend(8_u16.to_ne_bytes());
        bytes.extend((3_u16 | 0x8000).to_ne_bytes());
        bytes.extend([1, 2, 3, 4]);
        assert_eq!(attribute(&bytes, 3), Some([1, 2, 3, 4].as_slice()));
        assert_eq!(attribute(&bytes, 4), None);
    }

    fn nested(kind: u16, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn datagrams_end_by_address_and_port_and_all_else_by_address() {
        let entry = |protocol: u8| {
            let ip = nested(CTA_TUPLE_IP, &nested(CTA_IP_V4_SRC, &[10, 42, 1, 2]));
            let port = nested(CTA_PROTO_SRC_PORT, &5300_u16.to_be_bytes());
            let transport =
                nested(CTA_TUPLE_PROTO, &[nested(CTA_PROTO_NUM, &[protocol]), port].concat());
            let reply = nested(CTA_TUPLE_REPLY, &[ip, transport].concat());
            [vec![0; FAMILY_LEN], nested(CTA_TUPLE_ORIG, b"orig"), reply].concat()
        };
        let ip = Ipv4Addr::new(10, 42, 1, 2);
        let port = |port| Lost { datagrams: [(ip, port)].into(), ..Lost::default() };
        let found = |protocol, lost: &Lost| tuple_answered_by(&entry(protocol), lost).is_some();
        assert!(found(17, &port(5300)));
        assert!(!found(17, &port(5301)));
        assert!(!found(6, &port(5300)), "a connection ends by itself");
        assert!(found(6, &Lost { ips: [ip].into(), ..Lost::default() }));
    }

    #[test]
    fn malformed_attribute_is_no_attribute() {
        assert_eq!(attribute(&[200, 0, 3, 0, 1], 3), None);
        assert_eq!(attribute(&[0, 0, 0, 0], 3), None);
    }

    #[test]
    fn two_messages_in_one_read_are_told_apart() {
        let mut bytes = Vec::new();
        for kind in [1_u16, 3] {
            bytes.extend(20_u32.to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend([u8::try_from(kind).unwrap(); 4]);
        }
        let found: Vec<_> = messages(&bytes).collect();
        assert_eq!(found, [(1, [1; 4].as_slice()), (3, [3; 4].as_slice())]);
    }
}
