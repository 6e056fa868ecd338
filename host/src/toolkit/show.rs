//! What was asked and what was answered, for people and for programs.

use std::time::Duration;

use serde_json::{Map, Value, json};
use witgate_core::decision::StartRule;
use witgate_core::live::Millis;
use witgate_core::plan::{Attempt, Decision, Plan, Rejection};
use witgate_core::vocabulary::{Fact, Signal};
use witgate_wasm::Policy;

use super::scene::Scene;
use super::situation::{Answer, Reply, Situation, chosen};
use super::table::Table;

/// What one policy was asked, with a mark at those that it chose.
pub struct Inputs<'a> {
    scene: &'a Scene,
    situation: &'a Situation,
    signals: Vec<Signal>,
    facts: Vec<Fact>,
    chosen: Vec<u32>,
}

impl<'a> Inputs<'a> {
    /// The signals and facts that were stated, and those that the policy reads and are not neutral.
    pub fn new(scene: &'a Scene, situation: &'a Situation, policy: Option<&Policy>, replies: &[Reply]) -> Self {
        let reads_signal = |signal: &Signal| policy.is_some_and(|policy| policy.signals().contains(signal));
        let reads_fact = |fact: &Fact| policy.is_some_and(|policy| policy.facts().contains(fact));
        let offered = |target: &u32| situation.candidates.contains(target);
        let stated = |signal: &Signal| {
            situation.readings.iter().any(|(target, stated, _)| stated == *signal && offered(&target))
        };
        let unusual = |signal: &Signal| {
            situation.candidates.iter().any(|target| value(scene, situation, *target, *signal) != signal.neutral())
        };
        let signals = Signal::ALL.iter().filter(|signal| stated(signal) || (reads_signal(signal) && unusual(signal)));
        let facts = Fact::ALL.iter().filter(|fact| reads_fact(fact) || situation.facts.value(**fact) != fact.neutral());
        Self {
            scene,
            situation,
            signals: signals.copied().collect(),
            facts: facts.copied().collect(),
            chosen: chosen(replies, &situation.candidates),
        }
    }

    /// Only what the policy reads, and `also`: where everything was made up, the rest tells nothing.
    #[must_use]
    pub fn only_read(mut self, policy: &Policy, also: Option<Signal>) -> Self {
        let shown = |signal: &&Signal| policy.signals().contains(signal) || also == Some(**signal);
        self.signals = Signal::ALL.iter().filter(shown).copied().collect();
        self.facts = Fact::ALL.iter().filter(|fact| policy.facts().contains(fact)).copied().collect();
        self
    }

    /// A table of candidates and signals, and the rest below it.
    pub fn text(&self) -> String {
        let Self { scene, situation, .. } = self;
        let mut table = Table::new([" candidate"].into_iter().chain(self.signals.iter().map(|signal| signal.name())));
        for target in &situation.candidates {
            let mark = if self.chosen.contains(target) { "*" } else { " " };
            let name = format!("{mark}{}", scene.id(*target));
            let values = self.signals.iter().map(|signal| number(value(scene, situation, *target, *signal)));
            table.row([name].into_iter().chain(values));
        }
        let mut lines = vec![table.text()];
        let mut line = |name: &str, text: String| lines.push(format!("{name:9} {text}"));
        if !self.facts.is_empty() {
            let facts =
                self.facts.iter().map(|fact| format!("{} {}", fact.name(), number(situation.facts.value(*fact))));
            line("facts", facts.collect::<Vec<_>>().join(", "));
        }
        let stamp = situation.stamp;
        line("request", format!("decision {}, seed {}, now {}", stamp.decision, stamp.seed, moment(stamp.now_ms)));
        for (name, value) in &situation.texts.headers {
            line("header", format!("{name}: {value}"));
        }
        if !situation.texts.prompt.is_empty() {
            line("prompt", format!("{:?}", cut(&situation.texts.prompt)));
        }
        for failure in &situation.failures {
            let status = if failure.status == 0 { String::new() } else { format!(", status {}", failure.status) };
            line("failed", format!("{}: {}{status}", scene.id(failure.target), failure.kind.name()));
        }
        if !situation.outcomes.is_empty() {
            line("outcomes", format!("{} told before", situation.outcomes.len()));
        }
        lines.join("\n")
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let Self { scene, situation, .. } = self;
        let candidates: Map<String, Value> = situation
            .candidates
            .iter()
            .map(|target| {
                let signals = self.signals.iter();
                let signals: Map<String, Value> = signals
                    .map(|signal| (signal.name().to_owned(), value(scene, situation, *target, *signal).into()))
                    .collect();
                (scene.id(*target).to_string(), signals.into())
            })
            .collect();
        let facts = self.facts.iter().map(|fact| (fact.name().to_owned(), situation.facts.value(*fact).into()));
        json!({
            "candidates": candidates,
            "facts": facts.collect::<Map<String, Value>>(),
            "decision": situation.stamp.decision,
            "seed": situation.stamp.seed,
            "now_ms": situation.stamp.now_ms,
            "failures": situation.failures.iter().map(|failure| {
                json!({"target": &*scene.id(failure.target), "kind": failure.kind.name(), "status": failure.status})
            }).collect::<Vec<_>>(),
        })
    }
}

/// What a signal of a candidate is there.
pub fn value(scene: &Scene, situation: &Situation, target: u32, signal: Signal) -> f64 {
    situation.readings.value(target, signal).unwrap_or_else(|| {
        let mut column = Vec::new();
        scene.fleet.column(signal, &[target], Millis(0), &mut column);
        column.first().copied().unwrap_or_else(|| signal.neutral())
    })
}

/// All answers on one line, in the order of the hooks.
pub fn answers(replies: &[Reply], scene: &Scene, candidates: &[u32]) -> String {
    let mut offered = candidates.to_vec();
    let mut parts = Vec::new();
    for reply in replies {
        parts.push(match &reply.answer {
            Ok(answer) => answer_text(answer, scene, &offered),
            Err(cause) => format!("`{}` failed: {cause}", reply.hook),
        });
        if let Ok(Answer::Kept(kept)) = &reply.answer {
            offered.clone_from(kept);
        }
    }
    if parts.is_empty() { "nothing: it exports no hook for this".to_owned() } else { parts.join("; ") }
}

/// One answer.
pub fn answer_text(answer: &Answer, scene: &Scene, offered: &[u32]) -> String {
    match answer {
        Answer::Kept(kept) => format!("kept {}", ids(kept, scene)),
        Answer::Scores(scores) => {
            let scores =
                offered.iter().zip(scores).map(|(target, score)| format!("{} {}", scene.id(*target), number(*score)));
            format!("scores {}", scores.collect::<Vec<_>>().join(", "))
        }
        Answer::Decision(Decision::Run(plan)) => plan_text(plan, scene),
        Answer::Decision(Decision::Reject(rejection)) => rejection_text(rejection),
        Answer::Decision(Decision::Abstain) => "abstained".to_owned(),
        Answer::Told => "told of the outcomes".to_owned(),
    }
}

/// The text that the policy gave for its decision.
pub fn reason(replies: &[Reply]) -> Option<&str> {
    replies.iter().rev().find_map(|reply| match &reply.answer {
        Ok(Answer::Decision(Decision::Run(plan))) => plan.reason.as_deref(),
        Ok(Answer::Decision(Decision::Reject(rejection))) => rejection.reason.as_deref(),
        _ => None,
    })
}

/// Ids for people.
pub fn ids(targets: &[u32], scene: &Scene) -> String {
    targets.iter().map(|target| scene.id(*target).to_string()).collect::<Vec<_>>().join(", ")
}

fn plan_text(plan: &Plan, scene: &Scene) -> String {
    let steps = plan.attempts.iter().map(|attempt| attempt_text(attempt, &scene.id(attempt.target)));
    let tag = if plan.tag == 0 { String::new() } else { format!(" (tag {})", plan.tag) };
    format!("{}{tag}", steps.collect::<Vec<_>>().join(", "))
}

/// One step of a plan, also where it is only expected.
pub fn attempt_text(attempt: &Attempt, id: &str) -> String {
    let delay = (!attempt.delay.is_zero()).then(|| format!(" after {}", millis(attempt.delay)));
    let start = match attempt.start {
        StartRule::AtOnce => "",
        StartRule::OnFailure => "on failure ",
        StartRule::Hedge => "hedge ",
    };
    let timeout = attempt.timeout.map(|timeout| format!(" within {}", millis(timeout)));
    let overlay = attempt.overlay.as_ref().map(|overlay| format!(" with {overlay}"));
    [Some(format!("{start}{id}")), delay, timeout, overlay].into_iter().flatten().collect()
}

fn rejection_text(rejection: &Rejection) -> String {
    let retry = rejection.retry_after.map(|after| format!(", retry after {}", millis(after))).unwrap_or_default();
    format!("rejected with {}{retry}", rejection.status)
}

/// A time in milliseconds, which is what policies count in.
pub fn millis(duration: Duration) -> String {
    format!("{} ms", number(duration.as_secs_f64() * 1000.0))
}

/// A number that is not longer than it has to be.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e15).contains(&size) {
        format!("{value:e}")
    } else {
        let short = format!("{value:.6}");
        let short = short.trim_end_matches('0').trim_end_matches('.');
        short.to_owned()
    }
}

/// A count with commas.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time with a unit that fits it.
pub fn time(duration: Duration) -> String {
    let nanos = duration.as_nanos() as f64;
    match nanos {
        ..1e3 => format!("{nanos:.0} ns"),
        ..1e6 => format!("{:.2} µs", nanos / 1e3),
        ..1e9 => format!("{:.1} ms", nanos / 1e6),
        _ => format!("{:.2} s", nanos / 1e9),
    }
}

/// Bytes with a unit that fits them.
pub fn bytes(size: usize) -> String {
    let size = size as f64;
    match size {
        ..1024.0 => format!("{size:.0} B"),
        ..1048576.0 => format!("{} KiB", number((size / 102.4).round() / 10.0)),
        _ => format!("{} MiB", number((size / 104_857.6).round() / 10.0)),
    }
}

/// The wall clock, for people.
pub fn moment(now_ms: f64) -> String {
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;
    // What is below a millisecond tells people nothing.
    let nanos = (now_ms.round() as i128).saturating_mul(1_000_000);
    let moment = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{now_ms} ms"))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

const SHOWN: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, -0.0, 3.0, 0.25, 1234567.0, 1e300, 5e-324, 1.0 / 3.0].map(number);
        assert_eq!(shown, ["0", "-0", "3", "0.25", "1234567", "1e300", "5e-324", "0.333333"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [900, 1500, 2_500_000, 3_000_000_000].map(|n| time(Duration::from_nanos(n))),
            ["900 ns", "1.50 µs", "2.5 ms", "3.00 s"]
        );
        assert_eq!([12, 2048, 3 << 20, 1_153_434].map(bytes), ["12 B", "2 KiB", "3 MiB", "1.1 MiB"]);
    }

    #[test]
    fn the_wall_clock_is_readable() {
        assert_eq!(moment(1_767_225_600_500.0), "2026-01-01T00:00:00.5Z");
        assert_eq!(moment(1_795_670_273_765.0), "2026-11-26T05:17:53.765Z");
        assert_eq!(moment(1e300), "1e300 ms".replace("1e300", &1e300_f64.to_string()));
    }
}
