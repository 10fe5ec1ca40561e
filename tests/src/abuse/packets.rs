//! Junk for the heartbeats' port: it must not cost a verdict, and nothing may answer it.

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bramble_shared::ids::SessionIndex;
use bramble_shared::wire::{Header, PacketKind};

use super::{Attack, Stage};
use crate::seed::Seed;
use crate::wait::now;

pub(super) const ATTACKS: &[Attack] = &[Attack {
    name: "packets/junk",
    must: "200,000 junk packets a second cost no node its life, and none is answered",
    core: true,
    restarts_master: false,
    run: junk,
}];

/// Packets a second in all, and the threads that send them: as many as the machine has processors
/// to spare would be more than one board can send anyway.
const RATE: u32 = 200_000;
const SENDERS: u32 = 2;
/// Packets between two looks at the clock.
const BATCH: u32 = 200;
/// Sessions that exist in this cluster have the lowest numbers.
const SESSIONS: u64 = 8;

fn junk(stage: &mut Stage) -> Result<String> {
    let time = stage.count(Duration::from_secs(5), Duration::from_secs(20));
    let sockets: Vec<UdpSocket> = (0..SENDERS)
        .map(|_| stage.attacker().udp(stage.administrator_address()))
        .collect::<Result<_>>()?;
    let start = now();
    let sent: u64 = thread::scope(|scope| {
        let threads: Vec<_> = sockets
            .iter()
            .zip(1..)
            .map(|(socket, seed)| scope.spawn(move || send(socket, seed, start, time)))
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
    });
    let took = start.elapsed();
    for socket in &sockets {
        socket.set_nonblocking(true)?;
        ensure!(socket.recv(&mut [0; 2048]).is_err(), "junk was answered");
    }
    let rate = u128::from(sent) * 1000 / took.as_millis().max(1);
    Ok(format!("{rate} packets a second for {} s", took.as_secs()))
}

/// Sends this thread's part of the rate, and returns how many packets that were.
fn send(socket: &UdpSocket, seed: u64, start: Instant, time: Duration) -> u64 {
    let mut random = Seed::new(seed);
    let mut sent = 0_u64;
    let packets: Vec<Vec<u8>> = (0..64).map(|_| packet(&mut random)).collect();
    let pause_len = Duration::from_secs(1) * BATCH * SENDERS / RATE;
    let mut next = start;
    while start.elapsed() < time {
        for packet in packets.iter().cycle().take(usize::try_from(BATCH).unwrap_or_default()) {
            // A full queue of the kernel's is no reason to stop.
            sent += u64::from(socket.send(packet).is_ok());
        }
        next += pause_len;
        thread::yield_now();
        while now() < next {
            std::hint::spin_loop();
        }
    }
    sent
}

/// Anything from an empty datagram to one that is right but for its seal.
fn packet(random: &mut Seed) -> Vec<u8> {
    let len = usize::try_from(random.below(1_400)).unwrap_or_default();
    let mut bytes: Vec<u8> = (0..len)
        .map(|_| random.next_number().to_le_bytes().first().copied().unwrap_or(0))
        .collect();
    if random.below(2) == 0 {
        bytes.truncate(128);
        let header = Header {
            kind: PacketKind::Heartbeat,
            key_epoch: 1,
            session: SessionIndex(u32::try_from(random.below(SESSIONS)).unwrap_or_default()),
            counter: random.below(1 << 40),
        };
        let header = header.encode();
        bytes.resize(bytes.len().max(48), 0);
        if let Some(start) = bytes.get_mut(..header.len()) {
            start.copy_from_slice(&header);
        }
    }
    bytes
}
