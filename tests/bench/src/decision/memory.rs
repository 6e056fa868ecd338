//! What an instance that waits for work keeps in memory.

use std::fs;

use anyhow::Context as _;

use crate::stats::median;

/// Instances that are made, one after the other.
const INSTANCES: usize = 16;

/// Bytes that each further instance takes; pages that several instances share count in parts. The median, because the
/// allocator gives back what the compiler used whenever it sees fit.
///
/// # Errors
/// When an instance cannot be made, or the system does not say what is used.
pub(super) fn of_one_instance<T>(make: impl Fn() -> anyhow::Result<T>) -> anyhow::Result<f64> {
    let mut instances = vec![make()?];
    let mut steps = Vec::new();
    for _ in 0..INSTANCES {
        let before = used()?;
        instances.push(make()?);
        steps.push(used()? - before);
    }
    median(steps).context("no instance was measured")
}

/// This process's proportional share of memory, in bytes.
fn used() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/self/smaps_rollup").context("/proc/self/smaps_rollup cannot be read")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.map(|kib| kib * 1024.0).context("/proc/self/smaps_rollup says nothing of Pss")
}
