//! Core modules that import WASI 0.1: it is answered within the component, with nothing behind it.

use witgate_wasm::Imports;

use crate::guest::{Guest, router};
use crate::world::{offer, target, world};

const PICK: &str = "(call $pick (i32.load (local.get $candidates)))";

/// Functions of WASI 0.1 that a module imports.
fn import(functions: &[(&str, &str)]) -> String {
    let import = |(name, signature): &(&str, &str)| {
        format!(r#"(import "wasi_snapshot_preview1" "{name}" (func ${name} {signature}))"#)
    };
    functions.iter().map(import).collect()
}

const CLOCK: (&str, &str) = ("clock_time_get", "(param i32 i64 i32) (result i32)");

/// A router that traps unless each of these expressions gives the number beside it.
fn checking(imports: &[(&str, &str)], answers: &[(&str, u32)]) -> Guest {
    let check = |(ask, answer): &(&str, u32)| format!("(if (i32.ne {ask} (i32.const {answer})) (then unreachable))");
    router(&format!("{}{PICK}", answers.iter().map(check).collect::<String>())).code(&import(imports))
}

fn picks(guest: &Guest) {
    let policy = world().bind(guest);
    assert_eq!(target(&policy.route(&offer(&[2, 3]), &[2, 3], None).unwrap()), 2);
    assert_eq!(policy.component().imports(), &Imports::default());
}

#[test]
fn the_clock_moves_on_whenever_it_is_looked_at() {
    let look = "(call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 512))";
    let later = "(i32.wrap_i64 (i64.sub (i64.load (i32.const 520)) (i64.load (i32.const 512))))";
    let again = "(call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 520))";
    picks(&checking(&[CLOCK], &[(look, 0), ("(i64.eqz (i64.load (i32.const 512)))", 0), (again, 0), (later, 1000)]));
}

#[test]
fn there_are_no_arguments_no_environment_and_no_folders() {
    let sizes = "(param i32 i32) (result i32)";
    let path = "(param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)";
    let imports =
        [("args_sizes_get", sizes), ("environ_sizes_get", sizes), ("fd_prestat_get", sizes), ("path_open", path)];
    let open = "(call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i64.const 0) \
                (i64.const 0) (i32.const 0) (i32.const 512))";
    let none = "(i32.or (i32.load (i32.const 512)) (i32.load (i32.const 516)))";
    picks(&checking(
        &imports,
        &[
            ("(call $args_sizes_get (i32.const 512) (i32.const 516))", 0),
            (none, 0),
            ("(call $environ_sizes_get (i32.const 512) (i32.const 516))", 0),
            (none, 0),
            ("(call $fd_prestat_get (i32.const 3) (i32.const 512))", 8),
            (open, 76),
        ],
    ));
}

#[test]
fn what_is_written_is_dropped_and_nothing_can_be_read() {
    let pieces = "(param i32 i32 i32 i32) (result i32)";
    let ask =
        |function, fd| format!("(call ${function} (i32.const {fd}) (i32.const 512) (i32.const 2) (i32.const 528))");
    let (write, read) = (ask("fd_write", 2), ask("fd_read", 0));
    let (closed, strange) = (ask("fd_write", 3), ask("fd_read", 7));
    let two_pieces = "(block (result i32) (i32.store (i32.const 516) (i32.const 5)) \
                      (i32.store (i32.const 524) (i32.const 7)) (i32.const 0))";
    picks(&checking(
        &[("fd_write", pieces), ("fd_read", pieces)],
        &[
            (two_pieces, 0),
            (&write, 0),
            ("(i32.load (i32.const 528))", 12),
            (&read, 0),
            ("(i32.load (i32.const 528))", 0),
            (&closed, 8),
            (&strange, 8),
        ],
    ));
}

#[test]
fn random_bytes_are_the_same_in_every_instance() {
    let fill = "(call $random_get (i32.const 512) (i32.const 8))";
    let word = "(i32.load (i32.const 512))";
    // Of each number of SplitMix64 from 0 (e220a8397b1dcdaf, 6e789e6aa1b965f4, 06c45d188009454f, f88bb8a8724c81ec) the
    // lowest byte.
    let check = format!("(drop {fill}) (if (i32.ne {word} (i32.const 0xec4ff4af)) (then unreachable)) (i32.const 64)");
    let guest = router(PICK).code(&import(&[("random_get", "(param i32 i32) (result i32)")])).configure(&check);
    // configured once in each of several instances
    picks(&guest);
}

#[test]
fn whoever_waits_is_woken_at_once() {
    let mark = "(block (result i32) (i64.store (i32.const 512) (i64.const 77)) (i32.store8 (i32.const 520) (i32.const 0)) \
                (i32.const 0))";
    let wait = "(call $poll_oneoff (i32.const 512) (i32.const 640) (i32.const 1) (i32.const 700))";
    picks(&checking(
        &[("poll_oneoff", "(param i32 i32 i32 i32) (result i32)")],
        &[
            (mark, 0),
            (wait, 0),
            ("(i32.load (i32.const 700))", 1),
            ("(i32.wrap_i64 (i64.load (i32.const 640)))", 77),
            ("(i32.load16_u (i32.const 648))", 0),
            ("(i32.load8_u (i32.const 650))", 0),
        ],
    ));
}

#[test]
fn the_end_of_the_program_costs_the_instance() {
    let exit = import(&[("proc_exit", "(param i32)")]);
    // at one moment only, so that the trial passes
    let at = "(if (f64.eq (local.get $now) (f64.const 12345)) (then (call $proc_exit (i32.const 0))))";
    let policy = world().bind(&router(&format!("{at}{PICK}")).code(&exit));
    let mut then = offer(&[2]);
    then.stamp.now_ms = 12_345.0;
    let cause = policy.route(&then, &[2], None).unwrap_err().cause;
    assert_eq!(cause.to_string(), "it trapped: wasm trap: wasm `unreachable` instruction executed");
    assert_eq!(target(&policy.route(&offer(&[2]), &[2], None).unwrap()), 2);
}

/// Go's garbage collector does this.
#[test]
fn wasi_may_be_asked_where_the_host_may_not() {
    let look = "(drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 512)))";
    picks(&router(PICK).code(&import(&[CLOCK])).allocation(look));
}

/// Without the answer within the component, this is how it would end: contained, but of no use.
#[test]
fn a_call_to_the_host_while_memory_is_asked_for_is_a_trap() {
    let log = r#"(import "witgate:policy/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;
    let guest =
        router(PICK).imports("log").code(log).allocation("(call $log (i32.const 0) (i32.const 512) (i32.const 0))");
    assert_eq!(
        world().try_bind(&guest).unwrap_err().problem.to_string(),
        "it could not be configured: it trapped: wasm trap: cannot leave component instance"
    );
}

#[test]
fn a_function_that_wasi_does_not_have_is_named() {
    let guest = router(PICK).code(&import(&[("thread_spawn", "(param i32) (result i32)")]));
    assert_eq!(
        world().load(&guest.module()).unwrap_err().to_string(),
        "policy `test`: the file is a core WebAssembly module that cannot be made a component: failed to decode world from \
         module: failed to validate the imports of the adapter module `wasi_snapshot_preview1`: adapter module did not \
         export `thread_spawn`"
    );
}
