//! Takes a new system from the master, writes it to the slot that does not run, and asks for a
//! trial of it.
//!
//! `image` takes the stream apart, `slot` writes, reads back and checks. The running system is
//! untouched: until the record says that the slot is written, nothing has changed for it.

mod image;
mod slot;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bramble_card::boot_report::BootReport;
use bramble_card::layout::SLOT_LEN;
use bramble_card::upgrade::{UpgradeRecord, UpgradeState};
use bramble_runtime::whole_file;
use bramble_shared::frame::{FrameDecoder, encode};
use bramble_shared::link::{UpgradeData, UpgradeReply, UpgradeStage};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::boot_report;
use crate::node::Node;
use crate::telemetry::Chain;
use slot::{Target, WriteSlotError};

/// Pieces that wait for the card; each is as long as the master's frames.
const WAITING_MAX: usize = 4;
/// Longest wait for the next piece.
const PIECE_TIME_MAX: Duration = Duration::from_secs(60);
/// Time for the last answer to reach the master before the board restarts.
const FAREWELL: Duration = Duration::from_millis(500);
/// File that tells the first process what a restart is for, beside the boot report.
const REBOOT_FILE: &str = "reboot";

/// A piece of the stream, for the writer.
#[derive(Debug)]
enum Piece {
    Data(Vec<u8>),
    /// The stream is whole.
    End,
}

/// A refusal: status and words.
type Refusal = (u16, String);

/// Serves one upgrade; `decoder` may hold pieces already.
pub(crate) async fn serve_upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    node: &Arc<Node>,
    decoder: FrameDecoder,
    stream: &mut S,
) {
    if node.upgrading.swap(true, Ordering::SeqCst) {
        refuse(stream, (409, "an upgrade of this node is under way already".to_owned())).await;
        return;
    }
    let boot = boot_report::read(node.config.boot_report.as_deref());
    match take(boot, decoder, stream).await {
        Ok((boot, record)) => {
            tracing::info!(slot = %record.slot, version = record.version, "upgrade written, restarting");
            tokio::time::sleep(FAREWELL).await;
            let path = node.config.boot_report.as_deref();
            if let Err(error) = ask_for_trial(path, &boot) {
                tracing::error!(%error, "the trial of the new system could not be asked for");
                node.upgrading.store(false, Ordering::SeqCst);
            }
            // Otherwise this ends with the boot: a second upgrade would overwrite the first.
        }
        Err(refusal) => {
            tracing::warn!(reason = refusal.1, "upgrade failed, the running system is untouched");
            refuse(stream, refusal).await;
            node.upgrading.store(false, Ordering::SeqCst);
        }
    }
}

async fn refuse<W: AsyncWrite + Unpin>(stream: &mut W, (status, message): Refusal) {
    let _ = send(stream, &UpgradeReply::Failed { status, message }).await;
}

async fn send<W: AsyncWrite + Unpin>(stream: &mut W, reply: &UpgradeReply) -> std::io::Result<()> {
    let frame = encode(reply).map_err(std::io::Error::other)?;
    stream.write_all(&frame).await?;
    stream.flush().await
}

/// Where an upgrade of this board goes.
fn target(boot: Option<BootReport>) -> Result<(BootReport, Target), Refusal> {
    let boot = boot.ok_or_else(|| {
        (409, "the node does not run from a bramble card; only cards are upgraded".to_owned())
    })?;
    if boot.trial {
        let message = format!(
            "the node runs slot {} on trial since its last upgrade; try again when it is kept",
            boot.slot
        );
        return Err((409, message));
    }
    let slot = boot.slot.other();
    let target = Target {
        device: boot.other_slot_device.clone(),
        slot,
        record: boot.upgrade_record.clone(),
    };
    Ok((boot, target))
}

async fn take<S: AsyncRead + AsyncWrite + Unpin>(
    boot: Option<BootReport>,
    decoder: FrameDecoder,
    stream: &mut S,
) -> Result<(BootReport, UpgradeRecord), Refusal> {
    let (boot, target) = target(boot)?;
    tracing::info!(slot = %target.slot, device = %target.device.display(), "upgrade begins");
    let (reader, mut writer) = tokio::io::split(stream);
    // The master waits for this word, to know that the node takes it.
    let begins = UpgradeReply::Progress { stage: UpgradeStage::Writing, bytes: 0, of: SLOT_LEN };
    send(&mut writer, &begins).await.map_err(|error| (500, error.to_string()))?;
    let (pieces_in, mut pieces) = mpsc::channel(WAITING_MAX);
    let (told, mut progress) = mpsc::channel(16);
    let writing = tokio::task::spawn_blocking(move || {
        let next = || match pieces.blocking_recv() {
            Some(Piece::Data(bytes)) => Ok(Some(bytes)),
            Some(Piece::End) => Ok(None),
            None => Err(WriteSlotError::Torn),
        };
        let tell = |stage, bytes| {
            // Progress that nobody takes is left out.
            let _ = told.try_send(UpgradeReply::Progress { stage, bytes, of: SLOT_LEN });
        };
        finish(&target, next, tell)
    });
    let tell = async {
        while let Some(reply) = progress.recv().await {
            if send(&mut writer, &reply).await.is_err() {
                progress.close();
            }
        }
    };
    let ((), (), written) = tokio::join!(feed(reader, decoder, pieces_in), tell, writing);
    let record = written
        .map_err(|error| (500, format!("the writer ended: {error}")))?
        .map_err(|error| (error.status(), Chain(&error).to_string()))?;
    let (slot, version) = (record.slot.to_string(), record.version.clone());
    let _ = send(&mut writer, &UpgradeReply::Restarting { slot, version }).await;
    let _ = writer.shutdown().await;
    Ok((boot, record))
}

/// Writes the slot, and only then the record.
fn finish(
    target: &Target,
    next: impl FnMut() -> Result<Option<Vec<u8>>, WriteSlotError>,
    tell: impl Fn(UpgradeStage, u64),
) -> Result<UpgradeRecord, WriteSlotError> {
    let record_failed = |source| WriteSlotError::Record { path: target.record.clone(), source };
    // What an earlier upgrade left must not speak of this one.
    match std::fs::remove_file(&target.record) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(record_failed(error));
        }
        Ok(()) | Err(_) => {}
    }
    let version = slot::write(target, next, tell)?;
    let record = UpgradeRecord {
        slot: target.slot,
        version,
        state: UpgradeState::Written,
        reason: String::new(),
    };
    whole_file::replace_durably(&target.record, record.text().as_bytes(), 0o644)
        .map_err(record_failed)?;
    Ok(record)
}

/// Gives the writer what arrives, as fast as it takes it. Ends when the stream does, or when the
/// writer wants no more.
async fn feed<R: AsyncRead + Unpin>(
    mut reader: R,
    mut decoder: FrameDecoder,
    pieces: mpsc::Sender<Piece>,
) {
    let mut chunk = vec![0; 32 * 1024];
    loop {
        loop {
            let piece = match decoder.decode() {
                Ok(Some(UpgradeData::Piece(bytes))) => Piece::Data(bytes),
                Ok(Some(UpgradeData::End)) => {
                    let _ = pieces.send(Piece::End).await;
                    return;
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%error, "malformed piece of an upgrade");
                    return;
                }
            };
            if pieces.send(piece).await.is_err() {
                return;
            }
        }
        let read = tokio::time::timeout(PIECE_TIME_MAX, reader.read(&mut chunk));
        let len = tokio::select! {
            read = read => match read {
                Ok(Ok(len)) if len > 0 => len,
                Ok(_) | Err(_) => return,
            },
            () = pieces.closed() => return,
        };
        decoder.push(chunk.get(..len).unwrap_or_default());
    }
}

/// Goes on with an upgrade that was written when the agent or the board ended before the trial was
/// asked for: nobody else would, and the node would keep its old system without a word.
pub(crate) fn resume(report: Option<&Path>) {
    let Some(boot) = boot_report::read(report) else { return };
    let Some(record) = untried(&boot) else { return };
    tracing::info!(
        slot = %record.slot, version = record.version,
        "a new system was written and never tried, restarting"
    );
    if let Err(error) = ask_for_trial(report, &boot) {
        tracing::error!(%error, "the trial of the new system could not be asked for");
    }
}

/// The record of an upgrade that waits for its trial in the slot that does not run.
fn untried(boot: &BootReport) -> Option<UpgradeRecord> {
    let text = std::fs::read_to_string(&boot.upgrade_record).ok()?;
    let record = UpgradeRecord::parse(&text).ok()?;
    let waits = record.state == UpgradeState::Written && record.slot != boot.slot && !boot.trial;
    waits.then_some(record)
}

/// Asks the first process to restart into the slot that was written.
fn ask_for_trial(report: Option<&Path>, boot: &BootReport) -> std::io::Result<()> {
    let report = report.ok_or(std::io::ErrorKind::NotFound)?;
    whole_file::replace(&report.with_file_name(REBOOT_FILE), b"try", 0o644)?;
    kill(Pid::from_raw(boot.init_pid), Signal::SIGTERM)?;
    Ok(())
}

#[cfg(test)]
mod tests;
