//! What it costs to read a request and to estimate its tokens, beside counting them exactly.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use witgate_core::openai::{Endpoint, peek};

use crate::report::{Table, say};

/// Times both on prompts of several lengths.
pub(crate) fn run(quick: bool) -> anyhow::Result<()> {
    let budget = Duration::from_millis(if quick { 50 } else { 1000 });
    let tokeniser = bpe_openai::o200k_base();
    let mut table = Table::new(
        "A request read and its tokens estimated, and the tokens of the same prompt counted (`o200k_base`)",
        &["prompt", "read and estimated", "MB/s", "counted", "MB/s", "error"],
    );
    for length in [200, 1_000, 10_000, 1_000_000] {
        let prompt = TEXT.repeat(length / TEXT.len() + 1);
        let prompt = &prompt[..prompt.floor_char_boundary(length)];
        let body = serde_json::json!({"model": "m", "prompt": prompt}).to_string();
        let read = || peek(black_box(body.as_bytes()), Endpoint::Completions);
        let estimated = read().context("the request is good")?.prompt_tokens;
        let counted = tokeniser.count(prompt);
        let (reading, counting) = (
            per_call(budget, || drop(black_box(read()))),
            per_call(budget, || _ = black_box(tokeniser.count(black_box(prompt)))),
        );
        let speed = |time: Duration| format!("{:.0}", length as f64 / 1e6 / time.as_secs_f64());
        table.push(vec![
            format!("{length} B"),
            format!("{reading:.1?}"),
            speed(reading),
            format!("{counting:.1?}"),
            speed(counting),
            format!("{:+.1} %", (f64::from(estimated) / counted as f64 - 1.0) * 100.0),
        ]);
    }
    say(&table.plain());
    Ok(())
}

/// Mean of as many calls as the budget allows.
fn per_call(budget: Duration, call: impl Fn()) -> Duration {
    let started = Instant::now();
    let mut calls = 0;
    while started.elapsed() < budget || calls == 0 {
        for _ in 0..4 {
            call();
        }
        calls += 4;
    }
    started.elapsed() / calls
}

const TEXT: &str = include_str!("../../../docs/policies.md");
