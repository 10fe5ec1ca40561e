//! The kernel's part of listening: drops what cannot be a heartbeat before it takes up room in the
//! socket's queue, so that junk crowds out no heartbeat and costs no time of ours.
//!
//! Judges by length, version, kind, flags and whether a session can have that number; what passes
//! is looked at by [`super::table`] as if there were no filter.

use std::io;
use std::net::UdpSocket;

use bramble_shared::limits::DATAGRAM_LEN_MAX;
use bramble_shared::wire::{HEADER_LEN, HEARTBEAT_FIRST_BYTE, TAG_LEN};
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{SockFilter, SockRef};

use super::table::SESSIONS_MAX;

/// Queue of the socket, in bytes: 20 ms of 200,000 small datagrams a second, each of which the
/// kernel counts as 768 bytes.
const QUEUE_BYTES: usize = 4 << 20;

/// What the filter sees before the datagram: the UDP header.
const UDP_HEADER_LEN: u32 = 8;

/// Gives the socket its filter and a queue that survives bursts.
///
/// # Errors
///
/// When the kernel takes no filter. A smaller queue than wanted is no error.
pub(super) fn prepare(socket: &UdpSocket) -> io::Result<()> {
    // Only a privileged process may have more than the system's bound.
    let forced = setsockopt(socket, sockopt::RcvBufForce, &QUEUE_BYTES);
    if let Err(error) = forced.or_else(|_| setsockopt(socket, sockopt::RcvBuf, &QUEUE_BYTES)) {
        tracing::debug!(%error, "heartbeat socket keeps its ordinary queue");
    }
    SockRef::from(socket).attach_filter(&program())
}

/// The filter's program; see the kernel's `networking/filter`. Each step but the last two jumps to
/// the end, which drops the datagram, when its condition does not hold.
fn program() -> [SockFilter; 13] {
    let load = |size: u32, from: u32| {
        step(libc::BPF_LD | size | libc::BPF_ABS, 0, 0, UDP_HEADER_LEN + from)
    };
    let jump = |condition: u32, holds: u8, fails: u8, value: u32| {
        step(libc::BPF_JMP | condition | libc::BPF_K, holds, fails, value)
    };
    let len = |bytes: usize| UDP_HEADER_LEN + u32::try_from(bytes).unwrap_or(u32::MAX);
    let sessions = u32::try_from(SESSIONS_MAX).unwrap_or(u32::MAX);
    [
        // Its length.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_LEN, 0, 0, 0),
        jump(libc::BPF_JGE, 0, 10, len(HEADER_LEN + TAG_LEN)),
        jump(libc::BPF_JGT, 9, 0, len(DATAGRAM_LEN_MAX)),
        // Version and kind, then flags.
        load(libc::BPF_B, 0),
        jump(libc::BPF_JEQ, 0, 7, HEARTBEAT_FIRST_BYTE.into()),
        load(libc::BPF_B, 1),
        jump(libc::BPF_JEQ, 0, 5, 0),
        // The session's number is little endian; the kernel reads the other way round, so that the
        // lower half is put together from its bytes.
        load(libc::BPF_H, 6),
        jump(libc::BPF_JEQ, 0, 3, 0),
        load(libc::BPF_B, 5),
        // Whatever the lower byte is: the bound is a multiple of 256.
        jump(libc::BPF_JGE, 1, 0, sessions >> 8),
        // Accept all of it.
        step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ]
}

const _: () = assert!(SESSIONS_MAX.is_multiple_of(256), "the filter looks at the upper bytes only");

fn step(code: u32, holds: u8, fails: u8, value: u32) -> SockFilter {
    // All codes are below 256.
    SockFilter::new(u16::try_from(code).unwrap_or(u16::MAX), holds, fails, value)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use bramble_shared::ids::SessionIndex;
    use bramble_shared::wire::{Header, PacketKind};

    use super::*;

    fn packet(len: usize, session: usize, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let session = SessionIndex(u32::try_from(session).unwrap());
        let header = Header { kind: PacketKind::Heartbeat, key_epoch: 1, session, counter: 1 };
        let mut packet = header.encode().to_vec();
        packet.resize(len, 0xaa);
        change(&mut packet);
        packet
    }

    #[test]
    fn only_what_may_be_a_heartbeat_reaches_the_queue() {
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        receiver.set_nonblocking(true).unwrap();
        prepare(&receiver).unwrap();
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        // The loopback interface hands over within the call.
        let passes = |packet: &[u8]| {
            let _ = sender.send(packet);
            let mut buffer = [0; 1_024];
            receiver.recv(&mut buffer).is_ok_and(|len| buffer[..len] == *packet)
        };
        for len in [32, 33, 200, 512] {
            for session in [0, 1, 255, 256, SESSIONS_MAX - 1] {
                assert!(passes(&packet(len, session, |_| {})), "{len} bytes, session {session}");
            }
        }
        for len in [0, 1, 16, 31, 513, 1_000] {
            let junk = vec![0x11; len];
            assert!(!passes(&junk), "{len} bytes");
        }
        for session in [SESSIONS_MAX, 1 << 16, 1 << 24, u32::MAX as usize] {
            assert!(!passes(&packet(64, session, |_| {})), "session {session}");
        }
        for (at, byte) in [(0, 0x12), (0, 0x21), (0, 0), (1, 1)] {
            assert!(!passes(&packet(64, 0, |packet| packet[at] = byte)), "byte {at} is {byte}");
        }
    }

    #[test]
    fn flood_of_junk_leaves_room_for_a_heartbeat() {
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        receiver.set_nonblocking(true).unwrap();
        prepare(&receiver).unwrap();
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        let junk = [0x5a; 200];
        for _ in 0..50_000 {
            sender.send(&junk).unwrap();
        }
        sender.send(&packet(64, 0, |_| {})).unwrap();
        let mut buffer = [0; 512];
        assert_eq!(receiver.recv(&mut buffer).unwrap(), 64);
        assert!(receiver.recv(&mut buffer).is_err(), "nothing else was queued");
    }
}
