//! `witgate init`: looks who answers, and writes a configuration of it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use witgate_core::config::presets::{PRESETS, Preset};
use witgate_core::survey::{Server, Written, configuration};

use super::{complain, say};
use crate::survey::{Seen, USUAL_PORTS, address, look_at_all};

#[derive(Args)]
pub(super) struct InitArgs {
    /// Where to write the configuration; `-` is standard output
    #[arg(long, short, value_name = "PATH", default_value = "witgate.yaml")]
    output: PathBuf,
    /// Write over a file that is there already
    #[arg(long)]
    force: bool,
    /// A host to look at; may be given more than once
    #[arg(long = "host", value_name = "HOST", default_value = "127.0.0.1")]
    hosts: Vec<String>,
    /// Ports to look at, separated by commas
    #[arg(long = "port", value_name = "PORTS", value_delimiter = ',', default_values_t = USUAL_PORTS)]
    ports: Vec<u16>,
}

pub(super) fn run(args: &InitArgs) -> anyhow::Result<ExitCode> {
    let to_stdout = args.output == Path::new("-");
    if !to_stdout && !args.force && args.output.exists() {
        let path = args.output.display();
        anyhow::bail!("{path} is there already; give --force to write over it, or --output to write elsewhere");
    }
    let servers = survey(args)?;
    let services = services(|variable| std::env::var(variable).is_ok_and(|key| !key.is_empty()));
    for preset in &services {
        complain(&format!("{} is set: {}", preset.key.unwrap_or_default(), preset.title));
    }
    if servers.is_empty() && services.is_empty() {
        anyhow::bail!(
            "no model server answers, and no key of a known service is in the environment. Start a server, set for \
             example OPENAI_API_KEY, or look elsewhere with --host and --port; `witgate serve` alone serves a demo"
        );
    }
    let text = configuration(&servers, &services, Written::ForPeople);
    if to_stdout {
        std::io::stdout().write_all(text.as_bytes()).context("standard output")?;
        return Ok(ExitCode::SUCCESS);
    }
    write(&args.output, &text, args.force)?;
    let path = args.output.display();
    let models: usize = servers.iter().map(|server| server.models.len()).sum();
    say(&format!(
        "{path}: {} provider(s), {models} model(s). Next: `witgate check --config {path}`, `witgate serve --config {path}`",
        servers.len() + services.len(),
    ));
    Ok(ExitCode::SUCCESS)
}

/// The servers that have something to serve; what is seen is said as it is.
fn survey(args: &InitArgs) -> anyhow::Result<Vec<Server>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the async runtime")?;
    let ports = |host: &str| args.ports.iter().map(|port| address(host, *port)).collect::<Vec<_>>();
    let addresses: Vec<String> = args.hosts.iter().flat_map(|host| ports(host)).collect();
    complain(&format!("looking at {}", addresses.join(", ")));
    let seen = runtime.block_on(look_at_all(&addresses, PATIENCE));
    let mut servers = Vec::new();
    for (address, seen) in addresses.iter().zip(seen) {
        match seen {
            Seen::Server(server) if server.models.is_empty() => {
                complain(&format!("{address}: {}, without a model: left out", server.kind.title()));
            }
            Seen::Server(server) => {
                let models: Vec<&str> = server.models.iter().map(|model| &*model.id).collect();
                complain(&format!("{address}: {}: {}", server.kind.title(), models.join(", ")));
                servers.push(server);
            }
            Seen::Gateway => complain(&format!("{address}: a Witgate gateway: left out")),
            Seen::Locked => {
                complain(&format!("{address}: a server that wants a key: left out; add it with its `api_key`"));
            }
            Seen::Nobody => {}
        }
    }
    Ok(servers)
}

/// The services whose keys are at hand and whose address is the same for all.
fn services(is_set: impl Fn(&str) -> bool) -> Vec<&'static Preset> {
    let at_hand = |preset: &&Preset| preset.base_url.is_some() && preset.key.is_some_and(&is_set);
    PRESETS.iter().filter(at_hand).collect()
}

/// Nothing that is there is written over by mistake, not even what has come to be since it was looked for.
fn write(path: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("{} cannot be written", path.display()))
}

/// For each question to each server.
const PATIENCE: Duration = Duration::from_secs(1);
