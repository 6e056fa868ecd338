//! Which entry a model's name stands for, where it is not written as in the catalogue.
//!
//! Only spellings of the same model at the same price are taken for one another. A fine-tuned model is not the one that
//! it was made from, and `:free` is not the model that one pays for.

use std::fmt;

use super::Entry;

/// How a name was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// It is the entry's, but perhaps for capitals.
    Exact,
    /// Behind the vendor's name: `models/gemini-2.5-pro`.
    WithoutVendor,
    /// The price of all models that were tuned from the same one: `ft:gpt-4o-2024-08-06:me::id`.
    Tuned,
    /// The date, or `latest`, is not in the catalogue.
    WithoutDate,
    /// The catalogue has it with dates only, and this is the newest.
    NewestDate,
    /// The configuration says so.
    Said,
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "by its name",
            Self::WithoutVendor => "by its name without the vendor's",
            Self::Tuned => "by what it was tuned from",
            Self::WithoutDate => "by its name without the date",
            Self::NewestDate => "by the newest of its dates",
            Self::Said => "because the configuration says so",
        })
    }
}

type Get<'a> = &'a dyn Fn(&str) -> Option<Entry>;

/// `entry` gives the one of a name, `newest` the last of those that go on with a date.
pub(super) fn find(provider: &str, model: &str, entry: Get<'_>, newest: Get<'_>) -> Option<(Entry, Match)> {
    let model = model.to_ascii_lowercase();
    let spellings = [
        Some((&*model, Match::Exact)),
        tuned_from(&model).map(|base| (base, Match::Tuned)),
        model.rsplit_once('/').map(|(_, name)| (name, Match::WithoutVendor)),
    ];
    let spellings: Vec<(&str, Match)> = spellings.into_iter().flatten().collect();
    let full = |name: &str| format!("{provider}/{name}");
    let exact = spellings.iter().find_map(|(name, how)| Some((entry(&full(name))?, *how)));
    let undated =
        || spellings.iter().find_map(|(name, _)| Some((entry(&full(without_date(name)?))?, Match::WithoutDate)));
    let dated = || {
        spellings.iter().find_map(|(name, _)| {
            let stem = without_date(name).unwrap_or(name);
            Some((newest(&format!("{}-", full(stem)))?, Match::NewestDate))
        })
    };
    exact.or_else(undated).or_else(dated)
}

/// `ft:BASE` of OpenAI's `ft:BASE:ORGANISATION:SUFFIX:ID`.
fn tuned_from(model: &str) -> Option<&str> {
    let rest = model.strip_prefix("ft:")?;
    let base = rest.find(':')?;
    Some(&model[.."ft:".len() + base])
}

/// Without `-2024-08-06`, `-20240806`, `-0613`, `-001` or `-latest` at the end.
fn without_date(model: &str) -> Option<&str> {
    let ends = ['-', '@'];
    let long = model.len().checked_sub("-2024-08-06".len()).filter(|at| model.is_char_boundary(*at));
    let at = long.filter(|at| model[*at..].starts_with(ends) && is_date(&model[at + 1..]));
    let (stem, _) = match at.or_else(|| model.rfind(ends)) {
        Some(at) if is_date(&model[at + 1..]) || &model[at + 1..] == "latest" => model.split_at(at),
        _ => return None,
    };
    (!stem.is_empty()).then_some(stem)
}

/// A date as model names have it, or the number of a revision.
pub(super) fn is_date(text: &str) -> bool {
    let digits = |part: &str, length: usize| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = text.split('-').collect();
    match *parts.as_slice() {
        [year, month, day] => digits(year, 4) && digits(month, 2) && digits(day, 2),
        [one] => [3, 4, 8].into_iter().any(|length| digits(one, length)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_told_from_sizes() {
        for (model, stem) in [
            ("gpt-4o-2024-08-06", Some("gpt-4o")),
            ("claude-opus-4-5-20251101", Some("claude-opus-4-5")),
            ("claude-3-opus@20240229", Some("claude-3-opus")),
            ("gpt-4-0613", Some("gpt-4")),
            ("gemini-2.0-flash-001", Some("gemini-2.0-flash")),
            ("mistral-large-latest", Some("mistral-large")),
            ("gpt-4o", None),
            ("gpt-4", None),
            ("llama-3.1-70b", None),
            ("claude-3-7", None),
            ("latest", None),
            ("-2024-08-06", None),
            ("", None),
            ("é-2024-08-06", Some("é")),
        ] {
            assert_eq!(without_date(model), stem, "{model}");
        }
    }

    #[test]
    fn a_tuned_model_s_base_is_in_its_name() {
        assert_eq!(tuned_from("ft:gpt-4o-2024-08-06:me::id"), Some("ft:gpt-4o-2024-08-06"));
        assert_eq!(tuned_from("ft:gpt-4o"), None);
        assert_eq!(tuned_from("gpt-4o:x"), None);
    }
}
