//! What is in an image or on a card, for people.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use bramble_card::layout::{BOOT_LEN, BOOT_START, DATA_START, SLOT_LEN, Slot};
use bramble_card::partition_table::{PartitionTable, Sector};
use bramble_card::settings::CardSettings;
use bramble_card::{boot_file, fat};

use crate::command::run;
use crate::gzip;

/// How many of the biggest files are named.
const BIGGEST: usize = 25;

/// Describes an image, packed or not, or a card. Its token is not shown.
///
/// # Errors
/// It cannot be read or is no card of bramble.
pub fn describe(path: &Path) -> Result<String> {
    let failed = || format!("could not read `{}`", path.display());
    let file = File::open(path).with_context(failed)?;
    // What follows belongs to the data partition.
    let mut card = gzip::read(file, DATA_START).with_context(failed)?;
    let sector: &Sector = card.first_chunk().context("it is shorter than a sector")?;
    let table = PartitionTable::parse(sector)?;
    anyhow::ensure!(table.is_bramble(), "`{}` is no card of bramble", path.display());

    let mut text = String::new();
    let len = fs::metadata(path).with_context(failed)?.len();
    writeln!(text, "{}: {} MB", path.display(), megabytes(len))?;
    writeln!(text, "disk signature {:08x}", table.signature)?;
    for (index, partition) in table.partitions.iter().enumerate() {
        if let Some(partition) = partition {
            let (start, len) = (partition.start >> 20, partition.len >> 20);
            writeln!(
                text,
                "partition {}: type {:02x}, {len} MiB at {start} MiB",
                index + 1,
                partition.kind
            )?;
        }
    }
    text += &boot_partition(&mut card)?;
    for slot in [Slot::A, Slot::B] {
        text += &slot_contents(&mut card, slot)?;
    }
    Ok(text)
}

fn boot_partition(card: &mut [u8]) -> Result<String> {
    let mut text = String::from("\nboot partition\n");
    let fat = fat::open(Cursor::new(card), BOOT_START, BOOT_LEN).context("no boot partition")?;
    text += &files(&fat)?;
    if let Some(autoboot) = fat::read(&fat, boot_file::AUTOBOOT)? {
        text += &indented(boot_file::AUTOBOOT, &String::from_utf8_lossy(&autoboot))?;
    }
    match fat::read(&fat, boot_file::SETTINGS)? {
        None => text += "  no settings: not flashed yet\n",
        Some(settings) => {
            let mut settings = CardSettings::parse_file(&settings)?;
            settings.token = "(hidden)".to_owned();
            if let Some(passphrase) =
                settings.wifi.as_mut().and_then(|wifi| wifi.passphrase.as_mut())
            {
                *passphrase = "(hidden)".to_owned();
            }
            text += &indented(boot_file::SETTINGS, &settings.text())?;
        }
    }
    Ok(text)
}

fn slot_contents(card: &mut [u8], slot: Slot) -> Result<String> {
    let mut text = format!("\nslot {slot}\n");
    let start = usize::try_from(slot.start())?;
    // An image ends before slot b, and a new card has zeros there.
    if card.get(start..start + 512).is_none_or(|sector| sector.iter().all(|byte| *byte == 0)) {
        text += "  empty\n";
        return Ok(text);
    }
    let fat = fat::open(Cursor::new(card), slot.start(), SLOT_LEN)?;
    text += &files(&fat)?;
    for name in [boot_file::VERSION, boot_file::CONFIG, boot_file::COMMAND_LINE] {
        if let Some(content) = fat::read(&fat, name)? {
            text += &indented(name, &String::from_utf8_lossy(&content))?;
        }
    }
    if let Some(system) = fat::read(&fat, boot_file::SYSTEM)? {
        match listing(&system) {
            Ok(listing) => text += &indented("biggest files of the system", &biggest(&listing))?,
            Err(error) => writeln!(text, "  the system is not shown: {error:#}")?,
        }
    }
    Ok(text)
}

/// Files with their sizes, the biggest first.
fn files(fat: &fat::Fat<Cursor<&mut [u8]>>) -> Result<String> {
    let mut files = Vec::new();
    let mut folders = vec![(String::new(), fat.root_dir())];
    while let Some((path, folder)) = folders.pop() {
        for entry in folder.iter() {
            let entry = entry?;
            let name = format!("{path}{}", entry.file_name());
            if entry.is_file() {
                files.push((entry.len(), name));
            } else if ![".", ".."].contains(&entry.file_name().as_str()) {
                folders.push((format!("{name}/"), entry.to_dir()));
            }
        }
    }
    files.sort_by(|a, b| (b.0, &a.1).cmp(&(a.0, &b.1)));
    let sum: u64 = files.iter().map(|(len, _)| len).sum();
    let mut text = String::new();
    for (len, name) in files {
        writeln!(text, "  {len:>10}  {name}")?;
    }
    writeln!(text, "  {sum:>10}  all files")?;
    Ok(text)
}

/// `unsquashfs` lists files: mode, owner, size, date, time, path.
fn listing(system: &[u8]) -> Result<String> {
    let file = std::env::temp_dir().join(format!("bramble-inspect-{}", std::process::id()));
    fs::write(&file, system)?;
    let mut command = Command::new("unsquashfs");
    let printed = run(command.args(["-lln", "-dest", ""]).arg(&file), "squashfs-tools");
    fs::remove_file(&file)?;
    Ok(String::from_utf8_lossy(&printed?).into_owned())
}

fn biggest(listing: &str) -> String {
    let mut files: Vec<(u64, &str)> = listing
        .lines()
        .filter(|line| line.starts_with('-'))
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.nth(2)?.parse().ok()?, words.nth(2)?))
        })
        .collect();
    files.sort_by(|a, b| (b.0, a.1).cmp(&(a.0, b.1)));
    let sum: u64 = files.iter().map(|(len, _)| len).sum();
    let mut text = String::new();
    for (len, name) in files.iter().take(BIGGEST) {
        let _ = writeln!(text, "{len:>10}  {name}");
    }
    let _ = writeln!(text, "{sum:>10}  all {} files, unpacked", files.len());
    text
}

fn indented(title: &str, text: &str) -> Result<String> {
    let mut indented = format!("  {title}:\n");
    for line in text.lines() {
        writeln!(indented, "    {line}")?;
    }
    Ok(indented)
}

/// Megabytes (10^6 bytes) with one decimal.
#[must_use]
pub fn megabytes(len: u64) -> String {
    format!("{}.{}", len / 1_000_000, len % 1_000_000 / 100_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biggest_files_come_first() {
        let listing = "drwxr-xr-x 0/0  40 2026-01-01 00:00 /\n\
            -rwxr-xr-x 0/0  7 2026-01-01 00:00 /a\n-rwxr-xr-x 0/0  12 2026-01-01 00:00 /b\n\
            lrwxrwxrwx 0/0  99 2026-01-01 00:00 /l -> a\n";
        let lines = biggest(listing);
        let mut lines = lines.lines().map(str::trim);
        assert_eq!(lines.next(), Some("12  /b"));
        assert_eq!(lines.next(), Some("7  /a"));
        assert_eq!(lines.next(), Some("19  all 2 files, unpacked"));
    }

    #[test]
    fn megabytes_have_one_decimal() {
        assert_eq!(megabytes(64_099_999), "64.0");
        assert_eq!(megabytes(950_000), "0.9");
    }
}
