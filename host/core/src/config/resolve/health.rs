//! Retries, breakers, probes.

use std::time::Duration;

use super::values::{DAY, MILLISECOND, duration};
use crate::breaker::BreakerRules;
use crate::config::findings::Findings;
use crate::config::model::{Dialect, Facts, Probe, Retries};
use crate::config::problem::KeyPath;
use crate::config::raw::health::{RawBreaker, RawFacts, RawProbe, RawRetries};

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn retries(raw: RawRetries, findings: &mut Findings<'_>) -> Retries {
    let window = KeyPath::top("retries").key("window");
    let window = duration(raw.window, &window, SECOND..=Duration::from_secs(600), findings);
    Retries {
        share: raw.share.unwrap_or(0.2),
        per_second: raw.per_second.unwrap_or(10.0),
        window: window.unwrap_or(Duration::from_secs(10)),
        hedge_share: raw.hedge_share.unwrap_or(0.02),
    }
}

pub(super) fn breaker(raw: RawBreaker, findings: &mut Findings<'_>) -> BreakerRules {
    let default = BreakerRules::default();
    let path = KeyPath::top("breaker");
    let mut time =
        |key: &str, value, range, default| duration(value, &path.key(key), range, findings).unwrap_or(default);
    // Three windows are kept, by the second.
    let window = time("window", raw.window, SECOND..=Duration::from_secs(20), default.window);
    let open = time("open", raw.open, SECOND..=DAY, default.open);
    let slow_start = time("slow_start", raw.slow_start, Duration::ZERO..=DAY, default.slow_start);
    let longest_written = raw.longest_open.is_some();
    let longest_open = time("longest_open", raw.longest_open, SECOND..=DAY, default.longest_open.max(open));
    if longest_open < open && longest_written {
        findings.error(&path.key("longest_open"), "it is shorter than `open`", "make it at least as long");
    }
    let count = |raw: Option<u64>, default| raw.and_then(|count| u32::try_from(count).ok()).unwrap_or(default);
    BreakerRules {
        consecutive_failures: count(raw.consecutive_failures, default.consecutive_failures),
        success_rate: raw.success_rate.unwrap_or(default.success_rate),
        min_requests: count(raw.min_requests, default.min_requests),
        window,
        open,
        longest_open,
        trials: count(raw.trials, default.trials),
        successes: count(raw.successes, default.successes),
        slow_start,
    }
}

/// `None`: the provider is not probed.
pub(super) fn probe(
    raw: RawProbe,
    first: Option<&'static str>,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> Option<Probe> {
    let mut time = |key: &str, value, shortest, default| {
        duration(value, &path.key(key), shortest..=DAY, findings).unwrap_or(Duration::from_secs(default))
    };
    let interval = time("interval", raw.interval, Duration::from_millis(100), 3);
    let idle = time("idle", raw.idle, SECOND, 30);
    let timeout = time("timeout", raw.timeout, MILLISECOND, 2);
    let at = path.key("path");
    if let Some(text) = &raw.path
        && (!text.starts_with('/') || text.parse::<http::uri::PathAndQuery>().is_err())
    {
        findings.error(&at, format!("{text:?} is no path"), "write for example `/health`");
    }
    let probe = Probe { path: raw.path, first, interval, idle, timeout };
    raw.enabled.unwrap_or(true).then_some(probe)
}

/// `None`: the provider is not asked about itself. A hosted service would only wonder.
pub(super) fn facts(
    raw: RawFacts,
    dialect: Dialect,
    base_url: &str,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> Option<Facts> {
    let mut time = |key: &str, value, shortest, default| {
        duration(value, &path.key(key), shortest..=DAY, findings).unwrap_or(Duration::from_secs(default))
    };
    let interval = time("interval", raw.interval, Duration::from_millis(100), 2);
    let idle = time("idle", raw.idle, Duration::from_millis(100), 30);
    let timeout = time("timeout", raw.timeout, MILLISECOND, 2);
    let usual = match dialect {
        Dialect::OpenAi | Dialect::Ollama => base_url.starts_with("http://"),
        Dialect::Anthropic | Dialect::Demo => false,
    };
    let can = dialect != Dialect::Demo;
    (can && raw.enabled.unwrap_or(usual)).then_some(Facts { interval, idle, timeout })
}
