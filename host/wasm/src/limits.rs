//! What one instance may use: memory over all its linear memories together, and sizes that no policy needs.

use wasmtime::ResourceLimiter;

/// Elements of one table. The largest seen is CPython's, some 10,000.
const MAX_TABLE_ELEMENTS: usize = 100_000;
/// Core instances, tables and memories of one component. QuickJS has 3 memories, a linked Python guest dozens of
/// core instances.
const MAX_INSTANCES: usize = 400;
const MAX_TABLES: usize = 200;
const MAX_MEMORIES: usize = 40;

/// Counts the linear memory of one instance and refuses to let it grow past its limit. A refused `memory.grow` gives
/// -1 in the guest, whose allocator then fails as it would on a machine without memory.
#[derive(Debug)]
pub(crate) struct Limits {
    allowed: usize,
    used: usize,
}

impl Limits {
    pub(crate) const fn new(allowed: usize) -> Self {
        Self { allowed, used: 0 }
    }

    /// Bytes of linear memory. Never shrinks, because linear memory does not.
    pub(crate) const fn used(&self) -> usize {
        self.used
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.allowed {
            return Ok(false);
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn all_memories_of_an_instance_share_one_limit() {
        let mut limits = Limits::new(100);
        assert!(limits.memory_growing(0, 60, None).unwrap());
        assert!(limits.memory_growing(0, 40, None).unwrap());
        assert!(!limits.memory_growing(40, 41, None).unwrap());
        assert_eq!(limits.used(), 100);
    }

    #[test]
    fn tables_are_bounded() {
        let mut limits = Limits::new(0);
        assert!(limits.table_growing(0, MAX_TABLE_ELEMENTS, None).unwrap());
        assert!(!limits.table_growing(0, MAX_TABLE_ELEMENTS + 1, None).unwrap());
    }
}
