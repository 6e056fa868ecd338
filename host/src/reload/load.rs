//! Compiles policies, and gets those that served before out of where they are kept, once they are proven.

use std::sync::Arc;
use std::time::SystemTime;

use witgate_wasm::{Engine, Hashed, LoadError, Tier};

use super::revisions::Revisions;
use super::shelf::{Loaded, Shelf, Source};
use super::standing::Digest;
use crate::supply::{Papers, Provenance, Supplies};

/// New bytes of a policy, from the folder or a registry.
pub(super) struct Offer {
    pub(super) file: Hashed<Arc<[u8]>>,
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
    file: Hashed<impl AsRef<[u8]> + Into<Arc<[u8]>>>,
    source: Source,
) -> Result<Loaded, LoadError> {
    let component = engine.load_hashed(name, file.borrowed())?;
    let bytes = (source != Source::Shipped).then(|| file.into_bytes().into());
    let since = SystemTime::now();
    Ok(Loaded { component, source, provenance: None, papers: Papers::default(), since, bytes })
}

/// New bytes that were proven; an error is the message of the refusal.
pub(super) fn load_offer(engine: &Engine, name: &str, offer: &Offer) -> Result<Loaded, String> {
    let proven = offer.proven.clone()?;
    let loaded = load(engine, name, offer.file.clone(), offer.source).map_err(|error| match offer.source {
        Source::File => format!("policy `{name}`: {name}.wasm is refused: {}", error.problem),
        Source::Oci | Source::Shipped | Source::Kept => error.to_string(),
    })?;
    Ok(Loaded { provenance: Some(proven.into()), papers: offer.papers.clone(), ..loaded })
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
    let (file, papers) = match before {
        Some(before) => (before.bytes.clone().map(Hashed::new), before.papers.clone()),
        None => (revisions.read(digest).map(Hashed::shared), shelf.standing.papers(digest)),
    };
    let file = file.ok_or(NotKept::Gone)?;
    let provenance = supplies.prove_kept(name, &digest.revision(), file.borrowed(), &papers);
    let provenance = provenance.map_err(NotKept::Refused)?;
    // Optimising one that was replaced is abandoned, and not taken up again.
    let loaded = match before.filter(|before| before.component.tier() == Tier::Optimised) {
        Some(before) => before.clone(),
        None => load(engine, name, file, Source::Kept).map_err(|error| {
            tracing::warn!(policy = name, %error, "a kept policy cannot be loaded any more");
            NotKept::Gone
        })?,
    };
    Ok(Loaded { source: Source::Kept, provenance: Some(provenance.into()), papers, ..loaded })
}
