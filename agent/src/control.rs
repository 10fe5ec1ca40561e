//! The agent's socket for commands of the same board: only one process may use the image store.

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bramble_image::ImageStore;
use bramble_shared::frame::{FrameDecoder, encode};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use crate::node::Node;

/// What a command asks of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ControlRequest {
    /// Imports an image archive; an absolute path.
    ImportImage(PathBuf),
    /// Lists images.
    ListImages,
}

/// The agent's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ControlReply {
    /// Images.
    Images(Vec<ImageRow>),
    /// It cannot be done; why, in words.
    Failed(String),
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageRow {
    /// Name.
    pub(crate) reference: String,
    /// Digest of its manifest.
    pub(crate) digest: String,
    /// Size, in bytes.
    pub(crate) bytes: u64,
}

/// Where the socket is.
pub(crate) fn socket(run_dir: &Path) -> PathBuf {
    run_dir.join("agent.sock")
}

/// Serves commands for ever.
///
/// # Errors
///
/// When the socket cannot be made.
pub(crate) async fn serve(node: Arc<Node>) -> io::Result<()> {
    let path = socket(&node.config.run_dir);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    loop {
        let (stream, _) = listener.accept().await?;
        let store = node.image_store.clone();
        tokio::spawn(async move {
            if let Err(error) = answer(stream, store).await {
                tracing::debug!(%error, "a command went away");
            }
        });
    }
}

async fn answer(mut stream: UnixStream, store: ImageStore) -> io::Result<()> {
    let mut decoder = FrameDecoder::new();
    let mut chunk = vec![0; 4096];
    let request = loop {
        if let Some(request) = decoder.decode().map_err(io::Error::other)? {
            break request;
        }
        let len = stream.read(&mut chunk).await?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        decoder.push(chunk.get(..len).unwrap_or_default());
    };
    let reply = tokio::task::spawn_blocking(move || perform(&store, &request));
    let reply = reply.await.map_err(io::Error::other)?;
    stream.write_all(&encode(&reply).map_err(io::Error::other)?).await
}

/// Does a command on an open store.
pub(crate) fn perform(store: &ImageStore, request: &ControlRequest) -> ControlReply {
    let images = match request {
        ControlRequest::ListImages => store.list(),
        ControlRequest::ImportImage(path) => match bramble_image::import(store, path, None) {
            Ok(images) => images,
            Err(error) => {
                return ControlReply::Failed(crate::telemetry::Chain(&error).to_string());
            }
        },
    };
    ControlReply::Images(
        images
            .into_iter()
            .map(|image| ImageRow {
                reference: image.reference.to_string(),
                digest: image.digest.to_string(),
                bytes: image.size_bytes,
            })
            .collect(),
    )
}

/// Asks the agent that runs with this run directory.
///
/// # Errors
///
/// When no agent listens there, or it went away.
pub(crate) fn ask(run_dir: &Path, request: &ControlRequest) -> io::Result<ControlReply> {
    let mut stream = BlockingStream::connect(socket(run_dir))?;
    stream.write_all(&encode(request).map_err(io::Error::other)?)?;
    let mut decoder = FrameDecoder::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(reply) = decoder.decode().map_err(io::Error::other)? {
            return Ok(reply);
        }
        let len = stream.read(&mut chunk)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        decoder.push(chunk.get(..len).unwrap_or_default());
    }
}
