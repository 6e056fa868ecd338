//! Compiles policies, and gets those that served before out of where they are kept, once they are proven.

use std::sync::Arc;
use std::time::SystemTime;

use witgate_wasm::{Engine, LoadError};

use super::revisions::Revisions;
use super::shelf::{Loaded, Shelf, Source};
use super::standing::Digest;
use crate::supply::{Papers, Provenance, Supplies};

/// New bytes of a policy, from the folder or a registry.
pub(super) struct Offer {
    pub(super) bytes: Vec<u8>,
    pub(super) source: Source,
    pub(super) papers: Papers,
    /// What proved them, or the message of the refusal.
    pub(super) proven: Result<Provenance, String>,
}

/// Why a file that served before cannot serve again.
pub(super) enum NotKept {
    /// It is not there, damaged, or does not compile any more; that is logged.
    Gone,
    /// The configuration does not want it any more: the message of the refusal.
    Refused(String),
}

/// The bytes are kept with it until it is known whether it is good.
pub(super) fn load(
    engine: &Engine,
    name: &str,
    bytes: impl AsRef<[u8]> + Into<Arc<[u8]>>,
    source: Source,
) -> Result<Loaded, LoadError> {
    let component = engine.load(name, bytes.as_ref())?;
    let bytes = (source != Source::Shipped).then(|| bytes.into());
    let since = SystemTime::now();
    Ok(Loaded { component, source, provenance: None, papers: Papers::default(), since, bytes })
}

/// A file that served before. It has to be what the configuration asks for now: a pin or a key may be newer than it.
pub(super) fn load_kept(
    engine: &Engine,
    (revisions, supplies): (&Revisions, &Supplies),
    name: &str,
    shelf: &Shelf,
    digest: Digest,
) -> Result<Loaded, NotKept> {
    let before = shelf.before.as_ref().filter(|before| before.digest() == digest);
    let (bytes, papers) = match before {
        Some(before) => (before.bytes.clone(), before.papers.clone()),
        None => (revisions.read(digest).map(Arc::from), shelf.standing.papers(digest)),
    };
    let bytes: Arc<[u8]> = bytes.ok_or(NotKept::Gone)?;
    let provenance = supplies.prove_kept(name, &digest.revision(), &bytes, &papers).map_err(NotKept::Refused)?;
    let loaded = match before {
        Some(before) => before.clone(),
        None => load(engine, name, bytes, Source::Kept).map_err(|error| {
            tracing::warn!(policy = name, %error, "a kept policy cannot be loaded any more");
            NotKept::Gone
        })?,
    };
    Ok(Loaded { source: Source::Kept, provenance: Some(provenance.into()), papers, ..loaded })
}
