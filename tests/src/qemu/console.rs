//! The serial console of an emulated board: everything is captured, and commands are typed as a
//! person would.
//!
//! The harness listens and QEMU connects, so that nothing of a boot is missed and the capture
//! goes on over resets.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::qemu::socket_server::SocketServer;
use crate::wait::{now, wait_until};

/// End of the shell's prompt for root.
const PROMPT: &str = "# ";
/// Pause between two tries to find a shell at the console.
const SHELL_INTERVAL: Duration = Duration::from_secs(2);
/// A marker is printed this often: one of them is whole even if the kernel talks in between.
const MARKER_COPIES: usize = 3;
/// What the first process says once the board's node is Ready.
const READY: &str = "Ready after";

/// A board's console. Ends when dropped.
#[derive(Debug)]
pub struct Console {
    server: SocketServer,
    log: PathBuf,
    captured: Arc<Captured>,
    /// Number of the last command; makes its markers its own.
    commands: Mutex<u32>,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it printed, without the kernel's own lines.
    pub text: String,
    /// Its exit status.
    pub status: i32,
}

#[derive(Debug, Default)]
struct Captured(Mutex<Text>);

#[derive(Debug, Default)]
struct Text {
    text: Vec<u8>,
    /// Where a piece began in the text, and when it came.
    pieces: Vec<(usize, Instant)>,
    /// Where the text of the boot that goes on, or comes next, begins.
    boot: usize,
}

impl Console {
    /// Listens for a board; writes everything to `log`, too.
    ///
    /// # Errors
    /// The socket or the file cannot be made.
    pub fn listen(socket: &Path, log: &Path) -> Result<Self> {
        let mut file = File::create(log)?;
        let captured = Arc::new(Captured::default());
        let of_server = Arc::clone(&captured);
        let server =
            SocketServer::start(socket, move |client| of_server.capture(client, &mut file))?;
        Ok(Self { server, log: log.into(), captured, commands: Mutex::new(0) })
    }

    /// Everything that the board has written since it was made.
    #[must_use]
    pub fn text(&self) -> String {
        self.text_from(0)
    }

    /// What it has written from a mark on; see [`Console::mark`].
    #[must_use]
    pub fn text_from(&self, mark: usize) -> String {
        let state = self.captured.lock();
        String::from_utf8_lossy(state.text.get(mark..).unwrap_or_default()).into_owned()
    }

    /// The end of what it has written so far.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.captured.lock().text.len()
    }

    /// File with everything that it has written.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// When this text first came after a mark.
    #[must_use]
    pub fn seen_at(&self, text: &str, mark: usize) -> Option<Instant> {
        let state = self.captured.lock();
        let after = state.text.get(mark..)?;
        let found = after.windows(text.len()).position(|part| part == text.as_bytes())?;
        let end = mark + found + text.len() - 1;
        let mut pieces = state.pieces.iter().rev();
        pieces.find(|(start, _)| *start <= end).map(|(_, time)| *time)
    }

    /// Waits for a text after a mark, and returns how long it took.
    ///
    /// # Errors
    /// It does not come within `bound`; the error has the last lines.
    pub fn wait_for(&self, text: &str, mark: usize, bound: Duration) -> Result<Duration> {
        wait_until(&format!("`{text}` on the console"), bound, || {
            let seen = self.text_from(mark);
            Ok((!seen.contains(text)).then(|| format!("... {}", last_lines(&seen, 15))))
        })
        .with_context(|| format!("whole console: {}", self.log.display()))
    }

    /// `true` if the board has said after a mark that its node is Ready.
    #[must_use]
    pub fn ready(&self, mark: usize) -> bool {
        self.text_from(mark).contains(READY)
    }

    /// Waits until the board says after a mark that its node is Ready.
    ///
    /// # Errors
    /// It does not within `bound`.
    pub fn wait_until_ready(&self, mark: usize, bound: Duration) -> Result<Duration> {
        self.wait_for(READY, mark, bound)
    }

    /// Waits until a shell answers.
    ///
    /// # Errors
    /// None does within `bound`.
    pub fn wait_for_shell(&self, bound: Duration) -> Result<Duration> {
        let (id, mark) = (self.next_id(), self.mark());
        let mut tried: Option<Instant> = None;
        let wanted = format!("BRAMBLE-SHELL-{id}");
        wait_until("a shell at the console", bound, || {
            let seen = self.text_from(mark);
            if seen.contains(&wanted) {
                return Ok(None);
            }
            // A serial port that is typed at before its driver is there may stay deaf for good.
            let boot = self.captured.lock().boot;
            let prompt = self.text_from(boot).contains(PROMPT);
            if prompt && tried.is_none_or(|tried| tried.elapsed() > SHELL_INTERVAL) {
                tried = Some(now());
                self.type_text(&format!("\necho BRAMBLE''-SHELL-{id}\n"))?;
            }
            Ok(Some(format!("... {}", last_lines(&seen, 15))))
        })
        .with_context(|| format!("whole console: {}", self.log.display()))
    }

    /// Types a command at the shell and waits until it has ended. One line, shorter than 800
    /// bytes: the board's shell takes no longer ones.
    ///
    /// # Errors
    /// It does not end within `bound`, or there is no shell.
    pub fn run(&self, command: &str, bound: Duration) -> Result<Answer> {
        let (id, mark) = (self.next_id(), self.mark());
        self.type_text(&typed(command, id))?;
        let mut answer = None;
        wait_until(&format!("the end of `{command}`"), bound, || {
            let seen = self.text_from(mark);
            answer = parse(&seen, id);
            Ok(answer.is_none().then(|| format!("... {}", last_lines(&seen, 15))))
        })
        .with_context(|| format!("whole console: {}", self.log.display()))?;
        answer.context("no answer")
    }

    /// As [`Console::run`], and the command has to succeed.
    ///
    /// # Errors
    /// It fails.
    pub fn run_ok(&self, command: &str, bound: Duration) -> Result<String> {
        let answer = self.run(command, bound)?;
        anyhow::ensure!(
            answer.status == 0,
            "`{command}` failed ({}) on the board: {}",
            answer.status,
            answer.text
        );
        Ok(answer.text)
    }

    /// Types something and does not wait.
    ///
    /// # Errors
    /// The board has no power.
    pub fn type_text(&self, text: &str) -> Result<()> {
        let mut client = self.server.client()?.context("the board has no power")?;
        client.write_all(text.as_bytes()).context("could not type at the console")
    }

    fn next_id(&self) -> u32 {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        *commands += 1;
        *commands
    }
}

impl Captured {
    fn lock(&self) -> MutexGuard<'_, Text> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn capture(&self, mut client: UnixStream, file: &mut File) {
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = client.read(&mut buffer) {
            let piece = buffer.get(..len).unwrap_or_default();
            let _ = file.write_all(piece);
            let mut state = self.lock();
            let start = state.text.len();
            state.text.extend(piece);
            state.pieces.push((start, now()));
        }
        let mut state = self.lock();
        state.boot = state.text.len();
    }
}

/// The line that is typed; one line, so that all of its echo comes before what it prints. The
/// marker is written with quotes in it, so that its echo is not taken for it.
fn typed(command: &str, id: u32) -> String {
    let markers = |word: &str, rest: &str| {
        vec![format!("echo BRAMBLE''-{word}-{id}{rest}"); MARKER_COPIES].join("; ")
    };
    format!("{}; {command}; s=$?; {}\n", markers("BEGIN", "."), markers("END", "=$s."))
}

/// What stands between the markers of a command, if its end is there.
fn parse(seen: &str, id: u32) -> Option<Answer> {
    let (begin, end) = (format!("BRAMBLE-BEGIN-{id}."), format!("BRAMBLE-END-{id}="));
    let (before, after) = seen.split_once(&end)?;
    let status = after.split_once('.')?.0.parse().ok()?;
    let output = before.rsplit_once(&begin).map_or(before, |(_, output)| output);
    let lines = output.lines().map(|line| line.trim_end_matches('\r'));
    let kept: Vec<&str> = lines.skip(1).filter(|line| !kernel_line(line)).collect();
    Some(Answer { text: kept.join("\n").trim_end().to_owned(), status })
}

/// `[   12.345678] something`, and the first process's `[   12.345] bramble: something`.
fn kernel_line(line: &str) -> bool {
    let Some((time, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) else {
        return false;
    };
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    time.trim().split_once('.').is_some_and(|(s, part)| number(s) && number(part))
}

/// The last lines of a text.
#[must_use]
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn answer_is_found_between_echo_and_kernel_lines() {
        let check = |seen: &str, text: &str, status| {
            let answer = Answer { text: text.to_owned(), status };
            assert_eq!(parse(seen, 7), Some(answer), "{seen}");
        };
        let echo = typed("ls", 7).replace("; ", ";\r\n ").replace('\n', "\r\n");
        let begin = "BRAMBLE-BEGIN-7.\r\n";
        let whole = format!(
            "# {echo}{begin}{begin}{begin}a\r\n[   12.345678] brlan: up\r\nb\r\n\
             BRAMBLE-END-7=3.\r\n"
        );
        check(&whole, "a\nb", 3);
        let torn =
            format!("{begin}a\r\nBRAMBLE-[    1.000000] x\r\nEND-7=0.\r\nBRAMBLE-END-7=0.\r\n");
        assert_eq!(parse(&torn, 7).unwrap().status, 0);
        for none in [echo.as_str(), begin, "BRAMBLE-END-8=0.", "BRAMBLE-END-7=0"] {
            assert_eq!(parse(none, 7), None, "{none}");
        }
    }

    #[test]
    fn kernel_lines_are_told_from_others() {
        for line in ["[    0.000000] x", "[    1.234] bramble: x", "[12345.678901] y z"] {
            assert!(kernel_line(line), "{line}");
        }
        for line in ["[a.b] x", "[1] done", "x [    0.000000] y", "[1.000000]x", ""] {
            assert!(!kernel_line(line), "{line}");
        }
    }

    #[test]
    fn shell_at_the_other_end_answers() {
        let folder = std::env::temp_dir().join(format!("bramble-console-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let console = Console::listen(&folder.join("socket"), &folder.join("log")).unwrap();
        assert!(console.type_text("x").is_err());
        let stream = UnixStream::connect(folder.join("socket")).unwrap();
        let [input, output] =
            [0, 1].map(|_| std::os::fd::OwnedFd::from(stream.try_clone().unwrap()));
        let terminal = stream.try_clone().unwrap();
        let mut shell = Command::new("sh")
            .arg("-i")
            .env("PS1", "board:~# ")
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(output))
            .stderr(Stdio::from(std::os::fd::OwnedFd::from(terminal)))
            .spawn()
            .unwrap();
        drop(stream);
        let bound = Duration::from_secs(10);
        console.wait_for_shell(bound).unwrap();
        let mark = console.mark();
        let answer = console.run("echo one; echo two; (exit 4)", bound).unwrap();
        assert_eq!(answer, Answer { text: "one\ntwo".into(), status: 4 });
        assert_eq!(console.run_ok("printf 'no end of line'", bound).unwrap(), "no end of line");
        assert!(console.run_ok("false", bound).is_err());
        assert!(console.seen_at("two", mark) >= console.seen_at("one", mark));
        assert_eq!(console.seen_at("three", mark), None);
        assert!(console.wait_for("three", mark, Duration::from_millis(100)).is_err());
        console.type_text("exit\n").unwrap();
        shell.wait().unwrap();
        assert_eq!(std::fs::read_to_string(console.log()).unwrap(), console.text());
        drop(console);
        let _ = std::fs::remove_dir_all(&folder);
    }
}
