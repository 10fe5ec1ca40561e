//! In the initial RAM file system: finds the card and the system on it.

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::time::Duration;

use bramble_card::boot_file::SYSTEM;
use bramble_card::layout::Slot;
use bramble_runtime::clock::monotonic_ms;
use bramble_runtime::error_chain::Chain;
use bramble_runtime::loop_device::LoopDevice;
use bramble_runtime::restart::{BoardRestart, restart};

use crate::card_disk::CardDisk;
use crate::command_line::CommandLine;
use crate::messages::say;
use crate::step::StepError;
use crate::switch_root::switch_root;
use crate::{kernel_module, mounts};

/// How long a card may take to appear, in milliseconds: USB readers need several seconds.
const CARD_MS: u64 = 20_000;

/// How long a person can read why the board does not start, in milliseconds. There is no shell
/// yet; a trial of a bad system ends by starting the old one.
const READ_MS: u64 = 15_000;

/// Runs the first stage. Does not return: the board goes on or starts again.
pub(crate) fn run() -> ! {
    let Err(error) = start();
    say(&format!("this board cannot start: {}", Chain(&error)));
    say("mend the card with `bramble flash --replace`; starting again in 15 s");
    let until = monotonic_ms() + READ_MS;
    while monotonic_ms() < until {
        pause(Duration::from_millis(500));
    }
    loop {
        let error = restart(BoardRestart::Reboot);
        say(&format!("could not start again: {error}"));
        pause(Duration::from_secs(10));
    }
}

fn start() -> Result<Infallible, StepError> {
    mounts::kernel()?;
    let _limited = fs::write("/proc/sys/kernel/printk_devkmsg", "on");
    let command_line =
        fs::read_to_string("/proc/cmdline").map_err(StepError::of("read the command line"))?;
    let slot = CommandLine::parse(&command_line).slot.ok_or_else(|| {
        let missing = std::io::Error::other("no bramble.slot=a or =b on the command line");
        StepError::of::<std::io::Error>("tell the slot")(missing)
    })?;
    let list = fs::read_to_string("/modules/early.order").unwrap_or_default();
    kernel_module::load_listed(Path::new("/modules"), &list);
    let card = wait_for_card(slot)?;
    say(&format!("card {}, slot {slot}", card.name));
    mounts::fat(&card.partition(slot.number()), Path::new("/slot"))?;
    let system = Path::new("/slot").join(SYSTEM);
    let device = LoopDevice::attach(&system)
        .map_err(StepError::of(format!("make a device of {}", system.display())))?;
    mounts::squashfs(device.path(), Path::new("/new"))?;
    rustix::mount::mount_move("/slot", "/new/slot")
        .map_err(StepError::of("move the slot to the new root"))?;
    drop(device);
    switch_root(Path::new("/new"))
}

fn wait_for_card(slot: Slot) -> Result<CardDisk, StepError> {
    let until = monotonic_ms() + CARD_MS;
    loop {
        if let Some(card) = CardDisk::find()
            && card.partition(slot.number()).exists()
        {
            return Ok(card);
        }
        if monotonic_ms() >= until {
            let missing = std::io::Error::other("no disk has the partitions of a bramble card");
            return Err(StepError::of::<std::io::Error>("find the card")(missing));
        }
        pause(Duration::from_millis(20));
    }
}

/// Lets the kernel work: at this point the board has nothing else to wait for.
fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
