//! What an observer is told.

use crate::Field;

/// Outcomes of attempts: one row each, at least one, with the fields that the policy subscribed to.
#[derive(Clone, Copy, Debug)]
pub struct Outcomes<'a> {
    rows: usize,
    columns: &'a [f64],
}

impl<'a> Outcomes<'a> {
    pub(crate) fn new(rows: usize, columns: &'a [f64]) -> Self {
        Self { rows, columns }
    }

    /// All rows.
    pub fn rows(&self) -> std::ops::Range<usize> {
        0..self.rows
    }

    /// A field of every outcome, by row.
    pub fn field(&self, field: Field) -> &'a [f64] {
        &self.columns[field.0 * self.rows..][..self.rows]
    }
}
