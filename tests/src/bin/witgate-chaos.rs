//! Trouble of every kind for a gateway under load: `make chaos`.

#![expect(clippy::print_stdout, reason = "the report is what this program is for")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use witgate_tests::chaos::{self, Options};

/// Runs a gateway under load while everything around it fails, and says what did not hold.
#[derive(Parser)]
#[command(name = "witgate-chaos", max_term_width = 100)]
struct Cli {
    /// How long the load goes on, in seconds
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Makes the same schedule as the run that printed it
    #[arg(long)]
    seed: Option<u64>,
    /// The gateway. Without it: `witgate-under-test` beside this program
    #[arg(long, value_name = "FILE")]
    witgate: Option<PathBuf>,
    /// A Python that can run llama.cpp's server
    #[arg(long, value_name = "FILE", default_value = "target/venv/bin/python")]
    python: PathBuf,
    /// Only scripted upstreams, no llama.cpp
    #[arg(long)]
    scripted_only: bool,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let seed = cli.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let beside = || std::env::current_exe().map(|program| program.with_file_name("witgate-under-test"));
    let Ok(program) = cli.witgate.map_or_else(beside, Ok) else { return ExitCode::FAILURE };
    let python = (!cli.scripted_only).then_some(cli.python);
    println!("chaos for {} s; the same again: --seed {seed} --seconds {}", cli.seconds, cli.seconds);
    let report = chaos::run(&Options { seed, length: Duration::from_secs(cli.seconds), program, python }).await;
    for line in report.lines.iter().chain(&report.wrong) {
        println!("{line}");
    }
    if report.wrong.is_empty() {
        println!("all of it held");
        return ExitCode::SUCCESS;
    }
    println!("{} things did not hold (seed {seed})", report.wrong.len());
    ExitCode::FAILURE
}
