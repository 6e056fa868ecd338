use super::*;

fn found(provider: &str, model: &str) -> Option<(String, Match)> {
    find(provider, model).map(|(entry, how)| (entry.name.into(), how))
}

#[test]
fn the_list_is_sorted_and_every_row_is_whole() {
    let all: Vec<Entry> = entries().collect();
    assert!(all.len() > 1000, "{}", all.len());
    assert!(all.is_sorted_by(|one, next| one.name < next.name));
    for entry in &all {
        let price = entry.price.as_ref().unwrap();
        let usd = [Some(price.input), Some(price.output), price.cached_input, price.cache_write, price.reasoning];
        assert!(usd.iter().flatten().all(|usd| (0.0..1000.0).contains(usd)), "{}: {price:?}", entry.name);
        assert!(!entry.abilities.is_unknown() && entry.name.contains('/'), "{}", entry.name);
        assert_eq!(super::entry(&entry.name).as_ref(), Some(entry));
    }
    assert_eq!(date().len(), "2026-06".len(), "{}", date());
}

#[test]
fn a_row_says_prices_limits_and_abilities() {
    let entry = entry("openai/gpt-4o").unwrap();
    let price = Price { input: 2.5, output: 10.0, cached_input: Some(1.25), ..Price::default() };
    assert_eq!((entry.context_tokens, entry.max_output_tokens), (Some(128_000), Some(16_384)));
    assert_eq!(entry.price, Some(price));
    let can = [Ability::Chat, Ability::Tools, Ability::Vision, Ability::Embeddings, Ability::Audio];
    let can = can.map(|ability| entry.abilities.can(ability));
    assert_eq!(can, [Some(true), Some(true), Some(true), Some(false), None]);
    let gemini = super::entry("gemini/gemini-2.5-pro").unwrap().price.unwrap();
    assert_eq!(gemini.long, Some(LongPrice { above: 200_000, input: 2.5, output: 15.0 }));
    assert_eq!(gemini.cache_write, None);
    // what the prompt may take and the answer, together
    assert_eq!(super::entry("openai/gpt-5").unwrap().context_tokens, Some(400_000));
}

#[test]
fn nothing_is_found_beyond_the_ends_of_the_list() {
    for name in ["", "a", "openai/gpt-4o ", "openai/gpt-4", "zzz/zzz", "openai"] {
        assert_eq!(entry(name).is_some(), name == "openai/gpt-4", "{name}");
    }
}

#[test]
fn a_model_is_found_however_it_is_spelt() {
    for (provider, model, name, how) in [
        ("openai", "gpt-4o", "openai/gpt-4o", Match::Exact),
        ("openai", "GPT-4o-2024-08-06", "openai/gpt-4o-2024-08-06", Match::Exact),
        ("openai", "gpt-4o-2027-01-01", "openai/gpt-4o", Match::WithoutDate),
        ("openai", "gpt-4.1-latest", "openai/gpt-4.1", Match::WithoutDate),
        ("anthropic", "claude-3-7-sonnet-latest", "anthropic/claude-3-7-sonnet-20250219", Match::NewestDate),
        ("anthropic", "claude-opus-4-5", "anthropic/claude-opus-4-5", Match::Exact),
        ("gemini", "models/gemini-2.5-pro", "gemini/gemini-2.5-pro", Match::WithoutVendor),
        (
            "together",
            "meta-llama/Llama-3.3-70B-Instruct-Turbo",
            "together/meta-llama/llama-3.3-70b-instruct-turbo",
            Match::Exact,
        ),
        ("openai", "ft:gpt-4o-2024-08-06:me::9", "openai/ft:gpt-4o-2024-08-06", Match::Tuned),
    ] {
        assert_eq!(found(provider, model), Some((name.to_owned(), how)), "{provider} {model}");
    }
}

#[test]
fn what_is_another_model_is_not_found() {
    for (provider, model) in [
        ("openai", "gpt-4o-mine"),
        ("openai", "claude-opus-4-5"),
        ("openai", "ft:gpt-9:me::9"),
        ("openrouter", "openai/gpt-4o:free"),
        ("nobody", "gpt-4o"),
        ("openai", ""),
        ("openai", "gpt"),
    ] {
        assert_eq!(found(provider, model), None, "{provider} {model}");
    }
}
