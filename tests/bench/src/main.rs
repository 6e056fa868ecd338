//! Benchmarks of Witgate that anyone can run: `make bench`.
//!
//! Everything is compared with something else that ran on the same machine at the same time: a policy as WebAssembly
//! with the same code natively, the gateway with nginx and with no gateway at all. Figures without such a partner say
//! little on a machine that others use too.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tokio::task::LocalSet;

mod bounds;
mod client;
mod cores;
mod decision;
mod embeddings;
mod estimate;
mod failover;
mod failures;
mod gateway;
mod report;
mod stats;
mod swap;
mod upstream;
mod wire;

use report::{Section, progress};

// The gateway's own allocator, so that decisions cost here what they cost there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Benchmarks of Witgate.
#[derive(Parser)]
#[command(name = "witgate-bench", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything below that measures, one after the other
    All {
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        decision: decision::Options,
        #[command(flatten)]
        gateway: gateway::Options,
        #[command(flatten)]
        swap: swap::Options,
        #[command(flatten)]
        failures: failures::Options,
        #[command(flatten)]
        embeddings: embeddings::Options,
    },
    /// One decision of each policy, as WebAssembly and natively
    Decision {
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        options: decision::Options,
    },
    /// The same policy in every language: its file, its loads, an instance, a decision
    Languages {
        /// Short runs, to see whether everything works; the results are only printed
        #[arg(long)]
        quick: bool,
    },
    /// The gateway beside nginx: throughput, CPU, added latency, streams, memory
    Gateway {
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        options: gateway::Options,
    },
    /// Policies swapped under load
    Swap {
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        options: swap::Options,
        #[command(flatten)]
        place: gateway::Place,
    },
    /// Bounds: a policy that runs away, memory of streams
    Bounds {
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        place: gateway::Place,
    },
    /// Providers that fail: what clients notice, what upstreams get, how soon it is noticed and over
    Failures {
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        options: failures::Options,
        #[command(flatten)]
        place: gateway::Place,
    },
    /// What a failover before the first byte adds to the failed attempt's own time
    Failover {
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        place: gateway::Place,
    },
    /// Small requests for embeddings, each by itself and sent as one, at a real llama.cpp server
    Embeddings {
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        options: embeddings::Options,
        #[command(flatten)]
        place: gateway::Place,
    },
    /// Reading a request and estimating its tokens, beside counting them exactly
    Estimate {
        /// Short runs, to see whether everything works
        #[arg(long)]
        quick: bool,
    },
    /// The mock model server that `gateway` and `swap` use
    Upstream {
        /// Where to listen
        #[arg(required = true)]
        addresses: Vec<SocketAddr>,
        /// Milliseconds before the first byte of each answer
        #[arg(long, default_value_t = 0)]
        delay_ms: u64,
        /// Milliseconds between the chunks of a stream
        #[arg(long, default_value_t = 0)]
        chunk_delay_ms: u64,
    },
}

#[derive(Args)]
struct Output {
    /// Short runs, to see whether everything works; the results are only printed
    #[arg(long)]
    quick: bool,
    /// The Markdown file whose sections are written again
    #[arg(long, value_name = "FILE", default_value = "docs/benchmarks.md")]
    write: PathBuf,
}

impl Output {
    fn keep(&self, section: &Section) -> anyhow::Result<()> {
        section.print();
        if self.quick { Ok(()) } else { section.write(&self.write) }
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        Command::All { output, decision, gateway, swap, failures, embeddings } => {
            output.keep(&decision::run(&decision, output.quick)?)?;
            languages(output.quick)?;
            output.keep(&LocalSet::new().block_on(&runtime, gateway::run(&gateway, output.quick))?)?;
            output.keep(&LocalSet::new().block_on(&runtime, swap::run(&swap, &gateway.place, output.quick))?)?;
            output.keep(&LocalSet::new().block_on(&runtime, bounds::run(&gateway.place, output.quick))?)?;
            output
                .keep(&LocalSet::new().block_on(&runtime, failures::run(&failures, &gateway.place, output.quick))?)?;
            output.keep(&LocalSet::new().block_on(&runtime, failover::run(&gateway.place, output.quick))?)?;
            let embeddings = embeddings::run(&embeddings, &gateway.place, output.quick);
            output.keep(&LocalSet::new().block_on(&runtime, embeddings)?)
        }
        Command::Decision { output, options } => output.keep(&decision::run(&options, output.quick)?),
        Command::Languages { quick } => languages(quick),
        Command::Gateway { output, options } => {
            output.keep(&LocalSet::new().block_on(&runtime, gateway::run(&options, output.quick))?)
        }
        Command::Swap { output, options, place } => {
            output.keep(&LocalSet::new().block_on(&runtime, swap::run(&options, &place, output.quick))?)
        }
        Command::Bounds { output, place } => {
            output.keep(&LocalSet::new().block_on(&runtime, bounds::run(&place, output.quick))?)
        }
        Command::Failures { output, options, place } => {
            output.keep(&LocalSet::new().block_on(&runtime, failures::run(&options, &place, output.quick))?)
        }
        Command::Failover { output, place } => {
            output.keep(&LocalSet::new().block_on(&runtime, failover::run(&place, output.quick))?)
        }
        Command::Embeddings { output, options, place } => {
            output.keep(&LocalSet::new().block_on(&runtime, embeddings::run(&options, &place, output.quick))?)
        }
        Command::Estimate { quick } => estimate::run(quick),
        Command::Upstream { addresses, delay_ms, chunk_delay_ms } => {
            let pace =
                upstream::Pace { first: Duration::from_millis(delay_ms), chunk: Duration::from_millis(chunk_delay_ms) };
            Ok(runtime.block_on(upstream::serve(&addresses, pace))?)
        }
    }
}

/// These results have a place of their own, beside the policies.
fn languages(quick: bool) -> anyhow::Result<()> {
    let section = decision::languages(quick)?;
    section.print();
    if quick { Ok(()) } else { section.write(Path::new(decision::LANGUAGES_FILE)) }
}

/// A loopback address that was free a moment ago.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
