//! Asks one NTP server, once: sntpc checks the answer, this file has the socket and the clock.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use sntpc::{
    Error, NtpContext, NtpTimestampGenerator, NtpUdpSocket, sntp_process_response,
    sntp_send_request,
};
use tokio::net::UdpSocket;

use super::discipline::Sample;

/// Time that an answer may take. It bounds the error of what an answer says to half of it.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);

/// Why a server did not tell the time.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// There is no way to it.
    #[error("the server cannot be reached")]
    Socket(#[from] io::Error),
    /// It says nothing.
    #[error("the server does not answer")]
    Silent,
    /// It wants to be left in peace.
    #[error("the server refuses ({0})")]
    Refused(String),
    /// Its answer is not to be used, or the network says that it is not there.
    #[error("the server gives no time ({0})")]
    Answer(String),
}

/// Asks a server for the time.
///
/// # Errors
///
/// When it does not answer in time, or not as a server does that knows the time.
pub(super) async fn ask(server: SocketAddr) -> Result<Sample, AskError> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    // From now on the kernel lets only the server's packets in.
    socket.connect(server).await?;
    let socket = Connected { socket, server };
    let answer = tokio::time::timeout(ANSWER_TIME_MAX, exchange(server, &socket)).await;
    answer.map_err(|_| AskError::Silent)?
}

async fn exchange(server: SocketAddr, socket: &Connected) -> Result<Sample, AskError> {
    let context = NtpContext::new(WallClock::default());
    let failed = |error: Error| {
        if let Error::KissOfDeath(code) = error {
            return AskError::Refused(code.as_str().to_owned());
        }
        AskError::Answer(format!("{error:?}"))
    };
    let sent = sntp_send_request(server, socket, context).await.map_err(failed)?;
    loop {
        let answer = match sntp_process_response(server, socket, context, sent).await {
            // Not an answer to this question: somebody makes one up, or it is an old one.
            Err(Error::IncorrectOriginTimestamp | Error::IncorrectPayload) => continue,
            answer => answer.map_err(failed)?,
        };
        return Ok(Sample { offset_us: answer.offset(), round_trip_us: answer.roundtrip() });
    }
}

/// A socket that talks to one server.
struct Connected {
    socket: UdpSocket,
    server: SocketAddr,
}

impl NtpUdpSocket for Connected {
    async fn send_to(&self, packet: &[u8], _server: SocketAddr) -> sntpc::Result<usize> {
        self.socket.send(packet).await.map_err(|_| Error::Network)
    }

    async fn recv_from(&self, packet: &mut [u8]) -> sntpc::Result<(usize, SocketAddr)> {
        let len = self.socket.recv(packet).await.map_err(|_| Error::Network)?;
        Ok((len, self.server))
    }
}

/// The time of day when a packet left or came.
#[derive(Clone, Copy, Debug, Default)]
struct WallClock {
    us: u64,
}

impl NtpTimestampGenerator for WallClock {
    fn init(&mut self) {
        self.us = bramble_runtime::clock::wall_us();
    }

    fn timestamp_sec(&self) -> u64 {
        self.us / 1_000_000
    }

    fn timestamp_subsec_micros(&self) -> u32 {
        u32::try_from(self.us % 1_000_000).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds from NTP's beginning, 1900, to 1970.
    const FROM_1900_S: u64 = 2_208_988_800;
    /// A busy machine may answer this late, in microseconds, and is told apart from an hour.
    const TEST_LAG_US: u64 = 60_000_000;
    /// The made-up server is so far ahead, in seconds.
    const AHEAD_S: u64 = 3_600;

    /// A right answer to a question.
    fn answer_to(question: &[u8]) -> Vec<u8> {
        let now_us = bramble_runtime::clock::wall_us();
        let seconds = now_us / 1_000_000 + FROM_1900_S + AHEAD_S;
        let time = (seconds << 32) | (((now_us % 1_000_000) << 32) / 1_000_000);
        // No leap second, version 4, a server; stratum 2.
        let mut answer = vec![0b00_100_100, 2, 0, 0xec];
        answer.resize(24, 0);
        answer.extend(&question[40..48]);
        answer.extend(time.to_be_bytes());
        answer.extend(time.to_be_bytes());
        answer
    }

    /// Asks a server that changes its right answer in this way, and says it once or more.
    async fn ask_one(changes: Vec<fn(&mut Vec<u8>)>) -> Result<Sample, AskError> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let serve = async {
            let mut question = [0; 100];
            let (len, client) = socket.recv_from(&mut question).await.unwrap();
            assert_eq!((len, question[0] & 0b111), (48, 3));
            for change in changes {
                let mut answer = answer_to(&question[..len]);
                change(&mut answer);
                socket.send_to(&answer, client).await.unwrap();
            }
        };
        let (asked, ()) = tokio::join!(ask(address), serve);
        asked
    }

    #[tokio::test]
    async fn a_right_answer_tells_the_difference() {
        let sample = ask_one(vec![|_| {}]).await.unwrap();
        assert!(sample.offset_us.abs_diff(3_600_000_000) < TEST_LAG_US, "{sample:?}");
    }

    #[tokio::test]
    async fn answers_of_servers_that_do_not_know_are_refused() {
        let changes: [fn(&mut Vec<u8>); 4] = [
            // The server's clock was never set.
            |answer| answer[0] |= 0b11_000_000,
            |answer| answer[1] = 16,
            // It does not say when it answered.
            |answer| answer[40..48].fill(0),
            // Another client asks.
            |answer| answer[0] = 0b00_100_011,
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let error = ask_one(vec![change]).await.unwrap_err();
            assert!(matches!(error, AskError::Answer(_)), "{index}: {error}");
        }
        let error = ask_one(vec![|answer| {
            answer[1] = 0;
            answer[12..16].copy_from_slice(b"RATE");
        }]);
        let error = error.await.unwrap_err();
        assert!(matches!(&error, AskError::Refused(code) if code == "RATE"), "{error}");
    }

    #[tokio::test]
    async fn answers_to_other_questions_are_passed_over() {
        let short: fn(&mut Vec<u8>) = |answer| answer.truncate(47);
        let other: fn(&mut Vec<u8>) = |answer| answer[31] ^= 1;
        let sample = ask_one(vec![other, short, |_| {}]).await.unwrap();
        assert!(sample.offset_us.abs_diff(3_600_000_000) < TEST_LAG_US, "{sample:?}");
        assert!(matches!(ask_one(vec![other]).await, Err(AskError::Silent)));
    }
}
