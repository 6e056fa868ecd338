//! Without a configuration: the built-in one, and whatever model servers answer at their usual local ports.

use std::time::Duration;

use witgate_core::config::SourceFile;
use witgate_core::survey::{Server, Written, configuration};

use super::complain;
use crate::config_files::{ConfigFiles, Overrides};
use crate::survey::{Seen, USUAL_PORTS, address, look_at_all};

/// The built-in configuration, and a provider for each local server that answers.
pub(super) fn with_local_servers(overrides: Overrides) -> ConfigFiles {
    let found = find_all();
    for server in &found {
        let models: Vec<&str> = server.models.iter().map(|model| &*model.id).collect();
        complain(&format!("found {} at {}: {}", server.kind.title(), server.address, models.join(", ")));
    }
    let text = || configuration(&found, &[], Written::ForTheProgram);
    let more = (!found.is_empty()).then(|| SourceFile::new("local servers", text()));
    ConfigFiles::built_in(more, overrides)
}

fn find_all() -> Vec<Server> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("local servers are not looked for: {error}"));
            return Vec::new();
        }
    };
    let addresses = USUAL_PORTS.map(|port| address("127.0.0.1", port));
    let seen = runtime.block_on(look_at_all(&addresses, PATIENCE));
    // Nothing there, or something else: both are usual, and neither is worth a word.
    let servers = seen.into_iter().filter_map(|seen| match seen {
        Seen::Server(server) if !server.models.is_empty() => Some(server),
        Seen::Server(_) | Seen::Gateway | Seen::Locked | Seen::Nobody => None,
    });
    servers.collect()
}

const PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use witgate_core::survey::{Kind, Model};

    use super::*;

    #[test]
    fn what_is_found_joins_the_built_in_configuration() {
        let model = |id: &&str| Model { id: (*id).to_owned(), ..Model::default() };
        let server = |kind, port, models: &[&str]| Server {
            kind,
            address: address("127.0.0.1", port),
            models: models.iter().map(model).collect(),
        };
        let found = [server(Kind::Ollama, 11434, &["q\"3:8b", "both"]), server(Kind::LlamaCpp, 8080, &["both"])];
        let more = SourceFile::new("local servers", configuration(&found, &[], Written::ForTheProgram));
        let loaded = ConfigFiles::built_in(Some(more), Overrides::default()).load().expect("a good configuration");
        let table = witgate_core::routes::RouteTable::new(&loaded.config);
        let deployments = |model| table.resolve(model).map_or(0, |found| found.deployments.len());
        assert_eq!((deployments("both"), deployments("q\"3:8b")), (2, 1));
    }
}
