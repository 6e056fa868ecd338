//! What is known about one policy's revisions, and what was decided about them.
//!
//! Plain state: the store carries out what follows, and [`super::revisions`] keeps it over a restart.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::supply::Papers;

/// Files of one policy that are kept: the one in service, and those that a rollback may go to.
const KEEP: usize = 5;

/// SHA-256 of a policy's file; written as hexadecimal digits, of which the first twelve are its revision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Whether these are its first twelve digits, or more of them.
    pub(super) fn is_named(self, revision: &str) -> bool {
        revision.len() >= REVISION && self.to_string().starts_with(revision)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// As messages name it.
    pub fn revision(self) -> String {
        self.to_string()[..REVISION].to_owned()
    }
}

impl From<&[u8; 32]> for Digest {
    fn from(digest: &[u8; 32]) -> Self {
        Self(*digest)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut digest = [0; 32];
        let pairs = text.as_bytes().as_chunks().0;
        if text.len() != 64 {
            return Err(format!("a SHA-256 has 64 hexadecimal digits, this has {}", text.len()));
        }
        for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
            let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
                return Err("a SHA-256 is written in hexadecimal digits".to_owned());
            };
            *byte = high << 4 | low;
        }
        Ok(Self(digest))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What is known about one policy's revisions, and what was decided about them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// Files that were in service, the one that came last first.
    pub good: Vec<Kept>,
    /// Stays in service whatever the folder says.
    pub pinned: Option<Digest>,
    /// What was rolled back from: the policy's file is not put into service while it has this content.
    pub held: Option<Digest>,
    /// It is out of service.
    pub unloaded: Option<Unloaded>,
    /// The last rollback, until a new file is in service.
    pub rollback: Option<Rollback>,
}

/// A file that was in service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its content.
    pub digest: Digest,
    /// When it first was, in seconds since 1970.
    pub since: u64,
    /// It was rolled back from, so no rollback goes there unless it is named.
    pub failed: bool,
    /// What proves it.
    #[serde(default)]
    pub papers: Papers,
}

/// A policy that the operator took out of service, until its file changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unloaded {
    /// The file's content at that time; `None` when there was no file.
    pub file: Option<Digest>,
}

/// A return to an earlier revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// The revision that served before.
    pub from: String,
    /// The one that has served since.
    pub to: String,
    /// Who wanted it.
    pub by: By,
    /// Why.
    pub why: String,
    /// In seconds since 1970.
    pub at: u64,
    /// Failed calls of `from` by kind, as long as it was in service.
    pub failures: BTreeMap<String, u64>,
}

/// Who wanted a rollback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The gateway, because the policy failed too often.
    Crash,
    /// Somebody, over the admin API.
    Operator,
}

impl By {
    /// All, for metrics.
    pub const ALL: [Self; 2] = [Self::Crash, Self::Operator];

    /// The label of metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Operator => "operator",
        }
    }
}

/// Why a file is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeftAlone {
    /// Another revision is pinned.
    Pinned(Digest),
    /// It is what was rolled back from.
    Held,
    /// The policy is unloaded, and this is its file as it was then.
    Unloaded,
}

impl Standing {
    /// Whether a file with this content is left alone.
    pub(super) fn leaves_alone(&self, file: Digest) -> Option<LeftAlone> {
        if self.unloaded.as_ref().is_some_and(|unloaded| unloaded.file == Some(file)) {
            return Some(LeftAlone::Unloaded);
        }
        match (self.pinned, self.held) {
            (Some(pinned), _) if pinned != file => Some(LeftAlone::Pinned(pinned)),
            (None, Some(held)) if held == file => Some(LeftAlone::Held),
            _ => None,
        }
    }

    /// A new file is in service.
    pub(super) fn serves_new(&mut self, file: Digest, now: u64) {
        let known = self.good.iter().position(|kept| kept.digest == file).map(|place| self.good.remove(place));
        let new = Kept { digest: file, since: now, failed: false, papers: Papers::default() };
        self.good.insert(0, known.map_or(new, |known| Kept { failed: false, ..known }));
        let mut others = 0;
        self.good.retain(|kept| {
            others += 1;
            others <= KEEP || Some(kept.digest) == self.pinned
        });
        (self.held, self.unloaded, self.rollback) = (None, None, None);
    }

    /// Where a rollback from this revision goes, the nearest first.
    pub(super) fn earlier(&self, serving: Digest) -> impl Iterator<Item = Digest> {
        let place = self.good.iter().position(|kept| kept.digest == serving);
        let earlier = self.good.iter().skip(place.map_or(0, |place| place + 1));
        earlier.filter(move |kept| !kept.failed && kept.digest != serving).map(|kept| kept.digest)
    }

    /// What may serve when the policy's file may not, the best first.
    pub(super) fn stand_ins(&self) -> impl Iterator<Item = Digest> {
        let good = self.good.iter().filter(|kept| !kept.failed && Some(kept.digest) != self.pinned);
        self.pinned.into_iter().chain(good.map(|kept| kept.digest))
    }

    /// The kept file that this revision (its first twelve digits, or all) names.
    pub(super) fn named(&self, revision: &str) -> Option<Digest> {
        self.good.iter().map(|kept| kept.digest).find(|digest| digest.is_named(revision))
    }

    /// No rollback goes there any more, or one may again.
    pub(super) fn mark(&mut self, digest: Digest, failed: bool) {
        self.good.iter_mut().filter(|kept| kept.digest == digest).for_each(|kept| kept.failed = failed);
    }

    /// What proves a file from now on. What is lacking does not undo what was known: it proves the same bytes.
    pub(super) fn prove(&mut self, file: Digest, papers: &Papers) {
        for kept in self.good.iter_mut().filter(|kept| kept.digest == file) {
            let Papers { signature, artifact } = papers.clone();
            kept.papers.signature = signature.or(kept.papers.signature.take());
            kept.papers.artifact = artifact.or(kept.papers.artifact.take());
        }
    }

    /// What proves a kept file.
    pub(super) fn papers(&self, file: Digest) -> Papers {
        let kept = self.good.iter().find(|kept| kept.digest == file);
        kept.map(|kept| kept.papers.clone()).unwrap_or_default()
    }

    /// Whether anything is known at all.
    pub(super) fn is_blank(&self) -> bool {
        *self == Self::default()
    }

    /// All files that must be kept.
    pub(super) fn needed(&self) -> impl Iterator<Item = Digest> {
        self.good.iter().map(|kept| kept.digest).chain(self.pinned)
    }
}

const REVISION: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u8) -> Digest {
        Digest::of(&[number])
    }

    fn served(numbers: &[u8]) -> Standing {
        let mut standing = Standing::default();
        numbers.iter().zip(1..).for_each(|(number, now)| standing.serves_new(digest(*number), now));
        standing
    }

    fn earlier(standing: &Standing, serving: u8) -> Vec<Digest> {
        standing.earlier(digest(serving)).collect()
    }

    #[test]
    fn a_rollback_goes_to_the_nearest_earlier_one_that_did_not_fail() {
        let mut standing = served(&[1, 2, 3]);
        assert_eq!(earlier(&standing, 3), [digest(2), digest(1)]);
        standing.mark(digest(2), true);
        assert_eq!(earlier(&standing, 3), [digest(1)]);
        // back at 1, what came later is no way back
        standing.mark(digest(3), true);
        assert_eq!(earlier(&standing, 1), []);
        assert_eq!(standing.stand_ins().collect::<Vec<_>>(), [digest(1)]);
        // one that is not among them (a shipped one) is the newest of all
        assert_eq!(earlier(&standing, 9), [digest(1)]);
    }

    #[test]
    fn a_file_that_comes_back_is_the_newest_again_and_has_not_failed() {
        let mut standing = served(&[1, 2]);
        standing.mark(digest(1), true);
        standing.held = Some(digest(2));
        standing.serves_new(digest(1), 9);
        assert_eq!(standing.good[0], Kept { digest: digest(1), since: 1, failed: false, papers: Papers::default() });
        assert_eq!((standing.held, earlier(&standing, 1)), (None, vec![digest(2)]));
    }

    #[test]
    fn five_files_are_kept_and_the_pinned_one() {
        let mut standing = served(&[1, 2, 3, 4, 5]);
        assert_eq!(standing.good.len(), 5);
        standing.pinned = Some(digest(1));
        standing.serves_new(digest(6), 6);
        standing.serves_new(digest(7), 7);
        let kept: Vec<Digest> = standing.good.iter().map(|kept| kept.digest).collect();
        assert_eq!(kept, [7, 6, 5, 4, 3, 1].map(digest));
        assert_eq!(standing.stand_ins().next(), Some(digest(1)));
    }

    #[test]
    fn a_file_is_left_alone_as_long_as_it_is_what_was_decided_about() {
        let mut standing = served(&[1]);
        assert_eq!(standing.leaves_alone(digest(2)), None);
        standing.held = Some(digest(2));
        assert_eq!([2, 3].map(|file| standing.leaves_alone(digest(file))), [Some(LeftAlone::Held), None]);
        standing.pinned = Some(digest(1));
        let pinned = Some(LeftAlone::Pinned(digest(1)));
        assert_eq!([1, 2, 3].map(|file| standing.leaves_alone(digest(file))), [None, pinned, pinned]);
        let unloaded = Standing { unloaded: Some(Unloaded { file: Some(digest(1)) }), ..Standing::default() };
        assert_eq!([1, 2].map(|file| unloaded.leaves_alone(digest(file))), [Some(LeftAlone::Unloaded), None]);
    }

    #[test]
    fn a_revision_is_named_by_twelve_digits_or_more() {
        let standing = served(&[1, 2]);
        let text = digest(1).to_string();
        assert_eq!(digest(1).revision(), text[..12]);
        assert_eq!([12, 20, 64].map(|length| standing.named(&text[..length])), [Some(digest(1)); 3]);
        assert_eq!([standing.named(&text[..11]), standing.named("")], [None; 2]);
    }

    #[test]
    fn a_standing_is_what_was_written() {
        let mut standing = served(&[1, 2]);
        standing.pinned = Some(digest(2));
        standing.unloaded = Some(Unloaded { file: None });
        standing.rollback = Some(Rollback {
            from: "a".into(),
            to: "b".into(),
            by: By::Crash,
            why: "c".into(),
            at: 1,
            failures: BTreeMap::from([("trap".into(), 3)]),
        });
        let text = serde_json::to_string(&standing).expect("it can be written");
        assert_eq!(serde_json::from_str::<Standing>(&text).expect("it can be read"), standing);
        assert!(serde_json::from_str::<Digest>("\"../../../etc/passwd\"").is_err());
        assert!(serde_json::from_str::<Digest>(&format!("\"{}\"", "x".repeat(64))).is_err());
    }
}
