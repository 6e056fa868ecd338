//! The policies of real use: each decides what its README promises, and refuses settings that make no sense.

use serde_json::json;
use witgate_core::decision::StartRule;
use witgate_core::deployment::Deployment;
use witgate_core::outcome::OutcomeRow;
use witgate_core::plan::Decision;
use witgate_core::vocabulary::{Fact, OutcomeField};

use crate::world::{World, decide, deployment, labelled, plan, priced, targets};

const HOUR: f64 = 3_600_000.0;

#[test]
#[ignore = "needs `make guests-extra`; `make test-languages` runs it"]
fn rust_budget_guard_keeps_a_tenant_to_its_budget() {
    let mut world = World::new([priced("m@dear", 9.0), priced("m@cheap", 1.0)]);
    world.tenant(2, "rich", &[("budget_usd", "1000")]);
    let policy = world.example("budget-guard", json!({"usd": 10, "period": "hour"}));
    let asked = |tenant| {
        let mut offer = world.offer(&[(Fact::Tenant, tenant)]);
        offer.stamp.now_ms = 1000.0 * HOUR + 600_000.0;
        decide(&policy, &offer)
    };
    let spend = |tenant: f64, usd: f64| {
        let mut row = OutcomeRow([0.0; OutcomeField::COUNT]);
        row.0[OutcomeField::Tenant as usize] = tenant;
        row.0[OutcomeField::Usd as usize] = usd;
        policy.observe(&[row]).unwrap();
    };
    assert_eq!(asked(1.0), Decision::Abstain);
    spend(1.0, 8.0);
    spend(2.0, 8.0);
    let Decision::Run(thrifty) = asked(1.0) else { panic!("no plan") };
    assert_eq!((thrifty.attempts[0].target, thrifty.reason.as_deref()), (1, Some("budget nearly spent: the cheapest")));
    spend(1.0, 2.0);
    let Decision::Reject(stopped) = asked(1.0) else { panic!("not stopped") };
    assert_eq!((stopped.status, stopped.reason.as_deref()), (429, Some("the budget of this period is spent")));
    assert_eq!(asked(2.0), Decision::Abstain);
    assert_eq!(
        world.refusal("budget-guard", json!({"usd": 0})),
        "its settings are not what it accepts: `settings.usd`: 0 is less than or equal to the minimum of 0 (allowed: \
         {\"type\":\"number\",\"exclusiveMinimum\":0})"
    );
}

#[test]
#[ignore = "needs `make guests-extra`; `make test-languages` runs it"]
fn python_tenant_tiers_serves_each_tenant_by_its_tier() {
    let mut world = World::new([priced("m@dear", 9.0), priced("m@cheap", 1.0), priced("m@middling", 5.0)]);
    world.tenant(1, "acme", &[]);
    world.tenant(2, "walk-in", &[]);
    world.tenant(3, "guest", &[("tier", "gold")]);
    let settings = json!({
        "tiers": {
            "gold": {"prefer": "least-busy"},
            "bronze": {"prefer": "cheapest", "max_usd_per_mtok_out": 6},
            "broke": {"max_usd_per_mtok_out": 0.5},
        },
        "tenants": {"acme": "gold", "nobody": "broke"},
        "default": "bronze",
    });
    let policy = world.example("tenant-tiers", settings);
    let _running = [world.busy(1, 1), world.busy(2, 2)];
    let served = |tenant: f64| {
        let plan = plan(&policy, &world.offer(&[(Fact::Tenant, tenant)]));
        (plan.attempts[0].target, plan.reason.unwrap().to_string())
    };
    assert_eq!(served(1.0), (0, "tier gold".to_owned()));
    assert_eq!(served(2.0), (1, "tier bronze".to_owned()));
    assert_eq!(served(3.0), (0, "tier gold".to_owned()), "the key's own label goes first");
    let mut offer = world.offer(&[(Fact::Tenant, 2.0)]);
    offer.candidates = vec![0];
    let Decision::Reject(refused) = decide(&policy, &offer) else { panic!("served beyond its tier") };
    assert_eq!(
        (refused.status, refused.reason.as_deref()),
        (403, Some("tier bronze: every deployment is too dear for it"))
    );
    assert_eq!(
        world.refusal("tenant-tiers", json!({"tiers": {"gold": {}}, "tenants": {"acme": "golf"}, "default": "gold"})),
        "it refuses its configuration: ValueError: settings: `acme` has the tier `golf`; there are gold"
    );
}

#[test]
#[ignore = "needs `make guests-extra`; `make test-languages` runs it"]
fn javascript_prompt_language_finds_who_speaks_it() {
    let mut world = World::new([
        labelled("m@general", "languages", "en"),
        labelled("m@continental", "languages", "de, fr es"),
        labelled("m@pacific", "languages", "ja zh ko"),
    ]);
    let answers = [
        ("Wie komme ich am schnellsten zum Bahnhof, und ist der Zug pünktlich?", Some((1, "German"))),
        ("Quelle est la capitale de la France et que faut-il y voir ?", Some((1, "French"))),
        ("What is the capital of this country and how do I get to it?", Some((0, "English"))),
        ("東京で一番おいしいラーメン屋はどこですか。", Some((2, "Japanese"))),
        ("请用三句话解释量子力学。", Some((2, "Chinese"))),
        ("서울에서 가장 좋은 식당은 어디입니까?", Some((2, "Korean"))),
        ("Где находится ближайшая станция метро?", None), // nobody speaks it
        ("42 + 1 = ?", None),
        ("", None),
    ];
    for (prompt, expected) in answers {
        world.prompt(prompt);
        let policy = world.example("prompt-language", json!({}));
        let found = match decide(&policy, &world.offer(&[])) {
            Decision::Run(plan) => Some((plan.attempts[0].target, plan.reason.unwrap().to_string())),
            _ => None,
        };
        let expected = expected.map(|(target, name)| (target, format!("the prompt is in {name}")));
        assert_eq!(found, expected, "{prompt}");
    }
    // it asks for the prompt, so it is not put into service without the grant
    world.rules.grant_prompt = false;
    assert!(world.refusal("prompt-language", json!({})).contains("prompts"));
    let mut strange = World::new([labelled("m@a", "languages", "klingon")]);
    strange.prompt("");
    assert_eq!(
        strange.refusal("prompt-language", json!({})),
        "it refuses its configuration: Error: the label `languages` of m@a has `klingon`; known are en, de, fr, es, it, pt, \
         nl, ru, el, ar, he, hi, th, ja, ko, zh"
    );
}

#[test]
#[ignore = "needs `make guests-extra`; `make test-languages` runs it"]
fn typescript_ab_split_keeps_users_in_their_arm() {
    let world = World::new([deployment("m@old"), labelled("m@new", "arm", "new"), labelled("n@new", "arm", "new")]);
    let settings = |experiment: &str| {
        json!({"experiment": experiment, "arms": [
            {"name": "control", "share": 3, "deployments": ["m@old"]},
            {"name": "candidate", "share": 1, "deployments": ["arm=new"]},
        ]})
    };
    let policy = world.example("ab-split", settings("spring"));
    let arm = |policy, user: u32| {
        let plan = plan(policy, &world.offer(&[(Fact::Affinity, f64::from(user))]));
        assert_eq!(plan.reason.as_deref(), Some(["spring: control", "spring: candidate"][plan.tag as usize - 1]));
        plan.tag
    };
    let arms: Vec<u32> = (1..=2000).map(|user| arm(&policy, user * 7919)).collect();
    let candidates = arms.iter().filter(|tag| **tag == 2).count();
    assert!((400..600).contains(&candidates), "{candidates} of 2000 are in the arm of a quarter");
    assert_eq!(arms, (1..=2000).map(|user| arm(&policy, user * 7919)).collect::<Vec<_>>(), "sticky");
    let other = world.example("ab-split", settings("summer"));
    let shuffled = (1..=2000).filter(|user| {
        plan(&other, &world.offer(&[(Fact::Affinity, f64::from(user * 7919))])).tag != arms[*user as usize - 1]
    });
    assert!(shuffled.count() > 400, "another experiment shuffles anew");

    // a failure stays within the arm, and an arm that is down leaves the request to the next policy
    let user = 7919 * (1 + arms.iter().position(|tag| *tag == 2).unwrap() as u32);
    let mut offer = world.offer(&[(Fact::Affinity, f64::from(user))]);
    let tries = plan(&policy, &offer).attempts;
    assert_eq!([tries[0].start, tries[1].start], [StartRule::AtOnce, StartRule::OnFailure]);
    assert!(tries.iter().all(|attempt| attempt.target != 0));
    offer.candidates = vec![0];
    assert_eq!(decide(&policy, &offer), Decision::Abstain);
    let nobody = json!({"experiment": "x", "arms": [
        {"name": "a", "share": 1, "deployments": ["m@old"]}, {"name": "b", "share": 1, "deployments": ["m@gone"]}]});
    assert_eq!(
        world.refusal("ab-split", nobody),
        "it refuses its configuration: Error: settings: `m@gone` is neither the id nor a label (`key=value`) of any \
         deployment"
    );
}

#[test]
#[ignore = "needs `make guests-extra`; `make test-languages` runs it"]
fn c_consistent_hash_moves_only_whom_it_must() {
    let world = World::new(["m@a", "m@b", "m@c", "m@d"].map(deployment));
    let policy = world.example("consistent-hash", json!({"load_factor": 100}));
    let home = |session: u32, without: Option<u32>| {
        let mut offer = world.offer(&[(Fact::Affinity, f64::from(session))]);
        offer.candidates.retain(|target| Some(*target) != without);
        targets(&policy, &offer)
    };
    let homes: Vec<Vec<u32>> = (1..=1000).map(|session| home(session, None)).collect();
    for target in 0..4 {
        let share = homes.iter().filter(|ranked| ranked[0] == target).count();
        assert!((180..320).contains(&share), "deployment {target} has {share} of 1000 sessions");
    }
    for (session, ranked) in (1..=1000).zip(&homes) {
        let moved = home(session, Some(3));
        // only those that lived there, and to where a failure would have taken them
        assert_eq!(moved[0], if ranked[0] == 3 { ranked[1] } else { ranked[0] });
    }
    assert_eq!(decide(&policy, &world.offer(&[])), Decision::Abstain, "without affinity there is no home");
}

#[test]
#[ignore = "needs `make guests-extra`; `make test-languages` runs it"]
fn c_consistent_hash_bounds_the_load() {
    let world = World::new(["m@a", "m@b", "m@c", "m@d"].map(deployment));
    let policy = world.example("consistent-hash", json!({"load_factor": 1.5}));
    let offer = world.offer(&[(Fact::Affinity, 42.0)]);
    let at_rest = plan(&policy, &offer);
    let home = at_rest.attempts[0].target;
    assert_eq!(at_rest.reason.as_deref(), Some("the session's own deployment"));
    // with this request 7 are in flight: a fair share is 7 / 4, and 1.5 times that, rounded up, is 3
    let _others = world.busy((home as usize + 1) % 4, 4);
    let mut running = world.busy(home as usize, 2);
    assert_eq!(targets(&policy, &offer)[0], home);
    // of 8 it is still 3, and this would be the fourth
    running.extend(world.busy(home as usize, 1));
    let overflow = plan(&policy, &offer);
    assert_ne!(overflow.attempts[0].target, home);
    assert_eq!(overflow.reason.as_deref(), Some("the session's deployment has more than its share"));
    assert_eq!(
        world.refusal("consistent-hash", json!({"load_factor": 0.9})),
        "its settings are not what it accepts: `settings.load_factor`: 0.9 is less than the minimum of 1 (allowed: \
         {\"type\":\"number\",\"minimum\":1,\"maximum\":100,\"default\":1.25})"
    );
}

#[test]
#[ignore = "needs `make guests-extra`; `make test-languages` runs it"]
fn cpp_weighted_score_weighs_what_the_operator_says() {
    let world = World::new([priced("m@dear", 10.0), priced("m@cheap", 1.0), priced("m@middling", 4.0)]);
    let _running = [world.busy(1, 4), world.busy(2, 1)];
    let offer = world.offer(&[]);
    let ranked = |settings| targets(&world.example("weighted-score", settings), &offer);
    assert_eq!(ranked(json!({"load": 0})), [1, 2, 0]);
    assert_eq!(ranked(json!({"price": 0})), [0, 2, 1]);
    // load 1, 0, ¾ and price 0, 0.9, 0.6
    assert_eq!(ranked(json!({})), [2, 0, 1]);
    assert_eq!(ranked(json!({"price": 1.5e1})), [1, 2, 0]);
}

#[test]
#[ignore = "needs `make guests-extra`; `make test-languages` runs it"]
fn zig_time_of_day_knows_the_night_tariff() {
    let night = Deployment { labels: vec![("tariff".into(), "night".into())], ..priced("m@night", 3.0) };
    let world = World::new([priced("m@flat", 2.0), night]);
    let windows = json!([{"tariff": "night", "from": "22:30", "to": "06:00", "factor": 0.5}]);
    let policy = world.example("time-of-day", json!({"windows": windows}));
    let at = |clock: f64| {
        let mut offer = world.offer(&[(Fact::PromptTokens, 1000.0)]);
        offer.stamp.now_ms = 20_000.0 * 24.0 * HOUR + clock * HOUR;
        let plan = plan(&policy, &offer);
        (plan.attempts[0].target, plan.reason.unwrap().to_string())
    };
    let (day, reduced) = ((0, "cheapest".to_owned()), (1, "cheapest, at a reduced price".to_owned()));
    for (clock, expected) in [
        (12.0, &day),
        (22.49, &day),
        (22.5, &reduced),
        (23.99, &reduced),
        (0.0, &reduced),
        (5.99, &reduced),
        (6.0, &day),
    ] {
        assert_eq!(&at(clock), expected, "at {clock}");
    }
    assert_eq!(
        world.refusal(
            "time-of-day",
            json!({"windows": [{"tariff": "dawn", "from": "04:00", "to": "06:00", "factor": 1}]})
        ),
        "it refuses its configuration: settings: no deployment has the label `tariff: dawn`"
    );
    assert_eq!(
        world.refusal(
            "time-of-day",
            json!({"windows": [{"tariff": "night", "from": "24:00", "to": "06:00", "factor": 1}]})
        ),
        "its settings are not what it accepts: `settings.windows[0].from`: \"24:00\" does not match \
         \"^([01][0-9]|2[0-3]):[0-5][0-9]$\" (allowed: \
         {\"type\":\"string\",\"pattern\":\"^([01][0-9]|2[0-3]):[0-5][0-9]$\"})"
    );
}

#[test]
#[ignore = "needs `make guests-extra`; `make test-languages` runs it"]
fn go_context_fit_keeps_large_windows_free() {
    let window = |id, context_tokens| Deployment { context_tokens, ..deployment(id) };
    let world = World::new([
        window("m@unknown", None),
        window("m@large", Some(200_000)),
        window("m@small", Some(8_000)),
        window("n@small", Some(8_000)),
    ]);
    let policy = world.example("context-fit", json!({"margin": 0.5}));
    let served = |prompt: f64, output: f64, offered: &[u32]| {
        let mut offer = world.offer(&[(Fact::PromptTokens, prompt), (Fact::MaxOutputTokens, output)]);
        offer.candidates = offered.to_vec();
        match decide(&policy, &offer) {
            Decision::Run(plan) => Ok(plan.attempts[0].target),
            Decision::Reject(refused) => Err((refused.status, refused.reason.unwrap().to_string())),
            Decision::Abstain => panic!("it always has an opinion"),
        }
    };
    let all = [0, 1, 2, 3];
    // 1.5 times the prompt, and the answer: exactly 8000, then one more
    assert_eq!(served(4_000.0, 2_000.0, &all), Ok(2));
    assert_eq!(served(4_000.0, 2_001.0, &all), Ok(1));
    // 1000 tokens where the client says nothing
    assert_eq!((served(4_666.0, 0.0, &all), served(4_667.0, 0.0, &all)), (Ok(2), Ok(1)));
    assert_eq!(served(150_000.0, 0.0, &all), Ok(0));
    let refused = (413, "the request is longer than every context window".to_owned());
    assert_eq!(served(150_000.0, 0.0, &all[1..]), Err(refused));
    let _running = world.busy(2, 1);
    assert_eq!(served(10.0, 10.0, &all), Ok(3));
    assert_eq!(
        world.refusal("context-fit", json!({"margin": 2})),
        "its settings are not what it accepts: `settings.margin`: 2 is greater than the maximum of 1 (allowed: \
         {\"type\":\"number\",\"minimum\":0,\"maximum\":1,\"default\":0.1})"
    );
}
