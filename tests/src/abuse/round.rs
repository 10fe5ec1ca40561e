//! Runs one attack and looks at what must hold around every one.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::bystander::Answers;
use super::memory_watch::Memory;
use super::{Attack, Stage};
use crate::wait::{now, pause, wait_until};

/// Memory must have come back to so much of what it was ...
const GROWTH_MAX: f64 = 1.5;
/// ... or to so many megabytes above it: what a quiet daemon's memory goes up and down by.
const GROWTH_FLOOR_MB: f64 = 8.0;
/// ... within this time.
const RETURN: Duration = Duration::from_secs(30);
/// Most megabytes at any moment, for all daemons of a board: the smallest boards have 512 MB, and
/// kernel and pods need the rest.
const PEAK_MAX_MB: f64 = 384.0;
/// Time for the cluster to come to rest before an attack begins.
const REST: Duration = Duration::from_secs(2);

/// What came of an attack.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its name.
    pub name: &'static str,
    /// What fell, one sentence each; empty if everything held.
    pub fell: Vec<String>,
    /// What the attack tells of itself.
    pub note: String,
    /// How long it took, until memory was back.
    pub took: Duration,
    /// Slowest answer to the bystander.
    pub slowest: Duration,
    /// Master before, at the peak, after; then the node whose peak was highest. Megabytes.
    pub memory: [[f64; 3]; 2],
}

/// Runs an attack on a whole cluster.
///
/// # Errors
/// The cluster could not be looked at before the attack: nothing can be said of it.
pub fn around(stage: &mut Stage, attack: &Attack) -> Result<Outcome> {
    stage.make_namespace()?;
    pause(REST);
    let watch = stage.memory();
    let (before, still, processes) = (watch.now(), stage.still()?, stage.master_processes()?);
    ensure!(!processes.is_empty(), "the master does not run");
    let panics = stage.panics();
    let bystander = stage.start_bystander()?;
    let peaks = watch.peaks();
    let start = now();

    let ran = (attack.run)(stage);
    let answers = bystander.stop()?;
    let mut fell = Vec::new();
    let note = ran.unwrap_or_else(|error| {
        fell.push(format!("{error:#}"));
        String::new()
    });
    // Nobody answers while the master is down, which the attack then wants.
    if !attack.restarts_master {
        fell.extend(unanswered(&answers));
        if stage.master_processes()? != processes {
            fell.push("the master's process ended".to_owned());
        }
    }
    if stage.panics() > panics {
        fell.push("one of our processes panicked, see its log".to_owned());
    }
    if let Err(error) = stage.remove_namespace() {
        fell.push(format!("what it created stays: {error:#}"));
    }
    let mut after = watch.now();
    let returned = wait_until("memory is back", RETURN, || {
        after = watch.now();
        let grown = grown(&before, &after);
        Ok((!grown.is_empty()).then(|| grown.join(", ")))
    });
    if let Err(error) = returned {
        fell.push(format!("{error:#}"));
    }
    let peaks = peaks.stop()?;
    fell.extend(
        peaks
            .iter()
            .filter(|(_, mb)| *mb > PEAK_MAX_MB)
            .map(|(name, mb)| format!("{name} took {mb:.0} MB")),
    );
    match stage.still() {
        Ok(now) => fell.extend(still.changes(&now)),
        Err(error) => fell.push(format!("the cluster does not answer: {error:#}")),
    }
    let slowest = answers.slowest;
    let memory = columns(&before, &peaks, &after);
    Ok(Outcome { name: attack.name, fell, note, took: start.elapsed(), slowest, memory })
}

fn unanswered(answers: &Answers) -> Option<String> {
    let Answers { asked, failed, failures, .. } = answers;
    (*failed > 0).then(|| {
        format!(
            "the bystander got {failed} of {asked} requests not answered: {}",
            failures.join("; ")
        )
    })
}

/// Boards that take too much more than before.
fn grown(before: &Memory, after: &Memory) -> Vec<String> {
    let pairs = before.iter().zip(after);
    pairs
        .filter(|((_, before), (_, after))| {
            *after > (before * GROWTH_MAX).max(before + GROWTH_FLOOR_MB)
        })
        .map(|((name, before), (_, after))| format!("{name} {before:.0} -> {after:.0} MB"))
        .collect()
}

fn columns(before: &Memory, peaks: &Memory, after: &Memory) -> [[f64; 3]; 2] {
    let at = |memory: &Memory, index: usize| memory.get(index).map_or(0.0, |(_, mb)| *mb);
    let row = |index| [at(before, index), at(peaks, index), at(after, index)];
    // The master's board comes first.
    let node = (1..peaks.len()).max_by(|a, b| at(peaks, *a).total_cmp(&at(peaks, *b)));
    [row(0), row(node.unwrap_or(usize::MAX))]
}

/// Head of the table.
#[must_use]
pub fn table_head() -> String {
    "| attack | held | slowest answer | master MB: before, peak, after | node MB: before, peak, after \
     | s | what happened |\n|---|---|---|---|---|---|---|"
        .to_owned()
}

/// A row of the table.
#[must_use]
pub fn table_row(outcome: &Outcome) -> String {
    let Outcome { name, fell, note, took, slowest, memory: [master, node] } = outcome;
    let megabytes =
        |[before, peak, after]: &[f64; 3]| format!("{before:.0}, {peak:.0}, {after:.0}");
    let held = if fell.is_empty() { "yes" } else { "**no**" };
    format!(
        "| {name} | {held} | {} ms | {} | {} | {} | {} |",
        slowest.as_millis(),
        megabytes(master),
        megabytes(node),
        took.as_secs(),
        one_line(if fell.is_empty() { note.clone() } else { fell.join("; ") }),
    )
}

/// Errors carry logs of many lines; a table's cell is one line of bearable length.
fn one_line(text: String) -> String {
    const LEN_MAX: usize = 600;
    let text = text.replace(['\n', '\r', '|'], " ");
    if text.chars().count() <= LEN_MAX {
        return text;
    }
    text.chars().take(LEN_MAX).chain(" ...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::{columns, grown};

    fn memory(values: &[f64]) -> Vec<(String, f64)> {
        values.iter().enumerate().map(|(index, mb)| (format!("b{index}"), *mb)).collect()
    }

    #[test]
    fn noise_is_no_growth_and_half_as_much_again_is_the_bound() {
        assert!(grown(&memory(&[10.0, 100.0]), &memory(&[17.9, 149.0])).is_empty());
        assert_eq!(grown(&memory(&[10.0, 100.0]), &memory(&[18.1, 151.0])).len(), 2);
    }

    #[test]
    fn the_node_with_the_highest_peak_is_shown_beside_the_master() {
        let (before, peaks) = (memory(&[1.0, 2.0, 3.0]), memory(&[9.0, 8.0, 7.0]));
        assert_eq!(columns(&before, &peaks, &before), [[1.0, 9.0, 1.0], [2.0, 8.0, 2.0]]);
    }
}
