//! Every limit of the configuration, on both sides: just allowed, and just refused.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use witgate_core::config::Isolation;
use witgate_core::decision::{Content, Offer};
use witgate_wasm::{CellStore, FailureCause, Policy, Tier};

use crate::calls::{eventually, later};
use crate::guest::{Guest, router};
use crate::world::{World, offer, target, world};

const PICK: &str = "(call $pick (i32.load (local.get $candidates)))";

/// The message after the revision.
fn refusal(world: &World, guest: &Guest) -> String {
    let message = world.try_bind(guest).unwrap_err().to_string();
    message.split_once("): ").unwrap().1.to_owned()
}

#[test]
fn a_deadline_is_what_a_call_may_take() {
    let spin = |rounds: u32| {
        later(&format!(
            "(local.set $i (i32.const {rounds}))
             (loop $l (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br_if $l (local.get $i)))"
        ))
    };
    let mut world = world();
    world.rules.deadline = Duration::from_secs(5);
    let guest = spin(40_000_000);
    let policy = world.bind(&guest);
    // what it takes on this machine, undisturbed
    let time = |_| {
        let start = Instant::now();
        policy.route(&offer(&[0]), &[0], None).unwrap();
        start.elapsed()
    };
    let needed = (0..5).map(time).min().unwrap().max(Duration::from_millis(8));
    world.rules.deadline = needed * 4;
    assert!(world.bind(&guest).route(&offer(&[0]), &[0], None).is_ok());
    let limit = Duration::from_millis(2);
    world.rules.deadline = limit;
    let failure = world.bind(&spin(400_000_000)).route(&offer(&[0]), &[0], None).unwrap_err();
    assert_eq!(failure.cause, FailureCause::Deadline { limit, tier: Tier::Optimised });
}

#[test]
fn memory_is_allowed_to_the_page() {
    // 4 pages at first; traps unless it gets this many more
    let wants = |pages: u32| {
        router(&format!("(if (i32.eq (memory.grow (i32.const {pages})) (i32.const -1)) (then unreachable)) {PICK}"))
    };
    let mut world = world();
    world.rules.memory = 64 << 10;
    assert!(refusal(&world, &wants(0)).starts_with("it could not be configured: it trapped: "));
    world.rules.memory = 300 * (64 << 10);
    // the trial's hundred calls: with three pages each they are four too many
    assert!(refusal(&world, &wants(3)).ends_with("it trapped: wasm trap: wasm `unreachable` instruction executed"));
    assert!(world.try_bind(&wants(2)).is_ok());
}

/// Waits in the host, while it is asked for a header, until it is let go; a policy that reads one waits with it.
struct Held {
    entered: AtomicUsize,
    gate: Mutex<Receiver<()>>,
}

impl Content for Held {
    fn header(&self, _: &str) -> Option<&str> {
        self.entered.fetch_add(1, Ordering::SeqCst);
        // the sender lets all go at once by hanging up
        let _ = self.gate.lock().unwrap().recv();
        None
    }

    fn prompt(&self) -> &str {
        ""
    }
}

/// Calls that wait until the sender is dropped.
fn held() -> (SyncSender<()>, Arc<Held>, Offer) {
    let (sender, gate) = sync_channel(0);
    let held = Arc::new(Held { entered: AtomicUsize::new(0), gate: Mutex::new(gate) });
    let offer = Offer { content: Some(Arc::clone(&held) as _), ..offer(&[0]) };
    (sender, held, offer)
}

/// Asks for a header, then picks the first.
fn reader() -> Guest {
    router(&format!("(call $value (i32.const 60000) (i32.const 6) (i32.const 256)) {PICK}")).imports("headers").code(
        r#"(import "witgate:policy/headers@0.1.0" "value" (func $value (param i32 i32 i32)))
               (data (i32.const 60000) "x-team")"#,
    )
}

#[test]
fn so_many_calls_at_once_as_there_may_be_instances_and_no_more() {
    for instances in [1, 2, 3] {
        let mut world = world();
        world.rules.grant_headers = true;
        world.rules.instances = NonZeroUsize::new(instances);
        let policy = world.bind(&reader());
        let (gate, held, waiting) = held();
        std::thread::scope(|scope| {
            // all but one are busy: there is room for one more
            for busy in 1..instances {
                scope.spawn(|| policy.route(&waiting, &[0], None).unwrap());
                eventually("it is busy", || held.entered.load(Ordering::SeqCst) == busy);
            }
            assert!(policy.route(&offer(&[0]), &[0], None).is_ok(), "{instances}");
            scope.spawn(|| policy.route(&waiting, &[0], None).unwrap());
            eventually("all are busy", || held.entered.load(Ordering::SeqCst) == instances);
            let failure = policy.route(&offer(&[0]), &[0], None).unwrap_err();
            assert_eq!(failure.cause, FailureCause::Unavailable(format!("all {instances} were busy for 50 ms")));
            drop(gate);
        });
        assert!(policy.route(&offer(&[0]), &[0], None).is_ok(), "{instances}");
    }
}

#[test]
fn without_a_number_there_are_twice_as_many_as_workers() {
    let mut world = world();
    world.rules.grant_headers = true;
    let policy = world.bind(&reader());
    assert_eq!(policy.statistics().live, 1);
    let (gate, held, waiting) = held();
    std::thread::scope(|scope| {
        for busy in [1, 2] {
            scope.spawn(|| policy.route(&waiting, &[0], None).unwrap());
            eventually("it is busy", || held.entered.load(Ordering::SeqCst) == busy);
        }
        let failure = policy.route(&offer(&[0]), &[0], None).unwrap_err();
        assert_eq!(failure.cause, FailureCause::Unavailable("all 2 were busy for 50 ms".to_owned()));
        drop(gate);
    });
}

/// Counts its calls in its own memory and picks the candidate of that number; the trial's calls, in 2026, do not count.
fn remembering() -> Guest {
    router(
        "(if (f64.eq (local.get $now) (f64.const 0)) (then
            (global.set $calls (i32.add (global.get $calls) (i32.const 1)))))
         (call $pick (i32.load (i32.add (local.get $candidates) (i32.mul (i32.const 4)
            (i32.rem_u (global.get $calls) (local.get $count))))))",
    )
    .code("(global $calls (mut i32) (i32.const 0))")
}

fn picks(policy: &Policy) -> Vec<u32> {
    (0..6).map(|_| target(&policy.route(&offer(&[0, 1, 2, 3]), &[0, 1, 2, 3], None).unwrap())).collect()
}

#[test]
fn an_instance_remembers_when_it_is_reused_and_not_when_each_call_gets_a_fresh_one() {
    let mut world = world();
    world.rules.instances = NonZeroUsize::new(1);
    assert_eq!(picks(&world.bind(&remembering())), [1, 2, 3, 0, 1, 2]);
    world.rules.isolation = Isolation::Fresh;
    for instances in [1, 2, 5] {
        world.rules.instances = NonZeroUsize::new(instances);
        let policy = world.bind(&remembering());
        assert_eq!(picks(&policy), [1; 6], "{instances}");
        let statistics = policy.statistics();
        assert_eq!((statistics.calls, statistics.retired, statistics.lost), (6, 6, 0), "{instances}");
        // A call that comes while one place is filled fills another one itself, and both stay.
        eventually("the next one is ready before it is asked for", || {
            (1..=instances).contains(&policy.statistics().live)
        });
    }
}

#[test]
fn a_fresh_instance_is_thrown_away_after_a_declared_error_too() {
    let mut world = world();
    world.rules.isolation = Isolation::Fresh;
    let policy = world.bind(&router("(call $err)"));
    for _ in 0..3 {
        assert!(matches!(policy.route(&offer(&[0]), &[0], None).unwrap_err().cause, FailureCause::Declared(_)));
    }
    assert_eq!(policy.statistics().retired, 3);
}

#[test]
fn threads_share_a_policy_whose_instances_are_always_fresh() {
    let mut world = world();
    world.rules.isolation = Isolation::Fresh;
    world.rules.deadline = Duration::from_secs(2);
    let policy = world.bind(&remembering());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..20).for_each(|_| assert_eq!(picks(&policy), [1; 6])));
        }
    });
    assert_eq!(policy.statistics().retired, 3 * 20 * 6);
}

#[test]
fn an_instance_is_replaced_after_so_many_calls() {
    let mut world = world();
    world.rules.instances = NonZeroUsize::new(1);
    world.rules.calls = NonZeroU32::new(7).unwrap();
    let policy = world.bind(&remembering());
    // `configure` is a call too
    assert_eq!((picks(&policy), policy.statistics().retired), (vec![1, 2, 3, 0, 1, 2], 1));
    let policy = world.bind(&remembering());
    (0..5).for_each(|_| drop(policy.route(&offer(&[0]), &[0], None).unwrap()));
    assert_eq!(policy.statistics().retired, 0);
}

/// Opens tables of cells in `configure`: one for each width. `scope` is 0 for the process, 1 for the fleet.
fn opening(widths: &[u32], scope: u32) -> Guest {
    let opens: String = widths
        .iter()
        .enumerate()
        .map(|(number, width)| {
            format!(
                "(i32.store8 (i32.const 512) (i32.const {}))
                 (call $open (i32.const 512) (i32.const 1) (i32.const {width}) (i32.const {scope}) (i32.const 0)
                    (i32.const 256))
                 (if (i32.load8_u (i32.const 256)) (then
                    (i32.store8 (i32.const 128) (i32.const 1))
                    (i32.store (i32.const 132) (i32.load (i32.const 260)))
                    (i32.store (i32.const 136) (i32.load (i32.const 264)))
                    (return (i32.const 128))))",
                97 + number
            )
        })
        .collect();
    router(PICK)
        .imports("cells")
        .code(r#"(import "witgate:policy/cells@0.1.0" "open" (func $open (param i32 i32 i32 i32 i32 i32)))"#)
        .configure(&format!("{opens} i32.const 64"))
}

#[test]
fn tables_and_cells_have_a_quota() {
    let mut world = world();
    (world.rules.tables, world.rules.cells) = (2, 10);
    assert!(world.try_bind(&opening(&[4, 6], 0)).is_ok());
    assert_eq!(
        refusal(&world, &opening(&[4, 7], 0)),
        "it refuses its configuration: table `b` with 7 cells is too wide: this policy may have 10 cells (`cells`), 4 \
         are taken"
    );
    assert_eq!(
        refusal(&world, &opening(&[1, 1, 1], 0)),
        "it refuses its configuration: table `c` is one too many: this policy may have 2 (`tables`)"
    );
    // a smaller quota counts for tables that are there already
    let serving = world.bind(&opening(&[4, 6], 0));
    world.rules.cells = 9;
    assert!(refusal(&world, &opening(&[4, 6], 0)).contains("may have 9 cells"));
    drop(serving);
}

#[test]
fn the_fleet_s_cells_must_be_granted() {
    let mut world = world();
    assert!(world.try_bind(&opening(&[1], 0)).is_ok());
    assert_eq!(
        refusal(&world, &opening(&[1], 1)),
        "it refuses its configuration: table `a` cannot be shared by the fleet: the configuration does not grant it; \
         add `fleet-cells` to `policies.rules.test.grants`, or open it with scope `process`"
    );
    world.rules.grant_fleet_cells = true;
    assert_eq!(
        refusal(&world, &opening(&[1], 1)),
        "it refuses its configuration: table `a` cannot be shared by the fleet: this gateway has no shared store; \
         configure `cache.redis`, or open it with scope `process`"
    );
    world.cells = Arc::new(CellStore::shared());
    assert!(world.try_bind(&opening(&[1], 1)).is_ok());
    // what the trial opened is its own
    assert_eq!(world.cells.shared_tables().len(), 0);
    let policy = world.bind(&opening(&[1, 2], 1));
    assert_eq!(world.cells.shared_tables().len(), 2);
    drop(policy);
    assert_eq!(world.cells.shared_tables().len(), 0);
}

#[test]
fn so_many_lines_a_second_are_written_and_the_rest_is_dropped() {
    // in calls that are no trial: writes this many lines
    let writes = |lines: u32| {
        later(&format!(
            "(local.set $i (i32.const {lines}))
             (loop $l
                (call $write (i32.const 1) (i32.const 60000) (i32.const 5))
                (local.set $i (i32.sub (local.get $i) (i32.const 1)))
                (br_if $l (local.get $i)))"
        ))
        .imports("log")
        .code(
            r#"(import "witgate:policy/log@0.1.0" "write" (func $write (param i32 i32 i32)))
               (data (i32.const 60000) "hello")"#,
        )
    };
    let mut world = world();
    for (rate, lines, written) in [(3, 3, 3), (3, 4, 3), (0, 1, 0)] {
        world.rules.log_lines = rate;
        let policy = world.bind(&writes(lines));
        let counted = Counted::default();
        tracing::subscriber::with_default(counted.clone(), || policy.route(&offer(&[0]), &[0], None).unwrap());
        assert_eq!(counted.0.load(Ordering::SeqCst), written, "{lines} lines at {rate} a second");
    }
}

#[test]
fn settings_that_are_only_sorted_anew_keep_their_cells() {
    let mut world = world();
    let counts = router(
        "(call $pick (i32.load (i32.add (local.get $candidates) (i32.mul (i32.const 4) (i32.rem_u
            (i32.sub (i32.trunc_f64_u (call $add (i32.const 0) (i32.const 0) (f64.const 1))) (i32.const 1))
            (local.get $count))))))",
    )
    .imports("cells")
    .code(
        r#"(import "witgate:policy/cells@0.1.0" "open" (func $open (param i32 i32 i32 i32 i32 i32)))
           (import "witgate:policy/cells@0.1.0" "add" (func $add (param i32 i32 f64) (result f64)))"#,
    )
    .configure(
        "(call $open (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 256))
         i32.const 64",
    );
    let next = |policy: &Policy| target(&policy.route(&offer(&[0, 1, 2, 3]), &[0, 1, 2, 3], None).unwrap());
    world.settings = json!({"a": {"x": 1, "y": 2}, "b": 3});
    let before = world.bind(&counts);
    assert_eq!(next(&before), 0);
    world.settings = json!({"b": 3, "a": {"y": 2, "x": 1}});
    assert_eq!(next(&world.bind(&counts)), 1);
    world.settings = json!({"b": 4, "a": {"y": 2, "x": 1}});
    assert_eq!(next(&world.bind(&counts)), 0);
}

/// Counts the lines of policies.
#[derive(Clone, Default)]
struct Counted(Arc<AtomicUsize>);

impl tracing::Subscriber for Counted {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "witgate::policy"
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}
