//! Columns as kubectl lays them out.
//!
//! A cell is as wide as its column's widest text and three spaces, at least six characters; the
//! last cell of a row is not padded. While a watch goes on, columns get wider but never narrower.

use std::io::{self, Write};

const PADDING: usize = 3;
const WIDTH_MIN: usize = 6;

/// Lays out rows.
#[derive(Debug, Default)]
pub(crate) struct TableWriter {
    widths: Vec<usize>,
}

impl TableWriter {
    /// Writes rows that all have the same number of cells.
    pub(crate) fn write(&mut self, rows: &[Vec<String>], out: &mut dyn Write) -> io::Result<()> {
        for row in rows {
            for (column, cell) in row.iter().enumerate() {
                let width = (cell.chars().count() + PADDING).max(WIDTH_MIN);
                match self.widths.get_mut(column) {
                    Some(known) => *known = width.max(*known),
                    None => self.widths.push(width),
                }
            }
        }
        for row in rows {
            let mut line = String::new();
            let last = row.len().saturating_sub(1);
            for (column, (cell, width)) in row.iter().zip(&self.widths).enumerate() {
                line.push_str(cell);
                if column < last {
                    let padding = width.saturating_sub(cell.chars().count());
                    line.extend(std::iter::repeat_n(' ', padding));
                }
            }
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}

/// One cell's text: no second line, and nothing that a terminal would obey.
pub(crate) fn cell(text: &str) -> String {
    let (first, more) = match text.split_once(['\n', '\r', '\u{c}']) {
        Some((first, _)) => (first, "..."),
        None => (text, ""),
    };
    let safe = first.chars().map(|c| if c.is_control() { ' ' } else { c });
    safe.chain(more.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(|&cell| cell.to_owned()).collect()).collect()
    }

    #[test]
    fn columns_are_padded_as_by_kubectl() {
        let mut out = Vec::new();
        let table = rows(&[
            &["NAME", "READY", "STATUS", "AGE"],
            &["web-6d5f-x2x9k", "1/1", "Running", "5s"],
            &["a", "0/1", "", "10m"],
        ]);
        TableWriter::default().write(&table, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "NAME             READY   STATUS    AGE\n\
             web-6d5f-x2x9k   1/1     Running   5s\n\
             a                0/1               10m\n"
        );
    }

    #[test]
    fn narrow_columns_keep_six_characters() {
        let mut out = Vec::new();
        TableWriter::default().write(&rows(&[&["A", "B"], &["1", "2"]]), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "A     B\n1     2\n");
    }

    #[test]
    fn later_rows_keep_the_width_of_earlier_ones() {
        let mut out = Vec::new();
        let mut writer = TableWriter::default();
        writer.write(&rows(&[&["long-name", "x"]]), &mut out).unwrap();
        writer.write(&rows(&[&["a", "y"]]), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "long-name   x\na           y\n");
    }

    #[test]
    fn cells_cannot_drive_the_terminal() {
        assert_eq!(cell("a\u{1b}[31mb"), "a [31mb");
        assert_eq!(cell("first\nsecond"), "first...");
    }
}
