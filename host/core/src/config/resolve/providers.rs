//! Services that we call.

use std::sync::Arc;
use std::time::Duration;

use super::values::{DAY, MILLISECOND, duration, is_name, secret};
use super::{batch, health};
use crate::catalogue::provider_at;
use crate::config::Secret;
use crate::config::findings::Findings;
use crate::config::interpolate::Lookup;
use crate::config::model::{Demo, Dialect, KeyHeader, Provider};
use crate::config::presets::Preset;
use crate::config::problem::KeyPath;
use crate::config::raw::providers::{RawContinuation, RawDemo, RawDialect, RawOnLoss, RawPreset, RawProvider};
use crate::config::shapes::{Named, SecretSource, SecretText};
use crate::dialect::{OnLoss, OutputLimit};
use crate::live::MOST_KEYS;
use crate::resume::Continuation;

const OLLAMA: &str = "http://127.0.0.1:11434/v1";
const ANTHROPIC: &str = "https://api.anthropic.com/v1";
/// Who refuses what llama.cpp, Anthropic and others only cut: a prompt that fits, with a `max_tokens` that does not.
const ANSWER_IN_WINDOW: [&str; 3] = ["openai", "azure", "vllm"];
/// What the gateway itself sets on every request, or must not pass on.
const OWN_HEADERS: [&str; 8] =
    ["connection", "content-length", "content-type", "host", "keep-alive", "te", "transfer-encoding", "upgrade"];

pub(super) fn providers(raw: Named<RawProvider>, findings: &mut Findings<'_>, lookup: &dyn Lookup) -> Vec<Provider> {
    let section = KeyPath::top("providers");
    let mut providers = Vec::new();
    for (name, raw) in raw.0 {
        let path = section.key(&name);
        is_name(&name, &path, findings);
        if let Some(provider) = provider(&name, raw, &path, findings, lookup) {
            providers.push(provider);
        }
    }
    providers
}

fn provider(
    name: &str,
    raw: RawProvider,
    path: &KeyPath,
    findings: &mut Findings<'_>,
    lookup: &dyn Lookup,
) -> Option<Provider> {
    let preset = raw.preset.map(RawPreset::row);
    let dialect = dialect(raw.dialect, preset, path, findings)?;
    let mut time = |key: &str, value, default| {
        duration(value, &path.key(key), MILLISECOND..=DAY, findings).unwrap_or(Duration::from_secs(default))
    };
    let connect_timeout = time("connect_timeout", raw.connect_timeout, 5);
    let first_byte_timeout = time("first_byte_timeout", raw.first_byte_timeout, 300);
    let idle_timeout = time("idle_timeout", raw.idle_timeout, 60);
    let keep_alive_timeout = time("keep_alive_timeout", raw.keep_alive_timeout, 300);
    let pool_idle_timeout = time("pool_idle_timeout", raw.pool_idle_timeout, 4);
    let elsewhere = raw.base_url.is_some();
    let base_url = address(raw.base_url, dialect, preset, path, findings);
    let key_header = key_header(dialect, preset);
    let raw_headers = raw.headers.unwrap_or_default();
    let own_key = raw_headers.0.iter().any(|(name, _)| name.eq_ignore_ascii_case(key_header.name()));
    let key = match raw.api_key {
        None if !own_key && raw.api_keys.is_none() => usual_key(preset, elsewhere, path, findings, lookup),
        key => key,
    };
    let own_header = (key.is_some() || raw.api_keys.is_some()).then(|| key_header.name());
    let api_keys = keys(key, raw.api_keys, path, findings, lookup);
    let headers = headers(raw_headers, own_header, &path.key("headers"), findings, lookup);
    let first = preset.and_then(|preset| preset.probe);
    let probe = health::probe(raw.probe.unwrap_or_default(), first, &path.key("probe"), findings);
    let address = base_url.as_deref().unwrap_or_default();
    let facts = health::facts(raw.facts.unwrap_or_default(), dialect, address, &path.key("facts"), findings);
    let watch = path.key("watch_models");
    let watch_models = duration(raw.watch_models, &watch, Duration::from_secs(1)..=DAY, findings);
    let first_token = path.key("first_token_timeout");
    let first_token_timeout = duration(raw.first_token_timeout, &first_token, MILLISECOND..=DAY, findings);
    if dialect != Dialect::Demo && findings.written(&path.key("demo")) {
        findings.error(&path.key("demo"), "only a provider of the dialect `demo` behaves like one", "remove it");
    }
    let catalogue = catalogued(name, preset, base_url.as_deref());
    Some(Provider {
        name: name.into(),
        dialect,
        key_header,
        responses: responses(raw.responses, dialect, preset, base_url.as_deref(), path, findings),
        lacks: preset.map_or(&[], |preset| preset.lacks),
        usage_unasked: preset.map_or_else(
            || base_url.as_deref().is_some_and(|url| url.starts_with("https://api.mistral.ai/")),
            |preset| preset.usage_unasked,
        ),
        continuation: raw.continuation.map_or_else(|| usual_continuation(dialect, preset), continuation),
        answer_in_window: ANSWER_IN_WINDOW.contains(&preset.map_or(&*catalogue, |preset| preset.name)),
        catalogue,
        output_limit: preset
            .map_or_else(|| output_limit(base_url.as_deref().unwrap_or_default()), |preset| preset.output_limit),
        base_url: base_url.unwrap_or_default(),
        on_loss: match raw.on_loss {
            Some(RawOnLoss::Refuse) => OnLoss::Refuse,
            Some(RawOnLoss::Drop) => OnLoss::Drop,
            Some(RawOnLoss::RefuseDemands) | None => OnLoss::RefuseDemands,
        },
        api_keys,
        headers,
        connect_timeout,
        first_byte_timeout,
        first_token_timeout: first_token_timeout.unwrap_or(first_byte_timeout),
        idle_timeout,
        keep_alive_timeout,
        pool_idle_timeout,
        pool_max_idle: raw.pool_max_idle.and_then(|count| usize::try_from(count).ok()).unwrap_or(256),
        probe: probe.filter(|_| dialect != Dialect::Demo),
        facts,
        watch_models: watch_models.filter(|_| dialect != Dialect::Demo),
        embedding_batch: batch::embedding_batch(
            raw.embedding_batch.unwrap_or_default(),
            preset.is_some_and(|preset| preset.local),
            &path.key("embedding_batch"),
            findings,
        ),
        demo: (dialect == Dialect::Demo).then(|| demo(raw.demo.unwrap_or_default(), &path.key("demo"), findings)),
    })
}

pub(super) fn continuation(raw: RawContinuation) -> Continuation {
    match raw {
        RawContinuation::None => Continuation::Never,
        RawContinuation::AssistantMessage => Continuation::Message,
        RawContinuation::ContinueFinalMessage => Continuation::FinalMessage,
        RawContinuation::Prefix => Continuation::Prefix,
    }
}

fn usual_continuation(dialect: Dialect, preset: Option<&Preset>) -> Continuation {
    let usual = if dialect == Dialect::Anthropic { Continuation::Message } else { Continuation::Never };
    preset.map_or(usual, |preset| preset.continuation)
}

/// Its name in the catalogue, by its preset or its address. Servers that one runs oneself have their own name.
fn catalogued(name: &str, preset: Option<&Preset>, base_url: Option<&str>) -> Arc<str> {
    let hosted = preset.filter(|preset| preset.key.is_some()).map(|preset| preset.name);
    hosted.or_else(|| provider_at(base_url?)).unwrap_or(name).into()
}

/// OpenAI's own reasoning models refuse `max_tokens`; many others know nothing else.
fn output_limit(base_url: &str) -> OutputLimit {
    if is_openai_itself(base_url) { OutputLimit::MaxCompletionTokens } else { OutputLimit::MaxTokens }
}

fn is_openai_itself(base_url: &str) -> bool {
    let own = ["https://api.openai.com/", "https://eu.api.openai.com/", "https://us.api.openai.com/"];
    own.iter().any(|own| base_url.starts_with(own))
}

/// Whether it has the Responses API.
fn responses(
    said: Option<bool>,
    dialect: Dialect,
    preset: Option<&Preset>,
    base_url: Option<&str>,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> bool {
    let can = matches!(dialect, Dialect::OpenAi | Dialect::Ollama);
    if said == Some(true) && !can {
        let message = "only a provider of the dialect `openai` or `ollama` has the Responses API";
        findings.error(&path.key("responses"), message, "remove it: the requests are translated");
    }
    can && said.unwrap_or_else(|| match preset {
        Some(preset) => preset.responses,
        None => dialect == Dialect::Ollama || base_url.is_some_and(is_openai_itself),
    })
}

/// The one key, or all of them.
fn keys(
    one: Option<SecretText>,
    several: Option<Vec<SecretText>>,
    path: &KeyPath,
    findings: &mut Findings<'_>,
    lookup: &dyn Lookup,
) -> Vec<Secret> {
    let at = path.key("api_keys");
    let Some(several) = several else {
        return secret(one, &path.key("api_key"), findings, lookup).into_iter().collect();
    };
    if one.is_some() {
        findings.error(&at, "`api_key` is given too", "keep one of the two");
    }
    if several.is_empty() {
        findings.error(&at, "the list is empty", "add keys, or remove it");
    }
    if several.len() > MOST_KEYS {
        let message = format!("there are {} keys, at most {MOST_KEYS} are used", several.len());
        findings.error(&at, message, "remove some");
    }
    let mut keys: Vec<Secret> = Vec::new();
    for (index, raw) in several.into_iter().enumerate() {
        let at = at.index(index);
        let Some(key) = secret(Some(raw), &at, findings, lookup) else { continue };
        if let Some(first) = keys.iter().position(|known| known.matches(key.expose().as_bytes())) {
            findings.error(&at, format!("it is the same as the key number {}", first + 1), "remove one of the two");
        }
        keys.push(key);
    }
    keys
}

fn demo(raw: RawDemo, path: &KeyPath, findings: &mut Findings<'_>) -> Demo {
    let mut delay = |key: &str, value| {
        duration(value, &path.key(key), Duration::ZERO..=Duration::from_secs(600), findings).unwrap_or(Duration::ZERO)
    };
    Demo {
        first_token_delay: delay("first_token_delay", raw.first_token_delay),
        token_delay: delay("token_delay", raw.token_delay),
        failure_rate: raw.failure_rate.unwrap_or(0.0),
        reply: raw.reply,
    }
}

fn dialect(
    raw: Option<RawDialect>,
    preset: Option<&Preset>,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> Option<Dialect> {
    let said = raw.map(|raw| match raw {
        RawDialect::Openai => Dialect::OpenAi,
        RawDialect::Ollama => Dialect::Ollama,
        RawDialect::Anthropic => Dialect::Anthropic,
        RawDialect::Demo => Dialect::Demo,
    });
    match (said, preset) {
        (Some(said), Some(preset)) if said != preset.dialect => {
            let message = format!("the preset `{}` has another dialect", preset.name);
            findings.error(&path.key("dialect"), message, "remove one of the two");
            None
        }
        (_, Some(preset)) => Some(preset.dialect),
        (said, None) => {
            let written = |key| findings.written(&path.key(key));
            if said.is_none() && !written("dialect") && !written("preset") {
                let hint = "for a known service write `preset`, for example `preset: groq`; else `dialect: openai` and \
                            its `base_url`";
                findings.error(path, "`dialect` is missing", hint);
            }
            said
        }
    }
}

fn key_header(dialect: Dialect, preset: Option<&Preset>) -> KeyHeader {
    let usual = if dialect == Dialect::Anthropic { KeyHeader::XApiKey } else { KeyHeader::Bearer };
    preset.map_or(usual, |preset| preset.key_header)
}

/// The key out of the variable that it is usually in. Where the address is another, the service may be another too,
/// and need none.
fn usual_key(
    preset: Option<&Preset>,
    elsewhere: bool,
    path: &KeyPath,
    findings: &mut Findings<'_>,
    lookup: &dyn Lookup,
) -> Option<SecretText> {
    let preset = preset?;
    let variable = preset.key?;
    match lookup.variable(variable).filter(|value| !value.is_empty()) {
        Some(value) => Some(SecretText(SecretSource::Text(value))),
        None => {
            let needed = !elsewhere || preset.base_url.is_none();
            if needed && !findings.written(&path.key("api_key")) {
                let message = format!("the key of {} is missing", preset.title);
                findings.error(path, message, format!("set the environment variable `{variable}`, or `api_key`"));
            }
            None
        }
    }
}

fn address(
    raw: Option<String>,
    dialect: Dialect,
    preset: Option<&Preset>,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> Option<String> {
    if let (None, Some(preset)) = (&raw, preset) {
        if preset.base_url.is_none() && !findings.written(&path.key("base_url")) {
            let message = format!("`base_url` is missing: {} has no address that is the same for all", preset.title);
            findings.error(path, message, format!("write `{}` with your own", preset.address));
        }
        return preset.base_url.map(str::to_owned);
    }
    let at = path.key("base_url");
    match (dialect, raw) {
        (Dialect::Demo, None) => None,
        (Dialect::Demo, Some(_)) => {
            findings.error(&at, "a provider of the dialect `demo` has no address", "remove it");
            None
        }
        (Dialect::OpenAi | Dialect::Ollama | Dialect::Anthropic, Some(url)) => match check_url(&url) {
            // All of its own paths are under `/api`, so it is not part of the address.
            Ok(url) if dialect == Dialect::Ollama => Some(url.strip_suffix("/api").unwrap_or(url).to_owned()),
            Ok(url) => {
                // A service whose own address has no path is somewhere else in the same way.
                let usually = preset.and_then(|preset| preset.base_url).is_none_or(has_path);
                if usually && !has_path(url) {
                    let message = "the address has no path, and the endpoints are usually under `/v1`";
                    findings.warning(&at, message, format!("write `{url}/v1` if that is so"));
                }
                Some(url.to_owned())
            }
            Err((message, hint)) => {
                findings.error(&at, message, hint);
                None
            }
        },
        (Dialect::Ollama, None) => Some(OLLAMA.to_owned()),
        (Dialect::Anthropic, None) => Some(ANTHROPIC.to_owned()),
        (Dialect::OpenAi, None) => {
            if !findings.written(&at) {
                let hint =
                    "for OpenAI itself: `https://api.openai.com/v1`; for a local server: `http://127.0.0.1:8080/v1`";
                findings.error(path, "`base_url` is missing", hint);
            }
            None
        }
    }
}

fn has_path(url: &str) -> bool {
    url[url.find("://").map_or(0, |at| at + 3)..].contains('/')
}

/// The URL without slashes at its end. Messages do not quote it: it may hold a password.
fn check_url(url: &str) -> Result<&str, (&'static str, &'static str)> {
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
        return Err(("the address begins neither with `http://` nor with `https://`", "write `http://host:port/v1`"));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(("the address holds a user or a password, which would be logged", "use `api_key` or `headers`"));
    }
    if rest.contains(['?', '#']) {
        return Err(("the address has a query or a fragment", "end it with the path, for example `/v1`"));
    }
    let valid = url.parse::<http::Uri>().is_ok_and(|uri| {
        let host = uri.host().unwrap_or_default();
        let port_is_good = host == authority || uri.port_u16().is_some_and(|port| port > 0);
        !host.is_empty() && port_is_good
    });
    if !valid {
        return Err(("the address is no valid URL", "write `http://host:port/v1`, with a port from 1 to 65535"));
    }
    Ok(url.trim_end_matches('/'))
}

fn headers(
    raw: Named<SecretText>,
    own_header: Option<&str>,
    path: &KeyPath,
    findings: &mut Findings<'_>,
    lookup: &dyn Lookup,
) -> Vec<(String, Secret)> {
    let mut headers: Vec<(String, Secret)> = Vec::new();
    for (name, value) in raw.0 {
        let path = path.key(&name);
        let lower = name.to_lowercase();
        if http::HeaderName::from_bytes(lower.as_bytes()).is_err() {
            findings.error(&path, format!("{name:?} cannot be the name of a header"), "");
        } else if OWN_HEADERS.contains(&&*lower) {
            findings.error(&path, format!("the gateway itself sets `{lower}`"), "remove it");
        } else if own_header == Some(&*lower) {
            findings.error(&path, "`api_key` sets this header too", "keep one of the two");
        } else if headers.iter().any(|(known, _)| *known == lower) {
            findings.error(&path, format!("`{lower}` is given twice"), "names of headers are the same in any case");
        } else if let Some(value) = secret(Some(value), &path, findings, lookup) {
            headers.push((lower, value));
        }
    }
    headers
}
