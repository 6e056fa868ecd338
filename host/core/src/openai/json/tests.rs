use proptest::prelude::*;

use super::*;

fn check(text: &str) -> Result<(), SyntaxError> {
    let mut scanner = Scanner::new(text);
    scanner.skip()?;
    scanner.end()
}

#[test]
fn values_are_found_where_they_are() {
    let text = r#" {"a": [1, -2.5e+3, true], "bc" :"d\"e"} "#;
    let mut seen = Vec::new();
    let mut scanner = Scanner::new(text);
    scanner
        .object::<SyntaxError>(|inner, key| {
            seen.push((key.decode().into_owned(), inner.raw()?));
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, [("a".to_owned(), "[1, -2.5e+3, true]"), ("bc".to_owned(), r#""d\"e""#)]);
    assert_eq!(scanner.end(), Ok(()));
}

#[test]
fn an_error_says_what_and_where() {
    let message = |text: &str| check(text).unwrap_err().to_string();
    assert_eq!(message(""), "expected a value, but the text ends at line 1, column 1");
    assert_eq!(message("{\n \"a\": 1,\n}"), "expected a key in double quotes at line 3, column 1");
    assert_eq!(message("{\"a\" 1}"), "expected `:` after a key at line 1, column 6");
    assert_eq!(message("{\"a\":1 \"b\":2}"), "expected `,` or `}` at line 1, column 8");
    assert_eq!(message("[1 2]"), "expected `,` or `]` at line 1, column 4");
    assert_eq!(message("{\"a\":1"), "object without end at line 1, column 7");
    assert_eq!(message("[1"), "array without end at line 1, column 3");
    assert_eq!(message("\"a"), "string without end at line 1, column 3");
    assert_eq!(message("\"a\nb\""), "control character in a string at line 1, column 3");
    assert_eq!(message(r#""\x""#), "unknown escape in a string at line 1, column 2");
    assert_eq!(message(r#""\u12g4""#), "`\\u` needs four hexadecimal digits at line 1, column 2");
    assert_eq!(message("-"), "expected a digit at line 1, column 2");
    assert_eq!(message("1."), "expected a digit at line 1, column 3");
    assert_eq!(message("nul"), "expected `true`, `false` or `null` at line 1, column 1");
    assert_eq!(message("1 2"), "text after the end of the value at line 1, column 3");
    assert_eq!(message("?"), "expected a value at line 1, column 1");
}

#[test]
fn depth_is_limited() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(check(&nested(DEPTH_LIMIT)), Ok(()));
    let error = check(&nested(DEPTH_LIMIT + 1)).unwrap_err();
    assert_eq!(error.to_string(), "more than 128 levels of arrays and objects at line 1, column 129");
}

#[test]
fn half_a_surrogate_pair_stays_as_written() {
    let mut scanner = Scanner::new(r#""\ud800""#);
    assert_eq!(scanner.string().unwrap().decode(), r"\ud800");
}

fn json() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"\\n\"",
        "\"é\\u00e9\"",
        "1",
        "-0",
        "01",
        "1.5",
        "1e5",
        "2E-1",
        "-",
        "true",
        "false",
        "null",
        " ",
        "\n",
        "\"",
        "\\",
        "\u{1}",
        "x",
    ]);
    prop::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn it_accepts_what_serde_json_accepts(text in json()) {
        let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text);
        prop_assert_eq!(check(&text).is_ok(), theirs.is_ok(), "{:?}: {:?}", text, theirs);
    }

    #[test]
    fn it_accepts_what_serde_json_writes(keys in prop::collection::vec(".*", 0..6), number in any::<f64>()) {
        let value = serde_json::json!({"keys": keys, "number": number, "nested": {"keys": [keys]}});
        prop_assert_eq!(check(&value.to_string()), Ok(()));
        prop_assert_eq!(check(&format!("{value:#}")), Ok(()));
    }

    #[test]
    fn it_decodes_as_serde_json_does(text in ".*") {
        let written = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(Scanner::new(&written).string().unwrap().decode(), text);
    }
}
