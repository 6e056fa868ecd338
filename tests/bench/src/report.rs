//! Tables, for the terminal and for the sections of a Markdown file that the benchmarks own.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;

/// Rows of text under a head. The first column names the row.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    title: &'static str,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(title: &'static str, head: &[&str]) -> Self {
        Self { title, head: head.iter().map(|text| (*text).to_owned()).collect(), rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// With columns of equal width.
    pub(crate) fn plain(&self) -> String {
        let lines = || std::iter::once(&self.head).chain(&self.rows);
        let width = |column: usize| lines().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..self.head.len()).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = format!("{}\n", self.title);
        for row in lines() {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let _ = if column == 0 { write!(line, "{cell:<width$}") } else { write!(line, "  {cell:>width$}") };
            }
            let _ = writeln!(text, "  {}", line.trim_end());
        }
        text
    }

    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = format!("|---|{}\n", "--:|".repeat(self.head.len().saturating_sub(1)));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("**{}**\n\n{}{rule}{rows}", self.title, line(&self.head))
    }
}

/// A part of the Markdown file, between markers of its name, and what it says.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) name: &'static str,
    /// How it was measured, in a few sentences.
    pub(crate) about: String,
    pub(crate) tables: Vec<Table>,
}

impl Section {
    /// Prints it.
    pub(crate) fn print(&self) {
        say(&format!("\n{}\n", self.about));
        for table in &self.tables {
            say(&table.plain());
        }
    }

    /// Puts it into the file in place of what the markers held before.
    ///
    /// # Errors
    /// When the file cannot be read or written, or has no place for it.
    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let shown = file.display();
        let before = std::fs::read_to_string(file).with_context(|| format!("{shown} cannot be read"))?;
        let after = self.put_into(&before).with_context(|| {
            let name = self.name;
            format!("{shown} has no place for the results: add the lines `{}` and `{}`", begin(name), end(name))
        })?;
        std::fs::write(file, after).with_context(|| format!("{shown} cannot be written"))
    }

    fn put_into(&self, text: &str) -> Option<String> {
        let (before, rest) = text.split_once(&begin(self.name))?;
        let (_, after) = rest.split_once(&end(self.name))?;
        let tables: Vec<String> = self.tables.iter().map(Table::markdown).collect();
        Some(format!("{before}{}\n{}\n\n{}{}{after}", begin(self.name), self.about, tables.join("\n"), end(self.name)))
    }
}

fn begin(name: &str) -> String {
    format!("<!-- {name}: written by `make bench` -->")
}

fn end(name: &str) -> String {
    format!("<!-- end of {name} -->")
}

/// A number with so many digits after the point; `-` when there is none.
pub(crate) fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

/// For people, on standard output.
#[expect(clippy::print_stdout, reason = "results are what this program is for")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

/// What is being done, on standard error.
#[expect(clippy::print_stderr, reason = "a run takes minutes")]
pub(crate) fn progress(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]

    use super::*;

    fn section() -> Section {
        let mut table = Table::new("Speed", &["who", "req/s"]);
        table.push(vec!["nginx".into(), number(Some(4.26), 1)]);
        table.push(vec!["µ".into(), number(None, 1)]);
        Section { name: "gateway", about: "One run.".into(), tables: vec![table] }
    }

    #[test]
    fn a_table_has_columns_of_equal_width() {
        assert_eq!(section().tables[0].plain(), "Speed\n  who    req/s\n  nginx    4.3\n  µ          -\n");
    }

    #[test]
    fn a_section_replaces_what_the_markers_held() {
        let file = "# A\n<!-- gateway: written by `make bench` -->\nold\n<!-- end of gateway -->\nB\n";
        let expected = "# A\n<!-- gateway: written by `make bench` -->\nOne run.\n\n**Speed**\n\n| who | req/s |\n\
                        |---|--:|\n| nginx | 4.3 |\n| µ | - |\n<!-- end of gateway -->\nB\n";
        assert_eq!(section().put_into(file).unwrap(), expected);
        assert_eq!(section().put_into(expected).unwrap(), expected);
    }

    #[test]
    fn a_file_without_markers_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("benchmarks.md");
        std::fs::write(&file, "# A\n").unwrap();
        assert_eq!(
            section().write(&file).unwrap_err().to_string(),
            format!(
                "{} has no place for the results: add the lines `<!-- gateway: written by `make bench` -->` and \
                 `<!-- end of gateway -->`",
                file.display()
            )
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "# A\n");
    }
}
