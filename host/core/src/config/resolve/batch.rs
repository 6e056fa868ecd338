//! Requests for embeddings that are sent as one.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::values::{MILLISECOND, duration, memory_size};
use crate::config::findings::Findings;
use crate::config::model::EmbeddingBatch;
use crate::config::problem::KeyPath;
use crate::config::raw::batch::RawEmbeddingBatch;

/// `None`: each is sent by itself.
pub(super) fn embedding_batch(
    raw: RawEmbeddingBatch,
    local: bool,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> Option<EmbeddingBatch> {
    let longest = Duration::from_secs(1);
    let window = duration(raw.window, &path.key("window"), MILLISECOND..=longest, findings);
    let bytes = memory_size(raw.bytes, &path.key("bytes"), 1024..=8 << 20, findings);
    let items = raw.items.and_then(|items| NonZeroUsize::new(usize::try_from(items).ok()?));
    raw.enabled.unwrap_or(local).then_some(EmbeddingBatch {
        window: window.unwrap_or(Duration::from_millis(5)),
        items: items.unwrap_or(NonZeroUsize::MIN.saturating_add(31)),
        bytes: bytes.unwrap_or(64 << 10),
    })
}
