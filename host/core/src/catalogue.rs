//! Prices, limits and abilities of models that many people use: a dated list, embedded in the program.
//!
//! The list is sorted text that is looked at where it lies in the program: a look-up reads a few of its pages and one
//! row, and nothing of it is kept in memory. `catalogue/make.py` makes it, and says from what.

use crate::ability::{Abilities, Ability};
use crate::deployment::{LongPrice, Price};

mod hosts;
mod names;

pub use hosts::provider_at;
pub use names::Match;

/// What the list says of one model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// `provider/model`, in small letters.
    pub name: Box<str>,
    /// The whole context window.
    pub context_tokens: Option<u32>,
    /// Largest answer.
    pub max_output_tokens: Option<u32>,
    /// What it can do and what it cannot.
    pub abilities: Abilities,
    /// What it costs.
    pub price: Option<Price>,
}

/// When the list was made: a year and a month.
pub fn date() -> &'static str {
    let (_, after) = TEXT.split_once("as of ").unwrap_or_default();
    after.split_once('.').map_or("", |(date, _)| date)
}

/// The model of this very name.
pub fn entry(name: &str) -> Option<Entry> {
    let row = rows_from(name).next()?;
    (name_of(row) == name).then(|| read(row))
}

/// The model of this provider that a name stands for, and how that is known. Another spelling of the same model is
/// found too: with another date or without one, in capitals, behind its vendor's name.
pub fn find(provider: &str, model: &str) -> Option<(Entry, Match)> {
    find_in(provider, model, &entry)
}

/// The same, in a list that `entry` looks into; of dates, those of the embedded list.
pub fn find_in(provider: &str, model: &str, entry: &dyn Fn(&str) -> Option<Entry>) -> Option<(Entry, Match)> {
    names::find(provider, model, entry, &|stem| {
        let dated = rows_from(stem).map(name_of).take_while(|name| name.starts_with(stem));
        dated.filter(|name| names::is_date(&name[stem.len()..])).last().and_then(entry)
    })
}

/// Every model, in the order of the names.
pub fn entries() -> impl Iterator<Item = Entry> {
    rows_from("").map(read)
}

/// The rows whose names are this one or come after it.
fn rows_from(name: &str) -> impl Iterator<Item = &'static str> {
    let text = rows();
    let (mut low, mut high) = (0, text.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = memchr::memrchr(b'\n', &text.as_bytes()[..middle]).map_or(0, |end| end + 1);
        let end = memchr::memchr(b'\n', &text.as_bytes()[middle..]).map_or(text.len(), |end| middle + end + 1);
        if name_of(&text[start..end]) < name {
            low = end;
        } else {
            high = start;
        }
    }
    text[low..].lines()
}

/// Without the comments at the top.
fn rows() -> &'static str {
    let mut text = TEXT;
    while text.starts_with('#') {
        text = text.split_once('\n').map_or("", |(_, rest)| rest);
    }
    text
}

fn name_of(row: &str) -> &str {
    row.split('\t').next().unwrap_or_default()
}

fn read(row: &str) -> Entry {
    let mut columns = row.trim_end_matches('\n').split('\t');
    let mut next = || columns.next().unwrap_or_default();
    let name = next().into();
    let (context_tokens, max_output_tokens) = (next().parse().ok(), next().parse().ok());
    let abilities = read_abilities(next());
    let mut usd = || next().parse().ok();
    let (input, output) = (usd(), usd());
    let (cached_input, cache_write, reasoning) = (usd(), usd(), usd());
    let long = (usd(), usd(), usd());
    let long = match long {
        (Some(above), Some(input), Some(output)) => Some(LongPrice { above: above as u32, input, output }),
        _ => None,
    };
    let price =
        input.map(|input| Price { input, output: output.unwrap_or(0.0), cached_input, cache_write, reasoning, long });
    Entry { name, context_tokens, max_output_tokens, abilities, price }
}

/// `+` before what it can, `-` before what it cannot.
fn read_abilities(flags: &str) -> Abilities {
    let mut can = true;
    flags.chars().fold(Abilities::default(), |abilities, flag| {
        match flag {
            '+' => can = true,
            '-' => can = false,
            _ => {}
        }
        match LETTERS.iter().find(|(letter, _)| *letter == flag) {
            Some((_, ability)) => abilities.with(*ability, can),
            None => abilities,
        }
    })
}

const LETTERS: [(char, Ability); 8] = [
    ('c', Ability::Chat),
    ('m', Ability::Completions),
    ('e', Ability::Embeddings),
    ('t', Ability::Tools),
    ('v', Ability::Vision),
    ('j', Ability::JsonSchema),
    ('r', Ability::Reasoning),
    ('a', Ability::Audio),
];

const TEXT: &str = include_str!("catalogue/models.tsv");

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
