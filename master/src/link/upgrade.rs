//! Sends a new system to a node, and brings back what the node says meanwhile.
//!
//! Nothing piles up here: a piece is taken from the client when the node has room for it.

use std::time::Duration;

use bramble_api::Status;
use bramble_shared::link::{StreamRequest, UpgradeData, UpgradeReply, UpgradeRequest};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::io::{AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use yamux::Stream;

use super::framed::{self, FrameReader, ReadFrameError};
use super::mux::Opener;
use crate::telemetry::Chain;

/// How long a node may take to open a stream, and to say that it takes the upgrade.
const OPEN: Duration = Duration::from_secs(10);
/// How long a node may be silent: it reads a whole slot back from a slow card.
const SILENCE: Duration = Duration::from_secs(120);
/// Longest piece in one frame, in bytes.
const PIECE_LEN_MAX: usize = 64 * 1024;

type Reply = Result<UpgradeReply, Status>;
type Pieces = BoxStream<'static, Result<Bytes, Status>>;

/// Begins an upgrade. A refusal that comes at once is an error of the call.
pub(super) async fn open(
    opener: &Opener,
    request: UpgradeRequest,
    pieces: Pieces,
) -> Result<BoxStream<'static, Reply>, Status> {
    let opened = tokio::time::timeout(OPEN, opener.open()).await.ok().flatten();
    let (reader, mut writer) = futures_util::io::AsyncReadExt::split(opened.ok_or_else(gone)?);
    write(&mut writer, &StreamRequest::Upgrade(request)).await?;
    let mut reader = FrameReader::new(reader);
    let first = tokio::time::timeout(OPEN, reader.read()).await;
    let first = match reply(first.map_err(|_| silent())?) {
        Ok(UpgradeReply::Failed { status, message }) => return Err(refusal(status, message)),
        other => other?,
    };
    let sending: BoxFuture<'static, _> = Box::pin(send(writer, pieces));
    let talk = Talk { reader, sending: Some(sending), kept: None };
    let rest = stream::unfold(Some(talk), |talk| async move {
        let mut talk = talk?;
        let reply = talk.next().await;
        let last = !matches!(reply, Ok(UpgradeReply::Progress { .. }));
        Some((reply, (!last).then_some(talk)))
    });
    Ok(stream::iter([Ok(first)]).chain(rest).boxed())
}

/// Both directions of an upgrade.
struct Talk {
    reader: FrameReader<ReadHalf<Stream>>,
    sending: Option<BoxFuture<'static, Result<WriteHalf<Stream>, Status>>>,
    /// Kept until the end: dropping both halves is what tells the node that nobody listens.
    kept: Option<WriteHalf<Stream>>,
}

impl Talk {
    /// What the node says next; pieces go out meanwhile.
    async fn next(&mut self) -> Reply {
        loop {
            let read = tokio::time::timeout(SILENCE, self.reader.read());
            let Some(sending) = &mut self.sending else {
                return reply(read.await.map_err(|_| silent())?);
            };
            tokio::select! {
                answer = read => return reply(answer.map_err(|_| silent())?),
                sent = sending => {
                    self.sending = None;
                    // A client that broke off is an error for the node, too: it sees no end.
                    self.kept = Some(sent?);
                }
            }
        }
    }
}

/// Sends all pieces and their end.
async fn send(
    mut writer: WriteHalf<Stream>,
    mut pieces: Pieces,
) -> Result<WriteHalf<Stream>, Status> {
    while let Some(piece) = pieces.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(status) => {
                let _ = writer.close().await;
                return Err(status);
            }
        };
        for part in piece.chunks(PIECE_LEN_MAX) {
            // A node that refuses says why before it takes no more: its word counts.
            if write(&mut writer, &UpgradeData::Piece(part.to_vec())).await.is_err() {
                return Ok(writer);
            }
        }
    }
    let _ = write(&mut writer, &UpgradeData::End).await;
    Ok(writer)
}

async fn write<T: serde::Serialize>(
    writer: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> Result<(), Status> {
    framed::write(writer, message).await.map_err(|error| {
        Status::unavailable(format!("could not reach the node: {}", Chain(&error)), 1)
    })
}

/// What one frame means.
fn reply(read: Result<Option<UpgradeReply>, ReadFrameError>) -> Reply {
    match read {
        Ok(Some(reply)) => Ok(reply),
        Ok(None) => Err(gone()),
        Err(error) => {
            let message = format!("the node's answer broke off: {}", Chain(&error));
            Err(Status::unavailable(message, 1))
        }
    }
}

fn gone() -> Status {
    Status::unavailable("the node's connection has ended", 1)
}

fn silent() -> Status {
    Status::unavailable("the node does not answer", 1)
}

/// A node may refuse, but not choose any status that it likes.
pub(super) fn refusal(status: u16, message: String) -> Status {
    match status {
        400 => Status::bad_request(message),
        409 => Status { code: 409, reason: "Conflict", ..Status::bad_request(message) },
        503 => Status::unavailable(message, 1),
        _ => Status { code: 500, reason: "InternalError", ..Status::bad_request(message) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_keep_only_statuses_that_make_sense() {
        for (said, code) in [(400, 400), (409, 409), (500, 500), (200, 500), (401, 500)] {
            assert_eq!(refusal(said, "no".to_owned()).code, code);
        }
    }

    #[test]
    fn a_stream_that_ends_without_a_last_word_is_an_error() {
        assert_eq!(reply(Ok(None)).unwrap_err().code, 503);
        assert_eq!(reply(Err(ReadFrameError::Cut)).unwrap_err().code, 503);
    }
}
