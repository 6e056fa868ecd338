//! Settings that only count at the start: what has changed since is told, because nothing else would show it.

use std::net::SocketAddr;

use witgate_core::config::{Cache, Config, Policies, Redis, Server};

/// One sentence for each setting of `now` that is not in force.
pub(super) fn needed(started: &Config, now: &Config) -> Vec<String> {
    let Server { listen, read_timeout, write_timeout, shutdown_grace, reuse_port, workers, .. } = &started.server;
    let Policies { directory, code_cache, revisions, copies, .. } = &started.policies;
    let Cache { memory, largest, redis, .. } = &started.cache;
    [
        ("server.listen", *listen != now.server.listen),
        ("server.read_timeout", *read_timeout != now.server.read_timeout),
        ("server.write_timeout", *write_timeout != now.server.write_timeout),
        ("server.shutdown_grace", *shutdown_grace != now.server.shutdown_grace),
        ("server.reuse_port", *reuse_port != now.server.reuse_port),
        ("server.workers", *workers != now.server.workers),
        ("policies.directory", *directory != now.policies.directory),
        ("policies.code_cache", *code_cache != now.policies.code_cache),
        ("policies.revisions", *revisions != now.policies.revisions),
        ("policies.copies", *copies != now.policies.copies),
        ("cache.memory", *memory != now.cache.memory),
        ("cache.largest", *largest != now.cache.largest),
        ("cache.redis", differ(redis.as_ref(), now.cache.redis.as_ref())),
    ]
    .into_iter()
    .filter(|(_, changed)| *changed)
    .map(|(setting, _)| {
        format!("`{setting}` does not reload live: restart the gateway to put the new value into force")
    })
    .collect()
}

/// Why `now` must not be put into service at all: the gateway goes on listening at `address`.
pub(super) fn exposes(address: SocketAddr, now: &Config) -> Option<String> {
    let listens = Config { server: Server { listen: address, ..now.server.clone() }, ..now.clone() };
    listens.exposed_without_keys().then(|| {
        format!(
            "others can reach {address}, and without `auth.keys` everybody may ask; keep the keys, or set \
             `server.allow_unauthenticated: true`"
        )
    })
}

fn differ(one: Option<&Redis>, other: Option<&Redis>) -> bool {
    let parts = |redis: &Redis| (redis.url.expose().to_owned(), redis.timeout, redis.prefix.clone());
    one.map(parts) != other.map(parts)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use witgate_core::config::{NoLookup, SourceFile, load};

    use super::*;

    fn config(more: &str) -> Config {
        let base = "providers: {demo: {dialect: demo}}\ndeployments: {m@demo: {}}\nroutes: {m: {deployments: '*'}}\n";
        load(&[SourceFile::new("test", format!("{base}{more}"))], &NoLookup).unwrap().config
    }

    #[test]
    fn what_only_counts_at_the_start_is_told_and_the_rest_is_not() {
        let live = "server: {body_limit: 1MiB, request_timeout: 1m}\ncache: {default: {ttl: 1m}}\npolicies: {poll: 1s}";
        assert_eq!(needed(&config(""), &config(live)), Vec::<String>::new());
        let fixed = "server: {listen: '127.0.0.1:1', workers: 3, read_timeout: 1s, write_timeout: 1s, shutdown_grace: 1s, reuse_port: true}\n\
                     policies: {directory: other, code_cache: kept, revisions: good, copies: kept}\n\
                     cache: {memory: 1MiB, largest: 1KiB, redis: {url: 'redis://:secret@here'}}";
        let told = needed(&config(""), &config(fixed));
        assert_eq!(told.len(), 13);
        assert_eq!(
            told[0],
            "`server.listen` does not reload live: restart the gateway to put the new value into force"
        );
        assert!(!told.concat().contains("secret"));
        assert_eq!(needed(&config(fixed), &config(fixed)), Vec::<String>::new());
    }

    #[test]
    fn keys_may_not_be_taken_away_from_a_public_address() {
        let everywhere = SocketAddr::from(([0, 0, 0, 0], 4000));
        assert_eq!(exposes(everywhere, &config("auth: {keys: [{name: a, key: sk-a}]}")), None);
        assert_eq!(exposes(everywhere, &config("server: {allow_unauthenticated: true}")), None);
        assert_eq!(
            exposes(everywhere, &config("")).unwrap(),
            "others can reach 0.0.0.0:4000, and without `auth.keys` everybody may ask; keep the keys, or set \
             `server.allow_unauthenticated: true`"
        );
        assert_eq!(exposes(SocketAddr::from(([127, 0, 0, 1], 4000)), &config("")), None);
    }
}
