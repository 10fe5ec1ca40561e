//! An NTP server whose time the test chooses.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::wait::time_of_day;

/// Port of NTP.
pub const PORT: u16 = 123;
/// Length of a question and of an answer, in bytes.
const PACKET_LEN: usize = 48;
/// Seconds from NTP's beginning, 1900, to 1970.
const FROM_1900_S: u64 = 2_208_988_800;
/// How often it is looked whether to end.
const LOOK: Duration = Duration::from_millis(100);

/// A running server. Ends when dropped.
#[derive(Debug)]
pub struct TimeServer {
    ahead: Duration,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TimeServer {
    /// Answers at this address only, with a time so far ahead of this machine's.
    ///
    /// # Errors
    /// The port cannot be had.
    pub fn start(address: Ipv4Addr, port: u16, ahead: Duration) -> Result<Self> {
        let socket = UdpSocket::bind((address, port))
            .with_context(|| format!("could not serve the time at {address}:{port}"))?;
        socket.set_read_timeout(Some(LOOK))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut question = [0; 512];
            while !stopped.load(Ordering::SeqCst) {
                // A time-out, or somebody who went away.
                let Ok((len, client)) = socket.recv_from(&mut question) else { continue };
                let now = time_of_day() + ahead;
                if let Some(answer) = question.get(..len).and_then(|it| answer(it, now)) {
                    let _ = socket.send_to(&answer, client);
                }
            }
        });
        Ok(Self { ahead, stop, thread: Some(thread) })
    }

    /// What it would say now, since 1970.
    #[must_use]
    pub fn now(&self) -> Duration {
        time_of_day() + self.ahead
    }
}

impl Drop for TimeServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The answer to a client's question, if it is one.
fn answer(question: &[u8], now: Duration) -> Option<Vec<u8>> {
    let (first, sent) = (question.first()?, question.get(40..PACKET_LEN)?);
    // Who asks is a client.
    (first & 0b111 == 3).then_some(())?;
    let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
    let time = ((now.as_secs() + FROM_1900_S) << 32) | fraction;
    // No leap second, version 4, a server; stratum 1.
    let mut answer = vec![0b00_100_100, 1, 0, 0xec];
    answer.resize(16, 0);
    // Set, sent, came, left.
    answer.extend(time.to_be_bytes());
    answer.extend(sent);
    answer.extend(time.to_be_bytes());
    answer.extend(time.to_be_bytes());
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_answered_until_it_is_dropped() {
        let hour = Duration::from_secs(3_600);
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // A free port: this one, whose owner is gone.
        let port = {
            let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            free.local_addr().unwrap().port()
        };
        let server = TimeServer::start(Ipv4Addr::LOCALHOST, port, hour).unwrap();
        let mut question = [7; PACKET_LEN];
        question[0] = 0b00_100_011;
        client.send_to(&question, (Ipv4Addr::LOCALHOST, port)).unwrap();
        let mut answer = [0; 100];
        let (len, _) = client.recv_from(&mut answer).unwrap();
        assert_eq!((len, &answer[24..32]), (PACKET_LEN, &[7; 8][..]));
        let seconds = u32::from_be_bytes(answer[40..44].try_into().unwrap());
        let said = u64::from(seconds) - FROM_1900_S;
        assert!(said.abs_diff(time_of_day().as_secs() + 3_600) < 10);
        drop(server);
        UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    }

    #[test]
    fn other_packets_are_not_answered() {
        let now = Duration::from_secs(1);
        assert_eq!(answer(&[], now), None);
        assert_eq!(answer(&[0b00_100_011; 40], now), None);
        assert_eq!(answer(&[0b00_100_100; 48], now), None);
    }
}
