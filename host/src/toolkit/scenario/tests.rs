//! What a scenario file may not say, with the whole message.

use super::read;

const GOOD: &str = "\
deployments:
  gpt@here: {region: eu}
  gpt@there: {weight: 2}
cases:
  - name: one
    candidates:
      gpt@there: {in-flight: 1}
      gpt@here:
    facts: {prompt-tokens: 10}
    request: {seed: 7, now: 2026-01-01T12:00:00Z, headers: {x-team: red}, prompt: hello}
    expect: {target: gpt@there}
";

fn refused(text: &str) -> String {
    format!("{:#}", read("scenarios.yaml", text).err().expect("refused"))
}

#[test]
fn candidates_come_in_the_order_of_the_case() {
    let scenarios = read("scenarios.yaml", GOOD).expect("good");
    let case = scenarios.case("one").expect("there");
    let situation = &case.situation;
    assert_eq!((&situation.candidates[..], situation.stamp.seed), (&[1, 0][..], 7));
    assert_eq!(situation.stamp.now_ms, 1_767_268_800_000.0);
    assert_eq!(scenarios.case("ones").err().expect("none").to_string(), "there is no case `ones`; did you mean `one`?");
}

#[test]
fn a_wrong_name_is_told_with_the_one_that_was_meant() {
    for (from, to, message) in [
        (
            "in-flight",
            "inflight",
            "scenarios.yaml: case `one`: candidate `gpt@there`: there is no signal `inflight`; did you mean `in-flight`?",
        ),
        (
            "prompt-tokens",
            "promt-tokens",
            "scenarios.yaml: case `one`: there is no fact `promt-tokens`; did you mean `prompt-tokens`?",
        ),
        (
            "target: gpt@there",
            "target: gpt@ther",
            "scenarios.yaml: case `one`: expect: there is no deployment `gpt@ther`; did you mean `gpt@there`?",
        ),
        (
            "weight: 2",
            "wieght: 2",
            "scenarios.yaml: deployments.gpt@there: unknown key `wieght`; did you mean `weight`?",
        ),
        (
            "in-flight: 1}",
            "in-flight: .inf}",
            "scenarios.yaml: case `one`: `in-flight` is inf; a policy is never fed what is not a finite number",
        ),
        (
            "seed: 7",
            "seed: 2147483648",
            "scenarios.yaml: case `one`: `seed` is 2147483648; it must be below 2^31 = 2147483648",
        ),
        (
            "prompt: hello",
            "tenant: acme",
            "scenarios.yaml: case `one`: there is no tenant `acme`; add it to `tenants`, for example `tenants: {acme: {}}`",
        ),
        ("prompt: hello", "route: chat", "scenarios.yaml: case `one`: there is no route `chat`; there is `test`"),
        (
            "target: gpt@there",
            "target: gpt@there, abstain: true",
            "scenarios.yaml: case `one`: expect: there can be only one of `target` and `abstain`",
        ),
        (
            "target: gpt@there",
            "reject: 200",
            "scenarios.yaml: case `one`: expect: `reject` is 200; a status is 400 to 599",
        ),
    ] {
        assert_eq!(refused(&GOOD.replace(from, to)), message);
    }
}

#[test]
fn a_case_that_cannot_fail_is_refused() {
    let message = "scenarios.yaml: case `one`: expect: it says nothing, so the case could not fail; write what the policy must \
                   answer, or `ran: true` where it is enough that it answers without an error";
    let instead = |expect: &str| GOOD.replace("    expect: {target: gpt@there}\n", expect);
    for nothing in ["", "    expect: {}\n", "    expect: {within: 0.5}\n", "    expect: {scores: {}}\n"] {
        assert_eq!(refused(&instead(nothing)), message, "{nothing}");
    }
    assert!(read("scenarios.yaml", &instead("    expect: {ran: true}\n")).is_ok());
    assert_eq!(
        refused(&instead("    expect: {ran: false}\n")),
        "scenarios.yaml: case `one`: expect: `ran: false` says nothing; expect what it shall decide, or `error`"
    );
}

#[test]
fn a_wrong_shape_is_told_with_its_place() {
    assert_eq!(
        refused(&GOOD.replace("facts:", "fact:")),
        "scenarios.yaml: cases[0]: unknown field `fact`, expected one of `name`, `settings`, `candidates`, `facts`, \
         `request`, `failures`, `outcomes`, `expect` at line 9 column 5"
    );
    assert_eq!(
        refused(&GOOD.replace("2026-01-01T12:00:00Z", "noon")),
        "scenarios.yaml: cases[0].request.now: invalid value: string \"noon\", expected a time such as \
         `2026-01-01T12:00:00Z`, or milliseconds since 1970 at line 10 column 29"
    );
    let twice = format!("{GOOD}  - name: one\n    expect: {{ran: true}}\n");
    assert_eq!(refused(&twice), "scenarios.yaml: two cases or properties are named `one`");
    assert_eq!(
        refused("deployments: {a: {}}"),
        "scenarios.yaml: there are neither `cases` nor `properties`, so nothing would be tested"
    );
}

#[test]
fn a_property_says_one_thing() {
    let with = |rule: &str| format!("deployments: {{a: {{}}, b: {{}}}}\nproperties: [{{name: p{rule}}}]");
    assert!(read("s", &with(", deterministic: true")).is_ok());
    for (rule, message) in [
        ("", "it says nothing: give one of `never`, `always-among`, `deterministic` and `balanced`"),
        (
            ", deterministic: true, always-among: [a]",
            "there can be only one of `never`, `always-among`, `deterministic` and `balanced`",
        ),
        (", never: {signal: in-flight}", "`never` needs `above` or `below`"),
        (", never: {signal: cooldown, above: 0}", "there is no signal `cooldown`; did you mean `cooldown-ms`?"),
        (", balanced: {within: 0}", "`within` must be above 0"),
        (", over: 0, deterministic: true", "`over` is 0, so nothing would be tested"),
        (", over: 1000001, deterministic: true", "`over` is more than 1000000"),
    ] {
        assert_eq!(refused(&with(rule)), format!("scenarios.yaml: property `p`: {message}"));
    }
    assert!(read("s", &with(", over: 1000000, balanced: {within: 10%}")).is_ok());
}
