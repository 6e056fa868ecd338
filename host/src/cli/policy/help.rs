//! What the commands' `--help` teaches, each with an example.

use witgate_core::vocabulary::{Fact, FailureKind, Signal};

pub(super) const NEW: &str = "\
Example:
  witgate policy new --lang rust cheap-at-night
  cd cheap-at-night && witgate policy build
  witgate policy test cheap-at-night.wasm scenarios.yaml

The project holds the policy, its scenarios, a README and, but in Rust, a WIT world with just the hooks and grants that \
were asked for, beside the contract's text. Hooks:
  router    chooses a deployment for a request (the usual one)
  fallback  decides what happens after a failed attempt
  filter    leaves out candidates before the others see them
  scorer    rates candidates for a router
  observer  learns what became of the attempts
A policy that reads headers or prompts asks for it with --grants, and the gateway's configuration \
must grant it.";

pub(super) const BUILD: &str = "\
Example:
  witgate policy build cheap-at-night        # writes cheap-at-night/cheap-at-night.wasm

It runs the language's own tools and says in one line each what is missing and how to get it. What was built is then \
verified as a gateway would verify it. Tools of the project (node_modules/.bin, .venv/bin) come before those of PATH.";

pub(super) const INSPECT: &str = "\
Example:
  witgate policy inspect cheap-at-night.wasm
  witgate policy inspect --schema cheap-at-night.wasm     # what its settings may be
  witgate policy inspect --schema least-loaded            # the same of a shipped policy

It is compiled and asked what it is, but not configured: `witgate policy verify` does that too.";

pub(super) const VERIFY: &str = "\
Examples:
  witgate policy verify cheap-at-night.wasm --grant headers --settings '{\"from\": 22}'
  witgate policy verify cheap-at-night.wasm --config /etc/witgate/witgate.yaml

The policy is loaded, granted, configured and tried out with some hundred questions, exactly as when its file is dropped \
into the policy folder. With --config it is configured for every route that names it, with the limits, grants and \
settings given there; without, for two demo deployments with the default limits.";

pub(super) const TEST: &str = "\
Example:
  witgate policy test cheap-at-night.wasm scenarios.yaml --filter night

A file of scenarios, in which everything but `deployments`, `name` and one case or property may be \
left out:

  deployments:                          # as in the gateway's configuration; ids without @ will do
    large@here: {price: {input: 2.5, output: 10}, region: eu, weight: 2,
                 capabilities: [tools], labels: {tier: gold}}
    small@here: {price: {input: 0.15, output: 0.6}}
  routes: [chat]
  tenants: {acme: {tier: gold}}         # and their labels
  grants: [headers, prompt]
  settings: {from: 22}                  # a case or a property can have others
  cases:
    - name: at night the cheapest
      candidates:                       # in this order, with their signals
                                        # without it all, with nothing known
        large@here: {in-flight: 0}
        small@here: {in-flight: 3, ttft-p50-ms: 250}
      facts: {prompt-tokens: 1200}
      request: {now: 2026-01-01T22:30:00Z, seed: 7, decision: 1, tenant: acme,
                route: chat, model: gpt, headers: {x-team: red}, prompt: hello}
      failures:                         # asks `fallback`
        - {target: large@here, kind: rate-limited, status: 429, retry-after-ms: 500}
      outcomes:                         # told to `observer`
        - {target: large@here, failure: overloaded, latency-ms: 90}
      expect:
        target: small@here              # of the first attempt; or one of:
        # targets: [a, b, a]            # of so many decisions, one after the other
        # plan: [a, {target: b, start: hedge, delay-ms: 800, timeout-ms: 5000}]
        # reject: 429                   # and retry-after-ms
        # abstain: true
        # error: part of the text       # declared, trapped, late, impossible,
                                        # or a refused configuration
        reason: night                   # and any of these
        kept: [small@here]              # of a filter
        scores: {small@here: 0.5}       # of a scorer, within: 0.001
        log: part of a line
        # ran: true                     # where no answer shows it: just no error
  properties:                           # over many situations; what is not stated
                                        # is made up, always alike
    - name: nobody who asks for a pause
      never: {signal: cooldown-ms, above: 0}       # or below; while there is somebody else
    - name: gold only
      always-among: [large@here]
    - name: the same question has the same answer  # in two instances with different pasts
      deterministic: true
    - name: fair
      candidates: {large@here: {}, small@here: {}}
      over: 1000
      balanced: {within: 10%, shares: {large@here: 2, small@here: 1}}
                                        # without shares: all alike

Signals and facts are listed by `witgate policy try --help`. Each case has instances and cells of \
its own.";

/// With the signals and facts that this program knows.
pub(super) fn asking() -> String {
    let signals: Vec<&str> = Signal::ALL.iter().map(|signal| signal.name()).collect();
    let facts: Vec<&str> = Fact::ALL.iter().map(|fact| fact.name()).collect();
    let kinds: Vec<&str> = FailureKind::ALL.iter().map(|kind| kind.name()).collect();
    let (signals, facts, kinds) = (signals.join(", "), facts.join(", "), kinds.join(", "));
    format!("{TRY}\n\nSignals: {signals}.\n\nFacts: {facts}.\n\nKinds of failure: {kinds}.")
}

const TRY: &str = "\
Examples:
  witgate policy try night.wasm --candidates a=in-flight:3,weight:2 b=in-flight:9
  witgate policy try night.wasm --candidates a b --failed a=overloaded --grant prompt
  witgate policy try night.wasm --scenarios scenarios.yaml --case 'the cheapest'

It prints what was asked as a table (a star marks who was chosen), the answer, the reason that the policy gave, the time \
it took, and what it logged. Exit code 1 when the policy failed.";

pub(super) const BENCH: &str = "\
Example:
  witgate policy bench cheap-at-night.wasm --candidates 4,16,64,256 --seconds 10

Every hook that the policy exports is called with so many candidates (an observer with so many outcomes), one call after \
the other on one thread; the host's own part, gathering signals and checking the answer, is counted with it. Half of the \
calls took less than p50, all but one in a hundred less than p99.";

pub(super) const FUZZ: &str = "\
Examples:
  witgate policy fuzz cheap-at-night.wasm --cases 100000
  witgate policy fuzz cheap-at-night.wasm --seed 42 --only 17          # that situation once more

Gateways, candidates, signals (zero, negative zero, subnormal, huge), facts, headers, prompts, failures and outcomes are \
made up; a policy is granted what it imports. Reported are traps, missed deadlines, impossible verdicts, and answers that \
differ between two instances; errors that the policy declares are its right and only counted. Each kind of finding comes \
with the smallest situation that showed it and with the command that shows it again.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_printed_as_they_are_written() {
        // Longer lines are broken where the terminal ends, also in the middle of a command or of a scenario.
        for text in [NEW, BUILD, INSPECT, VERIFY, TEST, TRY, BENCH, FUZZ] {
            let example = |line: &&str| line.starts_with(' ') && line.chars().count() > crate::cli::HELP_WIDTH;
            let long: Vec<&str> = text.lines().filter(example).collect();
            assert_eq!(long, [""; 0]);
        }
    }
}
