//! Settings that only count at the start: what has changed since is told, because nothing else would show it.

use witgate_core::config::{Cache, Config, Policies, Redis, Server};

/// One sentence for each setting of `now` that is not in force.
pub(super) fn needed(started: &Config, now: &Config) -> Vec<String> {
    let Server { listen, read_timeout, shutdown_grace, workers, .. } = &started.server;
    let Policies { directory, code_cache, revisions, copies, .. } = &started.policies;
    let Cache { memory, largest, redis, .. } = &started.cache;
    [
        ("server.listen", *listen != now.server.listen),
        ("server.read_timeout", *read_timeout != now.server.read_timeout),
        ("server.shutdown_grace", *shutdown_grace != now.server.shutdown_grace),
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

/// Why `now` must not be put into service at all: the gateway listens where it was started.
pub(super) fn exposes(started: &Config, now: &Config) -> Option<String> {
    let listens = Config { server: Server { listen: started.server.listen, ..now.server.clone() }, ..now.clone() };
    listens.exposed_without_keys().then(|| {
        format!(
            "others can reach {}, and without `auth.keys` everybody may ask; keep the keys, or set \
             `server.allow_unauthenticated: true`",
            started.server.listen
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
        let fixed = "server: {listen: '127.0.0.1:1', workers: 3, read_timeout: 1s, shutdown_grace: 1s}\n\
                     policies: {directory: other, code_cache: kept, revisions: good, copies: kept}\n\
                     cache: {memory: 1MiB, largest: 1KiB, redis: {url: 'redis://:secret@here'}}";
        let told = needed(&config(""), &config(fixed));
        assert_eq!(told.len(), 11);
        assert_eq!(
            told[0],
            "`server.listen` does not reload live: restart the gateway to put the new value into force"
        );
        assert!(!told.concat().contains("secret"));
        assert_eq!(needed(&config(fixed), &config(fixed)), Vec::<String>::new());
    }

    #[test]
    fn keys_may_not_be_taken_away_from_a_public_address() {
        let keys = "auth: {keys: [{name: a, key: sk-a}]}\n";
        let started = config(&format!("server: {{listen: '0.0.0.0:4000'}}\n{keys}"));
        assert_eq!(exposes(&started, &config(keys)), None);
        assert_eq!(exposes(&started, &config("server: {allow_unauthenticated: true}")), None);
        assert_eq!(
            exposes(&started, &config("")).unwrap(),
            "others can reach 0.0.0.0:4000, and without `auth.keys` everybody may ask; keep the keys, or set \
             `server.allow_unauthenticated: true`"
        );
        assert_eq!(exposes(&config(""), &config("")), None);
    }
}
