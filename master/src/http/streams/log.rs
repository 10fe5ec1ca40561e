//! A container's log as messages of a WebSocket, for clients that read it so.

use bramble_api::Status;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::Response;
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::sync::mpsc;

use super::client::{Out, finish, to_client};
use super::upgrade;
use super::websocket::{self, Decoder, Input};
use crate::http::Call;
use crate::http::logs;
use crate::http::response::Body;

/// What clients may speak.
const PROTOCOLS: &[(&str, ())] = &[("binary.k8s.io", ())];
/// Frames that wait for the client.
const WAITING_MAX: usize = 2;

/// Answers a request for a log.
///
/// # Errors
///
/// What is wrong before the connection is a WebSocket.
pub(super) async fn handle(
    call: &Call<'_>,
    parts: &Parts,
    on_upgrade: OnUpgrade,
) -> Result<Response<Body>, Status> {
    let (name, ()) = upgrade::choose(&parts.headers, PROTOCOLS)?;
    let answer = upgrade::accept(&parts.headers, name)?;
    let place = call.api.sessions.enter(call.identity)?;
    let chunks = logs::open(call).await?;
    upgrade::go_on(call, place, on_upgrade, |client| serve(client, chunks));
    Ok(answer)
}

async fn serve(
    client: impl AsyncRead + AsyncWrite + Unpin,
    chunks: impl Stream<Item = Result<Bytes, io::Error>> + Send,
) {
    let (mut client_in, mut client_out) = tokio::io::split(client);
    let (frames, waiting) = mpsc::channel(WAITING_MAX);
    let ended = tokio::select! {
        written = to_client(waiting, &mut client_out) => written.is_ok(),
        () = send(chunks, frames.clone()) => false,
        () = listen(&mut client_in, frames) => false,
    };
    if ended {
        finish(&mut client_in, &mut client_out).await;
    }
}

/// Sends the log and its end; then waits for that to be written.
async fn send(chunks: impl Stream<Item = Result<Bytes, io::Error>>, frames: mpsc::Sender<Out>) {
    let mut chunks = std::pin::pin!(chunks);
    // The end of one that broke off is an end, too: the log is all that there is to say.
    while let Some(Ok(chunk)) = chunks.next().await {
        if frames.send((websocket::message(&[&chunk]), false)).await.is_err() {
            return;
        }
    }
    let _ = frames.send((websocket::close(1000), true)).await;
    std::future::pending().await
}

/// Answers pings until the client goes; what else it says is nobody's.
async fn listen(client: &mut (impl AsyncRead + Unpin), frames: mpsc::Sender<Out>) {
    let mut decoder = Decoder::default();
    let mut chunk = vec![0; 4096];
    loop {
        let Ok(len @ 1..) = client.read(&mut chunk).await else { return };
        let Ok(inputs) = decoder.decode(chunk.get(..len).unwrap_or_default()) else { return };
        for input in inputs {
            match input {
                Input::Ping(bytes) => drop(frames.send((websocket::pong(&bytes), false)).await),
                Input::Close => return,
                Input::Data { .. } => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn a_log_is_messages_and_an_end() {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let chunks = [Ok(Bytes::from("one\n")), Ok(Bytes::from("two\n"))];
        let serving = serve(ours, stream::iter(chunks));
        let reading = async {
            let mut read = vec![0; 6 + 6 + 4];
            theirs.read_exact(&mut read).await.unwrap();
            drop(theirs);
            read
        };
        let ((), read) = tokio::join!(serving, reading);
        assert_eq!(read, b"\x82\x04one\n\x82\x04two\n\x88\x02\x03\xe8");
    }
}
