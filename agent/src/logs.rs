//! Serves a container's log to the master.

use std::time::Duration;

use bramble_runtime::logs::{LogFollower, LogOptions};
use bramble_shared::frame::encode;
use bramble_shared::link::{ContainerState, LogsRequest, Pod, StreamReply};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::container_id::ContainerId;
use crate::executor::log_file;
use crate::node::Node;
use crate::records;

/// Interval at which a followed log is looked at.
const POLL: Duration = Duration::from_millis(200);
/// Longest piece of a log in one frame, in bytes.
const PIECE_LEN_MAX: usize = 64 * 1024;

/// Answers one request; a broken stream ends it.
pub(crate) async fn serve_logs<W: AsyncWrite + Unpin>(
    node: &Node,
    request: LogsRequest,
    stream: &mut W,
) {
    let reply = match follow(node, &request, stream).await {
        Ok(()) => StreamReply::End,
        Err((status, message)) => StreamReply::Error { status, message },
    };
    let _ = send(stream, &reply).await;
}

/// Where the log is and whether its container still runs.
struct Run {
    pod: Pod,
    attempt: u32,
    running: bool,
}

async fn follow<W: AsyncWrite + Unpin>(
    node: &Node,
    request: &LogsRequest,
    stream: &mut W,
) -> Result<(), (u16, String)> {
    let run = find(node, request)?;
    let path = log_file(node, &run.pod, &request.container, run.attempt);
    let options = LogOptions {
        tail_lines: request.tail_lines,
        since_us: request.since_ms.map(|ms| ms.saturating_mul(1000)),
        limit_bytes: request.limit_bytes,
        timestamps: request.timestamps,
    };
    let unreadable = |error: std::io::Error| (500, format!("could not read the log: {error}"));
    let mut follower = LogFollower::open(&path, &options).map_err(unreadable)?;
    loop {
        // Asked before reading, so that what was written last is still read.
        let running = request.follow
            && find(node, request).is_ok_and(|now| now.attempt == run.attempt && now.running);
        let bytes = follower.poll().map_err(unreadable)?;
        let nothing = bytes.is_empty();
        for piece in bytes.chunks(PIECE_LEN_MAX) {
            if send(stream, &StreamReply::Data(piece.to_vec())).await.is_err() {
                return Ok(());
            }
        }
        if follower.finished() || !running {
            return Ok(());
        }
        if nothing {
            tokio::time::sleep(POLL).await;
        }
    }
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

async fn send<W: AsyncWrite + Unpin>(stream: &mut W, reply: &StreamReply) -> std::io::Result<()> {
    let frame = encode(reply).map_err(std::io::Error::other)?;
    stream.write_all(&frame).await?;
    stream.flush().await
}
