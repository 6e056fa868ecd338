//! Tables of numbers that outlive calls, instances and reloads: the contract's `cells`.
//!
//! A table belongs to one policy with one set of settings. Its cells are atomics, so that every instance reads and
//! writes them without a lock; only opening a table takes one. A group of tables lives as long as some loaded policy
//! holds it: a reload binds the new policy while the old one is still there, so its tables survive.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::settings::canonical;

mod shared;

use shared::Sharing;
pub use shared::{CellValue, MergeRule, SharedTable};

/// Bytes of a table's name.
const MAX_NAME: usize = 100;

/// All tables of this gateway.
#[derive(Debug, Default)]
pub struct CellStore {
    groups: Mutex<HashMap<GroupKey, Weak<Group>>>,
    shared: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct GroupKey {
    policy: Arc<str>,
    settings: [u8; 32],
}

impl CellStore {
    /// With other gateways behind it: policies may open tables for the fleet, and somebody exchanges
    /// [`shared_tables`](Self::shared_tables).
    pub fn shared() -> Self {
        Self { shared: true, ..Self::default() }
    }

    /// Whether there are other gateways behind it.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared
    }

    /// The tables of one policy with these settings; new ones when nobody holds any.
    pub(crate) fn group(&self, policy: &Arc<str>, settings: &serde_json::Value) -> Arc<Group> {
        let settings = Sha256::digest(canonical(settings).as_bytes()).into();
        let key = GroupKey { policy: Arc::clone(policy), settings };
        let mut groups = self.groups.lock();
        if let Some(group) = groups.get(&key).and_then(Weak::upgrade) {
            return group;
        }
        groups.retain(|_, group| group.strong_count() > 0);
        let group = Arc::new(Group::default());
        groups.insert(key, Arc::downgrade(&group));
        group
    }
}

/// The tables of one policy with one set of settings.
#[derive(Debug, Default)]
pub(crate) struct Group {
    tables: Mutex<HashMap<Box<str>, Arc<Table>>>,
}

impl Group {
    /// The table of this name and width, shared in this way. One that was there otherwise is given up: whoever holds it
    /// keeps it, but its numbers are not found again. `keep` tables that nobody holds may stay; more of them are given up.
    fn open(&self, name: &str, width: usize, rule: Option<MergeRule>, keep: usize) -> Arc<Table> {
        let mut tables = self.tables.lock();
        if let Some(table) = tables.get(name).filter(|table| table.cells.len() == width && table.rule() == rule) {
            return Arc::clone(table);
        }
        if tables.values().filter(|table| Arc::strong_count(table) == 1).count() >= keep {
            tables.retain(|_, table| Arc::strong_count(table) > 1);
        }
        let table = Arc::new(Table::new(width, rule));
        tables.insert(name.into(), Arc::clone(&table));
        table
    }
}

/// How much one bound policy may open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    pub(crate) tables: usize,
    /// In all tables together.
    pub(crate) cells: usize,
}

/// The tables that one bound policy has opened, by their number: the same number means the same table in all its
/// instances, and an instance that is made later finds the tables of the first.
#[derive(Debug)]
pub(crate) struct OpenTables {
    group: Arc<Group>,
    quota: Quota,
    opened: Mutex<Vec<(Box<str>, Arc<Table>)>>,
}

impl OpenTables {
    pub(crate) fn new(group: Arc<Group>, quota: Quota) -> Self {
        Self { group, quota, opened: Mutex::default() }
    }

    /// The number of the table, opened if it was not; `known` is brought up to date with all numbers.
    pub(crate) fn open(
        &self,
        name: &str,
        width: u32,
        rule: Option<MergeRule>,
        known: &mut Vec<Arc<Table>>,
    ) -> Result<u32, String> {
        let width = width as usize;
        let mut opened = self.opened.lock();
        let place = match opened.iter().position(|(other, _)| &**other == name) {
            Some(place) => {
                let there = opened[place].1.cells.len();
                if there != width {
                    return Err(format!("table `{name}` is open with {there} cells, not {width}"));
                }
                if opened[place].1.rule() != rule {
                    return Err(format!("table `{name}` is open with another scope, or merged in another way"));
                }
                place
            }
            None => {
                let cells = opened.iter().map(|(_, table)| table.cells.len()).sum();
                self.quota.check(name, width, opened.len(), cells)?;
                opened.push((name.into(), self.group.open(name, width, rule, self.quota.tables)));
                opened.len() - 1
            }
        };
        known.extend(opened[known.len()..].iter().map(|(_, table)| Arc::clone(table)));
        u32::try_from(place).map_err(|_| "too many tables".to_owned())
    }
}

impl Quota {
    /// Whether one more table may be opened beside `tables` with `cells` in all.
    fn check(self, name: &str, width: usize, tables: usize, cells: usize) -> Result<(), String> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(format!("a table's name has 1 to {MAX_NAME} bytes, this one has {}", name.len()));
        }
        if width == 0 {
            return Err(format!("table `{name}` has no cells: its width is 0"));
        }
        if tables >= self.tables {
            return Err(format!("table `{name}` is one too many: this policy may have {} (`tables`)", self.tables));
        }
        if width > self.cells.saturating_sub(cells) {
            return Err(format!(
                "table `{name}` with {width} cells is too wide: this policy may have {} cells (`cells`), {cells} are taken",
                self.cells
            ));
        }
        Ok(())
    }
}

/// Cells in a row, 0 at first.
#[derive(Debug)]
pub(crate) struct Table {
    /// The bits of an `f64` each.
    cells: Box<[AtomicU64]>,
    sharing: Option<Sharing>,
}

/// Why a cell could not be used: the policy's mistake, which traps.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum CellError {
    #[error("cells: there is no table number {0}; `open` gives the numbers")]
    NoTable(u32),
    #[error("cells: index {index} is beyond the table's {width} cells")]
    NoCell { index: u32, width: usize },
    #[error("cells: {0} is not a finite number")]
    NotFinite(f64),
}

impl Table {
    fn new(width: usize, rule: Option<MergeRule>) -> Self {
        let sharing = rule.map(|rule| Sharing::new(rule, width));
        // The bits of 0.0 are 0.
        Self { cells: (0..width).map(|_| AtomicU64::new(0)).collect(), sharing }
    }

    fn rule(&self) -> Option<MergeRule> {
        self.sharing.as_ref().map(|sharing| sharing.rule)
    }

    pub(crate) fn load(&self, index: u32) -> Result<f64, CellError> {
        Ok(f64::from_bits(self.cell(index)?.load(Ordering::Relaxed)))
    }

    pub(crate) fn store(&self, index: u32, value: f64) -> Result<(), CellError> {
        self.cell(index)?.store(finite(value)?.to_bits(), Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn add(&self, index: u32, delta: f64) -> Result<f64, CellError> {
        let cell = self.cell(index)?;
        finite(delta)?;
        let mut before = cell.load(Ordering::Relaxed);
        loop {
            let sum = finite(f64::from_bits(before) + delta)?;
            match cell.compare_exchange_weak(before, sum.to_bits(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(sum),
                Err(now) => before = now,
            }
        }
    }

    /// Compares as numbers: -0 is 0.
    pub(crate) fn swap_if(&self, index: u32, expected: f64, value: f64) -> Result<bool, CellError> {
        let cell = self.cell(index)?;
        let value = finite(value)?.to_bits();
        let expected = finite(expected)?;
        let mut before = cell.load(Ordering::Relaxed);
        while f64::from_bits(before) == expected {
            match cell.compare_exchange_weak(before, value, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(true),
                Err(now) => before = now,
            }
        }
        Ok(false)
    }

    fn cell(&self, index: u32) -> Result<&AtomicU64, CellError> {
        self.cells.get(index as usize).ok_or(CellError::NoCell { index, width: self.cells.len() })
    }
}

fn finite(value: f64) -> Result<f64, CellError> {
    if value.is_finite() { Ok(value) } else { Err(CellError::NotFinite(value)) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use serde_json::json;

    const QUOTA: Quota = Quota { tables: 16, cells: 65_536 };

    fn tables(store: &CellStore, policy: &str) -> OpenTables {
        OpenTables::new(store.group(&policy.into(), &json!({"a": 1, "b": 2})), QUOTA)
    }

    fn open(tables: &OpenTables, name: &str, width: u32) -> Result<Arc<Table>, String> {
        let mut known = Vec::new();
        tables.open(name, width, None, &mut known).map(|number| Arc::clone(&known[number as usize]))
    }

    #[test]
    fn a_reload_finds_its_numbers_again_while_the_width_stays() {
        let store = CellStore::default();
        let old = tables(&store, "p");
        open(&old, "seen", 4).unwrap().store(3, 7.0).unwrap();
        let new = tables(&store, "p");
        assert_eq!(open(&new, "seen", 4).unwrap().load(3), Ok(7.0));
        let wider = tables(&store, "p");
        assert_eq!(open(&wider, "seen", 5).unwrap().load(3), Ok(0.0));
        // the old policy goes on with what it had
        assert_eq!(open(&old, "seen", 4).unwrap().load(3), Ok(7.0));
        let other = OpenTables::new(store.group(&"p".into(), &json!({"a": 2, "b": 2})), QUOTA);
        assert_eq!(open(&other, "seen", 4).unwrap().load(3), Ok(0.0));
    }

    #[test]
    fn sorting_the_settings_anew_loses_no_numbers() {
        let store = CellStore::default();
        let old = tables(&store, "p");
        open(&old, "seen", 4).unwrap().store(3, 7.0).unwrap();
        let sorted_anew = OpenTables::new(store.group(&"p".into(), &json!({"b": 2, "a": 1})), QUOTA);
        assert_eq!(open(&sorted_anew, "seen", 4).unwrap().load(3), Ok(7.0));
    }

    #[test]
    fn a_reload_counts_only_what_it_opens_and_what_nobody_opens_any_more_is_given_up() {
        let store = CellStore::default();
        let group = || store.group(&"p".into(), &json!({}));
        let kept = group();
        for version in 0..5 {
            let one_table = OpenTables::new(group(), Quota { tables: 1, cells: 3 });
            assert!(open(&one_table, &format!("v{version}"), 3).is_ok());
            assert!(open(&one_table, "other", 1).is_err());
        }
        assert!(kept.tables.lock().len() <= 2, "{:?}", kept.tables.lock().keys());
        // a smaller quota counts for tables that were there before, too
        let none = OpenTables::new(group(), Quota { tables: 0, cells: 3 });
        assert!(open(&none, "v4", 3).is_err());
    }

    #[test]
    fn tables_nobody_holds_are_gone() {
        let store = CellStore::default();
        open(&tables(&store, "p"), "seen", 1).unwrap().store(0, 1.0).unwrap();
        assert_eq!(open(&tables(&store, "p"), "seen", 1).unwrap().load(0), Ok(0.0));
        assert_eq!(store.groups.lock().len(), 1);
    }

    #[test]
    fn opening_twice_gives_the_same_number_in_every_instance() {
        let tables = tables(&CellStore::default(), "p");
        let (mut first, mut second) = (Vec::new(), Vec::new());
        assert_eq!(tables.open("a", 1, None, &mut first), Ok(0));
        assert_eq!(tables.open("b", 1, None, &mut first), Ok(1));
        assert_eq!(tables.open("b", 1, None, &mut second), Ok(1));
        assert_eq!((first.len(), second.len()), (2, 2));
        assert_eq!(tables.open("a", 2, None, &mut second), Err("table `a` is open with 1 cells, not 2".to_owned()));
        assert_eq!(
            tables.open("a", 1, Some(MergeRule::Sum), &mut second),
            Err("table `a` is open with another scope, or merged in another way".to_owned())
        );
    }

    #[test]
    fn the_limits_hold_on_both_sides() {
        let store = CellStore::default();
        let many = tables(&store, "many");
        for n in 0..16 {
            assert!(open(&many, &format!("t{n}"), 1).is_ok());
        }
        assert_eq!(
            open(&many, "more", 1).unwrap_err(),
            "table `more` is one too many: this policy may have 16 (`tables`)"
        );
        let wide = tables(&store, "wide");
        assert!(open(&wide, "a", 65_536).is_ok());
        assert_eq!(
            open(&wide, "b", 1).unwrap_err(),
            "table `b` with 1 cells is too wide: this policy may have 65536 cells (`cells`), 65536 are taken"
        );
        assert_eq!(open(&wide, "c", 0).unwrap_err(), "table `c` has no cells: its width is 0");
        let named = tables(&store, "named");
        assert!(open(&named, &"x".repeat(100), 1).is_ok());
        assert_eq!(
            open(&named, &"x".repeat(101), 1).unwrap_err(),
            "a table's name has 1 to 100 bytes, this one has 101"
        );
        assert_eq!(open(&named, "", 1).unwrap_err(), "a table's name has 1 to 100 bytes, this one has 0");
    }

    #[test]
    fn cells_add_swap_and_refuse_what_is_no_number() {
        let table = Table::new(2, None);
        assert_eq!(table.add(0, 2.5), Ok(2.5));
        assert_eq!(table.add(0, -0.5), Ok(2.0));
        assert_eq!(table.swap_if(0, 1.0, 9.0), Ok(false));
        assert_eq!(table.swap_if(0, 2.0, 9.0), Ok(true));
        assert_eq!(table.load(0), Ok(9.0));
        table.store(1, -0.0).unwrap();
        assert_eq!(table.swap_if(1, 0.0, 1.0), Ok(true));
        assert_eq!(table.load(2), Err(CellError::NoCell { index: 2, width: 2 }));
        assert!(matches!(table.store(0, f64::NAN), Err(CellError::NotFinite(_))));
        table.store(0, f64::MAX).unwrap();
        assert_eq!(table.add(0, f64::MAX), Err(CellError::NotFinite(f64::INFINITY)));
        assert_eq!(table.load(0), Ok(f64::MAX));
        assert_eq!(
            CellError::NoCell { index: 2, width: 2 }.to_string(),
            "cells: index 2 is beyond the table's 2 cells"
        );
    }
}
