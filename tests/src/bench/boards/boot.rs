//! Row 16: boards that boot alone while the others idle, first from a fresh card, then after a
//! power cut.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::bench::boards::cards::{Cards, is_ready};
use crate::bench::report::progress;
use crate::bench::statistics::Samples;
use crate::qemu::PATIENCE;
use crate::qemu::machine::PowerEvent;
use crate::qemu::model::Model;

/// Times of one kind of start.
#[derive(Debug, Default)]
struct Boots {
    ready: Vec<Duration>,
    /// Until the emulator runs: the harness reads kernel and initramfs off the card, as a board's
    /// firmware does, in another time than it.
    firmware: Vec<Duration>,
}

/// Measures row 16.
pub(super) fn measure(cards: &mut Cards, repeat: usize) -> Result<Vec<String>> {
    let (mut parts, mut firmware) = (Vec::new(), Vec::new());
    for (model, name) in [(Model::Raspi3b, "raspi3b"), (Model::Virt, "virt")] {
        let (mut first, mut again) = (Boots::default(), Boots::default());
        for (round, board) in cards.fresh(model).iter().enumerate() {
            progress(&format!("{name} boots alone, {} of {repeat}", round + 1));
            first.add(cards, board).context("first boot")?;
            cards.cut_power(board)?;
            cards.wait_for_node(board, "Unknown")?;
            again.add(cards, board).context("boot after a power cut")?;
            cards.cut_power(board)?;
            cards.wait_for_node(board, "Unknown")?;
        }
        firmware.extend(first.firmware.iter().chain(&again.firmware).copied());
        let [first, again] = [first, again].map(|boots| boots.spread());
        parts.push(format!("{name}: {first} from a freshly flashed card, {again} after a cut"));
    }
    let (parts, firmware) = (parts.join("; "), Samples::new(firmware).median_and_spread());
    Ok(vec![format!(
        "{parts}; until a watch shows Ready; {firmware} of it the harness plays the firmware"
    )])
}

impl Boots {
    /// Switches a board on and waits until its node is Ready.
    fn add(&mut self, cards: &mut Cards, board: &str) -> Result<()> {
        let events = cards.nodes()?;
        let start = cards.cluster.board_mut(board)?.power_on()?;
        let ready = events.wait_for(PATIENCE, |event| is_ready(event, board))?;
        let mut power = cards.cluster.board(board)?.events().into_iter();
        let started = power
            .find(|(time, event)| *time >= start && matches!(event, PowerEvent::Started { .. }));
        let (started, _) = started.context("Ready before it started")?;
        self.ready.push(ready.saturating_duration_since(start));
        self.firmware.push(started.saturating_duration_since(start));
        Ok(())
    }

    fn spread(self) -> String {
        Samples::new(self.ready).median_and_spread()
    }
}
