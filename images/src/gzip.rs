//! Packing and unpacking with gzip, without names and times.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// First bytes of a packed file.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Packs as small as it gets. The same content gives the same bytes.
///
/// # Errors
/// Never in practice: everything is in memory.
pub fn pack(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    encoder.finish()
}

/// Reads a file that may be packed, up to `len_max` bytes of content.
///
/// # Errors
/// It cannot be read or is damaged.
pub fn read(mut file: impl Read, len_max: u64) -> io::Result<Vec<u8>> {
    let mut start = [0; 2];
    let mut content = Vec::new();
    file.read_exact(&mut start)?;
    let whole = start.chain(file);
    if start == MAGIC {
        MultiGzDecoder::new(whole).take(len_max).read_to_end(&mut content)?;
    } else {
        whole.take(len_max).read_to_end(&mut content)?;
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_and_plain_files_are_read_and_cut() {
        let content = b"content of a file ".repeat(1000);
        let packed = pack(&content).unwrap();
        assert_eq!(packed, pack(&content).unwrap());
        for file in [&packed, &content] {
            assert!(read(&file[..], 1 << 20).unwrap() == content);
            assert_eq!(read(&file[..], 7).unwrap(), b"content");
        }
        assert!(read(&packed[..20], 1 << 20).is_err());
    }
}
