//! `witgate policy`: for those who write policies. The work is done by [`crate::toolkit`]; here are the arguments, what
//! is printed, and the exit codes: 0 good, 1 something is wrong with the policy, 2 wrong usage.

use std::borrow::Cow;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use witgate_wasm::{BindProblem, Compiling};

use super::{complain, policy_supply, say, wrong_usage};
use crate::app;
use crate::config_files::{ConfigFiles, Overrides};
use crate::toolkit::guest::{Guest, name_of};
use crate::toolkit::project::{self, Grant, Language, Name, Project};
use crate::toolkit::scenario::{self, Scenarios};
use crate::toolkit::scene::{Scene, Script};
use crate::toolkit::{bench, build, fuzz, inspect, new, show, test, verify};

mod ask;
mod help;

/// Make, build, test, measure, attack and publish routing policies
#[derive(Subcommand)]
pub(super) enum PolicyCommand {
    /// Make a project for a policy, which builds and tests as it is
    #[command(after_help = help::NEW)]
    New(NewArgs),
    /// Build a project into a .wasm file, and verify it
    #[command(after_help = help::BUILD)]
    Build {
        /// The project's folder, with its witgate-policy.toml
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Say what a .wasm file is: contract version, hooks, imports, size, settings
    #[command(after_help = help::INSPECT)]
    Inspect {
        /// The file, or the name of a shipped policy
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Print only the JSON Schema of its settings
        #[arg(long, conflicts_with = "json")]
        schema: bool,
    },
    /// Say what a gateway would say when it is given the file: exit code 0 it would serve, 1 it would not
    #[command(after_help = help::VERIFY)]
    Verify(VerifyArgs),
    /// Ask a policy in the situations of a file and compare its answers: exit code 1 when one differs
    #[command(after_help = help::TEST)]
    Test(TestArgs),
    /// Ask a policy once, and print what it was asked, what it decided and why
    #[command(after_help = help::asking())]
    Try(ask::TryArgs),
    /// Measure decisions by the number of candidates, memory and loading
    #[command(after_help = help::BENCH)]
    Bench(BenchArgs),
    /// Ask a policy in made-up situations, to find what it does not stand: exit code 1 when something is found
    #[command(after_help = help::FUZZ)]
    Fuzz(FuzzArgs),
    /// Get a policy out of an OCI registry, check its signature, and say how to pin it
    Pull(policy_supply::PullArgs),
    /// Publish a policy, with the signature beside it, in an OCI registry
    Push(policy_supply::PushArgs),
}

#[derive(Args)]
pub(super) struct NewArgs {
    /// Lower case words with hyphens, for example cheap-at-night
    name: Name,
    /// What to write it in
    #[arg(long, value_name = "LANGUAGE")]
    lang: Language,
    /// What it shall do: router, fallback, filter, scorer, observer
    #[arg(long, value_name = "HOOK,…", value_delimiter = ',', default_value = "router")]
    hooks: Vec<String>,
    /// What it shall read of requests besides numbers
    #[arg(long, value_name = "GRANT,…", value_delimiter = ',')]
    grants: Vec<Grant>,
    /// Make the project's folder in this one
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    dir: PathBuf,
}

#[derive(Args)]
pub(super) struct VerifyArgs {
    /// The policy
    file: PathBuf,
    /// Take deployments, limits, grants and settings from this configuration
    #[arg(long, short, value_name = "PATH")]
    config: Option<PathBuf>,
    #[command(flatten)]
    given: Given,
}

#[derive(Args)]
pub(super) struct TestArgs {
    /// The policy
    file: PathBuf,
    /// The scenarios, YAML
    scenarios: PathBuf,
    /// Only cases and properties whose name holds this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct BenchArgs {
    /// The policy
    file: PathBuf,
    /// Numbers of candidates
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "4,16,64,256", value_parser = candidates)]
    candidates: Vec<usize>,
    /// How long to measure, in all
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    seconds: Duration,
    /// The policy's settings
    #[arg(long, value_name = "JSON", value_parser = settings, default_value = "{}")]
    settings: Value,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct FuzzArgs {
    /// The policy
    file: PathBuf,
    /// Of everything that is made up; without it, another one each time
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How many situations
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    cases: u32,
    /// Only this situation
    #[arg(long, value_name = "N")]
    only: Option<u32>,
    /// The policy's settings
    #[arg(long, value_name = "JSON", value_parser = settings, default_value = "{}")]
    settings: Value,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a policy is given.
#[derive(Args)]
pub(super) struct Given {
    /// Allow it to read these of a request
    #[arg(long, alias = "grants", value_name = "GRANT,…", value_delimiter = ',')]
    grant: Vec<Grant>,
    /// Its settings
    #[arg(long, value_name = "JSON", value_parser = settings)]
    settings: Option<Value>,
}

impl ValueEnum for Language {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()))
    }
}

impl ValueEnum for Grant {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()))
    }
}

pub(super) fn run(command: PolicyCommand) -> anyhow::Result<ExitCode> {
    match command {
        PolicyCommand::New(args) => make(args),
        PolicyCommand::Build { folder } => built(&folder),
        PolicyCommand::Inspect { file, json, schema } => inspected(&file, json, schema),
        PolicyCommand::Verify(args) => verified(args),
        PolicyCommand::Test(args) => tested(&args),
        PolicyCommand::Try(args) => ask::run(&args),
        PolicyCommand::Bench(args) => measured(args),
        PolicyCommand::Fuzz(args) => attacked(args),
        PolicyCommand::Pull(args) => policy_supply::pull(args),
        PolicyCommand::Push(args) => policy_supply::push(args),
    }
}

fn make(args: NewArgs) -> anyhow::Result<ExitCode> {
    let order = new::Order {
        name: args.name,
        language: args.lang,
        hooks: project::hooks(&args.hooks).map_err(wrong_usage)?,
        grants: args.grants,
        parent: args.dir,
    };
    let folder = new::run(&order)?;
    say(&new::next_steps(&order, &folder));
    Ok(ExitCode::SUCCESS)
}

fn built(folder: &Path) -> anyhow::Result<ExitCode> {
    let project = Project::open(folder)?;
    let file = build::run(&project)?;
    let script =
        Script { grants: project.manifest.grants.iter().map(|grant| grant.name().to_owned()).collect(), ..example() };
    let scene = Scene::new(&script)?;
    let guest = Guest::load(&file, &scene)?;
    let asked: Vec<&str> = guest.component.hooks().iter().map(|hook| hook.name()).collect();
    let missing: Vec<&str> =
        project.manifest.hooks.iter().map(String::as_str).filter(|hook| !asked.contains(hook)).collect();
    ensure!(
        missing.is_empty(),
        "{} does not export {}, which `hooks` in {} names; export it in wit/world.wit too, or remove it there",
        file.display(),
        missing.join(", "),
        project::MANIFEST
    );
    let made = format!("{}: {}, with {}", file.display(), show::bytes(guest.component.file_size()), asked.join(", "));
    let Err(error) = guest.bind(&scene, &json!({})) else {
        say(&format!("{made}; a gateway would serve it"));
        return Ok(ExitCode::SUCCESS);
    };
    match &error.problem {
        // It may need settings, or deployments of a kind that is not made up here: that is no fault of the build.
        problem @ (BindProblem::Settings(_) | BindProblem::Refused(_)) => {
            say(&format!(
                "{made}; not tried out, because {problem}; try it with `witgate policy verify {} --settings JSON`, \
                 or with `--config FILE`",
                file.display()
            ));
            Ok(ExitCode::SUCCESS)
        }
        BindProblem::NotGranted { .. } => bail!("{made}, but {error}; add it to `grants` in {}", project::MANIFEST),
        problem @ (BindProblem::Configure(_) | BindProblem::Subscription(_) | BindProblem::Trial { .. }) => {
            let hint = build::hint(&project, problem);
            complain(&format!("{} is built, but a gateway would not serve it: {problem}{hint}", file.display()));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn inspected(file: &Path, json: bool, schema: bool) -> anyhow::Result<ExitCode> {
    let shipped = witgate_shipped::ALL.iter().find(|shipped| Path::new(shipped.name) == file && !file.exists());
    let bytes = match shipped {
        Some(shipped) => Cow::Borrowed(shipped.bytes),
        None => std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?.into(),
    };
    let engine = app::engine(&Scene::new(&example())?.config, None, Compiling::AtOnce)?;
    let component = engine.load(&name_of(file), &bytes).with_context(|| file.display().to_string())?;
    if schema {
        say(&pretty(&inspect::schema(&component)));
    } else if json {
        say(&pretty(&inspect::json(&component, &bytes)));
    } else {
        say(&inspect::text(&component, &bytes));
    }
    Ok(ExitCode::SUCCESS)
}

fn verified(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    let mut files = match args.config {
        Some(path) => ConfigFiles::at(path, Overrides::default()),
        None => ConfigFiles::built_in(None, Overrides::default()),
    };
    let mut config = match files.load() {
        Ok(loaded) => loaded.config,
        Err(problems) => {
            problems.iter().for_each(|problem| complain(problem));
            bail!("{} cannot be used; see above", files.describe());
        }
    };
    let name = name_of(&args.file);
    let granted = |grant| args.given.grant.contains(&grant);
    verify::grant(&mut config, &name, granted(Grant::Headers), granted(Grant::Prompt));
    let uses = verify::uses(&config, &name, args.given.settings);
    let scene = Scene::of(config);
    let guest = Guest::load_with(app::engine(&scene.config, None, Compiling::AtOnce)?, &args.file)?;
    let component = &guest.component;
    let hooks: Vec<&str> = component.hooks().iter().map(|hook| hook.name()).collect();
    say(&format!(
        "policy     {} (revision {}), contract {}, {}\n{}",
        component.name(),
        component.revision(),
        component.contract(),
        hooks.join(", "),
        verify::rules(scene.config.policies.rules_for(&name)),
    ));
    let verified = verify::run(&guest, &args.file, &scene, uses);
    for one in &verified {
        say(&one.text());
    }
    Ok(code(verified.iter().all(|one| one.bound.is_ok())))
}

fn tested(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let scenarios = read_scenarios(&args.scenarios)?;
    let guest = Guest::load(&args.file, &scenarios.scene)?;
    let results = test::run(&guest, &scenarios, args.filter.as_deref());
    ensure!(
        !results.is_empty(),
        "no case or property has {:?} in its name",
        args.filter.as_deref().unwrap_or_default()
    );
    let failed = results.iter().filter(|result| result.failed.is_some()).count();
    let passed = results.len() - failed;
    if args.json {
        let results: Vec<Value> = results.iter().map(test::Tested::json).collect();
        say(&pretty(&json!({
            "policy": &**guest.component.name(),
            "revision": &**guest.component.revision(),
            "passed": passed,
            "failed": failed,
            "results": results,
        })));
    } else {
        for result in &results {
            say(&result.text());
        }
        say(&format!("\n{passed} passed, {failed} failed"));
    }
    Ok(code(failed == 0))
}

fn measured(args: BenchArgs) -> anyhow::Result<ExitCode> {
    let plan = bench::Plan { candidates: args.candidates, time: args.seconds, settings: args.settings };
    let report = bench::run(&args.file, &plan)?;
    say(&if args.json { pretty(&report.json()) } else { report.text() });
    Ok(ExitCode::SUCCESS)
}

fn attacked(args: FuzzArgs) -> anyhow::Result<ExitCode> {
    let guest = Guest::load(&args.file, &Scene::new(&example())?)?;
    let seed = args.seed.unwrap_or_else(|| u64::from(fastrand::u32(..)));
    let plan = fuzz::Plan { seed, cases: args.cases, only: args.only, settings: args.settings };
    let terminal = std::io::stderr().is_terminal();
    let mut told = 0;
    let report = fuzz::run(&guest, &plan, |done, findings| {
        told += 1;
        // A log wants fewer lines than a person.
        if terminal || told % 10 == 0 {
            let (done, cases) = (show::count(u64::from(done)), show::count(u64::from(plan.cases)));
            complain(&format!("{done} of {cases} cases, {findings} kind(s) of findings"));
        }
    })?;
    if args.json {
        say(&pretty(&report.json(&plan)));
        return Ok(code(report.findings.is_empty()));
    }
    let file = args.file.display();
    for finding in &report.findings {
        let hook = finding.hook.map(|hook| format!(" in `{hook}`")).unwrap_or_default();
        let times = show::count(u64::from(finding.times));
        say(&format!(
            "{}{hook}, {times} time(s), for example in case {}: {}",
            finding.kind, finding.case, finding.text
        ));
        if let Some((inputs, _)) = &finding.inputs {
            say(&inputs.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n"));
        }
        say(&format!("  again: witgate policy fuzz {file} {}\n", finding.again(&plan)));
    }
    say(&format!(
        "seed {seed}: {} case(s) in {} made-up gateway(s), {} error(s) declared, {}",
        show::count(u64::from(report.cases)),
        show::count(u64::from(report.gateways)),
        show::count(u64::from(report.declared)),
        match report.findings.len() {
            0 => "nothing found".to_owned(),
            kinds => format!("{kinds} kind(s) of findings"),
        },
    ));
    Ok(code(report.findings.is_empty()))
}

fn read_scenarios(path: &Path) -> anyhow::Result<Scenarios> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    scenario::read(&path.display().to_string(), &text)
}

/// A gateway for when nobody says anything.
fn example() -> Script {
    let deployments =
        json!({"large@here": {"price": {"input": 2.5, "output": 10}}, "small@here": {}, "small@there": {}});
    Script { deployments: deployments.as_object().cloned().unwrap_or_default(), ..Script::default() }
}

fn code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

fn settings(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err("settings are a JSON object, for example '{\"attempts\": 2}'".to_owned()),
        Err(error) => Err(format!("it is not JSON: {error}; for example '{{\"attempts\": 2}}'")),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (LEAST_SECONDS..=3600.0).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("write a number of seconds, {LEAST_SECONDS} to 3600: in less, too few calls are made"))
}

fn candidates(text: &str) -> Result<usize, String> {
    let number = text.parse::<usize>().ok().filter(|number| (1..=MOST_CANDIDATES).contains(number));
    number.ok_or_else(|| format!("write numbers from 1 to {MOST_CANDIDATES}, with commas between"))
}

const MOST_CANDIDATES: usize = 4096;
/// Of a measurement.
const LEAST_SECONDS: f64 = 0.1;
