//! Services that we call.

use std::time::Duration;

use super::values::{DAY, MILLISECOND, duration, is_name, secret};
use crate::config::Secret;
use crate::config::findings::Findings;
use crate::config::interpolate::Lookup;
use crate::config::model::{Demo, Dialect, Provider};
use crate::config::problem::KeyPath;
use crate::config::raw::{RawDemo, RawDialect, RawProvider};
use crate::config::shapes::{Named, SecretText};

const OLLAMA: &str = "http://127.0.0.1:11434/v1";
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
    let dialect = match raw.dialect? {
        RawDialect::Openai => Dialect::OpenAi,
        RawDialect::Ollama => Dialect::Ollama,
        RawDialect::Demo => Dialect::Demo,
    };
    let mut time = |key: &str, value, default| {
        duration(value, &path.key(key), MILLISECOND..=DAY, findings).unwrap_or(Duration::from_secs(default))
    };
    let connect_timeout = time("connect_timeout", raw.connect_timeout, 5);
    let first_byte_timeout = time("first_byte_timeout", raw.first_byte_timeout, 300);
    let idle_timeout = time("idle_timeout", raw.idle_timeout, 60);
    let keep_alive_timeout = time("keep_alive_timeout", raw.keep_alive_timeout, 300);
    let pool_idle_timeout = time("pool_idle_timeout", raw.pool_idle_timeout, 4);
    let first_token = path.key("first_token_timeout");
    let first_token_timeout = duration(raw.first_token_timeout, &first_token, MILLISECOND..=DAY, findings);
    let base_url = address(raw.base_url, dialect, path, findings);
    let has_key = raw.api_key.is_some();
    let api_key = secret(raw.api_key, &path.key("api_key"), findings, lookup);
    let headers = headers(raw.headers.unwrap_or_default(), has_key, &path.key("headers"), findings, lookup);
    if dialect != Dialect::Demo && findings.written(&path.key("demo")) {
        findings.error(&path.key("demo"), "only a provider of the dialect `demo` behaves like one", "remove it");
    }
    Some(Provider {
        name: name.into(),
        dialect,
        base_url: base_url.unwrap_or_default(),
        api_key,
        headers,
        connect_timeout,
        first_byte_timeout,
        first_token_timeout: first_token_timeout.unwrap_or(first_byte_timeout),
        idle_timeout,
        keep_alive_timeout,
        pool_idle_timeout,
        pool_max_idle: raw.pool_max_idle.and_then(|count| usize::try_from(count).ok()).unwrap_or(256),
        demo: (dialect == Dialect::Demo).then(|| demo(raw.demo.unwrap_or_default(), &path.key("demo"), findings)),
    })
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

fn address(raw: Option<String>, dialect: Dialect, path: &KeyPath, findings: &mut Findings<'_>) -> Option<String> {
    let at = path.key("base_url");
    match (dialect, raw) {
        (Dialect::Demo, None) => None,
        (Dialect::Demo, Some(_)) => {
            findings.error(&at, "a provider of the dialect `demo` has no address", "remove it");
            None
        }
        (Dialect::OpenAi | Dialect::Ollama, Some(url)) => match check_url(&url) {
            Ok(url) => {
                if !url[url.find("://").map_or(0, |at| at + 3)..].contains('/') {
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
    has_key: bool,
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
        } else if lower == "authorization" && has_key {
            findings.error(&path, "`api_key` sets this header too", "keep one of the two");
        } else if headers.iter().any(|(known, _)| *known == lower) {
            findings.error(&path, format!("`{lower}` is given twice"), "names of headers are the same in any case");
        } else if let Some(value) = secret(Some(value), &path, findings, lookup) {
            headers.push((lower, value));
        }
    }
    headers
}
