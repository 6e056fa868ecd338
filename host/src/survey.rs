//! Asks addresses who answers there and what it serves. Costs the server nothing, and is never sent a key.

use std::time::Duration;

use http::{HeaderMap, Uri};
use witgate_core::survey::{self, Kind, Listed, Server};

use crate::upstream::{DiscoverError, fetch};

/// Who is at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A model server.
    Server(Server),
    /// A gateway like this one.
    Gateway,
    /// Somebody who wants a key.
    Locked,
    /// Nobody, or something else.
    Nobody,
}

/// Where model servers usually listen: Ollama, llama.cpp, vLLM and llama-cpp-python, a second of these, LM Studio,
/// SGLang.
pub const USUAL_PORTS: [u16; 7] = [11434, 8080, 8000, 8001, 8081, 1234, 30000];

/// Looks at `http://host:port`, at most this long for each question.
pub async fn look(address: &str, patience: Duration) -> Seen {
    let Ok(base) = address.parse::<Uri>() else { return Seen::Nobody };
    let ask = async |path: &str| fetch(&base, path, HeaderMap::new(), patience).await;
    let listed = match ask("/v1/models").await {
        Ok(answer) => survey::of_models(&answer),
        Err(DiscoverError::Status { status: 401 | 403, .. }) => return Seen::Locked,
        Err(_) => None,
    };
    let (kind, mut models) = match listed {
        Some(Listed::Server(kind, models)) => (kind, models),
        Some(Listed::Gateway) => return Seen::Gateway,
        None => return Seen::Nobody,
    };
    let kind = match kind {
        // One without a model has nobody who owns it.
        Kind::Ollama | Kind::Other => match ask("/api/tags").await.ok().and_then(|tags| survey::of_tags(&tags)) {
            Some(tags) => {
                models = tags;
                Kind::Ollama
            }
            None => kind,
        },
        Kind::LlamaCpp => {
            if let (Ok(props), [model]) = (ask("/props").await, &mut models[..]) {
                survey::of_props(&props, model);
            }
            kind
        }
        Kind::LlamaCppPython | Kind::Vllm | Kind::Sglang | Kind::LmStudio => kind,
    };
    Seen::Server(Server { kind, address: address.to_owned(), models })
}

/// Looks at all of them at once; in their order.
pub async fn look_at_all(addresses: &[String], patience: Duration) -> Vec<Seen> {
    futures_util::future::join_all(addresses.iter().map(|address| look(address, patience))).await
}

/// `http://host:port`, where an IPv6 address has its brackets.
pub fn address(host: &str, port: u16) -> String {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.contains(':') { format!("http://[{bare}]:{port}") } else { format!("http://{bare}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_has_brackets_once() {
        assert_eq!(address("127.0.0.1", 8080), "http://127.0.0.1:8080");
        assert_eq!(address("::1", 8080), "http://[::1]:8080");
        assert_eq!(address("[::1]", 8080), "http://[::1]:8080");
    }
}
