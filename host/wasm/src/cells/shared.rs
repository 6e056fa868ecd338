//! Tables that the gateways of a fleet share: what this one has to tell the others, and what it takes over from them.
//!
//! Policies read and write the cells of such a table as those of any other, without waiting. Beside each cell stands
//! what is *known*: its value in the shared store, as far as this gateway has heard. What differs is to be told. Whoever
//! carries it to the store and back is outside of this crate, and may fail or be late: nothing is lost by it but time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::{CellStore, Table};
use crate::code_cache::hex;

/// How the values of several gateways become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeRule {
    /// What each of them adds is added up.
    Sum,
    /// The largest counts.
    Max,
    /// The last one that reached the store counts.
    Newest,
}

impl MergeRule {
    /// As in the contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Max => "max",
            Self::Newest => "newest",
        }
    }
}

/// What makes a table a shared one.
#[derive(Debug)]
pub(super) struct Sharing {
    pub(super) rule: MergeRule,
    id: u64,
    known: Mutex<Box<[f64]>>,
}

impl Sharing {
    pub(super) fn new(rule: MergeRule, width: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { rule, id, known: Mutex::new(vec![0.0; width].into()) }
    }
}

/// A number of a cell and a value.
pub type CellValue = (u32, f64);

/// A shared table, for whoever exchanges it with other gateways.
#[derive(Debug)]
pub struct SharedTable {
    name: String,
    table: Arc<Table>,
}

impl CellStore {
    /// All tables that policies in service share with other gateways.
    pub fn shared_tables(&self) -> Vec<SharedTable> {
        let groups = self.groups.lock();
        let held = groups.iter().filter_map(|(key, group)| Some((key, group.upgrade()?)));
        let tables = held.flat_map(|(key, group)| {
            let tables = group.tables.lock();
            let shared = tables.iter().filter_map(|(name, table)| {
                let rule = table.sharing.as_ref()?.rule.name();
                let (policy, settings, width) = (&key.policy, hex(&key.settings[..8]), table.cells.len());
                let name = format!("{policy}:{settings}:{name}:{width}:{rule}");
                Some(SharedTable { name, table: Arc::clone(table) })
            });
            shared.collect::<Vec<_>>()
        });
        tables.collect()
    }
}

impl SharedTable {
    /// What it is called in every gateway whose policy has the same name and settings and opens it alike.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Never the same for two tables of this process, whatever they are called.
    pub fn id(&self) -> u64 {
        self.table.sharing.as_ref().map_or(u64::MAX, |sharing| sharing.id)
    }

    /// How its values are merged.
    pub fn rule(&self) -> MergeRule {
        self.table.sharing.as_ref().map_or(MergeRule::Newest, |sharing| sharing.rule)
    }

    /// What the store has not been told: for [`MergeRule::Sum`] what was added, else the value; at most so many cells.
    pub fn changes(&self, most: usize) -> Vec<CellValue> {
        self.collect(0, most, |rule, value, known| match rule {
            MergeRule::Sum => Some(value - known).filter(|change| *change != 0.0),
            MergeRule::Max => (value > known).then_some(value),
            MergeRule::Newest => (value != known).then_some(value),
        })
    }

    /// These changes are in the store.
    pub fn told(&self, changes: &[CellValue]) {
        self.each(changes, |rule, _, known, change| match rule {
            MergeRule::Sum => *known += change,
            MergeRule::Max => *known = known.max(change),
            MergeRule::Newest => *known = change,
        });
    }

    /// The store holds these values now, what it was [`told`](Self::told) included.
    pub fn take_over(&self, values: &[CellValue]) {
        self.each(values, |rule, cell, known, value| {
            let before = std::mem::replace(known, value);
            // What a policy writes meanwhile stays, and is told the next time.
            let merge = |own: f64| match rule {
                MergeRule::Sum => own + (value - before),
                MergeRule::Max => own.max(value),
                MergeRule::Newest if own == before => value,
                MergeRule::Newest => own,
            };
            let merged = |bits| Some(merge(f64::from_bits(bits))).filter(|merged| merged.is_finite()).map(f64::to_bits);
            // A sum that is no number any more is not taken over.
            let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, merged);
        });
    }

    /// What is known of the cells from this one on, at most so many and without those at 0: for a store that has lost it.
    pub fn known(&self, from: u32, most: usize) -> Vec<CellValue> {
        self.collect(from, most, |_, _, known| Some(known).filter(|known| *known != 0.0))
    }

    fn collect(&self, from: u32, most: usize, pick: impl Fn(MergeRule, f64, f64) -> Option<f64>) -> Vec<CellValue> {
        let Some(sharing) = &self.table.sharing else { return Vec::new() };
        let known = sharing.known.lock();
        let cells = (0..).zip(&self.table.cells).zip(known.iter()).skip(from as usize);
        let picked = cells.filter_map(|((index, cell), known)| {
            let picked = pick(sharing.rule, f64::from_bits(cell.load(Ordering::Relaxed)), *known);
            Some((index, picked.filter(|value| value.is_finite())?))
        });
        picked.take(most).collect()
    }

    /// Numbers from outside: cells that are not there, and values that are none, are passed over.
    fn each(&self, values: &[CellValue], apply: impl Fn(MergeRule, &AtomicU64, &mut f64, f64)) {
        let Some(sharing) = &self.table.sharing else { return };
        let mut known = sharing.known.lock();
        for (index, value) in values.iter().filter(|(_, value)| value.is_finite()) {
            if let (Some(cell), Some(known)) = (self.table.cells.get(*index as usize), known.get_mut(*index as usize)) {
                apply(sharing.rule, cell, known, *value);
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::json;

    use super::super::{Group, Quota};
    use super::*;

    /// A gateway with one shared table, and the store's side of the exchange.
    struct Gateway {
        store: CellStore,
        _group: Arc<Group>,
        table: Arc<Table>,
    }

    impl Gateway {
        fn new(rule: MergeRule) -> Self {
            let store = CellStore::shared();
            let group = store.group(&"p".into(), &json!({}));
            let table = group.open("t", 3, Some(rule), 16);
            Self { store, _group: group, table }
        }

        fn shared(&self) -> SharedTable {
            self.store.shared_tables().pop().unwrap()
        }

        /// One exchange with a store of this rule.
        fn exchange(&self, store: &mut [f64; 3]) {
            let shared = self.shared();
            let changes = shared.changes(100);
            for (index, change) in &changes {
                let there = &mut store[*index as usize];
                *there = match shared.rule() {
                    MergeRule::Sum => *there + change,
                    MergeRule::Max => there.max(*change),
                    MergeRule::Newest => *change,
                };
            }
            shared.told(&changes);
            shared.take_over(&[(0, store[0]), (1, store[1]), (2, store[2])]);
        }

        fn cells(&self) -> [f64; 3] {
            [0, 1, 2].map(|index| self.table.load(index).unwrap())
        }
    }

    fn fleet(rule: MergeRule) -> (Gateway, Gateway, [f64; 3]) {
        (Gateway::new(rule), Gateway::new(rule), [0.0; 3])
    }

    #[test]
    fn what_gateways_add_is_added_up() {
        let (a, b, mut store) = fleet(MergeRule::Sum);
        a.table.add(0, 5.0).unwrap();
        b.table.add(0, 2.0).unwrap();
        b.table.store(2, -1.0).unwrap();
        for gateway in [&a, &b, &a] {
            gateway.exchange(&mut store);
        }
        assert_eq!((a.cells(), b.cells(), store), ([7.0, 0.0, -1.0], [7.0, 0.0, -1.0], [7.0, 0.0, -1.0]));
        // nothing is told twice
        assert_eq!((a.shared().changes(9), b.shared().changes(9)), (vec![], vec![]));
    }

    #[test]
    fn the_largest_counts() {
        let (a, b, mut store) = fleet(MergeRule::Max);
        a.table.store(0, 5.0).unwrap();
        b.table.store(0, 2.0).unwrap();
        for gateway in [&b, &a, &b] {
            gateway.exchange(&mut store);
        }
        assert_eq!((a.cells()[0], b.cells()[0], store[0]), (5.0, 5.0, 5.0));
        b.table.store(0, 1.0).unwrap();
        b.exchange(&mut store);
        assert_eq!((b.cells()[0], store[0]), (5.0, 5.0));
    }

    #[test]
    fn the_last_that_reached_the_store_counts() {
        let (a, b, mut store) = fleet(MergeRule::Newest);
        a.table.store(0, 5.0).unwrap();
        a.exchange(&mut store);
        b.table.store(0, 2.0).unwrap();
        b.exchange(&mut store);
        a.exchange(&mut store);
        assert_eq!((a.cells()[0], b.cells()[0], store[0]), (2.0, 2.0, 2.0));
        // back to 0 is a value like any other
        a.table.store(0, 0.0).unwrap();
        a.exchange(&mut store);
        b.exchange(&mut store);
        assert_eq!(b.cells()[0], 0.0);
    }

    #[test]
    fn what_is_written_during_an_exchange_stays_and_is_told_the_next_time() {
        for (rule, (own, told)) in
            [(MergeRule::Sum, (11.0, 1.0)), (MergeRule::Max, (9.0, 9.0)), (MergeRule::Newest, (6.0, 6.0))]
        {
            let a = Gateway::new(rule);
            a.table.store(0, 5.0).unwrap();
            let shared = a.shared();
            let changes = shared.changes(100);
            a.table.store(0, 6.0).unwrap();
            shared.told(&changes);
            let others = if rule == MergeRule::Sum { 10.0 } else { 9.0 };
            shared.take_over(&[(0, others)]);
            let next = shared.changes(100);
            if rule == MergeRule::Max {
                assert_eq!((a.cells()[0], next), (own, vec![]));
            } else {
                assert_eq!((a.cells()[0], next), (own, vec![(0, told)]), "{rule:?}");
            }
        }
    }

    #[test]
    fn changes_that_were_not_told_are_given_again_and_so_many_at_a_time() {
        let a = Gateway::new(MergeRule::Sum);
        (0..3).for_each(|index| a.table.store(index, 1.0).unwrap());
        let shared = a.shared();
        assert_eq!(shared.changes(2), [(0, 1.0), (1, 1.0)]);
        shared.told(&[(0, 1.0), (1, 1.0)]);
        assert_eq!(
            (shared.changes(2), shared.known(0, 9), shared.known(1, 9)),
            (vec![(2, 1.0)], vec![(0, 1.0), (1, 1.0)], vec![(1, 1.0)])
        );
    }

    #[test]
    fn numbers_from_outside_are_not_trusted() {
        let a = Gateway::new(MergeRule::Sum);
        a.table.store(0, f64::MAX).unwrap();
        let shared = a.shared();
        shared.take_over(&[(0, f64::MAX), (1, f64::NAN), (2, f64::INFINITY), (3, 1.0), (u32::MAX, 1.0)]);
        assert_eq!(a.cells(), [f64::MAX, 0.0, 0.0]);
    }

    #[test]
    fn only_what_is_shared_and_held_is_exchanged_under_a_name_that_tells_tables_apart() {
        let store = CellStore::shared();
        let group = store.group(&"p".into(), &json!({}));
        let own = group.open("own", 3, None, Quota { tables: 16, cells: 99 }.tables);
        let sums = group.open("t", 3, Some(MergeRule::Sum), 16);
        assert!(own.sharing.is_none());
        let names = || store.shared_tables().iter().map(|table| table.name().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(), ["p:44136fa355b3678a:t:3:sum"]);
        let newest = group.open("t", 3, Some(MergeRule::Newest), 16);
        assert_eq!(names(), ["p:44136fa355b3678a:t:3:newest"]);
        drop((sums, newest, group));
        assert_eq!(names(), Vec::<String>::new());
    }
}
