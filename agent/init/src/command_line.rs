//! What the kernel's command line tells init.

use bramble_card::boot_file::SLOT_WORD;
use bramble_card::layout::Slot;

/// Words of the kernel's command line that init understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// The slot that the board was started from.
    pub(crate) slot: Option<Slot>,
    /// The firmware is played by somebody, who takes the wish for a trial from a file.
    pub(crate) emulated_firmware: bool,
    /// The board's watchdog may be used.
    pub(crate) watchdog: bool,
}

impl CommandLine {
    /// Reads the text of `/proc/cmdline`. The last word of a kind counts.
    pub(crate) fn parse(text: &str) -> Self {
        let mut read = Self { slot: None, emulated_firmware: false, watchdog: true };
        for word in text.split_whitespace() {
            if let Some(slot) = word.strip_prefix(SLOT_WORD) {
                read.slot = Slot::parse(slot);
            } else if let Some(firmware) = word.strip_prefix("bramble.firmware=") {
                read.emulated_firmware = firmware == "emulated";
            } else if let Some(watchdog) = word.strip_prefix("bramble.watchdog=") {
                read.watchdog = watchdog != "off";
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_are_skipped() {
        let text = "console=ttyAMA0,115200 quiet bramble.slot=b bramble.firmware=emulated \
                    bramble.watchdog=off bramble.new=1\n";
        let all = CommandLine { slot: Some(Slot::B), emulated_firmware: true, watchdog: false };
        assert_eq!(CommandLine::parse(text), all);
        let nothing = CommandLine { slot: None, emulated_firmware: false, watchdog: true };
        assert_eq!(CommandLine::parse("console=tty1"), nothing);
        assert_eq!(CommandLine::parse("bramble.slot=c"), nothing);
    }
}
