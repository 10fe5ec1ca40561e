//! Reads the entries of a layer's tar archive, with their long names and attributes.
//!
//! The `tar` crate parses single headers; what extends them (GNU long names, PAX records) is read
//! here, because it must be bounded and because PAX values may hold any byte.

use std::io::Read;

use super::UnpackError;

/// One entry, without its content.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds since 1970.
    pub(super) modified: i64,
    pub(super) size: u64,
    pub(super) xattrs: Vec<(String, Vec<u8>)>,
}

/// What an entry makes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    HardLink {
        target: Vec<u8>,
    },
    Symlink {
        target: Vec<u8>,
    },
    Fifo,
    /// A device node, which containers get from the runtime and never from an image.
    Device,
}

/// What earlier headers say about the next entry.
#[derive(Default)]
pub(super) struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    uid: Option<u64>,
    gid: Option<u64>,
    modified: Option<i64>,
    size: Option<u64>,
    xattrs: Vec<(String, Vec<u8>)>,
}

impl Extensions {
    /// Takes in a header that only describes the next one. Returns false if it is a real entry.
    pub(super) fn absorb<R: Read>(
        &mut self,
        entry: &mut tar::Entry<'_, R>,
    ) -> Result<bool, UnpackError> {
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() {
            self.path = Some(without_trailing_zeros(read_bounded(entry)?));
        } else if kind.is_gnu_longlink() {
            self.link = Some(without_trailing_zeros(read_bounded(entry)?));
        } else if kind.is_pax_local_extensions() {
            self.absorb_pax(&read_bounded(entry)?)?;
        } else if !kind.is_pax_global_extensions() {
            // Global records hold comments of git; nothing of them is used.
            return Ok(false);
        }
        Ok(true)
    }

    fn absorb_pax(&mut self, mut records: &[u8]) -> Result<(), UnpackError> {
        while !records.is_empty() {
            let (key, value, rest) = pax_record(records).ok_or(UnpackError::Pax)?;
            records = rest;
            match key {
                "path" => self.path = Some(value.to_vec()),
                "linkpath" => self.link = Some(value.to_vec()),
                "uid" => self.uid = Some(number(value)?),
                "gid" => self.gid = Some(number(value)?),
                "size" => self.size = Some(number(value)?),
                "mtime" => self.modified = Some(whole_seconds(value)?),
                key if key.starts_with("GNU.sparse.") => return Err(UnpackError::Sparse),
                key => {
                    if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                        self.xattrs.push((name.to_owned(), value.to_vec()));
                    }
                }
            }
        }
        let total: usize = self.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        match self.xattrs.len() > XATTRS_MAX || total > XATTRS_LEN_MAX {
            true => Err(UnpackError::Xattrs),
            false => Ok(()),
        }
    }

    /// Combines the collected extensions with the header that they were for.
    pub(super) fn complete(self, header: &tar::Header) -> Result<Entry, UnpackError> {
        let path = self.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = self.link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
        let size = header.entry_size().map_err(UnpackError::Read)?;
        // Two readers must not see two archives in the same bytes.
        if self.size.is_some_and(|other| other != size) {
            return Err(UnpackError::Pax);
        }
        let kind = kind(header.entry_type(), &path, link.unwrap_or_default())?;
        let id = |extended: Option<u64>, plain: std::io::Result<u64>| {
            let id = extended.map_or(plain, Ok).map_err(UnpackError::Read)?;
            u32::try_from(id).map_err(|_| UnpackError::Pax)
        };
        Ok(Entry {
            kind,
            mode: header.mode().map_err(UnpackError::Read)? & 0o7777,
            uid: id(self.uid, header.uid())?,
            gid: id(self.gid, header.gid())?,
            modified: match self.modified {
                Some(seconds) => seconds,
                None => i64::try_from(header.mtime().map_err(UnpackError::Read)?).unwrap_or(0),
            },
            size,
            xattrs: self.xattrs,
            path,
        })
    }
}

fn kind(kind: tar::EntryType, path: &[u8], target: Vec<u8>) -> Result<Kind, UnpackError> {
    match kind.as_byte() {
        // Very old archives mark folders by their name alone.
        b'0' | 0 if path.ends_with(b"/") => Ok(Kind::Directory),
        b'0' | 0 | b'7' => Ok(Kind::File),
        b'1' => Ok(Kind::HardLink { target }),
        b'2' => Ok(Kind::Symlink { target }),
        b'3' | b'4' => Ok(Kind::Device),
        b'5' => Ok(Kind::Directory),
        b'6' => Ok(Kind::Fifo),
        b'S' => Err(UnpackError::Sparse),
        other => Err(UnpackError::Kind { kind: char::from(other) }),
    }
}

/// Reads what an extension header carries.
fn read_bounded<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Vec<u8>, UnpackError> {
    if entry.header().entry_size().map_err(UnpackError::Read)? > EXTENSION_LEN_MAX {
        return Err(UnpackError::Pax);
    }
    let mut bytes = Vec::new();
    entry.take(EXTENSION_LEN_MAX).read_to_end(&mut bytes).map_err(UnpackError::Read)?;
    Ok(bytes)
}

fn without_trailing_zeros(mut bytes: Vec<u8>) -> Vec<u8> {
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

/// Splits `LENGTH key=value\n` off the front. The length counts itself.
fn pax_record(records: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let space = records.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(records.get(..space)?).ok()?.parse().ok()?;
    let record = records.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let key = std::str::from_utf8(record.get(..equals)?).ok()?;
    Some((key, record.get(equals + 1..)?, records.get(length..)?))
}

fn number(value: &[u8]) -> Result<u64, UnpackError> {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or(UnpackError::Pax)
}

/// Drops the fraction: nothing that reads an image compares below a second.
fn whole_seconds(value: &[u8]) -> Result<i64, UnpackError> {
    let text = std::str::from_utf8(value).map_err(|_| UnpackError::Pax)?;
    let whole = text.split('.').next().unwrap_or_default();
    whole.parse().map_err(|_| UnpackError::Pax)
}

/// Bound on a long name or a block of PAX records, in bytes.
const EXTENSION_LEN_MAX: u64 = 256 << 10;

/// Real files have one or two.
const XATTRS_MAX: usize = 32;

/// ext4 keeps at most one block of them.
const XATTRS_LEN_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pax_records_hold_any_byte() {
        let records = b"25 SCHILY.xattr.a=x\n=\0zz\n12 path=a/b\n";
        let (key, value, rest) = pax_record(records).unwrap();
        assert_eq!((key, value), ("SCHILY.xattr.a", &b"x\n=\0zz"[..]));
        assert_eq!(pax_record(rest), Some(("path", &b"a/b"[..], &b""[..])));
    }

    #[test]
    fn malformed_pax_records_are_refused() {
        for records in [
            &b"5 a=b"[..],
            b"99 a=b\n",
            b"0 a=b\n",
            b"1 a=b\n",
            b"x a=b\n",
            b"6 ab\n\n",
            b"7 a=bbb",
        ] {
            assert!(Extensions::default().absorb_pax(records).is_err(), "{records:?}");
        }
    }

    #[test]
    fn too_many_attributes_are_refused() {
        let records: String =
            (10..99).map(|number| format!("22 SCHILY.xattr.{number}=xy\n")).collect();
        let refused = Extensions::default().absorb_pax(records.as_bytes());
        assert!(matches!(refused, Err(UnpackError::Xattrs)));
    }
}
