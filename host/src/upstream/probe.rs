//! Asks a provider whether it is well, in a way that costs neither tokens nor money.
//!
//! Servers differ in what they have: a question that one does not know is followed by the next, and the one that was
//! answered is asked from then on. Off the request path.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::{StatusCode, Uri};
use witgate_core::config::{Dialect, Probe as Configured, probes};

use super::Upstreams;
use super::provider::{Backend, Service};

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// It is well.
    Good,
    /// It does not answer, or says that it is not well.
    Bad,
    /// It answers, but does not know the question or may not answer it to us.
    Unclear,
}

impl Probed {
    /// The label of `witgate_probes_total`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Unclear => "unclear",
        }
    }
}

/// The questions to one provider.
pub(super) struct Probe {
    questions: Vec<Uri>,
    /// Place of the one that was answered last.
    known: AtomicUsize,
    timeout: Duration,
}

impl Probe {
    pub(super) fn new(configured: &Configured, dialect: Dialect, base: &Uri) -> Result<Self, http::uri::InvalidUri> {
        let root = probes::root(base);
        let first = configured.first.map(|path| format!("{root}{path}")).filter(|_| configured.path.is_none());
        let texts =
            configured.path.as_ref().map_or_else(|| probes::questions(dialect, base), |path| vec![path.clone()]);
        let questions = first.iter().chain(&texts).map(|text| text.parse()).collect::<Result<_, _>>()?;
        Ok(Self { questions, known: AtomicUsize::new(0), timeout: configured.timeout })
    }

    async fn ask(&self, service: &Service) -> Probed {
        let first = self.known.load(Relaxed);
        for place in first..self.questions.len() {
            let answer = ask(service, &self.questions[place]).await;
            if answer != Probed::Unclear {
                self.known.store(place, Relaxed);
                return answer;
            }
        }
        // The server may be another one by now.
        self.known.store(0, Relaxed);
        Probed::Unclear
    }
}

impl Upstreams {
    /// Probes a provider, by its place in the configuration. `None`: there is nothing to ask.
    pub async fn probe(&self, provider: usize) -> Option<Probed> {
        let Backend::Http(service) = &self.providers.get(provider)?.backend else { return None };
        let probe = service.probe()?;
        Some(tokio::time::timeout(probe.timeout, probe.ask(service)).await.unwrap_or(Probed::Bad))
    }
}

/// The head says it all; the body is not read, which closes the connection.
async fn ask(service: &Service, question: &Uri) -> Probed {
    match service.client.send(|| service.question(question), true).await {
        Ok((head, _)) if head.status.is_success() => Probed::Good,
        Ok((head, _)) if head.status.is_server_error() && head.status != StatusCode::NOT_IMPLEMENTED => Probed::Bad,
        Ok(_) => Probed::Unclear,
        Err(_) => Probed::Bad,
    }
}
