//! Asks a model server what it says of itself: how many wait, how full its cache is, what it has loaded.
//!
//! Off the request path, and only what costs the server next to nothing. What a server does not tell it is asked again
//! now and then, for it may be started anew with more; that it does not is said once.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{StatusCode, Uri};
use witgate_core::config::{Dialect, Facts as Configured, probes};
use witgate_core::facts::{self, Props, Report};

use super::Upstreams;
use super::provider::{Backend, Service};

/// The questions to one provider.
pub(super) struct Facts {
    questions: Questions,
    timeout: Duration,
}

enum Questions {
    /// vLLM, SGLang, llama.cpp: who it is shows in what it answers.
    Served { metrics: Question, slots: Question, props: Question },
    /// Ollama.
    Loaded(Question),
}

struct Question {
    uri: Uri,
    /// Rounds until it is asked again.
    rest: AtomicU32,
    told: AtomicBool,
}

impl Question {
    fn new(root: &str, path: &str) -> Result<Self, http::uri::InvalidUri> {
        let uri = format!("{root}{path}").parse()?;
        Ok(Self { uri, rest: AtomicU32::new(0), told: AtomicBool::new(false) })
    }

    /// The answer; `None` when the server does not give one, or is given a rest.
    async fn ask(&self, service: &Service, provider: &str) -> Option<Bytes> {
        let rests = self.rest.fetch_update(Relaxed, Relaxed, |rest| rest.checked_sub(1)).is_ok();
        if rests {
            return None;
        }
        let (status, body) = service.get(&self.uri).await?;
        if status.is_success() {
            self.told.store(false, Relaxed);
            return Some(body);
        }
        if status.is_client_error() || status == StatusCode::NOT_IMPLEMENTED {
            self.rest.store(REST, Relaxed);
            if !self.told.swap(true, Relaxed) {
                let (path, status) = (self.uri.path(), status.as_u16());
                tracing::info!(
                    provider,
                    path,
                    status,
                    "the server does not tell this of itself; its signals are neutral"
                );
            }
        }
        None
    }
}

impl Facts {
    pub(super) fn new(configured: &Configured, dialect: Dialect, base: &Uri) -> Result<Self, http::uri::InvalidUri> {
        let root = probes::root(base);
        let question = |path| Question::new(root, path);
        let questions = match dialect {
            Dialect::Ollama => Questions::Loaded(question("/api/ps")?),
            Dialect::OpenAi | Dialect::Anthropic | Dialect::Demo => Questions::Served {
                metrics: question("/metrics")?,
                slots: question("/slots")?,
                props: question("/props")?,
            },
        };
        Ok(Self { questions, timeout: configured.timeout })
    }
}

impl Upstreams {
    /// What a provider says, for each of its deployments by its place; empty when it says nothing.
    pub async fn facts(&self, provider: usize, name: &str) -> Vec<(usize, Report)> {
        let Some(Backend::Http(service)) = self.providers.get(provider).map(|provider| &provider.backend) else {
            return Vec::new();
        };
        let Some(facts) = service.facts() else { return Vec::new() };
        let deployments = self.deployments.iter().enumerate().filter(|(_, deployment)| deployment.provider == provider);
        let models: Vec<(usize, Option<&str>)> = deployments
            .map(|(place, deployment)| (place, deployment.model.as_ref().map(|model| &*model.name)))
            .collect();
        let asked = facts.ask(service, name, &models);
        tokio::time::timeout(facts.timeout, asked).await.unwrap_or_default()
    }
}

impl Facts {
    async fn ask(&self, service: &Service, name: &str, models: &[(usize, Option<&str>)]) -> Vec<(usize, Report)> {
        match &self.questions {
            Questions::Loaded(question) => {
                let Some(loaded) = question.ask(service, name).await.and_then(|body| facts::of_ps(&body)) else {
                    return Vec::new();
                };
                let report = |model: Option<&str>| Report {
                    loaded: model.map(|model| facts::is_loaded(model, &loaded)),
                    ..Report::default()
                };
                models.iter().map(|(place, model)| (*place, report(*model))).collect()
            }
            Questions::Served { metrics, slots, props } => {
                let page = metrics.ask(service, name).await;
                let page = page.as_deref().map(String::from_utf8_lossy);
                let of_page = |model| page.as_deref().and_then(|page| facts::of_metrics(page, model));
                // vLLM and SGLang have no slots.
                let has_slots = page.as_deref().is_none_or(|page| page.contains("llamacpp:"));
                let mut in_slots = None;
                let mut started: Option<Props> = None;
                if has_slots {
                    in_slots = slots.ask(service, name).await.and_then(|body| facts::of_slots(&body));
                    if in_slots.is_none() && page.is_some() {
                        started = props.ask(service, name).await.and_then(|body| facts::of_props(&body));
                    }
                }
                let report = |model| {
                    let told = of_page(model).map(|report| report.or(in_slots.unwrap_or_default())).or(in_slots)?;
                    Some(started.map_or(told, |started| started.complete(told)))
                };
                models.iter().filter_map(|(place, model)| Some((*place, report(*model)?))).collect()
            }
        }
    }
}

impl Service {
    /// A short answer to a question of the gateway's own; `None` when none came whole.
    async fn get(&self, uri: &Uri) -> Option<(StatusCode, Bytes)> {
        let (head, mut body) = self.client.send(|| self.question(uri), true).await.ok()?;
        let mut bytes = BytesMut::new();
        while let Some(chunk) = std::future::poll_fn(|cx| body.poll_data(cx)).await {
            bytes.extend_from_slice(&chunk.ok()?);
            if bytes.len() > LARGEST {
                return None;
            }
        }
        Some((head.status, bytes.freeze()))
    }
}

/// vLLM's page of metrics is about 100 KB.
const LARGEST: usize = 4 << 20;
/// Rounds that a question is not asked for which the server did not know.
const REST: u32 = 60;
