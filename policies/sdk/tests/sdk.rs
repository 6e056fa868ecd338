//! The whole of the SDK from a policy's side.

#![expect(clippy::unwrap_used, reason = "tests")]

use serde::Deserialize;
use witgate_core::vocabulary::{Ending, Fact, FailureKind, OutcomeField, Signal as HostSignal};
use witgate_sdk::cells::{Merge, Table};
use witgate_sdk::{
    About, Ask, Attempt, FailedAttempt, Fallback, Field, Filter, Observer, Outcomes, Overlay, Plan, Policy, Reason,
    Rejection, Router, Scorer, Setup, Signal, StartRule, Verdict, headers, log, names, prompt, register, testing,
};

/// Answers every hook.
#[derive(Debug)]
struct Everything {
    load: Signal,
    same: Signal,
    target: Field,
    seen: Table,
}

#[derive(Deserialize)]
struct Settings {
    #[serde(default)]
    refuse: bool,
}

impl Policy for Everything {
    const ABOUT: About = About::new("everything", "1.0.0", "Answers every hook.");

    fn configure(setup: &mut Setup) -> Result<Self, String> {
        let Settings { refuse } = setup.settings()?;
        if refuse {
            return Err("as you wish".to_owned());
        }
        log::info(&format!("{} deployments", setup.deployments().len()));
        Ok(Self {
            load: setup.signal("in-flight"),
            same: setup.signal("in-flight"),
            target: setup.outcome("target"),
            seen: Table::open("seen", setup.deployments().len())?,
        })
    }
}

impl Router for Everything {
    fn route(&self, ask: &Ask) -> Result<Verdict, String> {
        Ok(ask.pick_lowest(|row| -ask.signal(self.load)[row]))
    }
}

impl Fallback for Everything {
    fn after_failure(&self, failures: &[FailedAttempt], ask: &Ask) -> Result<Verdict, String> {
        let untried = ask.candidates().iter().find(|target| failures.iter().all(|failed| failed.target != **target));
        Ok(untried.map_or(Verdict::Abstain, |target| Verdict::Pick(*target)))
    }
}

impl Filter for Everything {
    fn keep(&self, ask: &Ask) -> Result<Vec<u32>, String> {
        let load = ask.signal(self.same);
        Ok(ask.rows().filter(|row| load[*row] < 2.0).map(|row| ask.candidates()[row]).collect())
    }
}

impl Scorer for Everything {
    fn score(&self, ask: &Ask) -> Result<Vec<f64>, String> {
        Ok(ask.signal(self.load).iter().map(|load| 1.0 / (load + 1.0)).collect())
    }
}

impl Observer for Everything {
    fn observe(&self, outcomes: &Outcomes) -> Result<(), String> {
        for target in outcomes.field(self.target) {
            self.seen.add(*target as usize, 1.0);
        }
        Ok(())
    }
}

register!(Everything: router, fallback, filter, scorer, observer);

fn everything() -> testing::Loaded<Everything> {
    testing::load("{}", &["a", "b", "c"]).unwrap()
}

#[test]
fn every_hook_gets_its_columns() {
    let policy = everything();
    let ask = policy.ask().signal("in-flight", &[1.0, 3.0, 0.0]);
    assert_eq!(ask.route(), Ok(Verdict::Pick(1)));
    assert_eq!(ask.keep(), Ok(vec![0, 2]));
    assert_eq!(ask.score(), Ok(vec![0.5, 0.25, 1.0]));
    assert_eq!(ask.after_failure(&[testing::failure(0, "connect")]), Ok(Verdict::Pick(1)));
    policy.observe(&[("target", 2.0)]).unwrap();
    assert_eq!(policy.policy().seen.load(2), 1.0);
}

#[test]
fn rows_follow_the_candidates_that_are_offered() {
    let policy = everything();
    let ask = policy.ask().candidates(&[2, 1]).signal("in-flight", &[5.0, 1.0]);
    assert_eq!(ask.route(), Ok(Verdict::Pick(2)));
    assert_eq!(ask.keep(), Ok(vec![1]));
}

#[test]
fn a_name_that_is_asked_for_twice_is_fed_once() {
    assert_eq!(everything().signals(), ["in-flight"]);
}

#[test]
fn settings_that_do_not_fit_refuse_and_say_where() {
    let refusal = |settings| testing::load::<Everything>(settings, &["a"]).err();
    assert_eq!(refusal(r#"{"refuse":true}"#).as_deref(), Some("as you wish"));
    let message = r#"settings: invalid type: string "x", expected a boolean at line 1 column 13"#;
    assert_eq!(refusal(r#"{"refuse":"x"}"#).as_deref(), Some(message));
}

#[test]
fn cells_are_shared_and_of_one_width() {
    let table = Table::open("shared", 2).unwrap();
    table.store(1, 4.0);
    assert_eq!(table.add(1, 0.5), 4.5);
    assert_eq!((table.swap_if(1, 4.0, 9.0), table.swap_if(1, 4.5, 9.0)), (false, true));
    let again = Table::open_shared("shared", 2, Merge::Sum).unwrap();
    assert_eq!((again.load(0), again.load(1)), (0.0, 9.0));
    assert_eq!(again.load_each([1, 0, 1]), [9.0, 0.0, 9.0]);
    assert_eq!(Table::open("shared", 3), Err("table `shared` has another width".to_owned()));
    testing::reset();
    assert_eq!(Table::open("shared", 3).map(|table| table.load(1)), Ok(0.0));
}

#[test]
fn texts_come_from_the_host() {
    drop(everything());
    assert_eq!(testing::logged(), ["3 deployments"]);
    testing::set_tenant(7, "acme");
    testing::set_tenant_label(7, "tier", "gold");
    testing::set_model(3, "gpt-4o");
    testing::set_header("X-Team", "red");
    assert_eq!((names::tenant(7.0), names::tenant(8.0)), ("acme".to_owned(), String::new()));
    assert_eq!((names::tenant_label(7.0, "tier").as_deref(), names::tenant_label(7.0, "x")), (Some("gold"), None));
    assert_eq!((names::model(3.0), names::route(0.0)), ("gpt-4o".to_owned(), "test".to_owned()));
    assert_eq!((headers::value("x-team").as_deref(), headers::value("x-other")), (Some("red"), None));
}

#[test]
fn a_prompt_is_cut_at_characters() {
    testing::set_prompt("Grüße");
    assert_eq!((prompt::length(), prompt::beginning(3), prompt::beginning(4)), (7, "Gr".to_owned(), "Grü".to_owned()));
    assert_eq!(
        (prompt::text(4, 100), prompt::text(7, 1), prompt::text(99, 1)),
        ("ße".to_owned(), String::new(), String::new())
    );
}

#[test]
fn plans_and_rejections_are_a_line() {
    let hedged = Plan::to(1).then(Attempt::hedge(2, 800.0).within(50.0)).tagged(9);
    let second = Attempt { target: 2, start: StartRule::Hedge, delay_ms: 800.0, timeout_ms: 50.0, overlay: None };
    assert_eq!(
        Verdict::from(hedged),
        Verdict::Follow(Plan { attempts: vec![Attempt::at_once(1), second], reason: 0, tag: 9 })
    );
    let declared = testing::load::<Declares>("{}", &["a"]).unwrap();
    let Declares { reason, overlay } = declared.policy();
    let rejection = Rejection::new(429, *reason).retry_after(5.0);
    assert_eq!((rejection.status, rejection.retry_after_ms, rejection.reason), (429, 5.0, 1));
    assert_eq!(Attempt::on_failure(0).delayed(2.0).overlaid(*overlay).overlay, Some(0));
    assert_eq!(declared.reasons(), ["first", "second"]);
}

#[test]
fn tests_know_the_host_s_words_and_what_it_says_where_nothing_is_known() {
    assert_eq!(testing::SIGNALS.to_vec(), HostSignal::ALL.iter().map(|signal| signal.name()).collect::<Vec<_>>());
    assert_eq!(testing::FACTS.to_vec(), Fact::ALL.iter().map(|fact| fact.name()).collect::<Vec<_>>());
    assert_eq!(testing::OUTCOMES.to_vec(), OutcomeField::ALL.iter().map(|field| field.name()).collect::<Vec<_>>());
    assert_eq!(testing::FAILURES.to_vec(), FailureKind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>());
    assert_eq!(testing::ENDINGS.to_vec(), Ending::ALL.iter().map(|ending| ending.name()).collect::<Vec<_>>());
    let signals = HostSignal::ALL.iter().map(|signal| (signal.name(), signal.neutral()));
    let facts = Fact::ALL.iter().map(|fact| (fact.name(), fact.neutral()));
    for (name, neutral) in signals.chain(facts) {
        assert_eq!(testing::neutral(name), neutral, "{name}");
    }
}

/// Asks for what no gateway has.
#[derive(Debug)]
struct Mistyped;

impl Policy for Mistyped {
    const ABOUT: About = About::new("mistyped", "1.0.0", "Asks for what there is not.");

    fn configure(setup: &mut Setup) -> Result<Self, String> {
        setup.outcome("ttft");
        Ok(Self)
    }
}

#[test]
fn a_name_that_is_not_in_the_vocabulary_fails_the_test_that_uses_it() {
    let told = |test: fn()| *std::panic::catch_unwind(test).unwrap_err().downcast::<String>().unwrap();
    let list = |names: &[&str]| names.join(", ");
    assert_eq!(
        told(|| drop(testing::load::<Mistyped>("{}", &["a"]))),
        format!("there is no outcome field `ttft`; wit/vocabulary.md lists them: {}", list(&testing::OUTCOMES))
    );
    assert_eq!(
        told(|| drop(everything().ask().signal("inflight", &[1.0]).route())),
        format!("there is no signal `inflight`; wit/vocabulary.md lists them: {}", list(&testing::SIGNALS))
    );
    assert_eq!(
        told(|| drop(everything().ask().fact("promt-tokens", 1.0).route())),
        format!("there is no fact `promt-tokens`; wit/vocabulary.md lists them: {}", list(&testing::FACTS))
    );
}

/// Declares texts.
#[derive(Debug)]
struct Declares {
    reason: Reason,
    overlay: Overlay,
}

impl Policy for Declares {
    const ABOUT: About = About::new("declares", "1.0.0", "Declares texts.");

    fn configure(setup: &mut Setup) -> Result<Self, String> {
        setup.reason("first");
        Ok(Self { reason: setup.reason("second"), overlay: setup.overlay(r#"{"temperature":0}"#) })
    }
}
