use proptest::prelude::*;

use super::*;
use crate::config::{NoLookup, SourceFile, load};

fn table(routes: &str) -> RouteTable {
    let text = format!(
        "
providers: {{demo: {{dialect: demo}}}}
deployments:
  a@demo: {{capabilities: [chat, code]}}
  b@demo: {{capabilities: [chat]}}
  c@demo: {{capabilities: [code], model: '*'}}
{routes}"
    );
    RouteTable::new(&load(&[SourceFile::new("test", text)], &NoLookup).unwrap().config)
}

/// Route, name, capability and deployments.
fn seen<'a>(table: &'a RouteTable, model: &'a str) -> Option<(usize, &'a str, Option<&'a str>, &'a [u32])> {
    let found = table.resolve(model)?;
    Some((found.route, found.model, found.capability.map(|name| &**name), found.deployments))
}

#[test]
fn exact_comes_before_pattern_before_capability_before_default() {
    let table = table(
        "
routes:
  rest: {deployments: '*', default: true}
  gpt: {deployments: a@demo, models: 'gpt-*'}
  gpt-4o: {deployments: b@demo}
  code: {deployments: '*', models: [c*t], capabilities: [code, chat, auto]}
aliases: {gpt-5: gpt-4o, codex: code, star: gpt-x, odd: elsewhere}
",
    );
    assert_eq!(seen(&table, "gpt-4o"), Some((2, "gpt-4o", None, &[1][..])));
    assert_eq!(seen(&table, "gpt-4"), Some((1, "gpt-4", None, &[0][..])));
    assert_eq!(seen(&table, "code"), Some((3, "code", Some("code"), &[0, 2][..])));
    assert_eq!(seen(&table, "auto"), Some((3, "auto", Some("auto"), &[0, 1, 2][..])));
    assert_eq!(seen(&table, "chat"), Some((3, "chat", None, &[0, 1, 2][..])), "the pattern c*t comes first");
    assert_eq!(seen(&table, "who?"), Some((0, "who?", None, &[0, 1, 2][..])));
    assert_eq!(seen(&table, ""), Some((0, "", None, &[0, 1, 2][..])));

    assert_eq!(seen(&table, "gpt-5"), Some((2, "gpt-4o", None, &[1][..])));
    assert_eq!(seen(&table, "codex"), Some((3, "code", Some("code"), &[0, 2][..])));
    assert_eq!(seen(&table, "star"), Some((1, "gpt-x", None, &[0][..])));
    assert_eq!(seen(&table, "odd"), Some((0, "elsewhere", None, &[0, 1, 2][..])));
}

#[test]
fn without_a_default_an_unknown_name_leads_nowhere() {
    let table = table("routes: {m: {deployments: a@demo}}");
    assert_eq!(seen(&table, "m"), Some((0, "m", None, &[0][..])));
    assert_eq!(seen(&table, "M"), None);
}

#[test]
fn an_alias_is_replaced_once() {
    // both targets are served, so both are allowed; neither is looked up as an alias again
    let table = table("routes: {a: {deployments: a@demo}, b: {deployments: b@demo}}\naliases: {a: b, b: a}");
    assert_eq!(seen(&table, "a"), Some((1, "b", None, &[1][..])));
    assert_eq!(seen(&table, "b"), Some((0, "a", None, &[0][..])));
}

#[test]
fn the_most_specific_pattern_wins() {
    let table = table(
        "
routes:
  all: {deployments: a@demo, models: '*'}
  end: {deployments: a@demo, models: '*-mini'}
  gpt: {deployments: a@demo, models: 'gpt-*'}
  gpt-mini: {deployments: a@demo, models: 'gpt-*-mini'}
  gpt-4: {deployments: a@demo, models: 'gpt-4*'}
  first: {deployments: a@demo, models: 'x*a'}
  second: {deployments: a@demo, models: 'x*b*'}
",
    );
    let route = |model| seen(&table, model).map(|found| found.0);
    assert_eq!(route("llama"), Some(0));
    assert_eq!(route("o3-mini"), Some(1));
    assert_eq!(route("gpt-3"), Some(2));
    assert_eq!(route("gpt-3-mini"), Some(3));
    assert_eq!(route("gpt-4o-mini"), Some(4), "a longer prefix outweighs more characters");
    assert_eq!(route("x-b-a"), Some(5), "of equally specific patterns the first is used");
    assert_eq!(route("openai/gpt-4"), Some(0));
}

#[test]
fn clients_are_told_names_and_not_patterns() {
    let table = table(
        "
routes:
  fast: {deployments: a@demo, models: [fast, 'gpt-*', slow]}
  code: {deployments: '*', capabilities: [code, auto], default: true}
aliases: {quick: fast}
",
    );
    let names: Vec<_> = table.models().iter().map(|name| &**name).collect();
    assert_eq!(names, ["fast", "slow", "code", "auto", "quick"]);
    assert!(names.iter().all(|name| table.resolve(name).is_some()));
}

proptest! {
    /// Whatever the order of the routes, a name goes to a pattern that matches it and that no other match exceeds.
    #[test]
    fn no_match_is_more_specific_than_the_one_used(
        patterns in proptest::collection::btree_set("[ab]{0,2}\\*[ab]{0,2}", 1..6),
        order in any::<prop::sample::Index>(),
        model in "[ab]{0,6}",
    ) {
        let mut patterns: Vec<_> = patterns.into_iter().collect();
        let at = order.index(patterns.len());
        patterns.rotate_left(at);
        let routes: String =
            patterns.iter().enumerate().map(|(n, p)| format!("  r{n}: {{deployments: a@demo, models: '{p}'}}\n")).collect();
        let table = table(&format!("routes:\n{routes}"));
        let matching = || patterns.iter().filter(|pattern| glob::matches(pattern, &model));
        match table.resolve(&model) {
            None => prop_assert_eq!(matching().count(), 0),
            Some(found) => {
                let used = &patterns[found.route];
                prop_assert!(glob::matches(used, &model));
                prop_assert!(matching().all(|other| glob::specificity(other) <= glob::specificity(used)));
                let equal = matching().find(|other| glob::specificity(other) == glob::specificity(used));
                prop_assert_eq!(equal, Some(used), "the first of equals");
            }
        }
    }
}
