//! What a program or library needs to run, read from its ELF file.

use anyhow::{Context, Result, ensure};

const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const HEADER_LEN: usize = 56;
const DYNAMIC_LEN: usize = 16;

/// What a file needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Path of the program that loads it; none for libraries and static programs.
    pub loader: Option<String>,
    /// File names of libraries.
    pub libraries: Vec<String>,
}

/// Reads a 64-bit little-endian ELF file.
///
/// # Errors
/// It is something else, or damaged.
pub fn needs(file: &[u8]) -> Result<Needs> {
    ensure!(file.starts_with(b"\x7fELF\x02\x01"), "not a 64-bit little-endian ELF file");
    let headers: Vec<Header> = headers(file).context("damaged ELF file")?;
    let mut needs = Needs::default();
    for header in &headers {
        if header.kind == PT_INTERP {
            needs.loader = Some(text(file, header.at).context("damaged ELF file")?);
        } else if header.kind == PT_DYNAMIC {
            needs.libraries = libraries(file, header, &headers).context("damaged ELF file")?;
        }
    }
    Ok(needs)
}

struct Header {
    kind: u64,
    /// Place in the file.
    at: usize,
    /// Place in memory.
    address: u64,
    len: usize,
}

fn headers(file: &[u8]) -> Option<Vec<Header>> {
    let start = usize::try_from(number(file, 32, 8)?).ok()?;
    let count = usize::try_from(number(file, 56, 2)?).ok()?;
    (0..count)
        .map(|index| {
            let header = start + index * HEADER_LEN;
            Some(Header {
                kind: number(file, header, 4)?,
                at: usize::try_from(number(file, header + 8, 8)?).ok()?,
                address: number(file, header + 16, 8)?,
                len: usize::try_from(number(file, header + 32, 8)?).ok()?,
            })
        })
        .collect()
}

fn libraries(file: &[u8], dynamic: &Header, headers: &[Header]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut strings = 0;
    for at in (dynamic.at..dynamic.at + dynamic.len).step_by(DYNAMIC_LEN) {
        let value = number(file, at + 8, 8)?;
        match number(file, at, 8)? {
            DT_NULL => break,
            DT_NEEDED => names.push(usize::try_from(value).ok()?),
            DT_STRTAB => strings = value,
            _ => {}
        }
    }
    let loaded = headers.iter().filter(|header| header.kind == PT_LOAD).find(|header| {
        let end = header.address.saturating_add(header.len as u64);
        (header.address..end).contains(&strings)
    });
    let strings = match loaded {
        Some(header) => header.at + usize::try_from(strings - header.address).ok()?,
        None => return names.is_empty().then(Vec::new),
    };
    names.into_iter().map(|name| text(file, strings + name)).collect()
}

fn number(file: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = file.get(at..at.checked_add(len)?)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn text(file: &[u8], at: usize) -> Option<String> {
    let bytes = file.get(at..)?.split(|byte| *byte == 0).next()?;
    String::from_utf8(bytes.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with a loader, one library, and memory that begins at 0x1000.
    fn file() -> Vec<u8> {
        let mut file = vec![0; 512];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        put(&mut file, 32, 64);
        file[56] = 3;
        for (index, fields) in [
            (PT_LOAD, 0, 0x1000, 512),
            (PT_INTERP, 300, 0x1000 + 300, 16),
            (PT_DYNAMIC, 400, 0x1000 + 400, 48),
        ]
        .into_iter()
        .enumerate()
        {
            let header = 64 + index * HEADER_LEN;
            put(&mut file, header, fields.0);
            put(&mut file, header + 8, fields.1);
            put(&mut file, header + 16, fields.2);
            put(&mut file, header + 32, fields.3);
        }
        file[300..312].copy_from_slice(b"/lib/ld.so.1");
        file[351..360].copy_from_slice(b"libx.so.6");
        for (index, pair) in [(DT_NEEDED, 1), (DT_STRTAB, 0x1000 + 350)].into_iter().enumerate() {
            put(&mut file, 400 + index * 16, pair.0);
            put(&mut file, 408 + index * 16, pair.1);
        }
        file
    }

    fn put(file: &mut [u8], at: usize, value: u64) {
        file[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    #[test]
    fn loader_and_libraries_are_found() {
        let needs = needs(&file()).unwrap();
        assert_eq!(needs.loader.as_deref(), Some("/lib/ld.so.1"));
        assert_eq!(needs.libraries, ["libx.so.6"]);
    }

    #[test]
    fn other_and_cut_files_are_refused() {
        assert!(needs(b"#!/bin/sh\n").is_err());
        assert!(needs(&file()[..100]).is_err());
    }
}
