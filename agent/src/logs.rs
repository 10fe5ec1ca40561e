//! Serves a container's log to the master.
//!
//! The log is read as fast as the reader takes it and no faster: one that stops reading costs a
//! window of the log and its place among the readers, not the log.

mod readers;

use std::io;
use std::time::Duration;

use bramble_runtime::logs::{LogFollower, LogOptions};
use bramble_shared::frame::encode;
use bramble_shared::link::{ContainerState, LogsRequest, Pod, StreamReply};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::container_id::ContainerId;
use crate::executor::log_files;
use crate::node::Node;
use crate::records;
pub(crate) use readers::LogReaders;

/// Interval at which a followed log is looked at.
const POLL: Duration = Duration::from_millis(200);
/// Interval at which a reader that takes nothing is asked to let go of files that rotation has
/// removed.
const STALLED: Duration = Duration::from_secs(10);

/// Answers one request; a broken stream ends it.
pub(crate) async fn serve_logs<W: AsyncWrite + Unpin>(
    node: &Node,
    request: LogsRequest,
    stream: &mut W,
) {
    let reply = match serve(node, &request, stream).await {
        Ok(()) => StreamReply::End,
        Err((status, message)) => StreamReply::Error { status, message },
    };
    if let Ok(frame) = encode(&reply) {
        let _ = write(stream, &frame).await;
    }
}

/// Where the log is and whether its container still runs.
struct Run {
    pod: Pod,
    attempt: u32,
    running: bool,
}

async fn serve<W: AsyncWrite + Unpin>(
    node: &Node,
    request: &LogsRequest,
    stream: &mut W,
) -> Result<(), (u16, String)> {
    let run = find(node, request)?;
    let place = node.log_readers.enter(&request.uid);
    let _place = place.map_err(|error| (429, error.to_string()))?;
    let files = log_files(node, &run.pod, &request.container, run.attempt);
    let options = LogOptions {
        tail_lines: request.tail_lines,
        since_us: request.since_ms.map(|ms| ms.saturating_mul(1000)),
        limit_bytes: request.limit_bytes,
        timestamps: request.timestamps,
    };
    let grows = || {
        request.follow
            && find(node, request).is_ok_and(|now| now.attempt == run.attempt && now.running)
    };
    let opened = on_disk(move || LogFollower::open(&files, &options)).await;
    let copied = match opened {
        Ok(follower) => copy(follower, grows, stream).await,
        Err(error) => Err(error),
    };
    copied.map_err(|error| (500, format!("could not read the log: {error}")))
}

/// Sends a log piece by piece until it ends; a reader that is gone is no error.
async fn copy<W: AsyncWrite + Unpin>(
    mut follower: LogFollower,
    grows: impl Fn() -> bool,
    stream: &mut W,
) -> io::Result<()> {
    loop {
        // Asked before reading, so that what was written last is still read.
        let more = grows();
        let piece;
        (follower, piece) = on_disk(move || {
            let piece = follower.read()?;
            Ok((follower, piece))
        })
        .await?;
        if piece.is_empty() {
            if !more || follower.finished() {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
            continue;
        }
        let frame = encode(&StreamReply::Data(piece)).map_err(io::Error::other)?;
        let written = write(stream, &frame);
        tokio::pin!(written);
        let written = loop {
            tokio::select! {
                written = &mut written => break written,
                () = tokio::time::sleep(STALLED) => follower.release_removed(),
            }
        };
        if written.is_err() {
            return Ok(());
        }
    }
}

/// Does what may wait for the disk, which a link's own threads must not.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn find(node: &Node, request: &LogsRequest) -> Result<Run, (u16, String)> {
    let LogsRequest { uid, container, previous, .. } = request;
    let record = records::read(&node.records_dir(), uid)
        .ok_or_else(|| (404, format!("pod {uid} not found on this node")))?;
    let found = record.containers.iter().find(|each| each.name == *container).ok_or_else(|| {
        (400, format!("container {container} is not valid for pod {}", record.pod.name))
    })?;
    let running = matches!(found.state, ContainerState::Running { .. });
    let waits = || match &found.state {
        ContainerState::Waiting { reason, .. } => reason.clone(),
        ContainerState::Running { .. } | ContainerState::Terminated { .. } => String::new(),
    };
    // A container that waits for its restart shows the log of its last run, whose number is the
    // one in its id.
    let id = ContainerId::parse(&found.container_id);
    let current = id.map(|id| id.attempt);
    let attempt = match (current, previous) {
        (Some(attempt), false) => attempt,
        (Some(attempt), true) if attempt > 0 => attempt - 1,
        (_, true) => {
            return Err((
                400,
                format!(
                    "previous terminated container \"{container}\" in pod \"{}\" not found",
                    record.pod.name
                ),
            ));
        }
        (None, false) => {
            return Err((
                400,
                format!(
                    "container \"{container}\" in pod \"{}\" is waiting to start: {}",
                    record.pod.name,
                    waits()
                ),
            ));
        }
    };
    Ok(Run { attempt, running, pod: record.pod })
}

async fn write<W: AsyncWrite + Unpin>(stream: &mut W, frame: &[u8]) -> io::Result<()> {
    stream.write_all(frame).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bramble_runtime::logs::LogFiles;
    use bramble_shared::frame::FrameDecoder;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// Reads all replies of a stream; none may be longer than a piece of a log.
    async fn collect(mut stream: impl tokio::io::AsyncRead + Unpin) -> Vec<u8> {
        let mut decoder = FrameDecoder::with_len_max(64 * 1024);
        let (mut chunk, mut text) = (vec![0; 512], Vec::new());
        loop {
            while let Some(reply) = decoder.decode::<StreamReply>().unwrap() {
                let StreamReply::Data(bytes) = reply else { panic!("{reply:?}") };
                text.extend(bytes);
            }
            match stream.read(&mut chunk).await.unwrap() {
                0 => return text,
                len => decoder.push(&chunk[..len]),
            }
        }
    }

    #[tokio::test]
    async fn a_log_is_read_no_faster_than_its_reader_takes_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let line = "1970-01-01T00:00:04.000000000Z stdout F 0123456789\n";
        let count = 20_000;
        fs::write(&path, line.repeat(count)).unwrap();
        let (mut ours, theirs) = tokio::io::duplex(1024);
        let files = LogFiles { disk: path.clone(), memory: None };
        let follower = LogFollower::open(&files, &LogOptions::default()).unwrap();
        let copying = tokio::spawn(async move { copy(follower, || false, &mut ours).await });
        // The reader has not begun, so most of the log is still to be read: what is cut off now
        // is never sent.
        let mut theirs = theirs;
        let mut first = [0; 1];
        theirs.read_exact(&mut first).await.unwrap();
        let kept = 10_000;
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(u64::try_from(line.len() * kept).unwrap())
            .unwrap();
        let text = collect(first.as_slice().chain(theirs)).await;
        copying.await.unwrap().unwrap();
        assert_eq!(text.len(), kept * "0123456789\n".len());
    }
}
