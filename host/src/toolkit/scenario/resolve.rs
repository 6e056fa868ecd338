//! Looks up every name of a scenario file and checks every number.

use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail, ensure};
use serde_json::Value;
use witgate_core::config::suggest;
use witgate_core::decision::{Facts, FailedAttempt, INTEGER_LIMIT, Readings, Stamp};
use witgate_core::outcome::OutcomeRow;
use witgate_core::vocabulary::{Ending, Fact, FailureKind, OutcomeField, Signal};

use super::raw::{Named, RawCase, RawFailure, RawOutcome, RawProperty, RawRequest, RawScenarios};
use super::{Case, Scenarios, expect, property};
use crate::toolkit::scene::Scene;
use crate::toolkit::situation::{Situation, Texts};

pub(super) fn scenarios(raw: RawScenarios) -> anyhow::Result<Scenarios> {
    let scene = Scene::new(&raw.script())?;
    ensure!(
        !raw.cases.is_empty() || !raw.properties.is_empty(),
        "there are neither `cases` nor `properties`, so nothing would be tested"
    );
    let cases = raw.cases.into_iter().map(|raw_case| {
        let context = format!("case `{}`", raw_case.name);
        case(raw_case, &scene, &raw.settings).context(context)
    });
    let cases = cases.collect::<anyhow::Result<Vec<Case>>>()?;
    let properties = raw.properties.into_iter().map(|raw_property| {
        let context = format!("property `{}`", raw_property.name);
        property_of(raw_property, &scene, &raw.settings).context(context)
    });
    let properties = properties.collect::<anyhow::Result<Vec<_>>>()?;
    let mut names: Vec<&str> = cases.iter().map(|case| &*case.name).collect();
    names.extend(properties.iter().map(|property| &*property.name));
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!("two cases or properties are named `{}`", twice[0]);
    }
    Ok(Scenarios { scene, cases, properties })
}

fn case(raw: RawCase, scene: &Scene, settings: &Value) -> anyhow::Result<Case> {
    let mut situation = situation(scene, raw.candidates, raw.facts, raw.request)?;
    let failures = raw.failures.into_iter().map(|failure| failed(failure, scene));
    situation.failures = failures.collect::<anyhow::Result<_>>().context("failures")?;
    situation.stamp.attempt = u32::try_from(situation.failures.len()).unwrap_or(INTEGER_LIMIT - 1);
    let outcomes = raw.outcomes.into_iter().map(|outcome| row(outcome, scene));
    situation.outcomes = outcomes.collect::<anyhow::Result<_>>().context("outcomes")?;
    Ok(Case {
        name: raw.name,
        settings: object(raw.settings.unwrap_or_else(|| settings.clone()))?,
        expect: expect::read(raw.expect, scene).context("expect")?,
        situation,
    })
}

fn property_of(raw: RawProperty, scene: &Scene, settings: &Value) -> anyhow::Result<property::Property> {
    let rule = property::rule(&raw, scene)?;
    let stated = raw.candidates.as_ref().map(|Named(candidates)| candidates.len());
    ensure!(stated != Some(0), "`candidates` is empty");
    Ok(property::Property {
        over: raw.over.unwrap_or_else(|| rule.usual_over()),
        rule,
        settings: object(raw.settings.unwrap_or_else(|| settings.clone()))?,
        situation: situation(scene, raw.candidates, raw.facts, raw.request)?,
        name: raw.name,
    })
}

fn object(settings: Value) -> anyhow::Result<Value> {
    ensure!(settings.is_object(), "`settings` is not a map");
    Ok(settings)
}

fn situation(
    scene: &Scene,
    candidates: Option<Named<Option<Named<f64>>>>,
    facts: Named<f64>,
    request: RawRequest,
) -> anyhow::Result<Situation> {
    let mut readings = Readings::default();
    let targets = match candidates {
        None => scene.targets(),
        Some(Named(candidates)) => {
            ensure!(!candidates.is_empty(), "`candidates` is empty; a policy always gets at least one");
            let mut targets = Vec::new();
            for (id, signals) in candidates {
                let target = scene.target(&id).context("candidates")?;
                targets.push(target);
                for (name, value) in signals.unwrap_or_default().0 {
                    let signal = signal(&name).with_context(|| format!("candidate `{id}`"))?;
                    readings.set(target, signal, finite(value, &name)?);
                }
            }
            targets
        }
    };
    let mut known = Facts::default();
    for (name, value) in facts.0 {
        known.set(fact(&name)?, finite(value, &name)?);
    }
    if let Some(tenant) = &request.tenant {
        let id = scene.names.tenant_id(tenant);
        ensure!(
            id > 0,
            "there is no tenant `{tenant}`; add it to `tenants`, for example `tenants: {{{tenant}: {{}}}}`"
        );
        known.set(Fact::Tenant, f64::from(id));
    }
    if let Some(model) = &request.model {
        known.set(Fact::Model, f64::from(scene.names.model_id(model)));
    }
    if let Some(route) = &request.route {
        let routes: Vec<&str> = scene.fleet.routes().iter().map(|route| &**route).collect();
        let place = routes.iter().position(|known| known == route);
        let place = place.ok_or_else(|| anyhow!("there is no route `{route}`; {}", suggest(route, routes)))?;
        known.set(Fact::Route, place as f64);
    }
    let below = |value: u32, name: &str| {
        ensure!(value < INTEGER_LIMIT, "`{name}` is {value}; it must be below 2^31 = {INTEGER_LIMIT}");
        Ok(value)
    };
    Ok(Situation {
        stamp: Stamp {
            decision: below(request.decision.unwrap_or(1), "decision")?,
            attempt: 0,
            seed: below(request.seed.unwrap_or(1), "seed")?,
            now_ms: finite(request.now.map_or(NOW_MS, |moment| moment.0), "now")?,
        },
        candidates: targets,
        readings: Arc::new(readings),
        facts: known,
        texts: Arc::new(Texts { headers: request.headers.0, prompt: request.prompt }),
        failures: Vec::new(),
        outcomes: Vec::new(),
    })
}

fn failed(raw: RawFailure, scene: &Scene) -> anyhow::Result<FailedAttempt> {
    Ok(FailedAttempt {
        target: scene.target(&raw.target)?,
        kind: named(&raw.kind, "kind of failure", FailureKind::ALL, |kind| kind.name())?,
        status: raw.status,
        retry_after_ms: finite(raw.retry_after_ms, "retry-after-ms")?,
        elapsed_ms: finite(raw.elapsed_ms, "elapsed-ms")?,
        tokens_sent: raw.tokens_sent,
    })
}

fn row(raw: RawOutcome, scene: &Scene) -> anyhow::Result<OutcomeRow> {
    let mut row = OutcomeRow([0.0; OutcomeField::COUNT]);
    let mut set = |field: OutcomeField, value: f64| row.0[field as usize] = value;
    for field in OutcomeField::ALL {
        set(*field, field.neutral());
    }
    for (name, value) in &raw.numbers {
        let field = named(name, "outcome field", OutcomeField::ALL, |field| field.name())?;
        let value = value.as_f64().ok_or_else(|| anyhow!("`{name}` is {value}, which is not a number"))?;
        set(field, finite(value, name)?);
    }
    set(OutcomeField::Target, f64::from(scene.target(&raw.target)?));
    if let Some(kind) = &raw.failure {
        let kind = named(kind, "kind of failure", FailureKind::ALL, |kind| kind.name())?;
        set(OutcomeField::Failure, f64::from(kind.index()));
        set(OutcomeField::Ending, f64::from(Ending::Failed.index()));
    }
    if let Some(ending) = &raw.ending {
        let ending = named(ending, "ending", Ending::ALL, |ending| ending.name())?;
        set(OutcomeField::Ending, f64::from(ending.index()));
    }
    Ok(row)
}

/// The signal of this name.
///
/// # Errors
/// When there is none; says which was probably meant.
pub fn signal(name: &str) -> anyhow::Result<Signal> {
    named(name, "signal", Signal::ALL, |signal| signal.name())
}

/// The fact of this name.
///
/// # Errors
/// When there is none; says which was probably meant.
pub fn fact(name: &str) -> anyhow::Result<Fact> {
    named(name, "fact", Fact::ALL, |fact| fact.name())
}

fn named<T: Copy>(name: &str, what: &str, all: &[T], name_of: fn(T) -> &'static str) -> anyhow::Result<T> {
    let found = all.iter().copied().find(|entry| name_of(*entry) == name);
    found.ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|entry| name_of(*entry)).collect();
        // The unit at the end is easily forgotten.
        let with_unit = known.iter().find(|known| known.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')));
        match with_unit {
            Some(known) => anyhow!("there is no {what} `{name}`; did you mean `{known}`?"),
            None => anyhow!("there is no {what} `{name}`; {}", suggest(name, known)),
        }
    })
}

pub(super) fn finite(value: f64, name: &str) -> anyhow::Result<f64> {
    ensure!(value.is_finite(), "`{name}` is {value}; a policy is never fed what is not a finite number");
    Ok(value)
}

/// 2026-01-01.
const NOW_MS: f64 = 1_767_225_600_000.0;
