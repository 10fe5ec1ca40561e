//! The binaries for 64-bit boards run on their processor.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]

use std::process::Command;

use bramble_cross::build::size_mb;
use bramble_tests::programs::{installed, output};
use bramble_tests::qemu::image::{binaries, sources};
use bramble_tests::skip_unless;

/// Program of Debian's package qemu-user-static.
const USER_EMULATOR: &str = "qemu-aarch64-static";

#[test]
fn binaries_for_boards_run_on_the_boards_processor() {
    skip_unless!(installed(USER_EMULATOR), "qemu-aarch64-static is not installed");
    let built = binaries(sources().unwrap()).unwrap();
    let (master, agent) = (built.master.to_string_lossy(), built.agent.to_string_lossy());
    for (program, args, wanted) in [
        (&agent, &["--help"][..], "self-check"),
        (&agent, &["version"], "0.1.0"),
        (&agent, &["self-check"], "arm64"),
        (&master, &["--help"], "server"),
    ] {
        let args = [&[program.as_ref()], args].concat();
        let printed = output(Command::new(USER_EMULATOR).args(&args)).unwrap();
        let text = String::from_utf8_lossy(&printed.stdout);
        assert!(text.contains(wanted), "no `{wanted}` in {text}");
    }
    for path in [&built.master, &built.agent] {
        let loader = interpreter(&std::fs::read(path).unwrap());
        assert!(!loader, "{} is not static: it names a loader", path.display());
        println!("{:.1} MB  {}", size_mb(path).unwrap(), path.display());
    }
}

/// `true` if a 64-bit little-endian ELF file has a program header of type `PT_INTERP`.
fn interpreter(file: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, len: usize| {
        let bytes = file.get(at..at + len).unwrap();
        bytes.iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
    };
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|index| number(start + index * size, 4) == usize::try_from(PT_INTERP).unwrap())
}
