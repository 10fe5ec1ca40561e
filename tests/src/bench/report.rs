//! The table, the machine it was taken on, and the file that keeps both.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Write, stderr};
use std::path::Path;

use anyhow::{Context, Result};

use crate::bench::rows::{EMULATED, Figure, ROWS};
use crate::programs::run;

/// Lines of the file between which the program writes.
const BEGIN: &str = "<!-- figures: begin (written by bramble-bench --update) -->";
const END: &str = "<!-- figures: end -->";
const HEAD: &str = "| # | what | measured | reach | where | date |\n|---|---|---|---|---|---|\n";

/// Says on standard error what is being measured, since it takes minutes.
pub fn progress(what: &str) {
    let _ = writeln!(stderr(), "measuring: {what} ...");
}

/// One line about this machine.
///
/// # Errors
/// `/proc` cannot be read.
pub fn machine() -> Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    // ARM kernels have no model name there; the board's own name says more anyway.
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, model)| model.trim().to_owned())
        .or_else(|| fs::read_to_string("/proc/device-tree/model").ok())
        .unwrap_or_else(|| "unknown processor".to_owned());
    let cores = std::thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kib: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB"))
        .and_then(|value| value.trim().parse().ok())
        .context("/proc/meminfo has no MemTotal")?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!(
        "{}, {cores} cores, {} GiB memory, Linux {}",
        model.trim_end_matches('\0'),
        kib.div_ceil(1024 * 1024),
        kernel.trim()
    ))
}

/// Today's date, as this machine has it.
///
/// # Errors
/// There is no `date`.
pub fn today() -> Result<String> {
    Ok(run("date", &["-u", "+%Y-%m-%d"])?.trim().to_owned())
}

/// The table of these figures.
#[must_use]
pub fn table(figures: &[Figure], date: &str) -> String {
    let lines: String = lines(figures, date).into_values().collect();
    HEAD.to_owned() + &lines
}

/// Writes figures into the file, between its two marker lines. Rows that were not measured now
/// stay as they are, unless they come from another machine.
///
/// # Errors
/// The file cannot be read or written, or lacks the marker lines.
pub fn update(path: &Path, figures: &[Figure], machine: &str, date: &str) -> Result<()> {
    let text =
        fs::read_to_string(path).with_context(|| format!("could not read `{}`", path.display()))?;
    let text = updated(&text, figures, machine, date)
        .with_context(|| format!("no marker lines in `{}`", path.display()))?;
    fs::write(path, text).with_context(|| format!("could not write `{}`", path.display()))
}

fn updated(text: &str, figures: &[Figure], machine: &str, date: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (old, after) = rest.split_once(END)?;
    let machine = format!("Machine: {machine}.");
    let mut rows = BTreeMap::new();
    if old.lines().any(|line| line == machine) {
        for line in old.lines() {
            if let Some(key) = key(line) {
                rows.insert(key, format!("{line}\n"));
            }
        }
    }
    rows.extend(lines(figures, date));
    let rows: String = rows.into_values().collect();
    Some(format!("{before}{BEGIN}\n{machine}\n\n{HEAD}{rows}{END}{after}"))
}

/// Number of a line's row, and whether it comes from emulated boards: one row has both.
type Key = (u8, bool);

fn key(line: &str) -> Option<Key> {
    let mut cells = line.split('|').map(str::trim).skip(1);
    let number = cells.next()?.parse().ok()?;
    // No cell has a bar in it.
    Some((number, cells.nth(3)? == EMULATED))
}

fn lines(figures: &[Figure], date: &str) -> BTreeMap<Key, String> {
    figures
        .iter()
        .filter_map(|figure| {
            let row = ROWS.iter().find(|row| row.number == figure.number)?;
            let line = format!(
                "| {} | {} | {} | {} | {} | {date} |\n",
                row.number,
                row.what,
                figure.value,
                row.reach,
                figure.place.word()
            );
            Some((key(&line)?, line))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, updated};
    use crate::bench::rows::{Figure, Place};

    fn figure(number: u8, value: &str) -> Figure {
        Figure::new(number, Place::Namespaces, Ok(value.to_owned()))
    }

    #[test]
    fn rows_of_the_same_machine_stay_and_new_ones_replace() {
        let empty = format!("before\n{BEGIN}\n{END}\nafter\n");
        let both = [figure(1, "old one"), figure(2, "old two")];
        let first = updated(&empty, &both, "a Pi", "2026-01-01").unwrap();
        let second = updated(&first, &[figure(2, "new two")], "a Pi", "2026-01-02").unwrap();
        assert!(second.contains("old one") && second.contains("new two"), "{second}");
        assert!(!second.contains("old two"), "{second}");
        assert!(second.starts_with("before\n") && second.ends_with("\nafter\n"), "{second}");
    }

    #[test]
    fn row_of_namespaces_and_of_emulated_boards_stand_beside_each_other() {
        let empty = format!("{BEGIN}\n{END}");
        let here = updated(&empty, &[figure(17, "fast")], "a PC", "2026-01-01").unwrap();
        let emulated = Figure::new(17, Place::Emulated, Ok("slow".to_owned()));
        let both = updated(&here, &[emulated], "a PC", "2026-01-02").unwrap();
        assert!(both.contains("fast") && both.contains("slow"), "{both}");
        let again = updated(&both, &[figure(17, "faster")], "a PC", "2026-01-03").unwrap();
        assert!(!again.contains("fast |") && again.contains("slow"), "{again}");
    }

    #[test]
    fn rows_of_another_machine_go() {
        let empty = format!("{BEGIN}\n{END}");
        let first = updated(&empty, &[figure(1, "old one")], "a Pi", "2026-01-01").unwrap();
        let second = updated(&first, &[figure(2, "two")], "a PC", "2026-01-02").unwrap();
        assert!(!second.contains("old one"), "{second}");
    }

    #[test]
    fn file_without_markers_is_refused() {
        assert_eq!(updated("text", &[], "a Pi", "2026-01-01"), None);
    }
}
