//! Fetches a container's log from its node.

use std::time::Duration;

use bramble_api::Status;
use bramble_shared::link::{LogsRequest, StreamReply, StreamRequest};
use bytes::Bytes;
use futures_util::io::{AsyncReadExt, AsyncWrite};
use futures_util::stream::{self, BoxStream, StreamExt as _};

use super::framed::{self, FrameReader, ReadFrameError};
use super::mux::Opener;
use crate::telemetry::Chain;

/// How long the first piece of a log is waited for before the client gets its headers.
const FIRST: Duration = Duration::from_millis(500);
/// How long a node may take to open a stream.
const OPEN: Duration = Duration::from_secs(10);
/// Longest frame of a log, in bytes: agents send pieces of at most 64 KiB. With the stream's
/// window it is all that the master keeps for a client that does not read.
const FRAME_LEN_MAX: usize = 128 * 1024;

type Piece = Result<Bytes, Status>;

/// Opens a log. An error that comes at once is an error of the call.
pub(super) async fn open(
    opener: &Opener,
    request: LogsRequest,
) -> Result<BoxStream<'static, Piece>, Status> {
    let opened = tokio::time::timeout(OPEN, opener.open()).await.ok().flatten();
    let stream = opened.ok_or_else(gone)?;
    let (reader, mut writer) = AsyncReadExt::split(stream);
    write(&mut writer, request).await?;
    let mut reader = FrameReader::with_len_max(reader, FRAME_LEN_MAX);
    let first = tokio::time::timeout(FIRST, reader.read()).await;
    let first = match first {
        Err(_) => None,
        Ok(reply) => match piece(reply) {
            Some(Err(status)) => return Err(status),
            Some(Ok(bytes)) => Some(Ok(bytes)),
            None => return Ok(stream::empty().boxed()),
        },
    };
    // The writer is kept: dropping both halves is what tells the node that nobody listens.
    let rest = stream::unfold(Some((reader, writer)), |state| async move {
        let (mut reader, writer) = state?;
        match piece(reader.read().await)? {
            Ok(bytes) => Some((Ok(bytes), Some((reader, writer)))),
            Err(status) => Some((Err(status), None)),
        }
    });
    Ok(stream::iter(first).chain(rest).boxed())
}

async fn write(writer: &mut (impl AsyncWrite + Unpin), request: LogsRequest) -> Result<(), Status> {
    framed::write(writer, &StreamRequest::Logs(request)).await.map_err(|error| {
        Status::unavailable(format!("could not ask the node: {}", Chain(&error)), 1)
    })
}

/// What one frame means; none at the end.
fn piece(reply: Result<Option<StreamReply>, ReadFrameError>) -> Option<Piece> {
    match reply {
        Ok(Some(StreamReply::Data(bytes))) => Some(Ok(Bytes::from(bytes))),
        Ok(Some(StreamReply::End)) => None,
        Ok(Some(StreamReply::Error { status, message })) => Some(Err(refusal(status, message))),
        Ok(None) => Some(Err(gone())),
        Err(error) => {
            let message = format!("the node's answer broke off: {}", Chain(&error));
            Some(Err(Status::unavailable(message, 1)))
        }
    }
}

pub(super) fn gone() -> Status {
    Status::unavailable("the node's connection has ended", 1)
}

/// A node may refuse, but not choose any status that it likes.
pub(crate) fn refusal(status: u16, message: String) -> Status {
    match status {
        400 => Status::bad_request(message),
        404 => Status { code: 404, reason: "NotFound", ..Status::bad_request(message) },
        // Without a time to try again: whoever reads has to end something first.
        429 => Status { code: 429, reason: "TooManyRequests", ..Status::bad_request(message) },
        503 => Status::unavailable(message, 1),
        _ => Status::internal(message),
    }
}

/// Reads from anything that is a stream of frames; for tests of the protocol.
#[cfg(test)]
async fn collect(reader: impl futures_util::io::AsyncRead + Unpin) -> Vec<Piece> {
    let mut reader = FrameReader::with_len_max(reader, FRAME_LEN_MAX);
    let mut pieces = vec![];
    while let Some(next) = piece(reader.read().await) {
        let failed = next.is_err();
        pieces.push(next);
        if failed {
            break;
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use bramble_shared::frame;

    use super::*;

    async fn check(replies: &[StreamReply], expected: &[Result<&'static str, u16>]) {
        let bytes: Vec<u8> = replies.iter().flat_map(|it| frame::encode(it).unwrap()).collect();
        let pieces = collect(&bytes[..]).await;
        let pieces: Vec<_> =
            pieces.into_iter().map(|piece| piece.map_err(|status| status.code)).collect();
        let expected: Vec<_> = expected.iter().map(|piece| piece.map(Bytes::from)).collect();
        assert_eq!(pieces, expected);
    }

    #[tokio::test]
    async fn a_log_ends_with_its_end_and_a_cut_is_an_error() {
        let data = |text: &str| StreamReply::Data(text.as_bytes().to_vec());
        check(&[data("a"), data("b"), StreamReply::End], &[Ok("a"), Ok("b")]).await;
        check(&[data("a")], &[Ok("a"), Err(503)]).await;
    }

    #[tokio::test]
    async fn a_piece_that_is_longer_than_agents_send_ends_the_log() {
        let longest = StreamReply::Data(vec![b'a'; 64 * 1024]);
        let bytes = [frame::encode(&longest).unwrap(), (1_u32 << 20).to_le_bytes().to_vec()];
        let pieces = collect(&bytes.concat()[..]).await;
        assert_eq!(pieces[0].as_ref().unwrap().len(), 64 * 1024);
        assert_eq!(pieces[1].as_ref().unwrap_err().code, 503);
    }

    #[tokio::test]
    async fn refusals_keep_only_statuses_that_make_sense() {
        let refused = |status| StreamReply::Error { status, message: "no".to_owned() };
        check(&[refused(404)], &[Err(404)]).await;
        check(&[refused(429)], &[Err(429)]).await;
        check(&[refused(200)], &[Err(500)]).await;
    }
}
