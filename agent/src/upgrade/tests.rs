//! Upgrades of a slot that is a plain file.

use std::io::{Cursor, Write as _};
use std::path::PathBuf;

use bramble_card::boot_file::{COMMAND_LINE, INITRAMFS, KERNEL, SYSTEM, VERSION};
use bramble_card::fat;
use bramble_card::layout::{IMAGE_LEN, Slot};
use bramble_card::partition_table::PartitionTable;

use super::*;
use image::{ImageStream, ReadImageError};

/// An image with a system of a few bytes.
fn image(leave_out: &str) -> Vec<u8> {
    let mut card = vec![0; usize::try_from(IMAGE_LEN).unwrap()];
    card[..512].copy_from_slice(&PartitionTable::new_card(7).to_sector());
    let start = Slot::A.start();
    fat::format(Cursor::new(&mut card[..]), start, SLOT_LEN, Slot::A.label(), 1).unwrap();
    let slot = fat::open(Cursor::new(&mut card[..]), start, SLOT_LEN).unwrap();
    for (name, content) in [
        (KERNEL, "kernel"),
        (INITRAMFS, "initramfs"),
        (SYSTEM, "system"),
        (VERSION, "0.2.0\nkernel 6.12\n"),
        (COMMAND_LINE, "panic=10 bramble.slot=a\n"),
    ] {
        if name != leave_out {
            fat::write(&slot, name, content.as_bytes()).unwrap();
        }
    }
    slot.unmount().unwrap();
    card
}

fn gzip(image: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(image).unwrap();
    encoder.finish().unwrap()
}

/// A board's files: its other slot, the record of an earlier upgrade.
struct Board {
    folder: tempfile::TempDir,
    target: Target,
}

fn board() -> Board {
    let folder = tempfile::tempdir().unwrap();
    let device = folder.path().join("slot");
    std::fs::File::create(&device).unwrap().set_len(SLOT_LEN).unwrap();
    let record = folder.path().join("upgrade.toml");
    std::fs::write(&record, "an earlier one").unwrap();
    Board { target: Target { device, slot: Slot::B, record }, folder }
}

/// Writes a stream of pieces of `len` bytes; a torn one has no end.
fn run(
    target: &Target,
    stream: &[u8],
    len: usize,
    torn: bool,
) -> Result<UpgradeRecord, WriteSlotError> {
    let mut pieces = stream.chunks(len);
    let next = || match pieces.next() {
        Some(piece) => Ok(Some(piece.to_vec())),
        None if torn => Err(WriteSlotError::Torn),
        None => Ok(None),
    };
    finish(target, next, |_, _| {})
}

#[test]
fn the_other_slot_gets_the_system_and_its_own_name() {
    let board = board();
    let image = image("");
    for stream in [gzip(&image), image.clone()] {
        let record = run(&board.target, &stream, 100_000, false).unwrap();
        assert_eq!((record.slot, record.version.as_str()), (Slot::B, "0.2.0"));
        let text = std::fs::read_to_string(&board.target.record).unwrap();
        assert_eq!(UpgradeRecord::parse(&text).unwrap().state, UpgradeState::Written);
        let mut written = std::fs::read(&board.target.device).unwrap();
        let slot = fat::open(Cursor::new(&mut written[..]), 0, SLOT_LEN).unwrap();
        assert_eq!(fat::read(&slot, SYSTEM).unwrap().unwrap(), b"system");
        let line = fat::read(&slot, COMMAND_LINE).unwrap().unwrap();
        assert_eq!(line, b"panic=10 bramble.slot=b\n");
    }
    assert_eq!(std::fs::read_dir(board.folder.path()).unwrap().count(), 2);
}

#[test]
fn a_stream_that_is_torn_at_any_byte_is_never_written() {
    let whole = gzip(&image(""));
    let read = |len: usize| {
        let mut stream = ImageStream::new(std::io::sink());
        stream.push(&whole[..len])?;
        stream.finish()
    };
    read(whole.len()).unwrap();
    // All of the trailer, and places before it: each costs an unpacking of the image.
    let mut lens: Vec<usize> = (whole.len() - 12..whole.len()).collect();
    lens.extend([0, 1, 2, 9, 10, 11, whole.len() / 3, whole.len() / 2]);
    for len in lens {
        assert!(read(len).is_err(), "{len} of {}", whole.len());
    }
    let board = board();
    for (stream, torn) in [(&whole[..], true), (&whole[..whole.len() - 1], false), (&[], false)] {
        run(&board.target, stream, 4096, torn).unwrap_err();
        assert!(!board.target.record.exists(), "an upgrade that failed left a record");
    }
}

#[test]
fn pieces_may_be_of_any_length() {
    let whole = gzip(&image(""));
    let mut lens = [1, 7, 4096, 1, 65_536].into_iter().cycle();
    let mut stream = ImageStream::new(std::io::sink());
    let mut rest = whole.as_slice();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(lens.next().unwrap().min(rest.len()));
        stream.push(piece).unwrap();
        rest = after;
    }
    let mut at_once = ImageStream::new(std::io::sink());
    at_once.push(&whole).unwrap();
    assert_eq!(stream.finish().unwrap(), at_once.finish().unwrap());
}

#[test]
fn what_is_no_image_is_refused_with_its_reason() {
    let read = |bytes: &[u8]| {
        let mut stream = ImageStream::new(std::io::sink());
        stream.push(bytes).and_then(|()| stream.finish()).map(|_| ()).unwrap_err()
    };
    let image = image("");
    assert_eq!(read(&vec![b'x'; 4096]), ReadImageError::NoImage);
    assert_eq!(read(&image[..1 << 20]), ReadImageError::TooShort { len: 1 << 20 });
    let longer = [&image[..], b"x"].concat();
    assert_eq!(read(&longer), ReadImageError::TooLong);
    assert_eq!(read(&gzip(&longer)), ReadImageError::TooLong);
    assert_eq!(read(&[gzip(&image), b"x".to_vec()].concat()), ReadImageError::TooLong);
    let mut damaged = gzip(&image);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x55;
    let error = read(&damaged);
    assert!(matches!(error, ReadImageError::Damaged(_) | ReadImageError::TooLong), "{error}");
}

#[test]
fn an_image_without_a_system_is_refused() {
    for missing in [KERNEL, SYSTEM, VERSION, COMMAND_LINE] {
        let board = board();
        let error = run(&board.target, &image(missing), 1 << 20, false).unwrap_err();
        assert_eq!(error.status(), 400);
        assert!(error.to_string().contains(missing), "{error}");
        assert!(!board.target.record.exists());
    }
}

#[test]
fn a_partition_that_is_no_slot_is_left_alone() {
    let mut board = board();
    let device = board.folder.path().join("data");
    std::fs::write(&device, "precious").unwrap();
    board.target.device = device.clone();
    let error = run(&board.target, &image(""), 1 << 20, false).unwrap_err();
    assert!(matches!(error, WriteSlotError::NoSlot { len: 8, .. }), "{error}");
    assert_eq!(std::fs::read(&device).unwrap(), b"precious");
}

fn boot(device: PathBuf, trial: bool) -> BootReport {
    BootReport {
        slot: Slot::A,
        version: "0.1.0".to_owned(),
        trial,
        upgrade: String::new(),
        other_slot_device: device,
        upgrade_record: "/nowhere/upgrade.toml".into(),
        init_pid: 1,
    }
}

#[test]
fn only_a_card_that_is_settled_is_upgraded() {
    let device = PathBuf::from("/dev/vda3");
    let (_, other) = target(Some(boot(device.clone(), false))).unwrap();
    assert_eq!((other.slot, &other.device), (Slot::B, &device));
    for unfit in [None, Some(boot(device, true))] {
        assert_eq!(target(unfit).unwrap_err().0, 409);
    }
}

#[test]
fn upgrade_that_was_written_and_not_tried_goes_on() {
    let board = board();
    let file = gzip(&image(""));
    run(&board.target, &file, 1 << 20, false).unwrap();
    let mut report = boot(board.target.device.clone(), false);
    report.upgrade_record = board.target.record.clone();
    assert_eq!(untried(&report).unwrap().version, "0.2.0");
    // It runs already, or another trial does.
    assert_eq!(untried(&BootReport { slot: Slot::B, ..report.clone() }), None);
    assert_eq!(untried(&BootReport { trial: true, ..report.clone() }), None);
    let record = std::fs::read_to_string(&report.upgrade_record).unwrap();
    for ended in ["trying", "kept", "rolled-back"] {
        let text = record.replace("written", ended);
        assert_ne!(text, record);
        std::fs::write(&report.upgrade_record, text).unwrap();
        assert_eq!(untried(&report), None, "{ended}");
    }
    // Broken off: the record of what was there before is gone, and nothing is tried.
    run(&board.target, &file, 1 << 20, true).unwrap_err();
    assert_eq!(untried(&report), None);
}

/// Talks to the agent's side over a pipe, as the master does.
async fn talk(board: &Board, pieces: &[UpgradeData]) -> (Result<UpgradeRecord, u16>, UpgradeReply) {
    let mut boot = boot(board.target.device.clone(), false);
    boot.upgrade_record = board.target.record.clone();
    let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
    let bytes: Vec<u8> = pieces.iter().flat_map(|piece| encode(piece).unwrap()).collect();
    let served = async {
        let mut theirs = theirs;
        match take(Some(boot), FrameDecoder::new(), &mut theirs).await {
            Ok((_, record)) => Ok(record),
            Err(refusal) => {
                let status = refusal.0;
                refuse(&mut theirs, refusal).await;
                Err(status)
            }
        }
    };
    let asked = async {
        let (mut reader, mut writer) = tokio::io::split(&mut ours);
        let write = async {
            let _ = writer.write_all(&bytes).await;
            let _ = writer.shutdown().await;
        };
        let read = async {
            let mut decoder = FrameDecoder::new();
            let mut chunk = vec![0; 4096];
            loop {
                while let Some(reply) = decoder.decode().unwrap() {
                    if !matches!(reply, UpgradeReply::Progress { .. }) {
                        return reply;
                    }
                }
                let len = reader.read(&mut chunk).await.unwrap();
                assert!(len > 0, "no last word");
                decoder.push(&chunk[..len]);
            }
        };
        tokio::join!(write, read).1
    };
    tokio::join!(served, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_master_hears_how_it_ended() {
    let board = board();
    let file = gzip(&image(""));
    let mut pieces: Vec<_> =
        file.chunks(50_000).map(|piece| UpgradeData::Piece(piece.to_vec())).collect();
    let (served, reply) = talk(&board, &pieces).await;
    assert_eq!(served, Err(400));
    assert!(
        matches!(&reply, UpgradeReply::Failed { message, .. } if message.contains("broke off")),
        "{reply:?}"
    );
    pieces.push(UpgradeData::End);
    let (served, reply) = talk(&board, &pieces).await;
    assert_eq!(served.unwrap().version, "0.2.0");
    assert_eq!(reply, UpgradeReply::Restarting { slot: "b".into(), version: "0.2.0".into() });
    let junk = [UpgradeData::Piece(vec![1; 4096]), UpgradeData::End];
    let (served, _) = talk(&board, &junk).await;
    assert_eq!(served, Err(400));
}
