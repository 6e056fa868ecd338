//! What the operator may ask for: an earlier revision, no change at all, or no such policy.
//!
//! Each is one swap like any other, and is remembered over a restart. What cannot be done changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Work;
use super::load::{NotKept, load, load_kept};
use super::shelf::{Earlier, Loaded, Made, Shelf, Source};
use super::standing::{By, Unloaded};
use super::store::{Looked, PolicyStore};
use crate::snapshot::{IN_ORDER, Snapshot};
use witgate_wasm::{FailureCause, Hashed};

/// What is to be done with a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Back to an earlier revision: this one, or the nearest that did not fail.
    RollBack {
        /// At least its first twelve digits.
        revision: Option<String>,
    },
    /// What serves stays, whatever the folder says.
    Pin,
    /// The folder counts again.
    Unpin,
    /// Out of service until its file changes.
    Unload,
    /// Back into service.
    Load,
}

/// Why it is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such name.
    #[error("There is no policy `{policy}`; GET /admin/policies lists those that there are.")]
    Unknown {
        /// As asked.
        policy: Arc<str>,
    },
    /// Nothing of it serves.
    #[error("The policy `{policy}` is not in service: no route uses it, or it was unloaded.")]
    NotInService {
        /// As asked.
        policy: Arc<str>,
    },
    /// Only one revision was ever in service, or the others failed.
    #[error("The policy `{policy}` has no earlier revision to roll back to; `{serving}` stays in service.")]
    NothingEarlier {
        /// As asked.
        policy: Arc<str>,
        /// What serves.
        serving: Arc<str>,
    },
    /// No kept file has this digest.
    #[error("The policy `{policy}` has no revision `{revision}`; kept are {}.", listed(kept))]
    UnknownRevision {
        /// As asked.
        policy: Arc<str>,
        /// As asked.
        revision: String,
        /// Those that there are.
        kept: Vec<String>,
    },
    /// It stays as it is until it is unpinned.
    #[error("The policy `{policy}` is pinned at revision `{revision}`; POST /admin/policies/{policy}/unpin first.")]
    Pinned {
        /// As asked.
        policy: Arc<str>,
        /// What serves.
        revision: String,
    },
    /// The gateway cannot do without it.
    #[error("The policy `{policy}` cannot be unloaded: it decides when a chain fails.")]
    Needed {
        /// As asked.
        policy: Arc<str>,
    },
    /// It could not be put into service.
    #[error("Nothing was changed: {reason}")]
    Refused {
        /// What is wrong.
        reason: String,
    },
}

/// A rollback that is to be made.
pub(super) struct Order<'a> {
    pub(super) policy: &'a Arc<str>,
    pub(super) by: By,
    pub(super) why: String,
    /// The operator named the revision.
    pub(super) named: bool,
    /// Where it may go, the best first.
    pub(super) targets: Vec<Earlier>,
}

impl Work {
    /// Does it, or says why not.
    pub(super) fn obey(&mut self, policy: &Arc<str>, command: Command) -> Result<(), CommandError> {
        let shelf = self.store.shelf(policy)?;
        if let (Some(pinned), Command::RollBack { .. } | Command::Unload) = (shelf.standing.pinned, &command) {
            return Err(CommandError::Pinned { policy: Arc::clone(policy), revision: pinned.revision() });
        }
        match command {
            Command::RollBack { revision } => self.roll_back_to(policy, revision.as_deref()),
            Command::Pin => self.pin(policy),
            Command::Unpin => {
                self.unpin(policy);
                Ok(())
            }
            Command::Unload => self.unload(policy),
            Command::Load => self.load(policy),
        }
    }

    fn roll_back_to(&mut self, policy: &Arc<str>, revision: Option<&str>) -> Result<(), CommandError> {
        self.in_service(policy)?;
        let shelf = self.store.shelf(policy)?;
        let targets = match revision {
            None => shelf.earlier(),
            Some(revision) => {
                let unknown = || CommandError::UnknownRevision {
                    policy: Arc::clone(policy),
                    revision: revision.to_owned(),
                    kept: shelf.standing.good.iter().map(|kept| kept.digest.revision()).collect(),
                };
                let target = shelf.named(revision).ok_or_else(unknown)?;
                if shelf.good.as_ref().is_some_and(|good| good.digest() == target.digest()) {
                    return Ok(());
                }
                vec![target]
            }
        };
        let why = "asked for over the admin API".to_owned();
        self.roll_back(Order { policy, by: By::Operator, why, named: revision.is_some(), targets })
    }

    /// Goes to the first target that can be put into service.
    pub(super) fn roll_back(&mut self, order: Order<'_>) -> Result<(), CommandError> {
        let Order { policy, by, why, named, targets } = order;
        let from = self.in_service(policy)?;
        let failures = failures(&self.current.load(), &from);
        let mut refused = None;
        for target in targets {
            let to = match self.store.load_earlier(policy, target) {
                Ok(to) => to,
                Err(NotKept::Gone) => continue,
                Err(NotKept::Refused(reason)) => {
                    refused = Some(reason);
                    continue;
                }
            };
            let problems = self.swap_one(policy, Some(to.clone())).err().map(|problems| problems.join("; "));
            let shelf = self.store.shelf_mut(policy)?;
            if !shelf.serves(&to) {
                refused = problems.or_else(|| shelf.problem.take());
                shelf.next = None;
                continue;
            }
            shelf.rolled_back(Made { from: &from, to: &to, by, why: why.clone(), failures, named });
            shelf.explain(policy);
            self.parts.metrics.policy_rollback(policy, by);
            let (policy, by) = (&**policy, by.label());
            let (from, to) = (from.component.revision(), to.component.revision());
            tracing::warn!(policy, %from, %to, by, why, "policy rolled back");
            return Ok(());
        }
        Err(match refused {
            Some(reason) => CommandError::Refused { reason },
            None => CommandError::NothingEarlier {
                policy: Arc::clone(policy),
                serving: Arc::clone(from.component.revision()),
            },
        })
    }

    fn pin(&mut self, policy: &Arc<str>) -> Result<(), CommandError> {
        let good = self.in_service(policy)?;
        let PolicyStore { shelves, revisions, .. } = &mut self.store;
        let Some(shelf) = shelves.get_mut(policy) else { return Ok(()) };
        if let (Source::Shipped, Some(bytes)) = (good.source, shelf.shipped) {
            // The next version of the gateway may ship another.
            revisions.keep(good.digest(), bytes);
        }
        shelf.standing.pinned = Some(good.digest());
        tracing::info!(policy = &**policy, revision = %good.component.revision(), "policy pinned");
        Ok(())
    }

    fn unpin(&mut self, policy: &Arc<str>) {
        let Some(shelf) = self.store.shelves.get_mut(policy) else { return };
        if shelf.standing.pinned.take().is_none() {
            return;
        }
        shelf.problem = None;
        let mut looked = Looked::default();
        if shelf.file {
            self.store.again(policy);
        } else {
            self.store.file_is_gone(Arc::clone(policy), &mut looked);
        }
        tracing::info!(policy = &**policy, "policy unpinned");
        if !looked.changed.is_empty() {
            let before = self.current.load_full();
            self.put_into_service(None, looked.changed, &before);
        }
    }

    fn unload(&mut self, policy: &Arc<str>) -> Result<(), CommandError> {
        if **policy == *IN_ORDER {
            return Err(CommandError::Needed { policy: Arc::clone(policy) });
        }
        let shelf = self.store.shelf_mut(policy)?;
        if shelf.is_out() {
            return Ok(());
        }
        let before = shelf.standing.unloaded.replace(Unloaded { file: shelf.content });
        if let Err(problems) = self.swap_one(policy, None) {
            self.store.shelf_mut(policy)?.standing.unloaded = before;
            return Err(CommandError::Refused { reason: problems.join("; ") });
        }
        // A registry hands out an artifact once, so it is kept for when it is loaded: on disk, or here.
        let stays = self.store.supplies.is_remote(policy) && !self.store.revisions.on_disk();
        // It is forgotten by now if it had no file.
        if let Ok(shelf) = self.store.shelf_mut(policy) {
            shelf.before = shelf.good.take().filter(|_| stays);
            (shelf.refused, shelf.problem) = (None, None);
        }
        Ok(())
    }

    fn load(&mut self, policy: &Arc<str>) -> Result<(), CommandError> {
        let shelf = self.store.shelf_mut(policy)?;
        let Some(unloaded) = shelf.standing.unloaded.take() else { return Ok(()) };
        self.store.again_at_once(policy);
        let waiting = self.waiting.problems.clone();
        self.look(true);
        let shelf = self.store.shelf(policy)?;
        if shelf.good.is_none()
            && let Err(problems) = self.swap_one(policy, None)
        {
            let shelf = self.store.shelf_mut(policy)?;
            let reason = shelf.problem.take().unwrap_or_else(|| problems.join("; "));
            (shelf.standing.unloaded, shelf.refused) = (Some(unloaded), None);
            self.waiting.problems = waiting;
            return Err(CommandError::Refused { reason });
        }
        Ok(())
    }

    /// Swaps to the same configuration with another revision of one policy.
    fn swap_one(&mut self, policy: &Arc<str>, next: Option<Loaded>) -> Result<(), Vec<String>> {
        if let Some(shelf) = self.store.shelves.get_mut(policy) {
            shelf.next = next;
        }
        let before = self.current.load_full();
        self.swap(&before.config, &before, &BTreeSet::from([Arc::clone(policy)]))
    }

    fn in_service(&self, policy: &Arc<str>) -> Result<Loaded, CommandError> {
        let in_use = self.current.load().policies_in_use().contains(policy);
        let good = self.store.shelf(policy)?.good.clone().filter(|_| in_use);
        good.ok_or_else(|| CommandError::NotInService { policy: Arc::clone(policy) })
    }
}

impl PolicyStore {
    pub(super) fn shelf(&self, policy: &Arc<str>) -> Result<&Shelf, CommandError> {
        self.shelves.get(policy).ok_or_else(|| CommandError::Unknown { policy: Arc::clone(policy) })
    }

    fn shelf_mut(&mut self, policy: &Arc<str>) -> Result<&mut Shelf, CommandError> {
        self.shelves.get_mut(policy).ok_or_else(|| CommandError::Unknown { policy: Arc::clone(policy) })
    }

    /// Whether something can take this policy's place when it fails: what serves now, once the next is in service.
    pub(super) fn has_spare(&self, policy: &Arc<str>) -> bool {
        let Some(shelf) = self.shelves.get(policy) else { return false };
        let proves = |digest, papers: &_| self.supplies.could_prove_kept(policy, digest, papers);
        let next_is_new = shelf.next.as_ref().is_some_and(|next| matches!(next.source, Source::File | Source::Oci));
        let serves = shelf.good.as_ref().filter(|_| next_is_new);
        let has_earlier = serves
            .is_some_and(|good| good.source == Source::Shipped || proves(good.digest(), &good.papers))
            || shelf.earlier().into_iter().any(|earlier| match earlier {
                Earlier::Shipped(_) => true,
                Earlier::Kept(digest) => proves(digest, &shelf.standing.papers(digest)),
            });
        shelf.standing.pinned.is_none() && has_earlier
    }

    /// An earlier revision, compiled.
    fn load_earlier(&self, policy: &Arc<str>, target: Earlier) -> Result<Loaded, NotKept> {
        match target {
            Earlier::Shipped(bytes) => {
                load(&self.engine, policy, Hashed::new(bytes), Source::Shipped).map_err(|_| NotKept::Gone)
            }
            Earlier::Kept(digest) => {
                let shelf = self.shelves.get(policy).ok_or(NotKept::Gone)?;
                let kept = load_kept(&self.engine, (&self.revisions, &self.supplies), policy, shelf, digest)?;
                let source = match (shelf.content == Some(digest), self.supplies.is_remote(policy)) {
                    (false, _) => Source::Kept,
                    (true, false) => Source::File,
                    (true, true) => Source::Oci,
                };
                let bytes = kept.bytes.filter(|_| !self.revisions.on_disk());
                Ok(Loaded { source, bytes, ..kept })
            }
        }
    }
}

/// Failed calls of a revision by kind, over all routes.
fn failures(snapshot: &Snapshot, of: &Loaded) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for policy in snapshot.policies() {
        if policy.name() == of.component.name() && policy.revision() == of.component.revision() {
            for (kind, count) in FailureCause::LABELS.iter().zip(policy.statistics().failures) {
                *sums.entry((*kind).to_owned()).or_insert(0) += count;
            }
        }
    }
    sums.retain(|_, count| *count > 0);
    sums
}

fn listed(revisions: &[String]) -> String {
    match revisions {
        [] => "none".to_owned(),
        revisions => revisions.iter().map(|revision| format!("`{revision}`")).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_which_policy_and_what_to_do() {
        let policy: Arc<str> = "p".into();
        let kept = vec!["aaaaaaaaaaaa".to_owned(), "bbbbbbbbbbbb".to_owned()];
        for (error, text) in [
            (
                CommandError::Unknown { policy: Arc::clone(&policy) },
                "There is no policy `p`; GET /admin/policies lists those that there are.",
            ),
            (
                CommandError::NotInService { policy: Arc::clone(&policy) },
                "The policy `p` is not in service: no route uses it, or it was unloaded.",
            ),
            (
                CommandError::NothingEarlier { policy: Arc::clone(&policy), serving: "r".into() },
                "The policy `p` has no earlier revision to roll back to; `r` stays in service.",
            ),
            (
                CommandError::UnknownRevision { policy: Arc::clone(&policy), revision: "r".into(), kept },
                "The policy `p` has no revision `r`; kept are `aaaaaaaaaaaa`, `bbbbbbbbbbbb`.",
            ),
            (
                CommandError::UnknownRevision { policy: Arc::clone(&policy), revision: "r".into(), kept: Vec::new() },
                "The policy `p` has no revision `r`; kept are none.",
            ),
            (
                CommandError::Pinned { policy: Arc::clone(&policy), revision: "r".into() },
                "The policy `p` is pinned at revision `r`; POST /admin/policies/p/unpin first.",
            ),
            (
                CommandError::Needed { policy: Arc::clone(&policy) },
                "The policy `p` cannot be unloaded: it decides when a chain fails.",
            ),
            (CommandError::Refused { reason: "why".into() }, "Nothing was changed: why"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
