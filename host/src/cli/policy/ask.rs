//! `witgate policy try`: one question, out of arguments or out of a file of scenarios.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use witgate_core::decision::{Facts, FailedAttempt, INTEGER_LIMIT, Readings, Stamp};
use witgate_core::vocabulary::FailureKind;

use super::{Given, code, pretty, read_scenarios, say, wrong_usage};
use crate::clock;
use crate::toolkit::guest::{self, Guest};
use crate::toolkit::listen::listen;
use crate::toolkit::scenario;
use crate::toolkit::scene::{Scene, Script};
use crate::toolkit::show::{self, Inputs};
use crate::toolkit::situation::{Situation, Texts};

#[derive(Args)]
pub(in crate::cli) struct TryArgs {
    /// The policy
    file: PathBuf,
    /// Somebody who may be chosen, and its signals: 'gpt@here' or 'gpt@here=in-flight:3,usd-per-mtok-out:10'
    #[arg(long, value_name = "ID[=SIGNAL:NUMBER,…]", required_unless_present = "scenarios", num_args = 1..)]
    candidates: Vec<String>,
    /// A number about the request, for example prompt-tokens=1200
    #[arg(long, value_name = "FACT=NUMBER", num_args = 1..)]
    facts: Vec<String>,
    /// Somebody who has failed before, and how, for example gpt@here=rate-limited; `fallback` is asked then
    #[arg(long, value_name = "ID=KIND", num_args = 1..)]
    failed: Vec<String>,
    /// A header of the request, for example 'x-team: red'
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// The prompt of the request
    #[arg(long, value_name = "TEXT", default_value = "")]
    prompt: String,
    /// The randomness of the decision
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(..i64::from(INTEGER_LIMIT)))]
    seed: u32,
    /// The time of the decision, for example 2026-01-01T22:30:00Z; without it, now
    #[arg(long, value_name = "TIME")]
    now: Option<String>,
    /// Take the question out of this file of scenarios
    #[arg(long, value_name = "FILE", requires = "case", conflicts_with_all = ["candidates", "facts", "failed", "header", "prompt", "seed", "now"])]
    scenarios: Option<PathBuf>,
    /// The case of that file
    #[arg(long, value_name = "NAME", requires = "scenarios")]
    case: Option<String>,
    #[command(flatten)]
    given: Given,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &TryArgs) -> anyhow::Result<ExitCode> {
    let (scene, situation, settings) = match (&args.scenarios, &args.case) {
        (Some(file), Some(name)) => {
            let scenarios = read_scenarios(file)?;
            let case = scenarios.case(name)?;
            let (situation, settings) = (case.situation.clone(), case.settings.clone());
            (scenarios.scene, situation, settings)
        }
        _ => {
            let scene = scene(args).map_err(wrong_usage)?;
            let situation = situation(args, &scene).map_err(wrong_usage)?;
            (scene, situation, json!({}))
        }
    };
    let settings = args.given.settings.clone().unwrap_or(settings);
    let guest = Guest::load(&args.file, &scene)?;
    let policy = guest.bind(&scene, &settings).map_err(|error| guest::explained(&error))?;
    ensure!(
        !situation.hooks(policy.hooks()).is_empty(),
        "the policy exports {}, which is not asked {}",
        policy.hooks().iter().map(|hook| format!("`{hook}`")).collect::<Vec<_>>().join(", "),
        if situation.failures.is_empty() {
            "before something has failed; give `--failed`"
        } else {
            "after failures; leave out `--failed`"
        },
    );
    let (replies, log) = listen(|| situation.ask(&policy));
    let inputs = Inputs::new(&scene, &situation, Some(&policy), &replies);
    let answer = show::answers(&replies, &scene, &situation.candidates);
    let good = replies.iter().all(|reply| reply.answer.is_ok());
    if args.json {
        let asked: Vec<Value> = replies
            .iter()
            .map(|reply| json!({"hook": reply.hook.name(), "ns": u64::try_from(reply.elapsed.as_nanos()).unwrap_or(u64::MAX)}))
            .collect();
        say(&pretty(&json!({
            "policy": &**policy.name(),
            "revision": &**policy.revision(),
            "inputs": inputs.json(),
            "asked": asked,
            "answer": answer,
            "reason": show::reason(&replies),
            "log": log,
            "failed": !good,
        })));
        return Ok(code(good));
    }
    let times = replies.iter().map(|reply| format!("{} in `{}`", show::time(reply.elapsed), reply.hook));
    let mut lines = vec![inputs.text(), String::new(), format!("answer    {answer}")];
    if let Some(reason) = show::reason(&replies) {
        lines.push(format!("reason    {reason}"));
    }
    lines.push(format!("took      {}", times.collect::<Vec<_>>().join(", ")));
    lines.extend(log.iter().map(|line| format!("log       {line}")));
    say(&lines.join("\n"));
    Ok(code(good))
}

/// The candidates are all there is.
fn scene(args: &TryArgs) -> anyhow::Result<Scene> {
    let mut script =
        Script { grants: args.given.grant.iter().map(|grant| grant.name().to_owned()).collect(), ..Script::default() };
    for candidate in &args.candidates {
        let id = candidate.split_once('=').map_or(candidate.as_str(), |(id, _)| id);
        ensure!(script.deployments.insert(id.to_owned(), json!({})).is_none(), "the candidate `{id}` is there twice");
    }
    Scene::new(&script)
}

fn situation(args: &TryArgs, scene: &Scene) -> anyhow::Result<Situation> {
    let mut readings = Readings::default();
    for (target, candidate) in (0..).zip(&args.candidates) {
        let Some((id, signals)) = candidate.split_once('=') else { continue };
        for entry in signals.split(',').filter(|entry| !entry.is_empty()) {
            let (name, value) = pair(entry, ':', "SIGNAL:NUMBER").with_context(|| format!("candidate `{id}`"))?;
            let signal = scenario::signal(name).with_context(|| format!("candidate `{id}`"))?;
            readings.set(target, signal, number(value).with_context(|| format!("candidate `{id}`: `{name}`"))?);
        }
    }
    let mut facts = Facts::default();
    for entry in &args.facts {
        let (name, value) = pair(entry, '=', "FACT=NUMBER")?;
        facts.set(scenario::fact(name)?, number(value).with_context(|| format!("`{name}`"))?);
    }
    let failures = args.failed.iter().map(|entry| {
        let (id, kind) = pair(entry, '=', "ID=KIND")?;
        let known = || FailureKind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>();
        let kind = FailureKind::from_name(kind).ok_or_else(|| {
            anyhow!("there is no kind of failure `{kind}`; {}", witgate_core::config::suggest(kind, known()))
        })?;
        Ok(FailedAttempt {
            target: scene.target(id)?,
            kind,
            status: 0,
            retry_after_ms: 0.0,
            elapsed_ms: 0.0,
            tokens_sent: 0,
        })
    });
    let failures = failures.collect::<anyhow::Result<Vec<_>>>()?;
    let headers = args.header.iter().map(|entry| {
        let (name, value) = pair(entry, ':', "NAME: VALUE")?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    });
    let now_ms = match &args.now {
        None => clock::wall_ms(),
        Some(text) => match scenario::moment(text) {
            Some(moment) => moment,
            None => bail!("`--now` is `{text}`, which is not a time such as 2026-01-01T22:30:00Z"),
        },
    };
    Ok(Situation {
        stamp: Stamp { decision: 1, attempt: u32::try_from(failures.len()).unwrap_or(0), seed: args.seed, now_ms },
        candidates: scene.targets(),
        readings: Arc::new(readings),
        facts,
        texts: Arc::new(Texts { headers: headers.collect::<anyhow::Result<_>>()?, prompt: args.prompt.clone() }),
        failures,
        outcomes: Vec::new(),
    })
}

fn pair<'t>(text: &'t str, between: char, shape: &str) -> anyhow::Result<(&'t str, &'t str)> {
    text.split_once(between).ok_or_else(|| anyhow!("`{text}` is not of the form {shape}"))
}

fn number(text: &str) -> anyhow::Result<f64> {
    let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| anyhow!("`{text}` is not a finite number"))
}
