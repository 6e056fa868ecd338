//! Patterns with `*`, which stands for any characters, also none, also `/`.

use std::borrow::Cow;

/// Whether the whole text fits the pattern. Takes at most pattern length × text length steps.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // where the last `*` stood, and where in the text what it stands for ends; only the last star ever has to give
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, end)) = star {
            star = Some((at, end + 1));
            p = at + 1;
            t = end + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Whether everything that fits `narrow` fits `wide` too.
pub fn covers(wide: &str, narrow: &str) -> bool {
    // a star of `narrow` as a character that no pattern holds can only be matched by a star of `wide`, and whatever
    // stands in its place is then matched by that star as well
    matches(wide, &narrow.replace('*', "\0"))
}

/// How much of a name a pattern fixes: first its characters before the first `*`, then all of them. More is more
/// specific.
pub fn specificity(pattern: &str) -> (usize, usize) {
    let prefix = pattern.find('*').unwrap_or(pattern.len());
    let literals = pattern.bytes().filter(|byte| *byte != b'*').count();
    (prefix, literals)
}

/// Whether it is a pattern at all.
pub fn is_glob(text: &str) -> bool {
    text.contains('*')
}

/// The same pattern with one star where several follow each other.
pub fn normal(pattern: &str) -> Cow<'_, str> {
    if !pattern.contains("**") {
        return Cow::Borrowed(pattern);
    }
    let mut out = String::with_capacity(pattern.len());
    for c in pattern.chars() {
        if c != '*' || !out.ends_with('*') {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "openai/gpt-4o"),
            ("gpt-*", "gpt-"),
            ("gpt-*", "gpt-4o"),
            ("*/gpt-*", "openai/gpt-4o"),
            ("a*b*c", "abxbc"),
            ("*ü*", "grün"),
            ("gpt", "gpt"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("", "a"), ("gpt-*", "gpt"), ("gpt-*", "xgpt-4"), ("a*b", "abc"), ("gpt", "GPT"), ("a", "")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn wider_patterns_cover_narrower_ones() {
        for (wide, narrow) in [("*", "a*b"), ("a*b*c", "a*bc"), ("gpt-*", "gpt-4*"), ("a**", "a*"), ("a*", "a**")] {
            assert!(covers(wide, narrow), "{wide} {narrow}");
        }
        for (wide, narrow) in [("a*b", "a*"), ("gpt-4*", "gpt-*"), ("a*bc", "a*b*c"), ("ab", "a*")] {
            assert!(!covers(wide, narrow), "{wide} {narrow}");
        }
    }

    #[test]
    fn a_longer_prefix_is_more_specific_then_more_characters() {
        assert!(specificity("gpt-4*") > specificity("gpt-*turbo"));
        assert!(specificity("gpt-*turbo") > specificity("gpt-*"));
        assert!(specificity("a*") > specificity("*aaaa"));
        assert_eq!(specificity("*"), (0, 0));
    }

    /// The definition, one character at a time.
    fn by_definition(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some(('*', rest)), _) => (0..=text.len()).any(|skip| by_definition(rest, &text[skip..])),
            (Some(_), None) => false,
            (Some((c, rest)), Some((d, tail))) => c == d && by_definition(rest, tail),
        }
    }

    fn chars(text: &str) -> Vec<char> {
        text.chars().collect()
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_definition(pattern in "[ab*]{0,7}", text in "[ab]{0,9}") {
            prop_assert_eq!(matches(&pattern, &text), by_definition(&chars(&pattern), &chars(&text)));
        }

        #[test]
        fn one_star_is_as_good_as_several(pattern in "[ab*é]{0,7}", text in "[abé]{0,9}") {
            prop_assert_eq!(matches(&normal(&pattern), &text), matches(&pattern, &text));
            prop_assert_eq!(specificity(&normal(&pattern)), specificity(&pattern));
        }

        #[test]
        fn what_is_covered_matches(wide in "[ab*]{0,6}", narrow in "[ab*]{0,6}", text in "[abc]{0,8}") {
            if covers(&wide, &narrow) && matches(&narrow, &text) {
                prop_assert!(matches(&wide, &text));
            }
        }

        #[test]
        fn what_is_not_covered_has_an_example(wide in "[ab*]{0,6}", narrow in "[ab*]{0,6}") {
            if !covers(&wide, &narrow) {
                let example = narrow.replace('*', "c");
                prop_assert!(matches(&narrow, &example) && !matches(&wide, &example));
            }
        }

        #[test]
        fn a_pattern_covers_only_what_is_at_least_as_specific(wide in "[ab*]{0,6}", narrow in "[ab*]{0,6}") {
            if is_glob(&wide) && is_glob(&narrow) && covers(&wide, &narrow) {
                prop_assert!(specificity(&wide) <= specificity(&narrow));
            }
        }
    }
}
