//! Templates of projects: text with placeholders and with parts that only some hooks or grants need.
//!
//! `%name%` stands for a value. A line `%if router headers` begins a part for projects with any of these, `%if !router`
//! one for projects without; `%end` ends it. Parts lie within one another.

use std::collections::BTreeSet;

/// What a template is filled with.
pub(super) struct Filling<'a> {
    /// Placeholders and what they stand for.
    pub(super) values: &'a [(&'a str, &'a str)],
    /// Hooks, grants and the language.
    pub(super) parts: BTreeSet<&'a str>,
}

impl Filling<'_> {
    /// Fills a template.
    pub(super) fn fill(&self, template: &str) -> String {
        let mut text = String::with_capacity(template.len());
        let mut open: Vec<bool> = Vec::new();
        for line in template.lines() {
            let trimmed = line.trim();
            if let Some(condition) = trimmed.strip_prefix("%if ") {
                open.push(self.holds(condition));
            } else if trimmed == "%end" {
                open.pop();
            } else if open.iter().all(|holds| *holds) {
                text.push_str(&self.values(line));
                text.push('\n');
            }
        }
        text
    }

    fn holds(&self, condition: &str) -> bool {
        condition.split_whitespace().any(|word| match word.strip_prefix('!') {
            Some(word) => !self.parts.contains(word),
            None => self.parts.contains(word),
        })
    }

    fn values(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (name, value) in self.values {
            line = line.replace(&format!("%{name}%"), value);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_kept_or_left_out_and_values_filled_in() {
        let filling = Filling { values: &[("name", "x")], parts: ["router"].into() };
        let template = "a %name%\n  %if router filter\nb\n%if filter\nc\n%end\n%if !filter\nd\n%end\n  %end\n%if !router\ne\n%end\nf";
        assert_eq!(filling.fill(template), "a x\nb\nd\nf\n");
    }
}
