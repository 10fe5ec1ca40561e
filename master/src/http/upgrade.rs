//! A new system for a node's card: the image is the request's body, and what the node says comes
//! back line by line as JSON while the body is still being sent.
//!
//! Private to bramble; not part of the Kubernetes API.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bramble_api::Status;
use bramble_shared::link::{UpgradeReply, UpgradeStage};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Api;
use super::response::{self, Body};

/// Longest image file, in bytes: an image of a card without compression, and room to grow.
const BODY_LEN_MAX: u64 = 256 << 20;
/// Time that a client has to send its next piece.
const PIECE_TIME_MAX: Duration = Duration::from_secs(30);
/// Time for a client to notice that its upgrade is over; it may still be sending.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);
/// Pieces that wait between client and node.
const WAITING_MAX: usize = 2;

/// Answers `PUT /bramble/v1/nodes/<node>/upgrade`.
pub(super) async fn handle(
    api: &Arc<Api>,
    node: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, Status> {
    if request.method() != Method::PUT {
        return Err(Status::not_found_path());
    }
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()).and_then(|it| it.parse::<u64>().ok());
    // A client that is still sending would not read an answer that ends the connection: from here
    // on, the body is read in any case.
    let (pieces_in, pieces) = tokio::sync::mpsc::channel(WAITING_MAX);
    tokio::spawn(read(request.into_body(), pieces_in));
    if length.is_some_and(|length| length > BODY_LEN_MAX) {
        return Err(too_large());
    }
    let pieces = stream::unfold(pieces, |mut pieces| async move {
        pieces.recv().await.map(|piece| (piece, pieces))
    });
    let nodes =
        bramble_api::registry::find("", "v1", "nodes").ok_or_else(Status::not_found_path)?;
    api.objects.get(nodes, "", node).await?;
    let replies = api.nodes.upgrade(node, length, pieces.boxed()).await?;
    tracing::info!(%node, "upgrade begins");
    Ok(response::stream("application/json", lines(replies)))
}

/// Reads the body to its end and hands it over as long as somebody takes it.
async fn read(mut body: Incoming, pieces: tokio::sync::mpsc::Sender<Result<Bytes, Status>>) {
    let mut total = 0;
    let broken = |message: String| Err(Status::bad_request(message));
    loop {
        let piece = match timeout(PIECE_TIME_MAX, body.frame()).await {
            Ok(None) => return,
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(bytes) => Ok(bytes),
                Err(_) => continue,
            },
            Ok(Some(Err(error))) => broken(format!("could not read the body: {error}")),
            Err(_) => broken("the request's body came too slowly".to_owned()),
        };
        total += piece.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let piece = if total > BODY_LEN_MAX { Err(too_large()) } else { piece };
        let failed = piece.is_err();
        if pieces.send(piece).await.is_err() || failed {
            break;
        }
    }
    let drain = async { while let Some(Ok(_)) = body.frame().await {} };
    // Whether it ended or took too long: the connection is closed after it.
    let _ = timeout(DRAIN_TIME_MAX, drain).await;
}

fn too_large() -> Status {
    Status::too_large(usize::try_from(BODY_LEN_MAX).unwrap_or(usize::MAX))
}

/// One line for each word of the node.
fn lines(
    replies: impl Stream<Item = Result<UpgradeReply, Status>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static {
    replies.map(|reply| Ok(Bytes::from(format!("{}\n", line(&reply)))))
}

fn line(reply: &Result<UpgradeReply, Status>) -> Value {
    match reply {
        Ok(UpgradeReply::Progress { stage, bytes, of }) => {
            let stage = match stage {
                UpgradeStage::Writing => "writing",
                UpgradeStage::Verifying => "verifying",
            };
            json!({"stage": stage, "bytes": bytes, "of": of})
        }
        Ok(UpgradeReply::Restarting { slot, version }) => {
            json!({"stage": "restarting", "slot": slot, "version": version})
        }
        Ok(UpgradeReply::Failed { message, .. }) => json!({"stage": "failed", "message": message}),
        Err(status) => json!({"stage": "failed", "message": status.message}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_node_is_a_line_for_the_client() {
        let check = |reply, expected: Value| assert_eq!(line(&reply), expected);
        check(
            Ok(UpgradeReply::Progress { stage: UpgradeStage::Verifying, bytes: 1, of: 2 }),
            json!({"stage": "verifying", "bytes": 1, "of": 2}),
        );
        check(
            Ok(UpgradeReply::Restarting { slot: "b".to_owned(), version: "2".to_owned() }),
            json!({"stage": "restarting", "slot": "b", "version": "2"}),
        );
        let failed = json!({"stage": "failed", "message": "no"});
        let message = "no".to_owned();
        check(Ok(UpgradeReply::Failed { status: 400, message }), failed.clone());
        check(Err(Status::bad_request("no")), failed);
    }
}
