//! What an instance that waits for work keeps in memory.

use std::fs;

use anyhow::Context as _;

/// Instances that are made, so that pages are few beside them.
const INSTANCES: usize = 16;

/// Bytes that each further instance takes. Pages that several instances share count in parts.
///
/// # Errors
/// When an instance cannot be made, or the system does not say what is used.
pub(super) fn of_one_instance<T>(make: impl Fn() -> anyhow::Result<T>) -> anyhow::Result<f64> {
    let _first = make()?;
    let before = used()?;
    let instances = (0..INSTANCES).map(|_| make()).collect::<anyhow::Result<Vec<T>>>()?;
    let after = used()?;
    drop(instances);
    Ok((after - before) / INSTANCES as f64)
}

/// This process's proportional share of memory, in bytes.
fn used() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/self/smaps_rollup").context("/proc/self/smaps_rollup cannot be read")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.map(|kib| kib * 1024.0).context("/proc/self/smaps_rollup says nothing of Pss")
}
