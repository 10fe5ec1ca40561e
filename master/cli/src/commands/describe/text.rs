//! Indented lines with aligned columns.

/// A description while it is being written.
#[derive(Debug, Default)]
pub(super) struct Text {
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    indent: usize,
    cells: Vec<String>,
}

impl Text {
    /// `Name:   value`; values of neighbouring lines are aligned.
    pub(super) fn field(&mut self, indent: usize, name: &str, value: impl Into<String>) {
        self.row(indent, vec![format!("{name}:"), value.into()]);
    }

    /// As [`Text::field`], unless there is nothing to show.
    pub(super) fn field_if(&mut self, indent: usize, name: &str, value: &str) {
        if !value.is_empty() {
            self.field(indent, name, value);
        }
    }

    /// A name over further lines, or over nothing.
    pub(super) fn heading(&mut self, indent: usize, name: &str) {
        self.row(indent, vec![format!("{name}:")]);
    }

    /// A name, and one value per line below each other; `<none>` if there is none.
    pub(super) fn list(
        &mut self,
        indent: usize,
        name: &str,
        values: impl IntoIterator<Item = String>,
    ) {
        let mut label = format!("{name}:");
        for value in values {
            self.row(indent, vec![std::mem::take(&mut label), value]);
        }
        if !label.is_empty() {
            self.row(indent, vec![label, "<none>".to_owned()]);
        }
    }

    /// Cells under those of the neighbouring rows.
    pub(super) fn row(&mut self, indent: usize, cells: Vec<String>) {
        self.lines.push(Line { indent, cells });
    }

    /// Headings, a line under each, and rows.
    pub(super) fn table(&mut self, indent: usize, headings: &[&str], rows: Vec<Vec<String>>) {
        self.row(indent, headings.iter().map(|&heading| heading.to_owned()).collect());
        self.row(indent, headings.iter().map(|heading| "-".repeat(heading.len())).collect());
        for row in rows {
            self.row(indent, row);
        }
    }

    /// The whole text.
    pub(super) fn render(&self) -> String {
        let mut out = String::new();
        let mut lines = self.lines.as_slice();
        while let Some(first) = lines.first() {
            // Neighbours of the same indent and number of cells share their columns.
            let alike =
                |line: &&Line| line.indent == first.indent && line.cells.len() == first.cells.len();
            let count = lines.iter().take_while(alike).count();
            let (block, rest) = lines.split_at(count);
            lines = rest;
            render_block(block, &mut out);
        }
        out
    }
}

fn render_block(block: &[Line], out: &mut String) {
    let columns = block.first().map_or(0, |line| line.cells.len());
    let width_of = |column: usize| {
        let cells = block.iter().filter_map(|line| line.cells.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width_of).collect();
    for line in block {
        let mut text = "  ".repeat(line.indent);
        for (cell, width) in line.cells.iter().zip(&widths) {
            text.extend(cell.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }));
            let padding = width.saturating_sub(cell.chars().count()) + 2;
            text.extend(std::iter::repeat_n(' ', padding));
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_aligned() {
        let mut text = Text::default();
        text.field(0, "Name", "web");
        text.list(0, "Labels", ["a=b".to_owned(), "c=d".to_owned()]);
        text.list(0, "Annotations", []);
        text.heading(0, "Events");
        text.table(1, &["Type", "Reason"], vec![vec!["Normal".into(), "Pulled".into()]]);
        assert_eq!(
            text.render(),
            "Name:         web\n\
             Labels:       a=b\n              c=d\n\
             Annotations:  <none>\n\
             Events:\n  Type    Reason\n  ----    ------\n  Normal  Pulled\n"
        );
    }
}
