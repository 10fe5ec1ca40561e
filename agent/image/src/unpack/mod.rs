//! Unpacks a layer into a folder of its own, in the form that overlayfs wants.
//!
//! The `tar` crate only parses. Every file is written by us beneath the descriptor of the layer's
//! root, with `openat2` that does not leave it wherever a symlink leads, so that an archive can
//! change nothing else. Whiteouts become character devices 0:0, opaque folders get an attribute.
//!
//! Knows nothing of the store; the caller makes the root, checks the digest and keeps the result.

mod entry;
mod root;

use std::{
    io::{self, BufRead},
    os::fd::BorrowedFd,
};

use self::{entry::Extensions, root::LayerRoot};
use crate::{Digest, decompress::decompress, digest::HashingReader, implied::Paths};

/// What came out of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// Digest of the uncompressed archive.
    pub(crate) diff_id: Digest,
    /// Bytes of the uncompressed archive.
    pub(crate) bytes: u64,
    /// Folders that the layer needs and does not describe.
    pub(crate) implied: Paths,
}

/// Unpacks the layer in `source` into the empty folder `root`, which has room for `room` bytes.
///
/// # Errors
/// The archive is malformed, beyond a bound or would leave `root`, or a file could not be written.
/// `root` then holds a part of it.
pub(crate) fn unpack(
    source: impl BufRead,
    room: u64,
    root: BorrowedFd<'_>,
) -> Result<Unpacked, UnpackError> {
    let archive = decompress(source, room).map_err(UnpackError::Read)?;
    let mut archive = tar::Archive::new(HashingReader::new(archive));
    let mut layer = LayerRoot::new(root);
    let mut extensions = Extensions::default();
    // Raw: long names and PAX records are bounded by us.
    for (count, entry) in archive.entries().map_err(UnpackError::Read)?.raw(true).enumerate() {
        if count >= ENTRIES_MAX {
            return Err(UnpackError::TooManyEntries);
        }
        let mut content = entry.map_err(UnpackError::Read)?;
        if !extensions.absorb(&mut content)? {
            let entry = std::mem::take(&mut extensions).complete(content.header())?;
            layer.apply(&entry, &mut content)?;
        }
    }
    let implied = layer.finish();
    // The digest is over all bytes, and padding after the end of the archive counts.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(UnpackError::Read)?;
    let (diff_id, bytes) = rest.finish();
    Ok(Unpacked { diff_id, bytes, implied })
}

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("could not read the layer's archive")]
    Read(#[source] io::Error),
    #[error("layer's archive ends in the middle of `{path}`")]
    Truncated { path: String },
    #[error("layer has more than {ENTRIES_MAX} entries")]
    TooManyEntries,
    #[error("layer has malformed extended headers")]
    Pax,
    #[error("layer has an entry with too many or too large extended attributes")]
    Xattrs,
    #[error("layer has sparse files, which images must not have")]
    Sparse,
    #[error("layer has an entry of unknown type `{kind}`")]
    Kind { kind: char },
    #[error("layer has a path that is not allowed: `{path}`")]
    Path { path: String },
    #[error("layer has a path that leads through a file or too many symlinks: `{path}`")]
    NotAFolder { path: String },
    #[error(
        "layer has a path `{path}` that leads through its symlink `{link}` to a folder that it lacks"
    )]
    DanglingLink { path: String, link: String },
    #[error("layer has a hard link `{path}` to `{target}`, which is not a file of this layer")]
    HardLink { path: String, target: String },
    #[error("could not write `{path}` of a layer")]
    Write {
        path: String,
        #[source]
        source: io::Error,
    },
}

/// A full desktop has 200,000 files; each costs an inode on the card.
const ENTRIES_MAX: usize = 400_000;

#[cfg(test)]
mod tests;
