//! The first sector of a log: what the file is, and whose.
//!
//! ```text
//! magic  format u32  salt u64  length of the file u64  length of the cluster's id u8, id  zeros  check u64
//! ```
//! Written once and never again: a cut that tore it would cost the whole file.

use std::path::Path;

use twox_hash::XxHash64;

use super::errors::OpenStoreError;
use super::frame::SECTOR;

/// First bytes of every log. A carriage return and a line feed show copies that changed them.
const MAGIC: &[u8] = b"bramble\x1alog\r\n";
/// Raised when an older build could not read the file.
pub(super) const FORMAT: u32 = 1;
/// Where the check of the sector is.
const CHECK_AT: usize = SECTOR - 8;

/// What the first sector says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Seed of all checks in this file; nobody outside knows it.
    pub(super) salt: u64,
    /// Length of the file when it was made. A shorter one was cut off.
    pub(super) capacity: u64,
    /// Id of the cluster.
    pub(super) cluster: String,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let id_len = u8::try_from(self.cluster.len()).unwrap_or(u8::MAX);
        let mut sector = MAGIC.to_vec();
        sector.extend(FORMAT.to_le_bytes());
        sector.extend(self.salt.to_le_bytes());
        sector.extend(self.capacity.to_le_bytes());
        sector.push(id_len);
        sector.extend(self.cluster.bytes().take(usize::from(id_len)));
        sector.resize(CHECK_AT, 0);
        sector.extend(XxHash64::oneshot(0, &sector).to_le_bytes());
        sector
    }

    /// Reads the first sector of the file at `path`.
    pub(super) fn decode(sector: &[u8], path: &Path) -> Result<Self, OpenStoreError> {
        if sector.is_empty() {
            return Err(OpenStoreError::damaged(path, "it is empty"));
        }
        let Some(rest) = sector.strip_prefix(MAGIC) else {
            return Err(OpenStoreError::Foreign { path: path.to_owned() });
        };
        let damaged = || OpenStoreError::damaged(path, "its first sector is not whole");
        let (format, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let found = u32::from_le_bytes(*format);
        // A newer build may check it in another way.
        if found > FORMAT {
            let path = path.to_owned();
            return Err(OpenStoreError::NewerFormat { path, found, supported: FORMAT });
        }
        let (checked, check) = sector.split_at_checked(CHECK_AT).ok_or_else(damaged)?;
        if check != XxHash64::oneshot(0, checked).to_le_bytes() {
            return Err(damaged());
        }
        let (salt, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let (capacity, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let (&[id_len], rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let cluster = rest.get(..usize::from(id_len)).ok_or_else(damaged)?;
        Ok(Self {
            salt: u64::from_le_bytes(*salt),
            capacity: u64::from_le_bytes(*capacity),
            cluster: String::from_utf8_lossy(cluster).into_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_comes_back_and_every_changed_bit_is_noticed() {
        let header = Header { salt: 9, capacity: 4_096, cluster: "bramble-5f2c".to_owned() };
        let sector = header.encode();
        let path = Path::new("store.log");
        assert_eq!((sector.len(), Header::decode(&sector, path).unwrap()), (SECTOR, header));
        for at in 0..SECTOR {
            let mut changed = sector.clone();
            changed[at] ^= 4;
            assert!(Header::decode(&changed, path).is_err(), "byte {at}");
        }
    }
}
