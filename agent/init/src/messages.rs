//! Short lines on the console and in the kernel's log, with seconds since the kernel started.

use std::fs::OpenOptions;
use std::io::{self, Write};

use bramble_runtime::clock::monotonic_ms;

/// Says what has happened.
pub(crate) fn say(text: &str) {
    let now = monotonic_ms();
    let line = format!("[{:5}.{:03}] bramble: {text}\r\n", now / 1000, now % 1000);
    // Opened each time: a console may be lost and found. Nobody could be told of an error here.
    let _unheard = OpenOptions::new()
        .write(true)
        .open("/dev/console")
        .and_then(|mut console| console.write_all(line.as_bytes()));
    let _unkept = OpenOptions::new()
        .write(true)
        .open("/dev/kmsg")
        .and_then(|mut log| log.write_all(format!("<6>bramble: {text}\n").as_bytes()));
}

/// Writes whole lines as messages: for the supervisor's warnings.
#[derive(Clone, Copy, Debug, Default)]
pub struct MessageWriter;

impl Write for MessageWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for line in String::from_utf8_lossy(bytes).lines().filter(|line| !line.is_empty()) {
            say(line);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
