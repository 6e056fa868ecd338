//! The command line.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

mod check;
mod init;
mod local;
mod models;
mod policy;
mod policy_supply;
mod serve;
mod supervisor;

/// An OpenAI-compatible gateway whose routing is pluggable WebAssembly.
#[derive(Parser)]
#[command(name = "witgate", version, max_term_width = HELP_WIDTH, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve requests
    #[command(after_help = SERVE_HELP)]
    Serve(ServeArgs),
    /// Write a configuration of the model servers that answer here
    #[command(after_help = INIT_HELP)]
    Init(init::InitArgs),
    /// Check a configuration completely, without serving: exit code 0 good, 1 bad
    #[command(after_help = CHECK_HELP)]
    Check(CheckArgs),
    /// Show what is known of models: prices, limits, capabilities
    #[command(after_help = MODELS_HELP)]
    Models(ModelsArgs),
    /// Make, build, test, measure, attack and publish routing policies
    Policy {
        #[command(subcommand)]
        command: Box<policy::PolicyCommand>,
    },
}

#[derive(Args)]
struct ServeArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Listen here instead of at `server.listen`, for example 127.0.0.1:4000
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<std::net::SocketAddr>,
    /// Watch this folder instead of `policies.directory`
    #[arg(long, value_name = "FOLDER")]
    policies: Option<PathBuf>,
    /// Keep in step with the models that servers at http:// addresses have: offer what appears, drop what vanishes.
    /// `watch_models` of a provider says how often
    #[arg(long)]
    watch_models: bool,
}

#[derive(Args)]
struct CheckArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Do not look whether the port is free: the gateway is running
    #[arg(long)]
    running: bool,
}

#[derive(Args)]
struct ModelsArgs {
    /// Show only those whose names hold all of these words
    words: Vec<String>,
    /// Show the deployments of this configuration, and what each is taken for in the catalogue
    #[arg(long, short, value_name = "PATH")]
    config: Option<PathBuf>,
}

#[derive(Args)]
struct ConfigArg {
    /// A YAML file, or a folder whose *.yaml files are read together. Without it: ./witgate.yaml, else
    /// /etc/witgate/witgate.yaml, else a built-in default with a demo provider
    #[arg(long, short, value_name = "PATH", env = "WITGATE_CONFIG")]
    config: Option<PathBuf>,
}

/// Parses the arguments, runs the command, and gives the process's exit code: 0 good, 1 the command failed, 2 wrong
/// usage.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; they go to standard output with code 0.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let result = match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Init(args) => init::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Models(args) => Ok(models::run(args)),
        Command::Policy { command } => policy::run(*command),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("error: {error:#}"));
            if error.is::<WrongUsage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// What is wrong with arguments that the parser takes.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
struct WrongUsage(anyhow::Error);

fn wrong_usage(error: anyhow::Error) -> anyhow::Error {
    WrongUsage(error).into()
}

/// For people, on standard output. Who stops reading, as `head` does, misses nothing that matters.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// For people, on standard error.
#[expect(clippy::print_stderr, reason = "the command line talks to the terminal")]
fn complain(text: &str) {
    eprintln!("{text}");
}

/// Where lines of help are broken at the latest.
const HELP_WIDTH: usize = 100;

const AFTER_HELP: &str = "\
Try it now:
  witgate serve
  curl -s http://127.0.0.1:4000/v1/chat/completions -H 'content-type: application/json' \\
       -d '{\"model\":\"demo\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}'

Drop a policy into policies/ and it decides from the next request on.";

const INIT_HELP: &str = "\
Asks each address who is there (Ollama, llama.cpp, vLLM, SGLang, LM Studio, llama-cpp-python, or another server with \
OpenAI's API) and which models it has. Services whose API key is in the environment (OPENAI_API_KEY, ANTHROPIC_API_KEY, \
...) are added by reference: the key itself is neither sent anywhere nor written.";

const SERVE_HELP: &str = "\
Configuration and policies reload live: save the file, or send SIGHUP. A bad file changes nothing and is reported. \
SIGTERM or Ctrl-C lets the requests in flight end within `server.shutdown_grace`; a second one ends at once. \
The log goes to standard error; RUST_LOG overrides `log.filter`.";

const MODELS_HELP: &str = "\
The list is built in and dated. A deployment takes from it what the configuration does not say; `catalogue` in the \
configuration adds models to it, and says otherwise of those that are in it.

  witgate models claude sonnet
  witgate models --config witgate.yaml";

const CHECK_HELP: &str = "\
Checks syntax, keys and values, references, duplicates, environment variables, policy files (pins and signatures are \
verified, then they are compiled, configured and tried; of a policy from a registry its kept copy) and whether the port \
is free. Nothing is pulled. Every problem is printed as file:line:column with a hint.";
