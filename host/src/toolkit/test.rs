//! `witgate policy test`: a policy against a file of scenarios.
//!
//! Every case gets instances and cells of its own, so their order does not matter.

use serde_json::{Value, json};
use witgate_core::decision::INTEGER_LIMIT;

use super::draw::{Draw, Manner};
use super::guest::Guest;
use super::listen::listen;
use super::scenario::{Case, Mismatch, Property, Rule, Scenarios, Wanted};
use super::scene::Scene;
use super::show::{self, Inputs};
use super::situation::{Reply, Situation, chosen};
use super::twins::Twins;

/// What came of one case or property.
pub struct Tested {
    /// Its name.
    pub name: String,
    /// What was wrong, if something was.
    pub failed: Option<Box<Failed>>,
}

/// What was asked, and how the answer differs.
pub struct Failed {
    inputs: Option<(String, Value)>,
    mismatches: Vec<Mismatch>,
    reason: Option<String>,
}

/// Runs the cases and properties whose name holds `filter`.
pub fn run(guest: &Guest, scenarios: &Scenarios, filter: Option<&str>) -> Vec<Tested> {
    let wanted = |name: &str| filter.is_none_or(|filter| name.contains(filter));
    let cases = scenarios.cases.iter().filter(|case| wanted(&case.name));
    let cases =
        cases.map(|case| Tested { name: case.name.clone(), failed: test_case(guest, &scenarios.scene, case).err() });
    let properties = scenarios.properties.iter().filter(|property| wanted(&property.name));
    let properties = properties.map(|property| Tested {
        name: property.name.clone(),
        failed: test_property(guest, &scenarios.scene, property).err(),
    });
    cases.chain(properties).collect()
}

fn test_case(guest: &Guest, scene: &Scene, case: &Case) -> Result<(), Box<Failed>> {
    let expected_error = match &case.expect.wanted {
        Some(Wanted::Error(text)) => Some(text),
        _ => None,
    };
    let policy = match guest.bind(scene, &case.settings) {
        Ok(policy) => policy,
        Err(error) if expected_error.is_some_and(|text| error.to_string().contains(text)) => return Ok(()),
        Err(error) => {
            let expected =
                expected_error.map_or("a policy that can serve".to_owned(), |text| format!("an error with {text:?}"));
            return Err(Failed::plain(expected, error.to_string()));
        }
    };
    case.expect
        .check_hooks(&case.situation, policy.hooks())
        .map_err(|error| Failed::plain("a policy that can be asked this".to_owned(), error.to_string()))?;
    let (decisions, heard) = listen(|| {
        let decision = |number: usize| in_a_row(&case.situation, number).ask(&policy);
        (0..case.expect.decisions()).map(decision).collect::<Vec<Vec<Reply>>>()
    });
    let mut mismatches = case.expect.differences(&decisions, &case.situation, scene);
    mismatches.extend(case.expect.log_difference(&heard));
    if mismatches.is_empty() {
        return Ok(());
    }
    let last = decisions.last().map(Vec::as_slice).unwrap_or_default();
    let inputs = Inputs::new(scene, &case.situation, Some(&policy), last);
    Err(Box::new(Failed {
        inputs: Some((inputs.text(), inputs.json())),
        mismatches,
        reason: show::reason(last).map(str::to_owned),
    }))
}

/// The same situation as the `number`th of several decisions; outcomes are told once.
fn in_a_row(situation: &Situation, number: usize) -> Situation {
    let mut situation = situation.clone();
    let number = u32::try_from(number).unwrap_or(INTEGER_LIMIT);
    if number > 0 {
        situation.outcomes.clear();
        situation.stamp.decision = (situation.stamp.decision + number) % INTEGER_LIMIT;
        situation.stamp.seed = situation.stamp.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9)) % INTEGER_LIMIT;
    }
    situation
}

fn test_property(guest: &Guest, scene: &Scene, property: &Property) -> Result<(), Box<Failed>> {
    let bind = || {
        let bound = guest.bind(scene, &property.settings);
        bound.map_err(|error| Failed::plain("a policy that can serve".to_owned(), error.to_string()))
    };
    let policy = bind()?;
    let mut twins = match property.rule {
        Rule::Deterministic => Some(Twins::new(policy.clone(), bind()?)),
        Rule::Never { .. } | Rule::AlwaysAmong(_) | Rule::Balanced { .. } => None,
    };
    let mut tally = Tally::default();
    for number in 0..property.over {
        let mut draw = Draw::new(u64::from(property.situation.stamp.seed), u64::from(number), Manner::Usual);
        let situation = match property.rule {
            Rule::Balanced { .. } => draw.again(&property.situation, number),
            Rule::Never { .. } | Rule::AlwaysAmong(_) | Rule::Deterministic => draw.around(&property.situation, number),
        };
        let (replies, differ) = match &mut twins {
            Some(twins) => twins.ask(&situation),
            None => (situation.ask(&policy), None),
        };
        let wrong = match differ {
            Some(differ) => Some(Mismatch {
                expected: format!(
                    "the same as in another instance: {}",
                    show::answers(&differ.second, scene, &situation.candidates)
                ),
                got: show::answers(&differ.first, scene, &situation.candidates),
            }),
            None => broken(&property.rule, &situation, &replies, scene, &mut tally),
        };
        if let Some(wrong) = wrong {
            let signal = match property.rule {
                Rule::Never { signal, .. } => Some(signal),
                Rule::AlwaysAmong(_) | Rule::Deterministic | Rule::Balanced { .. } => None,
            };
            let inputs = Inputs::new(scene, &situation, None, &replies).only_read(&policy, signal);
            return Err(Box::new(Failed {
                inputs: Some((inputs.text(), inputs.json())),
                mismatches: vec![wrong],
                reason: show::reason(&replies).map(str::to_owned),
            }));
        }
    }
    tally
        .check(&property.rule, property.over, scene)
        .map_or(Ok(()), |wrong| Err(Box::new(Failed { inputs: None, mismatches: vec![wrong], reason: None })))
}

/// What was seen over all situations.
#[derive(Default)]
struct Tally {
    chosen: Vec<u32>,
    /// Situations in which the rule could have been broken.
    tests: u32,
}

/// How one answer breaks the rule.
fn broken(rule: &Rule, situation: &Situation, replies: &[Reply], scene: &Scene, tally: &mut Tally) -> Option<Mismatch> {
    let got = || show::answers(replies, scene, &situation.candidates);
    if replies.iter().any(|reply| reply.answer.is_err()) || replies.is_empty() {
        return Some(Mismatch { expected: "an answer".to_owned(), got: got() });
    }
    let targets = chosen(replies, &situation.candidates);
    tally.chosen.extend(targets.first());
    match rule {
        Rule::Never { signal, above, below } => {
            let bad = |target: &u32| Rule::is_bad(show::value(scene, situation, *target, *signal), *above, *below);
            let (bads, goods): (Vec<u32>, Vec<u32>) = situation.candidates.iter().copied().partition(bad);
            if bads.is_empty() || goods.is_empty() {
                return None;
            }
            tally.tests += 1;
            let wrong: Vec<u32> = targets.into_iter().filter(bad).collect();
            (!wrong.is_empty()).then(|| Mismatch {
                expected: format!(
                    "nobody{} while there is {}",
                    limits(*signal, *above, *below),
                    show::ids(&goods, scene)
                ),
                got: got(),
            })
        }
        Rule::AlwaysAmong(allowed) => {
            tally.tests += u32::from(!targets.is_empty());
            let among = targets.iter().all(|target| allowed.contains(target));
            (!among).then(|| Mismatch { expected: format!("only {}", show::ids(allowed, scene)), got: got() })
        }
        Rule::Deterministic | Rule::Balanced { .. } => {
            tally.tests += 1;
            None
        }
    }
}

fn limits(signal: witgate_core::vocabulary::Signal, above: Option<f64>, below: Option<f64>) -> String {
    let above = above.map(|above| format!(" with {} above {}", signal.name(), show::number(above)));
    let below = below.map(|below| format!(" with {} below {}", signal.name(), show::number(below)));
    [above, below].into_iter().flatten().collect::<Vec<_>>().join(" or")
}

impl Tally {
    fn check(&self, rule: &Rule, over: u32, scene: &Scene) -> Option<Mismatch> {
        if self.tests == 0 {
            return Some(Mismatch {
                expected: "a situation in which it could have been otherwise".to_owned(),
                got: format!("none among {over}; state fewer signals, or raise `over`"),
            });
        }
        let Rule::Balanced { within, shares } = rule else { return None };
        let count = |target: u32| self.chosen.iter().filter(|chosen| **chosen == target).count();
        let off = shares.iter().any(|(target, share)| {
            let expected = share * f64::from(over);
            (count(*target) as f64 - expected).abs() > within * expected
        });
        let line = |number: &dyn Fn(u32, f64) -> String| {
            let parts =
                shares.iter().map(|(target, share)| format!("{} {}", scene.id(*target), number(*target, *share)));
            parts.collect::<Vec<_>>().join(", ")
        };
        off.then(|| Mismatch {
            expected: format!(
                "{}, each within {} %",
                line(&|_, share| show::number((share * f64::from(over)).round())),
                show::number(within * 100.0)
            ),
            got: line(&|target, _| count(target).to_string()),
        })
    }
}

impl Failed {
    fn plain(expected: String, got: String) -> Box<Self> {
        Box::new(Self { inputs: None, mismatches: vec![Mismatch { expected, got }], reason: None })
    }
}

impl Tested {
    /// For people: one line when all is well, else everything that helps.
    pub fn text(&self) -> String {
        let Some(failed) = &self.failed else { return format!("PASS  {}", self.name) };
        let mut lines = vec![format!("FAIL  {}", self.name)];
        if let Some((inputs, _)) = &failed.inputs {
            lines.extend(inputs.lines().map(|line| format!("      {line}")));
        }
        for Mismatch { expected, got } in &failed.mismatches {
            lines.push(format!("      expected  {expected}"));
            lines.push(format!("      got       {got}"));
        }
        if let Some(reason) = &failed.reason {
            lines.push(format!("      reason    {reason}"));
        }
        lines.join("\n")
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let Some(failed) = &self.failed else { return json!({"name": self.name, "passed": true}) };
        let mismatches = failed.mismatches.iter();
        let differences: Vec<Value> =
            mismatches.map(|wrong| json!({"expected": wrong.expected, "got": wrong.got})).collect();
        json!({
            "name": self.name,
            "passed": false,
            "inputs": failed.inputs.as_ref().map(|(_, inputs)| inputs),
            "differences": differences,
            "reason": failed.reason,
        })
    }
}
