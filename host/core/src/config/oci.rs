//! References to artifacts in registries: `oci://host/repository:tag`, `oci://host/repository@sha256:...`.
//!
//! Host and version must be written: which registry a bare name is at, and which version is meant without one, nobody
//! could tell by reading the configuration.

use std::fmt;
use std::sync::Arc;

/// Which artifact of which registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OciReference {
    /// Host, with the port if there is one.
    pub host: Arc<str>,
    /// Such as `acme/policies/budget`.
    pub repository: Arc<str>,
    /// Which of the repository's artifacts.
    pub version: Version,
}

/// Which of a repository's artifacts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Whatever the tag names at the time.
    Tag(Arc<str>),
    /// This one for ever: `sha256:` and 64 hexadecimal digits. A tag before it is for people only.
    Digest {
        /// Of the manifest.
        digest: Arc<str>,
        /// What it was called.
        tag: Option<Arc<str>>,
    },
}

/// Why a text is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Something else than `oci://`.
    #[error("it does not begin with `oci://`")]
    Scheme,
    /// Nothing after the host, or no host.
    #[error("it names no repository after the host")]
    NoRepository,
    /// Before the first slash.
    #[error("`{0}` is no host")]
    Host(String),
    /// Between host and version.
    #[error("`{0}` is no repository: use lower-case letters, digits, `.`, `_`, `-` and `/`")]
    Repository(String),
    /// After the colon.
    #[error("`{0}` is no tag: use up to 128 letters, digits, `.`, `_` and `-`")]
    Tag(String),
    /// After the at sign.
    #[error("`{0}` is no digest: write `sha256:` and 64 hexadecimal digits")]
    Digest(String),
    /// Neither tag nor digest.
    #[error("it has neither a tag nor a digest")]
    NoVersion,
}

impl OciReference {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let rest = text.strip_prefix("oci://").ok_or(ReferenceError::Scheme)?;
        let (host, rest) = rest.split_once('/').ok_or(ReferenceError::NoRepository)?;
        if !is_host(host) {
            return Err(ReferenceError::Host(host.to_owned()));
        }
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (rest, None),
        };
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if repository.is_empty() {
            return Err(ReferenceError::NoRepository);
        }
        if !is_repository(repository) {
            return Err(ReferenceError::Repository(repository.to_owned()));
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag(tag.to_owned()));
        }
        let tag = tag.map(Arc::from);
        let version = match (digest, tag) {
            (Some(digest), _) if !is_digest(digest) => return Err(ReferenceError::Digest(digest.to_owned())),
            (Some(digest), tag) => Version::Digest { digest: digest.into(), tag },
            (None, Some(tag)) => Version::Tag(tag),
            (None, None) => return Err(ReferenceError::NoVersion),
        };
        Ok(Self { host: host.into(), repository: repository.into(), version })
    }

    /// The digest, if it is pinned to one: it can never mean anything else.
    pub fn digest(&self) -> Option<&Arc<str>> {
        match &self.version {
            Version::Digest { digest, .. } => Some(digest),
            Version::Tag(_) => None,
        }
    }

    /// The artifact of this digest in the same repository; `None` when the text is no digest.
    pub fn pinned_to(&self, digest: &str) -> Option<Self> {
        let tag = match &self.version {
            Version::Tag(tag) => Some(Arc::clone(tag)),
            Version::Digest { tag, .. } => tag.clone(),
        };
        let version = Version::Digest { digest: digest.into(), tag };
        is_digest(digest).then(|| Self { version, ..self.clone() })
    }

    /// Whether the host is this machine.
    pub fn is_local(&self) -> bool {
        let name = self.host.rsplit_once(':').map_or(&*self.host, |(name, _)| name);
        name == "localhost" || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for OciReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, repository, version } = self;
        write!(f, "oci://{host}/{repository}")?;
        match version {
            Version::Tag(tag) => write!(f, ":{tag}"),
            Version::Digest { digest, tag: None } => write!(f, "@{digest}"),
            Version::Digest { digest, tag: Some(tag) } => write!(f, ":{tag}@{digest}"),
        }
    }
}

/// Whether a text is a host's name or IPv4 address, with or without a port.
pub fn is_host(text: &str) -> bool {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    name.split('.').all(label) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_repository(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let part = |part: &str| {
        let bytes = part.as_bytes();
        let ends = [bytes.first(), bytes.last()];
        let inner = bytes.iter().all(|byte| is_letter(*byte) || b"._-".contains(byte));
        inner && ends.into_iter().all(|end| end.is_some_and(|byte| is_letter(*byte)))
    };
    text.len() <= 255 && text.split('/').all(part)
}

fn is_tag(text: &str) -> bool {
    let inner = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    inner && (1..=128).contains(&text.len()) && !text.starts_with(['.', '-'])
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn digest() -> String {
        format!("sha256:{}", "0a".repeat(32))
    }

    #[test]
    fn a_reference_is_shown_as_it_was_written() {
        let by_digest = format!("oci://127.0.0.1:5000/budget@{}", digest());
        let both = format!("oci://localhost/a/b-c/d.e_f:v1@{}", digest());
        for text in ["oci://ghcr.io/acme/budget:v1.2", "oci://localhost:5000/x:_1", &by_digest, &both] {
            assert_eq!(OciReference::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(OciReference::parse(&both).unwrap().digest().map(|digest| &**digest), Some(&*digest()));
        assert_eq!(OciReference::parse("oci://ghcr.io/acme/budget:v1").unwrap().digest(), None);
    }

    #[test]
    fn only_this_machine_is_local() {
        let local = |host: &str| OciReference::parse(&format!("oci://{host}/x:1")).unwrap().is_local();
        assert!(["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9"].into_iter().all(local));
        assert!(
            !["localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1:5000", "ghcr.io"].into_iter().any(local)
        );
    }

    #[test]
    fn what_is_no_reference_is_told_why() {
        use ReferenceError as Error;
        let long = "t".repeat(129);
        let cases = [
            ("docker://x/y:1", Error::Scheme),
            ("oci://ghcr.io", Error::NoRepository),
            ("oci://ghcr.io/:v1", Error::NoRepository),
            ("oci:///x:1", Error::Host(String::new())),
            ("oci://user@host/x:1", Error::Host("user@host".to_owned())),
            ("oci://host:99999/x:1", Error::Host("host:99999".to_owned())),
            ("oci://host/Upper:1", Error::Repository("Upper".to_owned())),
            ("oci://host/a//b:1", Error::Repository("a//b".to_owned())),
            ("oci://host/a/../b:1", Error::Repository("a/../b".to_owned())),
            ("oci://host/a?b:1", Error::Repository("a?b".to_owned())),
            ("oci://host/a:.1", Error::Tag(".1".to_owned())),
            (&format!("oci://host/a:{long}"), Error::Tag(long.clone())),
            ("oci://host/a@sha256:12", Error::Digest("sha256:12".to_owned())),
            ("oci://host/a", Error::NoVersion),
        ];
        for (text, error) in cases {
            assert_eq!(OciReference::parse(text), Err(error), "{text}");
        }
    }
}
