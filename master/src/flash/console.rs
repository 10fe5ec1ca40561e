//! What is said to the person at the terminal, and asked.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use bramble_flash::choice::{Candidate, Refusal};
use bramble_flash::machine::{Block, Kind};
use bramble_flash::write::Phase;
use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, tcgetattr, tcsetattr};

use super::{Destination, FlashError};
use crate::clock;

/// Characters of the bar.
const BAR_LEN: u64 = 26;
/// Longest silence where there is no terminal: nothing that works is silent for two seconds.
const SILENCE_MAX: Duration = Duration::from_millis(1_500);
/// Time between two drawings of the bar.
const REDRAW: Duration = Duration::from_millis(100);
/// Time after which a rate means something.
const MEASURED_MIN: Duration = Duration::from_millis(250);
/// What a terminal sends for Control-C.
const CONTROL_C: u8 = 3;

/// Asks whether to overwrite. A new file overwrites nothing.
///
/// # Errors
///
/// When the answer is no, or nobody can answer.
pub(super) fn confirm(destination: &Destination, yes: bool) -> Result<(), FlashError> {
    let mut output = io::stdout().lock();
    let what = match destination {
        Destination::Device { path, candidate, .. } => format!(
            "  {}  {}, {}, removable, not mounted.  Everything on it will be lost.",
            path.display(),
            candidate.model,
            size(candidate.len)
        ),
        Destination::File { path, .. } if path.exists() => {
            format!("  {} is there already.  Everything in it will be lost.", path.display())
        }
        Destination::File { .. } => return Ok(()),
    };
    if yes {
        writeln!(output, "{what}")?;
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        writeln!(output, "{what}")?;
        return Err(FlashError::NoAnswer);
    }
    write!(output, "{what}  Go on? [y/N] ")?;
    output.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(FlashError::Declined),
    }
}

/// Asks for a secret without showing it; none where there is no terminal.
///
/// # Errors
///
/// When the terminal fails or the person stops.
pub(super) fn ask_secret(prompt: &str) -> io::Result<Option<String>> {
    let input = io::stdin();
    if !input.is_terminal() {
        return Ok(None);
    }
    let mut output = io::stdout().lock();
    write!(output, "{prompt}")?;
    output.flush()?;
    let shown = tcgetattr(&input)?;
    let mut hidden = shown.clone();
    // Control-C ends the line instead of the program, which would leave the terminal hidden.
    hidden.local_flags.remove(LocalFlags::ECHO | LocalFlags::ISIG);
    if let Some(end) = hidden.control_chars.get_mut(SpecialCharacterIndices::VEOL as usize) {
        *end = CONTROL_C;
    }
    tcsetattr(&input, SetArg::TCSAFLUSH, &hidden)?;
    let mut line = Vec::new();
    let mut read = Ok(0);
    let mut lock = input.lock();
    while read.is_ok() && !line.contains(&CONTROL_C) && !line.ends_with(b"\n") {
        let available = lock.fill_buf().map(<[u8]>::to_vec);
        read = available.map(|bytes| {
            line.extend_from_slice(&bytes);
            lock.consume(bytes.len());
            bytes.len()
        });
        if matches!(read, Ok(0)) {
            break;
        }
    }
    drop(lock);
    tcsetattr(&input, SetArg::TCSAFLUSH, &shown)?;
    writeln!(output)?;
    read?;
    if line.contains(&CONTROL_C) {
        return Err(io::ErrorKind::Interrupted.into());
    }
    let text = String::from_utf8(line).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
}

/// Lists devices and says how to go on.
///
/// # Errors
///
/// When the terminal is gone.
pub(super) fn list_devices(survey: &[(&Block, Result<Candidate, Refusal>)]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    let good = survey.iter().filter_map(|(_, verdict)| verdict.as_ref().ok());
    let first = good.clone().next().map(|candidate| candidate.name.clone());
    if first.is_none() {
        writeln!(
            output,
            "There is no card that could be written. Put one in, and run this again."
        )?;
    }
    writeln!(output, "{:<14} {:>8}  {:<24} CARD", "DEVICE", "SIZE", "MODEL")?;
    for (block, verdict) in survey {
        let Kind::Disk(disk) = &block.kind else { continue };
        let model = disk.model.split_whitespace().collect::<Vec<_>>().join(" ");
        let verdict = match verdict {
            Ok(_) => "yes".to_owned(),
            Err(refusal) => format!("no: {refusal}"),
        };
        let path = format!("/dev/{}", block.name);
        writeln!(output, "{path:<14} {:>8}  {model:<24} {verdict}", size(block.len))?;
    }
    if let Some(name) = first {
        writeln!(output, "\nTo write one:  bramble flash --node NAME --device /dev/{name}")?;
    }
    writeln!(output, "To a file:     bramble flash --node NAME --output FILE")
}

/// Bytes as sellers of cards count them.
fn size(len: u64) -> String {
    let (unit, name) = match len {
        1_000_000_000.. => (1_000_000_000, "GB"),
        _ => (1_000_000, "MB"),
    };
    format!("{} {name}", (len + unit / 2) / unit)
}

/// Shows how far the work is: a bar on a terminal, lines elsewhere.
#[derive(Debug)]
pub(super) struct Progress {
    terminal: bool,
    phase: Option<Phase>,
    begun: Instant,
    shown: Instant,
    written: Option<(u64, Duration)>,
}

impl Progress {
    /// Begins.
    pub(super) fn new() -> Self {
        let now = clock::monotonic();
        let terminal = io::stdout().is_terminal();
        Self { terminal, phase: None, begun: now, shown: now, written: None }
    }

    /// Shows it, unless it was shown just now.
    pub(super) fn show(&mut self, phase: Phase, done: u64, total: u64) {
        let now = clock::monotonic();
        let new = self.phase != Some(phase);
        if new {
            self.phase = Some(phase);
            self.begun = now;
        }
        if phase == Phase::Write && done == total {
            self.written = Some((total, now.saturating_duration_since(self.begun)));
        }
        let pause = if self.terminal { REDRAW } else { SILENCE_MAX };
        if !new && done < total && now.saturating_duration_since(self.shown) < pause {
            return;
        }
        self.shown = now;
        let line = line(phase, done, total, now.saturating_duration_since(self.begun));
        let mut output = io::stdout().lock();
        // Who does not look need not see it; the work goes on.
        let _ = if self.terminal {
            write!(output, "\r{line}\x1b[K").and_then(|()| output.flush())
        } else if done < total {
            writeln!(output, "{line}")
        } else {
            Ok(())
        };
    }

    /// Ends the line.
    pub(super) fn end(&self, good: bool) {
        let mut output = io::stdout().lock();
        let _ = match self.written.filter(|_| good) {
            Some((total, took)) => {
                let line = line(Phase::Write, total, total, took);
                let start = if self.terminal { "\r" } else { "" };
                let clear = if self.terminal { "\x1b[K" } else { "" };
                writeln!(output, "{start}{line}  verified{clear}")
            }
            None if self.terminal && self.phase.is_some() => writeln!(output),
            None => Ok(()),
        };
    }
}

fn line(phase: Phase, done: u64, total: u64, took: Duration) -> String {
    let word = match phase {
        Phase::Check => "checking",
        Phase::Write => "writing ",
        Phase::Verify => "reading ",
    };
    let filled = done.saturating_mul(BAR_LEN).checked_div(total).unwrap_or(0).min(BAR_LEN);
    let bar: String = (0..BAR_LEN).map(|at| if at < filled { '#' } else { '.' }).collect();
    let megabytes = done / 1_000_000;
    if took < MEASURED_MIN {
        return format!("  {word} [{bar}] {megabytes} MB");
    }
    let rate = u128::from(done) * 1_000 / took.as_millis().max(1) / 1_000_000;
    format!("  {word} [{bar}] {megabytes} MB  {rate} MB/s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_a_bar_with_bytes_and_rate() {
        let check = |done, total, expected: &str| {
            assert_eq!(line(Phase::Write, done, total, Duration::from_secs(2)), expected);
        };
        check(82_000_000, 164_000_000, "  writing  [#############.............] 82 MB  41 MB/s");
        check(1, 0, "  writing  [..........................] 0 MB  0 MB/s");
    }

    #[test]
    fn sizes_are_as_on_the_card() {
        assert_eq!(size(31_914_983_424), "32 GB");
        assert_eq!(size(536_870_912), "537 MB");
        assert_eq!(size(0), "0 MB");
    }
}
