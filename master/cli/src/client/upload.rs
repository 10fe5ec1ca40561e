//! A file as the body of a request, read while it is sent.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// Bytes that are read at once.
const PIECE_LEN: usize = 64 * 1024;
/// Pieces that wait to be sent.
const WAITING_MAX: usize = 4;

/// A file that is being sent.
#[derive(Debug)]
pub(crate) struct Upload {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
}

impl Upload {
    /// Opens a file and begins to read it.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let left = file.metadata()?.len();
        let (sender, pieces) = mpsc::channel(WAITING_MAX);
        tokio::task::spawn_blocking(move || {
            let mut rest = left;
            // A file that grows meanwhile is sent as long as it was.
            while rest > 0 {
                let mut piece = vec![0; PIECE_LEN.min(usize::try_from(rest).unwrap_or(PIECE_LEN))];
                let read = file.read_exact(&mut piece).map(|()| Bytes::from(piece));
                rest = rest.saturating_sub(PIECE_LEN as u64);
                let failed = read.is_err();
                if sender.blocking_send(read).is_err() || failed {
                    return;
                }
            }
        });
        Ok(Self { pieces, left })
    }

    /// Bytes that are still to be sent.
    pub(crate) fn len(&self) -> u64 {
        self.left
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.pieces.poll_recv(context).map(|piece| {
            piece.map(|read| {
                let bytes = read?;
                self.left = self.left.saturating_sub(bytes.len() as u64);
                Ok(Frame::data(bytes))
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
