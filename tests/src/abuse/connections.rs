//! Connections that want to be kept: silent, slow, and far too many.
//!
//! The master has one port for everybody. Whatever the crowd does there, a new client with a
//! certificate gets in, and so does an agent that has just been started anew.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use super::{Attack, Stage};
use crate::api::{Api, Secured};
use crate::place::{Place, connect_from};
use crate::wait::{now, pause};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "connections/silent-from-one",
        must: "1,500 TLS connections without a certificate, from one address, lock nobody out",
        core: true,
        restarts_master: false,
        run: silent_from_one,
    },
    Attack {
        name: "connections/silent-from-many",
        must: "300 TLS connections from each of 20 addresses lock nobody out",
        core: false,
        restarts_master: false,
        run: silent_from_many,
    },
    Attack {
        name: "connections/half-open",
        must: "TCP connections without a byte lock nobody out, and refusals do not fill the log",
        core: true,
        restarts_master: false,
        run: half_open,
    },
    Attack {
        name: "connections/slow-heads",
        must: "heads of requests that never end lock nobody out",
        core: false,
        restarts_master: false,
        run: slow_heads,
    },
    Attack {
        name: "connections/known-client",
        must: "1,500 kept connections of one administrator lock no other out",
        core: false,
        restarts_master: false,
        run: known_client,
    },
];

/// Threads that open connections.
const OPENERS: usize = 4;
/// Time for all openers together, and for one handshake.
const OPENING: Duration = Duration::from_secs(25);
const HANDSHAKE: Duration = Duration::from_secs(2);
/// Time that a crowd stays.
const STAY: Duration = Duration::from_secs(12);
const STAY_SHORT: Duration = Duration::from_secs(5);
/// Most lines that refusing a crowd may write: a line a second would still be too many.
const LOG_LINES_MAX: usize = 60;
/// Time for a restarted agent to be linked again: it dials every second at the latest.
const LINK: Duration = Duration::from_secs(15);

fn silent_from_one(stage: &mut Stage) -> Result<String> {
    let addresses = first_addresses(stage, 1);
    let api = stage.anonymous(&[])?;
    crowd(stage, &api, &addresses, 1_500, b"")
}

fn silent_from_many(stage: &mut Stage) -> Result<String> {
    let addresses = first_addresses(stage, 20);
    let api = stage.anonymous(&[])?;
    crowd(stage, &api, &addresses, stage.count(75, 300), b"")
}

fn slow_heads(stage: &mut Stage) -> Result<String> {
    let addresses = first_addresses(stage, 20);
    let api = stage.anonymous(&[])?;
    crowd(stage, &api, &addresses, 75, b"GET /livez HTTP/1.1\r\nHost: a\r\nX: ")
}

fn known_client(stage: &mut Stage) -> Result<String> {
    let addresses = first_addresses(stage, 20);
    let api = stage.mallory()?;
    crowd(stage, &api, &addresses, 75, b"")
}

fn half_open(stage: &mut Stage) -> Result<String> {
    let (lines, address) = (stage.master_log_lines(), stage.administrator_address());
    let place = stage.attacker().clone();
    let start = now();
    let (stay, wave) = (stage.count(Duration::from_secs(8), Duration::from_secs(25)), 1_500);
    let mut opened = 0;
    while start.elapsed() < stay {
        let from = place.addresses().to_vec();
        let held: Vec<TcpStream> = place.inside(|| {
            let connect = |from: &Ipv4Addr| connect_from(*from, address, HANDSHAKE).ok();
            from.iter().cycle().take(wave).filter_map(connect).collect()
        })?;
        opened += held.len();
        pause(Duration::from_secs(2));
    }
    stage.link_works(LINK)?;
    few_lines(stage, lines)?;
    Ok(format!("{opened} connections without a byte"))
}

/// Opens `each` connections from each address, says `first` on every one, restarts an agent in the
/// middle of them and stays for a while.
fn crowd(
    stage: &Stage,
    api: &Api,
    addresses: &[Ipv4Addr],
    each: usize,
    first: &[u8],
) -> Result<String> {
    let lines = stage.master_log_lines();
    let mut held = open(stage.attacker(), api, addresses, each)?;
    for connection in &mut held {
        // It may have been closed already, which is the best that can happen.
        let _ = connection.write_all(first).and_then(|()| connection.flush());
    }
    stage.restart_link("n2")?;
    let arrived = now();
    stage.link_works(LINK)?;
    pause(stage.count(STAY_SHORT, STAY).saturating_sub(arrived.elapsed()));
    let opened = held.len();
    let open = held.iter_mut().map(still_open).filter(|open| *open).count();
    few_lines(stage, lines)?;
    Ok(format!("{opened} of {} let in, {open} still open at the end", each * addresses.len()))
}

fn open(place: &Place, api: &Api, addresses: &[Ipv4Addr], each: usize) -> Result<Vec<Secured>> {
    let api = api.clone().with_timeout(HANDSHAKE);
    let start = now();
    let from: Vec<Ipv4Addr> =
        addresses.iter().copied().cycle().take(each * addresses.len()).collect();
    let share = from.len().div_ceil(OPENERS).max(1);
    let opened = place.inside(|| {
        thread::scope(|scope| {
            let open = |from: &Ipv4Addr| {
                let in_time = start.elapsed() < OPENING;
                let socket = in_time.then(|| connect_from(*from, api.address(), HANDSHAKE));
                socket.and_then(Result::ok).and_then(|socket| api.secure(socket).ok())
            };
            let threads: Vec<_> = from
                .chunks(share)
                .map(|part| scope.spawn(move || part.iter().filter_map(open).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        })
    })?;
    let mut held = Vec::new();
    for part in opened {
        held.extend(part.map_err(|_| anyhow!("an opener panicked"))?);
    }
    Ok(held)
}

/// Whether the other side has kept it: nothing comes, neither bytes nor an end.
fn still_open(connection: &mut Secured) -> bool {
    if connection.sock.set_nonblocking(true).is_err() {
        return false;
    }
    match connection.read(&mut [0; 512]) {
        Ok(len) => len > 0,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

fn few_lines(stage: &Stage, before: usize) -> Result<()> {
    let written = stage.master_log_lines().saturating_sub(before);
    ensure!(written <= LOG_LINES_MAX, "the master wrote {written} lines of log");
    Ok(())
}

fn first_addresses(stage: &Stage, count: usize) -> Vec<Ipv4Addr> {
    stage.attacker().addresses().iter().copied().take(count).collect()
}
