//! A host in memory, one for each thread and so one for each test.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// What the imports answer, and what they were told.
#[derive(Debug, Default)]
pub(crate) struct Host {
    tables: Vec<(String, Vec<f64>)>,
    lines: Vec<String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) prompt: String,
    pub(crate) tenants: BTreeMap<u32, String>,
    pub(crate) tenant_labels: BTreeMap<(u32, String), String>,
    pub(crate) routes: Vec<String>,
    pub(crate) models: BTreeMap<u32, String>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

pub(crate) fn with<T>(use_it: impl FnOnce(&mut Host) -> T) -> T {
    HOST.with_borrow_mut(use_it)
}

pub(crate) fn reset() {
    with(|host| *host = Host::default());
}

pub(crate) fn logged() -> Vec<String> {
    with(|host| host.lines.clone())
}

pub(crate) mod cells {
    use super::with;
    use crate::cells::{Merge, Scope};

    pub(crate) fn open(name: &str, width: u32, _: Scope, _: Merge) -> Result<u32, String> {
        with(|host| {
            let number = host.tables.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                host.tables.push((name.to_owned(), vec![0.0; width as usize]));
                host.tables.len() - 1
            });
            if host.tables[number].1.len() == width as usize {
                Ok(number as u32)
            } else {
                Err(format!("table `{name}` has another width"))
            }
        })
    }

    pub(crate) fn load(table: u32, index: u32) -> f64 {
        with(|host| *cell(host, table, index))
    }

    pub(crate) fn load_each(table: u32, indexes: &[u32]) -> Vec<f64> {
        indexes.iter().map(|index| load(table, *index)).collect()
    }

    pub(crate) fn store(table: u32, index: u32, value: f64) {
        with(|host| *cell(host, table, index) = finite(value));
    }

    pub(crate) fn add(table: u32, index: u32, delta: f64) -> f64 {
        with(|host| {
            let cell = cell(host, table, index);
            *cell = finite(*cell + delta);
            *cell
        })
    }

    pub(crate) fn swap_if(table: u32, index: u32, expected: f64, value: f64) -> bool {
        with(|host| {
            let cell = cell(host, table, index);
            let held = *cell == expected;
            if held {
                *cell = finite(value);
            }
            held
        })
    }

    fn cell(host: &mut super::Host, table: u32, index: u32) -> &mut f64 {
        &mut host.tables[table as usize].1[index as usize]
    }

    fn finite(value: f64) -> f64 {
        assert!(value.is_finite(), "the host refuses {value} in a cell");
        value
    }
}

pub(crate) mod log {
    use crate::bindings::imports::log::Level;

    pub(crate) fn write(_: Level, text: &str) {
        super::with(|host| host.lines.push(text.to_owned()));
    }
}

pub(crate) mod names {
    use super::with;

    pub(crate) fn tenant(id: u32) -> String {
        with(|host| host.tenants.get(&id).cloned().unwrap_or_default())
    }

    pub(crate) fn tenant_label(id: u32, key: &str) -> Option<String> {
        with(|host| host.tenant_labels.get(&(id, key.to_owned())).cloned())
    }

    pub(crate) fn route(id: u32) -> String {
        with(|host| host.routes.get(id as usize).cloned().unwrap_or_default())
    }

    pub(crate) fn model(id: u32) -> String {
        with(|host| host.models.get(&id).cloned().unwrap_or_default())
    }
}

pub(crate) mod headers {
    pub(crate) fn value(name: &str) -> Option<String> {
        super::with(|host| host.headers.get(&name.to_lowercase()).cloned())
    }
}

pub(crate) mod prompt {
    use super::with;

    pub(crate) fn length() -> u32 {
        with(|host| host.prompt.len() as u32)
    }

    pub(crate) fn text(start: u32, max_bytes: u32) -> String {
        with(|host| {
            let start = host.prompt.ceil_char_boundary(start as usize);
            let end = host.prompt.floor_char_boundary(start.saturating_add(max_bytes as usize));
            host.prompt.get(start..end).unwrap_or_default().to_owned()
        })
    }
}
