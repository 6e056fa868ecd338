//! `witgate policy fuzz`: made-up gateways and situations, to find what a policy does not stand.
//!
//! Case `n` of a seed is the same whatever the other cases are, so a finding is reproduced by its seed and number; one
//! that depends on what was asked before needs the cases before it, too.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use witgate_wasm::{BindError, BindProblem, FailureCause, Hook};

use super::draw::{Draw, Manner};
use super::guest::Guest;
use super::scene::{Scene, Script};
use super::show::{self, Inputs};
use super::situation::{Reply, Situation};
use super::twins::{Differ, Twins};

/// What to do.
pub struct Plan {
    /// Of everything that is made up.
    pub seed: u64,
    /// How many situations.
    pub cases: u32,
    /// Only this one.
    pub only: Option<u32>,
    /// A JSON object.
    pub settings: Value,
}

/// What came of it.
pub struct Report {
    /// Situations that were asked.
    pub cases: u32,
    /// Gateways that they were asked in.
    pub gateways: u32,
    /// Errors that the policy declared, which is its right.
    pub declared: u32,
    /// One of each kind.
    pub findings: Vec<Finding>,
}

/// Something that the policy did and must not.
pub struct Finding {
    /// A word for its kind: `trap`, `deadline`, `impossible`, `nondeterminism`, `refused`.
    pub kind: &'static str,
    /// The hook, where one was called.
    pub hook: Option<Hook>,
    /// What happened.
    pub text: String,
    /// The smallest case that showed it, by the number of candidates; where history matters, the first.
    pub case: u32,
    /// Candidates of that case.
    pub size: usize,
    /// How many did.
    pub times: u32,
    /// Whether the cases before are needed.
    pub history: bool,
    /// What was asked.
    pub inputs: Option<(String, Value)>,
}

/// Asks away. `progress` is told the cases done and the kinds of findings, about once a second.
///
/// # Errors
/// When a made-up gateway cannot be, which is a mistake of this program.
pub fn run(guest: &Guest, plan: &Plan, mut progress: impl FnMut(u32, usize)) -> anyhow::Result<Report> {
    let mut report = Report { cases: 0, gateways: 0, declared: 0, findings: Vec::new() };
    let (first, end) = plan.only.map_or((0, plan.cases), |only| (only, only.saturating_add(1)));
    let mut told = Instant::now();
    let mut case = first;
    while case < end {
        let gateway = case / CASES_OF_A_GATEWAY;
        let last = end.min((gateway + 1).saturating_mul(CASES_OF_A_GATEWAY));
        let scene = Scene::new(&script(guest, plan.seed, gateway))?;
        report.gateways += 1;
        let mut run = match Run::new(guest, scene, plan) {
            Ok(run) => run,
            Err(refused) => {
                report.refused(*refused, case);
                report.cases += last - case;
                case = last;
                continue;
            }
        };
        while case < last {
            run.ask(case, &mut report);
            report.cases += 1;
            case += 1;
            if told.elapsed() > EVERY {
                told = Instant::now();
                progress(report.cases, report.findings.len());
            }
        }
    }
    Ok(report)
}

fn script(guest: &Guest, seed: u64, gateway: u32) -> Script {
    let imports = guest.component.imports();
    let asked = [(imports.headers, "headers"), (imports.prompt, "prompt")];
    let grants = asked.into_iter().filter(|(asked, _)| *asked).map(|(_, grant)| grant.to_owned()).collect();
    Draw::new(!seed, u64::from(gateway), Manner::Strange).script(grants)
}

/// The cases of one gateway.
struct Run<'a> {
    guest: &'a Guest,
    plan: &'a Plan,
    scene: Scene,
    twins: Twins,
}

impl<'a> Run<'a> {
    fn new(guest: &'a Guest, scene: Scene, plan: &'a Plan) -> Result<Self, Box<BindError>> {
        let twins = bind(guest, &scene, plan)?;
        Ok(Self { guest, plan, scene, twins })
    }

    fn ask(&mut self, case: u32, report: &mut Report) {
        let hooks = self.guest.component.hooks();
        let mut draw = Draw::new(self.plan.seed, u64::from(case), Manner::Strange);
        let situation = draw.situation(&self.scene, hooks, case);
        let (mut replies, differ) = self.twins.ask(&situation);
        if let Some(differ) = differ {
            report.add(self.nondeterminism(differ, &situation, case));
        }
        if missed(&replies) {
            // The machine may have been busy: only who is late twice is late. Either way both start anew, before the
            // engine suspends them.
            if let Ok(twins) = bind(self.guest, &self.scene, self.plan) {
                self.twins = twins;
                replies = self.twins.ask(&situation).0;
            }
            if missed(&replies)
                && let Ok(twins) = bind(self.guest, &self.scene, self.plan)
            {
                self.twins = twins;
            }
        }
        for Reply { hook, answer, .. } in &replies {
            let Err(cause) = answer else { continue };
            let kind = match cause {
                FailureCause::Declared(_) => {
                    report.declared += 1;
                    continue;
                }
                FailureCause::Trap(_) | FailureCause::Deadline { .. } | FailureCause::Impossible(_) => cause.label(),
                // It says nothing new: something else came before.
                FailureCause::Suspended { .. } | FailureCause::Unavailable(_) => continue,
            };
            report.add(Finding {
                kind,
                hook: Some(*hook),
                text: cause.to_string(),
                case,
                size: situation.candidates.len(),
                times: 1,
                history: self.guest.component.imports().cells,
                inputs: Some(self.inputs(&situation, &replies)),
            });
        }
    }

    fn nondeterminism(&self, differ: Differ, situation: &Situation, case: u32) -> Finding {
        let answers = |replies: &[Reply]| show::answers(replies, &self.scene, &situation.candidates);
        let (first, second) = (answers(&differ.first), answers(&differ.second));
        let why = if differ.pasts {
            "which was asked other questions before; it imports no `cells`, so its memory is only a cache and must not \
             decide"
        } else {
            "which was asked the same questions before"
        };
        let inputs = self.inputs(situation, &differ.first);
        Finding {
            kind: "nondeterminism",
            hook: differ.first.last().map(|reply| reply.hook),
            text: format!("one instance answered: {first}; another, {why}, answered: {second}"),
            case,
            size: situation.candidates.len(),
            times: 1,
            history: true,
            inputs: Some(inputs),
        }
    }

    fn inputs(&self, situation: &Situation, replies: &[Reply]) -> (String, Value) {
        let inputs = Inputs::new(&self.scene, situation, None, replies).only_read(self.twins.policy(), None);
        (inputs.text(), inputs.json())
    }
}

fn bind(guest: &Guest, scene: &Scene, plan: &Plan) -> Result<Twins, Box<BindError>> {
    Ok(Twins::new(guest.bind(scene, &plan.settings)?, guest.bind(scene, &plan.settings)?))
}

fn missed(replies: &[Reply]) -> bool {
    replies.iter().any(|reply| matches!(reply.answer, Err(FailureCause::Deadline { .. })))
}

impl Report {
    fn add(&mut self, finding: Finding) {
        // A text may hold numbers that are different each time; the kind and the hook are what must be mended.
        let same = |known: &&mut Finding| known.kind == finding.kind && known.hook == finding.hook;
        match self.findings.iter_mut().find(same) {
            Some(known) => {
                let times = known.times + finding.times;
                if finding.size < known.size && !finding.history {
                    *known = finding;
                }
                known.times = times;
            }
            None => self.findings.push(finding),
        }
    }

    fn refused(&mut self, error: BindError, case: u32) {
        let (kind, hook) = match &error.problem {
            BindProblem::Trial { hook, cause, .. } => (cause.label(), Some(*hook)),
            BindProblem::NotGranted { .. }
            | BindProblem::Settings(_)
            | BindProblem::Refused(_)
            | BindProblem::Configure(_)
            | BindProblem::Subscription(_) => ("refused", None),
        };
        let text = error.problem.to_string();
        self.add(Finding { kind, hook, text, case, size: usize::MAX, times: 1, history: false, inputs: None });
    }

    /// For programs.
    pub fn json(&self, plan: &Plan) -> Value {
        let findings = self.findings.iter().map(|finding| {
            json!({
                "kind": finding.kind,
                "hook": finding.hook.map(Hook::name),
                "text": finding.text,
                "case": finding.case,
                "times": finding.times,
                "again": finding.again(plan),
                "inputs": finding.inputs.as_ref().map(|(_, inputs)| inputs),
            })
        });
        json!({
            "seed": plan.seed,
            "cases": self.cases,
            "gateways": self.gateways,
            "declared_errors": self.declared,
            "findings": findings.collect::<Vec<_>>(),
        })
    }
}

impl Finding {
    /// The options that show it again.
    pub fn again(&self, plan: &Plan) -> String {
        let settings = match &plan.settings {
            Value::Object(fields) if fields.is_empty() => String::new(),
            settings => format!(" --settings '{settings}'"),
        };
        if self.history {
            format!("--seed {} --cases {}{settings}", plan.seed, self.case + 1)
        } else {
            format!("--seed {} --only {}{settings}", plan.seed, self.case)
        }
    }
}

const CASES_OF_A_GATEWAY: u32 = 100;
const EVERY: Duration = Duration::from_secs(1);
