//! What an instance can reach: the implementation of every interface that a policy may import.
//!
//! There is nothing else behind a policy's imports. Texts of the request are here only during a call, and only for a
//! policy that was granted them.

use std::sync::Arc;
use std::time::Duration;

use witgate_core::decision::{Content, Names};

use crate::bindings::imports::{cells, headers, log, names, prompt, types};
use crate::cells::{CellError, MergeRule, OpenTables, Table};
use crate::deadline::Deadline;
use crate::limits::Limits;
use crate::logbook::{Level, Logbook, printable};

/// What all instances of one bound policy have in common.
pub(crate) struct Surroundings {
    pub(crate) names: Arc<dyn Names>,
    pub(crate) tables: OpenTables,
    pub(crate) fleet_cells: FleetCells,
    pub(crate) log: Logbook,
}

/// Whether tables may be shared with other gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FleetCells {
    /// The configuration does not say so.
    NotGranted,
    /// It says so, but there is nothing to share them through.
    NoStore,
    /// It says so.
    Granted,
}

/// The data of one instance's store.
pub(crate) struct State {
    pub(crate) limits: Limits,
    pub(crate) deadline: Deadline,
    /// Texts of the request, during a call, for a policy that imports them.
    pub(crate) content: Option<Arc<dyn Content>>,
    /// Where the fixed sequence stands that WASI gives for randomness; it starts anew with each call, so that the same
    /// request gives the same verdict in every instance. True randomness is the request's seed.
    pub(crate) random: u64,
    /// Tables by number, as this instance knows them.
    tables: Vec<Arc<Table>>,
    surroundings: Arc<Surroundings>,
}

impl State {
    pub(crate) fn new(surroundings: Arc<Surroundings>, memory: usize) -> Self {
        let deadline = Deadline::new(Duration::ZERO);
        Self { limits: Limits::new(memory), deadline, content: None, random: 0, tables: Vec::new(), surroundings }
    }

    pub(crate) fn log(&self) -> &Logbook {
        &self.surroundings.log
    }

    /// Why a table is not shared; `None` when it may be.
    fn no_fleet(&self, table: &str) -> Option<String> {
        let why = match self.surroundings.fleet_cells {
            FleetCells::NotGranted => format!(
                "the configuration does not grant it; add `fleet-cells` to `policies.rules.{}.grants`, or",
                self.log().policy()
            ),
            FleetCells::NoStore => "this gateway has no shared store; configure `cache.redis`, or".to_owned(),
            FleetCells::Granted => return None,
        };
        let table = printable(table);
        Some(format!("table `{table}` cannot be shared by the fleet: {why} open it with scope `process`"))
    }

    fn table(&self, number: u32) -> Result<&Table, CellError> {
        self.tables.get(number as usize).map(Arc::as_ref).ok_or(CellError::NoTable(number))
    }
}

impl types::Host for State {}

impl log::Host for State {
    fn write(&mut self, at: log::Level, text: String) -> wasmtime::Result<()> {
        let level = match at {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Problem => Level::Problem,
        };
        self.log().write(level, &text);
        Ok(())
    }
}

impl cells::Host for State {
    fn open(
        &mut self,
        name: String,
        width: u32,
        scope: cells::Scope,
        merge: cells::Merge,
    ) -> wasmtime::Result<Result<u32, String>> {
        let rule = match (scope, merge) {
            (cells::Scope::Process, _) => None,
            (cells::Scope::Fleet, cells::Merge::Sum) => Some(MergeRule::Sum),
            (cells::Scope::Fleet, cells::Merge::Max) => Some(MergeRule::Max),
            (cells::Scope::Fleet, cells::Merge::Newest) => Some(MergeRule::Newest),
        };
        if let Some(refusal) = rule.and_then(|_| self.no_fleet(&name)) {
            return Ok(Err(refusal));
        }
        Ok(self.surroundings.tables.open(&name, width, rule, &mut self.tables))
    }

    fn load(&mut self, table: u32, index: u32) -> wasmtime::Result<f64> {
        Ok(self.table(table)?.load(index)?)
    }

    fn load_each(&mut self, table: u32, indexes: Vec<u32>) -> wasmtime::Result<Vec<f64>> {
        let table = self.table(table)?;
        let values: Result<_, _> = indexes.into_iter().map(|index| table.load(index)).collect();
        Ok(values?)
    }

    fn store(&mut self, table: u32, index: u32, value: f64) -> wasmtime::Result<()> {
        Ok(self.table(table)?.store(index, value)?)
    }

    fn add(&mut self, table: u32, index: u32, delta: f64) -> wasmtime::Result<f64> {
        Ok(self.table(table)?.add(index, delta)?)
    }

    fn swap_if(&mut self, table: u32, index: u32, expected: f64, value: f64) -> wasmtime::Result<bool> {
        Ok(self.table(table)?.swap_if(index, expected, value)?)
    }
}

impl names::Host for State {
    fn tenant(&mut self, id: u32) -> wasmtime::Result<String> {
        Ok(self.surroundings.names.tenant(id).to_string())
    }

    fn tenant_label(&mut self, id: u32, key: String) -> wasmtime::Result<Option<String>> {
        Ok(self.surroundings.names.tenant_label(id, &key).map(|label| label.to_string()))
    }

    fn route(&mut self, id: u32) -> wasmtime::Result<String> {
        Ok(self.surroundings.names.route(id).to_string())
    }

    fn model(&mut self, id: u32) -> wasmtime::Result<String> {
        Ok(self.surroundings.names.model(id).to_string())
    }
}

impl headers::Host for State {
    fn value(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        if CREDENTIALS.iter().any(|credential| credential.eq_ignore_ascii_case(&name)) {
            return Ok(None);
        }
        Ok(self.content.as_ref().and_then(|content| content.header(&name)).map(str::to_owned))
    }
}

impl prompt::Host for State {
    fn length(&mut self) -> wasmtime::Result<u32> {
        let length = self.content.as_ref().map_or(0, |content| content.prompt().len());
        // Above 2^31 a number would be negative in QuickJS; no request body is that long.
        Ok(u32::try_from(length).unwrap_or(u32::MAX).min(i32::MAX as u32))
    }

    fn text(&mut self, start: u32, max_bytes: u32) -> wasmtime::Result<String> {
        Ok(self
            .content
            .as_ref()
            .map_or_else(String::new, |content| piece(content.prompt(), start, max_bytes).to_owned()))
    }
}

/// Headers that hold credentials. `Content` leaves them out already; this is the boundary, so it is checked here too.
const CREDENTIALS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-api-key"];

/// At most `max_bytes` from the first character that starts at or after `start`, whole characters only.
fn piece(text: &str, start: u32, max_bytes: u32) -> &str {
    let from = text.ceil_char_boundary((start as usize).min(text.len()));
    let to = text.floor_char_boundary((start as usize).saturating_add(max_bytes as usize).min(text.len()));
    text.get(from..to).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_cut_at_characters() {
        let text = "aüb";
        assert_eq!(piece(text, 0, 100), "aüb");
        assert_eq!(piece(text, 0, 1), "a");
        assert_eq!(piece(text, 0, 2), "a");
        assert_eq!(piece(text, 0, 3), "aü");
        assert_eq!(piece(text, 2, 1), "");
        assert_eq!(piece(text, 2, 2), "b");
        assert_eq!(piece(text, 4, 9), "");
        assert_eq!(piece(text, u32::MAX, u32::MAX), "");
    }

    #[test]
    fn pieces_one_after_the_other_are_the_whole_text() {
        let text = "αβγ, 日本語!";
        for size in 3..8 {
            let mut read = String::new();
            while read.len() < text.len() {
                read.push_str(piece(text, read.len() as u32, size));
            }
            assert_eq!(read, text);
        }
    }
}
