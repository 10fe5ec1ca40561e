//! Rows 6 to 8 and 16 to 19: boards of QEMU that boot from flashed cards.
//!
//! Emulation is many times slower than a board and shares this machine's cores, so that every
//! figure stands beside how late timers were meanwhile. All times are taken on this machine's
//! clock, outside of the boards.

mod boot;
mod cards;
mod power_cut;
mod server_start;
mod use_of_memory;

use anyhow::Result;

use crate::bench::boards::cards::Cards;
use crate::bench::other_programs;
use crate::bench::report::progress;
use crate::bench::rows::{Figure, Place};
use crate::qemu::lag::{self, HostLag, Lag};

/// Measures those rows that are wanted, each thing `repeat` times; returns the figures, and lines
/// that no row has.
#[must_use]
pub fn measure(wanted: &[u8], repeat: usize) -> (Vec<Figure>, Vec<String>) {
    let (mut figures, mut notes) = (Vec::new(), Vec::new());
    figures.extend(other_programs::measure(
        &wanted.iter().copied().filter(|row| *row == 18).collect::<Vec<_>>(),
    ));
    if wanted.contains(&19) {
        figures.push(Figure::new(19, Place::CrossBuild, cards::image_size()));
    }
    if wanted.contains(&8) {
        figures.push(Figure {
            number: 8,
            value: "not measured: StatefulSets are not built".to_owned(),
            place: Place::Nowhere,
            failure: None,
        });
    }
    let on_boards: Vec<u8> = wanted.iter().copied().filter(|row| MEASURED.contains(row)).collect();
    if on_boards.is_empty() {
        return (figures, notes);
    }
    progress("cards are flashed, a master and two agents boot");
    let boots = if on_boards.contains(&16) { repeat } else { 0 };
    let mut cards = match Cards::start(boots) {
        Ok(cards) => cards,
        Err(error) => {
            figures.extend(on_boards.iter().map(|row| Figure::not_measured(*row, &error)));
            return (in_their_place(figures), notes);
        }
    };
    match resting(&cards) {
        Ok(resting) => notes.push(resting),
        Err(error) => notes.push(format!("Timers of a resting board: not measured: {error:#}.")),
    }
    if on_boards.contains(&6) || on_boards.contains(&7) {
        let values = beside_lag(|| power_cut::measure(&mut cards, repeat));
        figures.extend(Figure::several(&[6, 7], Place::Emulated, cards.explained(values)));
    }
    if on_boards.contains(&16) {
        let values = beside_lag(|| boot::measure(&mut cards, repeat));
        figures.extend(Figure::several(&[16], Place::Emulated, cards.explained(values)));
    }
    match use_of_memory::measure(&cards) {
        Ok(lines) => notes.push(lines),
        Err(error) => notes.push(format!("Memory of a board: not measured: {error:#}.")),
    }
    if on_boards.contains(&17) {
        let values = beside_lag(|| server_start::measure(&cards, repeat));
        figures.extend(Figure::several(&[17], Place::Emulated, cards.explained(values)));
    }
    // Whether something is left behind is a test's matter; a figure does not depend on it.
    drop(cards);
    (in_their_place(figures), notes)
}

/// Rows that need running boards.
const MEASURED: [u8; 4] = [6, 7, 16, 17];

/// A row that could not be measured on boards does not replace one that was measured elsewhere.
fn in_their_place(mut figures: Vec<Figure>) -> Vec<Figure> {
    for figure in &mut figures {
        if MEASURED.contains(&figure.number) {
            figure.place = Place::Emulated;
        }
    }
    figures
}

/// Measures, and puts beside each value how late this machine's timers were meanwhile.
fn beside_lag(measure: impl FnOnce() -> Result<Vec<String>>) -> Result<Vec<String>> {
    let timers = HostLag::start();
    let values = measure();
    let lag = timers.stop()?;
    Ok(values?.into_iter().map(|value| format!("{value}; {}", beside(lag))).collect())
}

fn beside(lag: Lag) -> String {
    format!("timers beside the emulators were late by {lag}")
}

/// How late the timers of a board are that has nothing to do.
fn resting(cards: &Cards) -> Result<String> {
    let lag = lag::on_board(cards.master()?.console(), 20)?;
    Ok(format!("Timers of a resting board (the master), by its own clock: late by {lag}."))
}
