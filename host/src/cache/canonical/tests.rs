//! All spellings of one request are one, and every other request is another.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastrand::Rng;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn bytes(body: &str) -> Vec<u8> {
    encode(body.as_bytes()).unwrap().bytes
}

fn same(one: &str, other: &str) -> bool {
    bytes(one) == bytes(other)
}

#[test]
fn blanks_escapes_and_order_make_no_difference() {
    assert!(same(r#"{"a":1,"b":[true,null]}"#, " {\n\"b\" : [ true,null ] ,\t\"a\":1 }\r\n"));
    assert!(same(r#"{"a":{"x":1,"y":2}}"#, r#"{"a":{"y":2,"x":1}}"#));
    assert!(same(r#"{"é":"\/\n"}"#, r#"{"\u00e9":"/\u000A"}"#));
    assert!(same(r#"{"a":"😀"}"#, r#"{"a":"\ud83d\ude00"}"#));
}

#[test]
fn everything_else_does() {
    for (one, other) in [
        (r#"{"a":1}"#, r#"{"a":2}"#),
        (r#"{"a":1}"#, r#"{"a":"1"}"#),
        (r#"{"a":null}"#, r#"{}"#),
        (r#"{"a":true}"#, r#"{"a":false}"#),
        (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#),
        (r#"{"a":[1,2]}"#, r#"{"a":[12]}"#),
        (r#"{"a":[[]]}"#, r#"{"a":[{}]}"#),
        (r#"{"a":"b","c":""}"#, r#"{"a":"","c":"b"}"#),
        (r#"{"stream":true}"#, r#"{"stream":false}"#),
        (r#"{"a":{"model":"x"}}"#, r#"{"a":{"model":"y"}}"#),
    ] {
        assert!(!same(one, other), "{one} is {other}");
    }
}

#[test]
fn numbers_are_told_apart_by_their_text() {
    for (one, other) in [("1", "1.0"), ("1e2", "100"), ("0.1", "0.10"), ("-0", "0"), ("1e400", "1e401")] {
        assert!(!same(&format!("{{\"a\":{one}}}"), &format!("{{\"a\":{other}}}")), "{one} is {other}");
    }
    // Beyond what a double can tell apart.
    assert!(!same(r#"{"seed":9007199254740993}"#, r#"{"seed":9007199254740992}"#));
}

#[test]
fn of_a_name_that_is_there_twice_the_order_counts() {
    assert!(!same(r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#));
    assert!(!same(r#"{"a":1,"a":2}"#, r#"{"a":2}"#));
    assert!(same(r#"{"a":1,"b":0,"a":2}"#, r#"{"b":0,"a":1,"a":2}"#));
}

#[test]
fn a_schemas_order_counts_because_models_follow_it() {
    let schema = |properties: &str| format!(r#"{{"response_format":{{"schema":{{"properties":{properties}}}}}}}"#);
    assert!(!same(&schema(r#"{"why":{},"answer":{}}"#), &schema(r#"{"answer":{},"why":{}}"#)));
    assert!(same(&schema(r#"{"why":{"a":1,"b":2}}"#), &schema(r#"{"why":{"b":2,"a":1}}"#)));
}

#[test]
fn half_a_surrogate_pair_is_not_the_text_that_spells_it() {
    assert!(!same(r#"{"a":"\ud800"}"#, r#"{"a":"\\ud800"}"#));
    assert!(!same(r#"{"a":"\ud800"}"#, r#"{"a":"\ud801"}"#));
}

#[test]
fn the_models_name_is_left_to_the_key() {
    assert!(same(r#"{"model":"fast","a":1}"#, r#"{"a":1,"model":"gpt-4o"}"#));
    assert!(same(r#"{"mod\u0065l":"fast"}"#, r#"{}"#));
}

#[test]
fn a_request_that_leaves_something_behind_is_told() {
    let stateful = |body: &str| encode(body.as_bytes()).unwrap().stateful;
    for body in [
        r#"{"store":true}"#,
        r#"{"stor\u0065":true,"a":1}"#,
        r#"{"previous_response_id":"resp_1"}"#,
        r#"{"conversation":{"id":"c"}}"#,
        r#"{"background":true}"#,
    ] {
        assert!(stateful(body), "{body}");
    }
    for body in [
        r#"{"store":false,"previous_response_id":null}"#,
        r#"{"metadata":{"store":true}}"#,
        r#"{"stored":true}"#,
        r#"{"a":"store"}"#,
    ] {
        assert!(!stateful(body), "{body}");
    }
}

#[test]
fn what_is_no_json_object_has_no_encoding() {
    for body in
        ["", "[]", "1", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1}x", "{\"a\":\"", "{\"a\":\"\\", "{a:1}", "{\"a\":?}"]
    {
        assert_eq!(encode(body.as_bytes()), None, "{body}");
    }
}

#[test]
fn a_body_may_be_as_deep_as_the_limit_and_no_deeper() {
    let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    assert!(encode(deep(DEPTH_LIMIT).as_bytes()).is_some());
    assert!(encode(deep(DEPTH_LIMIT + 1).as_bytes()).is_none());
}

#[test]
fn a_long_text_deep_down_is_moved_once() {
    // Every object is in the wrong order, so that what lies in it must be moved.
    let around = |inner: String, _| format!(r#"{{"b":{inner},"a":0}}"#);
    let deep = |text: &str| (0..DEPTH_LIMIT).fold(format!("\"{text}\""), around);
    let (one, other) = ("x".repeat(1 << 20), "x".repeat((1 << 20) - 1) + "y");
    assert!(bytes(&deep(&one)).len() < 2 * LONG);
    assert!(!same(&deep(&one), &deep(&other)));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9_f64).prop_map(Value::from),
        "[a-c\"\\\\\n é😀]{0,6}".prop_map(Value::from),
        // On both sides of the length from which a digest stands for a text.
        (LONG - 2..LONG + 2).prop_map(|length| Value::from("x".repeat(length))),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-d]{0,2}|é", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn request() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-z_]{1,8}", value(), 0..8)
        .prop_filter("the model is not encoded, and the order of properties counts", |members| {
            !members.contains_key("model") && !members.contains_key("properties")
        })
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// Writes a value with blanks, escapes and an order of members that differ from seed to seed.
fn spell(value: &Value, rng: &mut Rng, out: &mut String) {
    let blank = |rng: &mut Rng, out: &mut String| out.push_str(["", "", " ", "\n\t"][rng.usize(..4)]);
    let list = |out: &mut String, rng: &mut Rng, ends: [char; 2], each: Vec<String>| {
        out.push(ends[0]);
        for (place, text) in each.iter().enumerate() {
            if place > 0 {
                out.push(',');
            }
            blank(rng, out);
            out.push_str(text);
            blank(rng, out);
        }
        out.push(ends[1]);
    };
    let spelled = |value: &Value, rng: &mut Rng| {
        let mut text = String::new();
        spell(value, rng, &mut text);
        text
    };
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
        Value::String(text) => {
            out.push('"');
            for character in text.chars() {
                let must = character < ' ' || matches!(character, '"' | '\\');
                if must || rng.u8(..) < 64 {
                    let mut units = [0; 2];
                    for unit in character.encode_utf16(&mut units) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                } else {
                    out.push(character);
                }
            }
            out.push('"');
        }
        Value::Array(values) => {
            let each = values.iter().map(|value| spelled(value, rng)).collect();
            list(out, rng, ['[', ']'], each);
        }
        Value::Object(members) => {
            let mut each: Vec<String> = members
                .iter()
                .map(|(key, value)| format!("{}:{}", spelled(&json!(key), rng), spelled(value, rng)))
                .collect();
            rng.shuffle(&mut each);
            list(out, rng, ['{', '}'], each);
        }
    }
}

/// Changes one thing somewhere in the value.
fn mutate(value: &mut Value, rng: &mut Rng) {
    match value {
        Value::Null => *value = Value::Bool(false),
        Value::Bool(truth) => *value = if rng.bool() { Value::Null } else { Value::Bool(!*truth) },
        Value::Number(number) => *value = Value::from(number.to_string()),
        Value::String(text) if rng.bool() => text.push('!'),
        Value::String(text) => *value = json!([text]),
        Value::Array(values) => match rng.usize(..4) {
            0 => values.push(Value::Null),
            1 if values.pop().is_some() => {}
            2 if values.first() != values.last() => values.reverse(),
            _ => match rng.choice(values.iter_mut()) {
                Some(inner) => mutate(inner, rng),
                None => *value = Value::Object(Map::new()),
            },
        },
        Value::Object(members) => {
            let key = rng.choice(members.keys()).cloned();
            match (rng.usize(..4), key) {
                (0, _) | (_, None) => drop(members.insert("new_field".into(), Value::Null)),
                (1, Some(key)) => drop(members.shift_remove(&key)),
                (2, Some(key)) => {
                    let moved = members.shift_remove(&key).unwrap();
                    members.insert(key + "_", moved);
                }
                (_, Some(key)) => mutate(&mut members[&key], rng),
            }
        }
    }
}

proptest! {
    #[test]
    fn all_spellings_are_one(request in request(), seed in any::<u64>()) {
        let mut spelling = String::new();
        spell(&request, &mut Rng::with_seed(seed), &mut spelling);
        prop_assert_eq!(serde_json::from_str::<Value>(&spelling).unwrap(), request.clone(), "the test spells wrongly");
        prop_assert_eq!(bytes(&spelling), bytes(&request.to_string()));
    }

    #[test]
    fn any_change_tells(request in request(), seed in any::<u64>()) {
        let mut changed = request.clone();
        mutate(&mut changed, &mut Rng::with_seed(seed));
        if changed != request {
            prop_assert_ne!(bytes(&changed.to_string()), bytes(&request.to_string()));
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(body in "[{}\\[\\]\",:a1 \\\\tu-]{0,40}") {
        let _ = encode(body.as_bytes());
        let _ = encode(format!("{{\"a\":{body}}}").as_bytes());
    }
}
