//! Asks a model server of one's own what its models are able of. Off the request path; a server that does not know the
//! question has told nothing.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Uri};
use serde_json::json;
use witgate_core::config::{Dialect, Provider as Configured, probes};
use witgate_core::facts;
use witgate_core::live::Learnt;
use witgate_core::openai::RequestBody;
use witgate_core::told;

use super::Upstreams;
use super::connection::Pieces;
use super::provider::{Backend, Service, path};

impl Upstreams {
    /// What a provider tells of its deployments' models, by their places in the configuration.
    pub async fn told(&self, provider: usize, configured: &Configured) -> Vec<(usize, Learnt)> {
        let Some(Backend::Http(service)) = self.providers.get(provider).map(|provider| &provider.backend) else {
            return Vec::new();
        };
        let Ok(base) = configured.base_url.parse::<Uri>() else { return Vec::new() };
        let deployments = self.deployments.iter().enumerate().filter(|(_, own)| own.provider == provider);
        let models = deployments.filter_map(|(place, own)| Some((place, &*own.model.as_ref()?.name)));
        match configured.dialect {
            Dialect::OpenAi => {
                let listed = ask(service, &path(&base, "/models"), None).await.and_then(|body| told::of_models(&body));
                let mut listed = listed.unwrap_or_default();
                // A llama.cpp server answers for its only model whatever it is called; older ones say its context
                // elsewhere.
                if let [(_, learnt)] = &mut *listed
                    && learnt.context_tokens.is_none()
                {
                    let props = ask(service, &format!("{}/props", probes::root(&base)), None).await;
                    learnt.context_tokens = props.and_then(|body| told::of_props(&body));
                }
                let only = if let [(_, learnt)] = &*listed { Some(*learnt) } else { None };
                let of = |model: &str| listed.iter().find(|(id, _)| id == model).map(|(_, learnt)| *learnt).or(only);
                models.filter_map(|(place, model)| Some((place, of(model)?))).collect()
            }
            Dialect::Ollama => {
                let show = format!("{}/api/show", probes::root(&base));
                let loaded = ask(service, &format!("{}/api/ps", probes::root(&base)), None).await;
                let loaded = loaded.and_then(|body| facts::of_ps(&body)).unwrap_or_default();
                let mut learnt = Vec::new();
                for (place, model) in models {
                    let question = json!({ "model": model }).to_string();
                    let shown = ask(service, &show, Some(question)).await.and_then(|body| told::of_show(&body));
                    let Some(Learnt { abilities, context_tokens }) = shown else { continue };
                    // What it has given counts before what it would give.
                    let context_tokens = told::of_loaded(model, &loaded).or(context_tokens);
                    learnt.push((place, Learnt { abilities, context_tokens }));
                }
                learnt
            }
            Dialect::Anthropic | Dialect::Demo => Vec::new(),
        }
    }
}

/// The answer to a question of the gateway's own, if it came whole and in time.
async fn ask(service: &Service, path: &str, body: Option<String>) -> Option<Bytes> {
    let uri: Uri = path.parse().ok()?;
    let request = || {
        let question = service.question(&uri);
        let Some(body) = &body else { return question };
        let (mut head, _) = question.into_parts();
        head.method = Method::POST;
        Request::from_parts(head, Pieces::from(RequestBody::from(Bytes::from(body.clone()))))
    };
    let whole = async {
        let (head, mut body) = service.client.send(request, true).await.ok()?;
        let mut bytes = BytesMut::new();
        while let Some(chunk) = std::future::poll_fn(|cx| body.poll_data(cx)).await {
            bytes.extend_from_slice(&chunk.ok()?);
            if bytes.len() > LARGEST {
                return None;
            }
        }
        head.status.is_success().then(|| bytes.freeze())
    };
    tokio::time::timeout(PATIENCE, whole).await.ok().flatten()
}

/// Ollama shows templates and licences too.
const LARGEST: usize = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(5);
