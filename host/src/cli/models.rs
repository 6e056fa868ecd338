//! `witgate models`: what the catalogue knows of models, and what of it applies to the deployments of a configuration.

use std::process::ExitCode;

use witgate_core::ability::Abilities;
use witgate_core::catalogue::{self, Entry};
use witgate_core::config::ConfiguredDeployment;
use witgate_core::deployment::Price;

use super::{ModelsArgs, complain, say};
use crate::config_files::{ConfigFiles, Overrides};
use crate::toolkit::table::Table;

pub(super) fn run(args: ModelsArgs) -> ExitCode {
    match args.config {
        Some(path) => of_deployments(ConfigFiles::at(path, Overrides::default()), &args.words),
        None => of_catalogue(&args.words),
    }
}

fn of_catalogue(words: &[String]) -> ExitCode {
    let mut table = Table::new(["model", "in", "out", "cached", "context", "answer", "can", "cannot"]);
    let mut found = 0;
    for entry in catalogue::entries().filter(|entry| matches(&entry.name, words)) {
        found += 1;
        table.row(row(&entry));
    }
    if found == 0 {
        complain(&format!("the catalogue of {} has no model with {} in its name", catalogue::date(), quoted(words)));
        return ExitCode::FAILURE;
    }
    say(&table.text());
    say(&format!("{found} model(s), as of {}; prices in USD for a million tokens", catalogue::date()));
    ExitCode::SUCCESS
}

fn of_deployments(mut files: ConfigFiles, words: &[String]) -> ExitCode {
    let loaded = match files.load() {
        Ok(loaded) => loaded,
        Err(problems) => {
            problems.iter().for_each(|problem| complain(problem));
            return ExitCode::FAILURE;
        }
    };
    let mut table =
        Table::new(["deployment", "in", "out", "cached", "context", "answer", "can", "cannot", "in the catalogue"]);
    for ConfiguredDeployment { deployment, .. } in &loaded.config.deployments {
        if !matches(&deployment.id, words) {
            continue;
        }
        let entry = Entry {
            name: (*deployment.id).into(),
            context_tokens: deployment.window(None),
            max_output_tokens: deployment.max_output_tokens,
            abilities: deployment.able(Abilities::default()),
            price: deployment.price,
        };
        let known = deployment.known.as_ref();
        let known = known.map_or_else(|| "no".to_owned(), |known| format!("{}, {}", known.name, known.how));
        table.row(row(&entry).into_iter().chain([known]));
    }
    say(&table.text());
    ExitCode::SUCCESS
}

/// The names of deployments that were found otherwise than by their very name.
pub(super) fn guesses(deployments: &[ConfiguredDeployment]) -> impl Iterator<Item = String> {
    deployments.iter().filter_map(|ConfiguredDeployment { deployment, .. }| {
        let known = deployment.known.as_ref()?;
        let certain = matches!(known.how, catalogue::Match::Exact | catalogue::Match::Said);
        (!certain).then(|| format!("{} is taken for {}, {}", deployment.id, known.name, known.how))
    })
}

fn row(entry: &Entry) -> Vec<String> {
    let number = |number: Option<u32>| number.map_or_else(|| UNKNOWN.to_owned(), |number| number.to_string());
    let usd = |part: fn(&Price) -> Option<f64>| {
        entry.price.as_ref().and_then(part).map_or_else(|| UNKNOWN.to_owned(), |usd| usd.to_string())
    };
    vec![
        entry.name.to_string(),
        usd(|price| Some(price.input)),
        usd(|price| Some(price.output)),
        usd(|price| price.cached_input),
        number(entry.context_tokens),
        number(entry.max_output_tokens),
        abilities(entry.abilities, true),
        abilities(entry.abilities, false),
    ]
}

fn abilities(abilities: Abilities, can: bool) -> String {
    let names: Vec<&str> = abilities.which(can).map(|ability| ability.name()).collect();
    if names.is_empty() { UNKNOWN.to_owned() } else { names.join(",") }
}

fn matches(name: &str, words: &[String]) -> bool {
    let name = name.to_lowercase();
    words.iter().all(|word| name.contains(&word.to_lowercase()))
}

fn quoted(words: &[String]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" and ")
}

const UNKNOWN: &str = "-";
