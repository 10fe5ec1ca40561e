//! What goes wrong inside a board, done at its console.
//!
//! The emulator's own `stop` is no fault: it stops the board's clock and its watchdog with it.

use std::time::Duration;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::qemu::console::Console;

/// A busy emulated board takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a board hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hang {
    /// Fence and agent are stopped, everything else goes on: the pods run, nobody minds them.
    Stop,
    /// Every processor spins at the highest real-time priority, and nothing else runs.
    Spin,
}

/// Hangs a board. Its console may not answer afterwards.
///
/// # Errors
/// It has no shell.
pub fn hang(console: &Console, hang: Hang) -> Result<()> {
    match hang {
        Hang::Stop => {
            let mark = console.mark();
            console.type_text(STOP)?;
            // Not the end of the command: the watchdog may be quicker than a busy board's console.
            for stopped in ["bramble-agent fence", "bramble-agent agent"] {
                console.wait_for(stopped, mark, PATIENCE)?;
            }
            Ok(())
        }
        Hang::Spin => {
            let program = STANDARD.encode(spin_program());
            let write = format!("echo {program} | base64 -d > /run/spin && chmod +x /run/spin");
            console.run_ok(&write, PATIENCE)?;
            console.run_ok(NOTHING_FOR_OTHERS, PATIENCE)?;
            console.type_text(SPIN)
        }
    }
}

/// Stops fence and agent, found by the words of their command lines, after printing these.
const STOP: &str = concat!(
    r#"k=; for p in /proc/[0-9]*; do c=$(tr '\0' ' ' < $p/cmdline 2>/dev/null); case "$c" in "#,
    r#"*bramble-agent\ fence*|*bramble-agent\ agent*|*bramble-agent\ run*) "#,
    r#"k="$k ${p#/proc/}"; echo "$c";; esac; done; kill -STOP $k"#,
    "\n"
);

/// Takes away the twentieth of each second that the kernel keeps for others: since Linux 6.12 by a
/// server of each processor, before by a limit for all.
const NOTHING_FOR_OTHERS: &str = "echo -1 > /proc/sys/kernel/sched_rt_runtime_us; \
     mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null; \
     for f in /sys/kernel/debug/sched/fair_server/*/runtime; do echo 0 > $f; done; cat $f";

/// One for each processor; the last word that the board says.
const SPIN: &str = "for c in $(seq $(nproc)); do /run/spin & done\n";

/// Where the program is loaded; any place above the lowest pages would do.
const SPIN_ADDRESS: u64 = 0x40_0000;

/// Instructions of a program that takes the highest real-time priority and spins: the board's
/// shell has no command for that.
const SPIN_CODE: [u32; 11] = [
    0xd280_0000, // mov x0, #0         this process
    0xd280_0021, // mov x1, #1         SCHED_FIFO
    0x1000_0102, // adr x2, priority
    0xd280_0ee8, // mov x8, #119       sched_setscheduler
    0xd400_0001, // svc #0
    0xb500_0040, // cbnz x0, refused
    0x1400_0000, // b .
    0xd280_0020, // refused: mov x0, #1
    0xd280_0ba8, // mov x8, #93        exit
    0xd400_0001, // svc #0
    0x0000_0063, // priority: .word 99
];

/// The program's file: an ELF header, one segment, the code.
fn spin_program() -> Vec<u8> {
    let (header_len, segment_len) = (64_u16, 56_u16);
    let entry = SPIN_ADDRESS + u64::from(header_len + segment_len);
    let len = u64::from(header_len + segment_len) + 4 * SPIN_CODE.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    // Executable, for AArch64, version 1.
    file.extend([2, 0, 183, 0, 1, 0, 0, 0]);
    for field in [entry, u64::from(header_len), 0] {
        file.extend(field.to_le_bytes());
    }
    // No flags; sizes of header, segment entry and their count; no sections.
    file.extend([0; 4]);
    for field in [header_len, segment_len, 1, 0, 0, 0] {
        file.extend(field.to_le_bytes());
    }
    // Loaded, readable and executable: all of the file.
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for field in [0, SPIN_ADDRESS, SPIN_ADDRESS, len, len, 0x1000] {
        file.extend(field.to_le_bytes());
    }
    file.extend(SPIN_CODE.iter().flat_map(|word| word.to_le_bytes()));
    file
}

/// Fills the card until nothing goes on it, and returns the last words of `df`.
///
/// # Errors
/// It has no shell.
pub fn fill_card(console: &Console) -> Result<String> {
    let fill = "dd if=/dev/zero of=/var/fill bs=1M 2>/dev/null; \
                dd if=/dev/zero of=/var/fill2 bs=4k 2>/dev/null; sync; df /var | tail -n 1";
    console.run_ok(fill, Duration::from_secs(300))
}

/// Takes away what [`fill_card`] wrote.
///
/// # Errors
/// It has no shell.
pub fn empty_card(console: &Console) -> Result<()> {
    console.run_ok("rm -f /var/fill /var/fill2; sync", PATIENCE).map(drop)
}

/// Sets a board's clock, in seconds since 1970.
///
/// # Errors
/// It has no shell, or the kernel refuses.
pub fn set_clock(console: &Console, seconds: u64) -> Result<()> {
    console.run_ok(&format!("date -s @{seconds}"), PATIENCE).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;
    use crate::skip_unless;

    #[test]
    fn spinning_program_is_short_enough_to_type_and_runs() {
        let program = spin_program();
        assert_eq!(program.len(), 164);
        assert!(STANDARD.encode(&program).len() < 300);
        let emulator = "qemu-aarch64-static";
        skip_unless!(crate::programs::installed(emulator), "qemu-aarch64-static is not installed");
        let path = std::env::temp_dir().join(format!("bramble-spin-{}", std::process::id()));
        std::fs::write(&path, program).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        // Nobody may not take such a priority, so that it ends.
        let run = format!("exec timeout 10 setpriv --reuid 65534 {emulator} {}", path.display());
        let status = Command::new("sh").args(["-c", &run]).status().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(status.code(), Some(1));
    }
}
