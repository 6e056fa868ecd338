//! The gateway's own side: server, log, client keys, cache.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use super::cors::cors;
use super::labels;
use super::values::{DAY, MILLISECOND, cache_time, duration, is_name, memory_size, secret, size};
use crate::admission::Priority;
use crate::config::findings::Findings;
use crate::config::interpolate::Lookup;
use crate::config::model::{ApiKey, Auth, Cache, Log, LogFormat, Queue, Redis, RouteCache, Server};
use crate::config::problem::KeyPath;
use crate::config::raw::server::{RawAuth, RawKey, RawLog, RawLogFormat, RawPriority, RawQueue, RawServer};
use crate::config::raw::{RawCache, RawRedis};
use crate::config::shapes::SizeText;
use crate::config::units::show_size;

const DEFAULT_LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 4000));
const DEFAULT_ATTEMPTS: NonZeroU32 = NonZeroU32::MIN.saturating_add(3);
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

pub(super) fn server(raw: RawServer, findings: &mut Findings<'_>) -> Server {
    let path = KeyPath::top("server");
    let mut time = |key: &str, value, default| {
        duration(value, &path.key(key), MILLISECOND..=DAY, findings).unwrap_or(Duration::from_secs(default))
    };
    let request_timeout = time("request_timeout", raw.request_timeout, 600);
    let read_timeout = time("read_timeout", raw.read_timeout, 30);
    let write_timeout = time("write_timeout", raw.write_timeout, 60);
    let drain_delay = duration(raw.drain_delay, &path.key("drain_delay"), Duration::ZERO..=DAY, findings);
    let shutdown_grace = duration(raw.shutdown_grace, &path.key("shutdown_grace"), Duration::ZERO..=DAY, findings);
    let body_limit = memory_size(raw.body_limit, &path.key("body_limit"), 1024..=GIB, findings);
    let body_limit = body_limit.unwrap_or(32 << 20);
    Server {
        listen: listen(raw.listen, &path.key("listen"), findings),
        allow_unauthenticated: raw.allow_unauthenticated.unwrap_or(false),
        body_limit,
        upload_limit: size(raw.upload_limit, &path.key("upload_limit"), 1024..=1024 * GIB, findings)
            .unwrap_or(512 * MIB),
        request_timeout,
        read_timeout,
        drain_delay: drain_delay.unwrap_or(Duration::from_secs(3)),
        shutdown_grace: shutdown_grace.unwrap_or(Duration::from_secs(30)),
        reuse_port: raw.reuse_port.unwrap_or(false),
        write_timeout,
        max_in_flight: raw.max_in_flight.and_then(count),
        queue: queue(raw.queue.unwrap_or_default(), &path.key("queue"), findings),
        body_memory: body_memory(raw.body_memory, body_limit, &path.key("body_memory"), findings),
        workers: raw.workers.and_then(|count| NonZeroUsize::new(usize::try_from(count).ok()?)),
        cors: raw.cors.and_then(|raw| cors(raw, &path.key("cors"), findings)),
        max_attempts: raw.max_attempts.and_then(count).unwrap_or(DEFAULT_ATTEMPTS),
    }
}

fn queue(raw: RawQueue, path: &KeyPath, findings: &mut Findings<'_>) -> Queue {
    let timeout = duration(raw.timeout, &path.key("timeout"), MILLISECOND..=DAY, findings);
    Queue {
        length: raw.length.and_then(|length| u32::try_from(length).ok()).unwrap_or(256),
        timeout: timeout.unwrap_or(Duration::from_secs(30)),
    }
}

/// One body of the largest size must fit.
fn body_memory(raw: Option<SizeText>, body_limit: usize, path: &KeyPath, findings: &mut Findings<'_>) -> usize {
    let memory = memory_size(raw, path, 1024..=1024 * GIB, findings).unwrap_or(1 << 30);
    if memory < body_limit {
        let message = format!("one body of `server.body_limit` ({}) would not fit", show_size(body_limit as u64));
        findings.error(path, message, "raise it, or lower `server.body_limit`");
    }
    memory
}

/// A checked count.
pub(super) fn count(raw: u64) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(raw).ok()?)
}

pub(super) fn log(raw: RawLog, findings: &mut Findings<'_>) -> Log {
    let filter = raw.filter.unwrap_or_else(|| "info".to_owned());
    is_name(&filter, &KeyPath::top("log").key("filter"), findings);
    Log {
        format: match raw.format {
            None | Some(RawLogFormat::Auto) => LogFormat::Auto,
            Some(RawLogFormat::Json) => LogFormat::Json,
            Some(RawLogFormat::Pretty) => LogFormat::Pretty,
        },
        filter,
        requests: raw.requests.unwrap_or(true),
    }
}

pub(super) fn auth(raw: RawAuth, findings: &mut Findings<'_>, lookup: &dyn Lookup) -> Auth {
    let path = KeyPath::top("auth").key("keys");
    let mut keys: Vec<(KeyPath, ApiKey)> = Vec::new();
    for (index, raw) in raw.keys.unwrap_or_default().into_iter().enumerate() {
        let path = path.index(index);
        let Some(key) = api_key(raw, &path, findings, lookup) else { continue };
        if let Some((first, _)) = keys.iter().find(|(_, known)| known.name == key.name) {
            let message = format!("the name `{}` is that of {first} too", key.name);
            findings.error(&path.key("name"), message, "give each key a name of its own");
        }
        if let Some((first, _)) = keys.iter().find(|(_, known)| known.key.matches(key.key.expose().as_bytes())) {
            let message = format!("the key is the same as that of {first}");
            findings.error(&path.key("key"), message, "give each client a key of its own");
        }
        keys.push((path, key));
    }
    Auth { keys: keys.into_iter().map(|(_, key)| key).collect() }
}

pub(super) fn cache(raw: RawCache, findings: &mut Findings<'_>, lookup: &dyn Lookup) -> Cache {
    let path = KeyPath::top("cache");
    let memory = size(raw.memory, &path.key("memory"), 0..=1024 * GIB, findings).unwrap_or(64 * MIB);
    let largest = memory_size(raw.largest, &path.key("largest"), 1024..=GIB, findings).unwrap_or(1 << 20);
    Cache {
        memory,
        largest,
        default: cache_time(raw.default, &path.key("default"), findings).unwrap_or(RouteCache::Off),
        redis: raw.redis.and_then(|raw| redis(raw, &path.key("redis"), findings, lookup)),
    }
}

fn api_key(raw: RawKey, path: &KeyPath, findings: &mut Findings<'_>, lookup: &dyn Lookup) -> Option<ApiKey> {
    let key = secret(raw.key, &path.key("key"), findings, lookup);
    let name = raw.name?;
    let named = is_name(&name, &path.key("name"), findings);
    let tenant = raw.tenant.unwrap_or_else(|| name.clone());
    if named && !is_name(&tenant, &path.key("tenant"), findings) {
        return None;
    }
    let priority = match raw.priority {
        Some(RawPriority::Low) => Priority::Low,
        None | Some(RawPriority::Normal) => Priority::Normal,
        Some(RawPriority::High) => Priority::High,
    };
    let (labels, admin) = (labels(raw.labels), raw.admin.unwrap_or(false));
    Some(ApiKey { name: name.into(), key: key?, tenant: tenant.into(), labels, admin, priority })
}

fn redis(raw: RawRedis, path: &KeyPath, findings: &mut Findings<'_>, lookup: &dyn Lookup) -> Option<Redis> {
    let timeout = duration(raw.timeout, &path.key("timeout"), MILLISECOND..=Duration::from_secs(10), findings);
    let url = secret(raw.url, &path.key("url"), findings, lookup)?;
    // the message does not quote it: it may hold a password
    if !["redis://", "rediss://"].iter().any(|scheme| url.expose().starts_with(scheme)) {
        findings.error(&path.key("url"), "this is no Redis URL", "write `redis://host:6379` or `rediss://host:6379`");
    }
    Some(Redis {
        url,
        timeout: timeout.unwrap_or(Duration::from_millis(50)),
        prefix: raw.prefix.unwrap_or_else(|| "witgate:".to_owned()),
    })
}

fn listen(raw: Option<String>, path: &KeyPath, findings: &mut Findings<'_>) -> SocketAddr {
    let Some(text) = raw else { return DEFAULT_LISTEN };
    text.parse().unwrap_or_else(|_| {
        findings.error(
            path,
            format!("{text:?} is not an IP address and a port"),
            "write for example `127.0.0.1:4000`, or `0.0.0.0:4000` for all addresses",
        );
        DEFAULT_LISTEN
    })
}
