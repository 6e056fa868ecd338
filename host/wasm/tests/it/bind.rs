use serde_json::json;

use crate::guest::{Guest, router};
use crate::world::{World, offer, target, world};

const PICK: &str = "(call $pick (i32.load (local.get $candidates)))";
const WHO: &str = "policy `test` (revision ";

/// The message after the revision.
fn refusal(world: &World, guest: &Guest) -> String {
    let message = world.try_bind(guest).unwrap_err().to_string();
    message.strip_prefix(WHO).unwrap()[12..].strip_prefix("): ").unwrap().to_owned()
}

#[test]
fn a_capability_must_have_been_granted() {
    let headers = router(PICK)
        .imports("headers")
        .code(r#"(import "witgate:policy/headers@0.1.0" "value" (func (param i32 i32 i32)))"#);
    assert_eq!(
        refusal(&world(), &headers),
        "it imports `headers`, so it reads request headers, which the configuration does not grant; to allow it, add \
         `headers` to `policies.rules.test.grants`"
    );
    let prompt =
        router(PICK).imports("prompt").code(r#"(import "witgate:policy/prompt@0.1.0" "length" (func (result i32)))"#);
    assert_eq!(
        refusal(&world(), &prompt),
        "it imports `prompt`, so it reads prompts, which the configuration does not grant; to allow it, add `prompt` to \
         `policies.rules.test.grants`"
    );
    let both = router(PICK).imports("headers").imports("prompt").code(
        r#"(import "witgate:policy/headers@0.1.0" "value" (func (param i32 i32 i32)))
           (import "witgate:policy/prompt@0.1.0" "length" (func (result i32)))"#,
    );
    assert_eq!(
        refusal(&world(), &both),
        "it imports `headers` and `prompt`, so it reads request headers and prompts, which the configuration does not \
         grant; to allow it, add `headers` and `prompt` to `policies.rules.test.grants`"
    );
    let mut granted = world();
    granted.rules.grant_prompt = true;
    assert!(granted.try_bind(&prompt).is_ok());
    granted.rules.grant_headers = true;
    assert!(granted.try_bind(&headers).is_ok());
}

#[test]
fn settings_are_held_to_the_policys_schema() {
    let guest = router(PICK).schema(r#"{"properties": {"n": {"type": "integer"}}, "additionalProperties": false}"#);
    let mut world = world();
    world.settings = json!({"n": 1});
    assert!(world.try_bind(&guest).is_ok());
    world.settings = json!({"n": "one", "m": 1});
    assert_eq!(
        refusal(&world, &guest),
        "its settings are not what it accepts: `settings.n`: \"one\" is not of type \"integer\" (allowed: \
         {\"type\":\"integer\"}); `settings.m`: there is no such setting; there are `n`"
    );
}

#[test]
fn a_policy_may_refuse_its_configuration() {
    // err("oops"), laid out as a subscription's result: the string follows the discriminant
    assert_eq!(refusal(&world(), &router(PICK).configure("(call $err4)")), "it refuses its configuration: oops");
    assert_eq!(
        refusal(&world(), &router(PICK).configure("unreachable")),
        "it could not be configured: it trapped: wasm trap: wasm `unreachable` instruction executed"
    );
}

#[test]
fn an_unknown_signal_is_refused() {
    assert_eq!(
        refusal(&world(), &router(PICK).signals(&["in-flight", "ttft-ewma"])),
        "it cannot be served: it subscribes to the signal `ttft-ewma`, which this gateway does not have; did you mean \
         `ttft-ewma-ms`?"
    );
}

#[test]
fn a_policy_that_traps_or_lies_does_not_get_into_service() {
    assert_eq!(
        refusal(&world(), &router("unreachable")),
        "it failed a trial call of `router` with 1 candidate: it trapped: wasm trap: wasm `unreachable` instruction \
         executed"
    );
    assert_eq!(
        refusal(&world(), &router("(call $pick (i32.const 99))")),
        "it failed a trial call of `router` with 1 candidate: its verdict is impossible: it names deployment number 99, \
         which was not offered for this request"
    );
    let second = "(if (i32.ge_u (local.get $count) (i32.const 3)) (then unreachable)) (call $list (local.get $candidates) (local.get $count))";
    assert_eq!(
        refusal(&world(), &crate::guest::guest().hook("filter", second)),
        "it failed a trial call of `filter` with 3 candidates: it trapped: wasm trap: wasm `unreachable` instruction \
         executed"
    );
    assert_eq!(
        refusal(&world(), &crate::guest::guest().hook("observer", "unreachable")),
        "it failed a trial call of `observer` with 1 outcome: it trapped: wasm trap: wasm `unreachable` instruction \
         executed"
    );
}

#[test]
fn a_policy_that_never_comes_back_is_stopped_and_refused() {
    let mut world = world();
    world.rules.deadline = std::time::Duration::from_millis(2);
    assert_eq!(
        refusal(&world, &router("(loop $l (br $l)) i32.const 0")),
        "it failed a trial call of `router` with 1 candidate: it missed its deadline of 2 ms"
    );
}

#[test]
fn a_declared_error_is_no_reason_to_refuse() {
    assert!(world().try_bind(&router("(call $err)")).is_ok());
}

#[test]
fn trial_calls_leave_no_trace_in_the_cells() {
    let guest = counting();
    let world = world();
    let policy = world.bind(&guest);
    // the number of calls so far decides: the first real call finds 0
    assert_eq!(target(&policy.route(&offer(&[0, 1, 2, 3]), &[0, 1, 2, 3], None).unwrap()), 0);
    assert_eq!(target(&policy.route(&offer(&[0, 1, 2, 3]), &[0, 1, 2, 3], None).unwrap()), 1);
    // and a reload goes on counting
    let reloaded = world.bind(&guest);
    assert_eq!(target(&reloaded.route(&offer(&[0, 1, 2, 3]), &[0, 1, 2, 3], None).unwrap()), 2);
}

/// Counts its calls in a cell and picks the candidate of that number.
pub(crate) fn counting() -> Guest {
    router(
        "(call $pick (i32.load (i32.add (local.get $candidates) (i32.mul (i32.const 4) (i32.rem_u
            (i32.sub (i32.trunc_f64_u (call $add (global.get $table) (i32.const 0) (f64.const 1))) (i32.const 1))
            (local.get $count))))))",
    )
    .imports("cells")
    .code(COUNTER)
    // the name is 4 zero bytes from address 0; the answer goes to 256
    .configure(
        "(call $open (i32.const 0) (i32.const 4) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 256))
         (global.set $table (i32.load (i32.const 260)))
         i32.const 64",
    )
}

/// What [`counting`] counts with.
pub(crate) const COUNTER: &str = r#"(import "witgate:policy/cells@0.1.0" "open" (func $open (param i32 i32 i32 i32 i32 i32)))
    (import "witgate:policy/cells@0.1.0" "add" (func $add (param i32 i32 f64) (result f64)))
    (global $table (mut i32) (i32.const -1))"#;
