//! Rounds in, medians and ratios out.

use super::contender::Contender;
use super::round::{Run, Saturated};
use crate::report::{Section, Table, number};
use crate::stats::{Spread, median};

type Rounds = [Vec<(Contender, Run)>];

/// The section of the Markdown file.
pub(crate) fn section(contenders: &[Contender], rounds: &Rounds) -> Section {
    let results = Results { rounds };
    let about = format!(
        "Medians of {} rounds; ratios and added times are taken within each round, and the range in brackets is that \
         of the rounds. Each contender has one core to itself (`own` and `idle` are shares of that core at 32 \
         connections; what is missing went to other programs), mock and load share another. Request 0.27 kB, answer \
         636 bytes, four upstream addresses, no upstream delay, plain HTTP, keep-alive. `direct` is a second mock in \
         the gateway's place. Witgate runs `peak-ewma` (four signals a candidate) or `in-order` as WebAssembly, with \
         metrics on, and request log and cache off.",
        rounds.len()
    );
    let mut tables = [saturation(), latency(), streams()];
    for contender in contenders {
        let cells = [results.saturation(*contender), results.latency(*contender), results.streams(*contender)];
        for (table, cells) in tables.iter_mut().zip(cells) {
            table.push(std::iter::once(contender.to_string()).chain(cells).collect());
        }
    }
    Section { name: "gateway", about, tables: tables.into() }
}

fn saturation() -> Table {
    Table::new(
        "Throughput of one core, 32 and 256 connections",
        &[
            "",
            "c32 req/s",
            "× nginx",
            "× direct",
            "c256 req/s",
            "× nginx",
            "CPU ms/1000",
            "× nginx",
            "own",
            "idle",
            "errors",
        ],
    )
}

fn latency() -> Table {
    let title = "Latency at 200 requests/s, start and memory";
    Table::new(
        title,
        &["", "p50 µs", "added p50", "added p90", "added p99", "p50 × nginx's", "start ms", "MB idle", "MB after load"],
    )
}

fn streams() -> Table {
    Table::new(
        "Streams of 50 chunks: 32 at a time, and time to first chunk at 10 streams/s",
        &["", "events/s", "× nginx", "× direct", "CPU µs/event", "first chunk p50 µs", "added p50", "added p99"],
    )
}

struct Results<'a> {
    rounds: &'a Rounds,
}

impl Results<'_> {
    fn saturation(&self, who: Contender) -> Vec<String> {
        let rate = |pick: fn(&Run) -> &Saturated| move |run: &Run| pick(run).throughput.per_second();
        let (few, many) = (rate(|run| &run.few), rate(|run| &run.many));
        let errors: f64 = self.runs(who).map(|run| run.errors).sum();
        vec![
            number(self.median(who, few), 0),
            range(self.ratio(who, Contender::Nginx, few)),
            range(self.ratio(who, Contender::Direct, few)),
            number(self.median(who, many), 0),
            range(self.ratio(who, Contender::Nginx, many)),
            number(self.median(who, |run| run.few.cpu), 1),
            range(self.ratio(who, Contender::Nginx, |run| run.few.cpu)),
            number(self.median(who, |run| run.few.own), 2),
            number(self.median(who, |run| run.few.idle), 2),
            format!("{errors}"),
        ]
    }

    fn latency(&self, who: Contender) -> Vec<String> {
        let added =
            |who, quantile| self.added(who, |run| self::quantile(&run.latencies, quantile)).map(|nanos| nanos / 1000.0);
        let against_nginx = added(who, 0.5).zip(added(Contender::Nginx, 0.5)).map(|(ours, nginx)| ours / nginx);
        vec![
            number(self.median(who, |run| quantile(&run.latencies, 0.5) / 1000.0), 0),
            number(added(who, 0.5), 0),
            number(added(who, 0.9), 0),
            number(added(who, 0.99), 0),
            number(against_nginx.filter(|_| who != Contender::Direct), 2),
            number(self.median(who, |run| run.start.as_secs_f64() * 1000.0), 0),
            number(self.median(who, |run| run.memory_idle), 1),
            number(self.median(who, |run| run.memory_after), 1),
        ]
    }

    /// A round has too few first chunks for a p99, so those of all rounds are taken together.
    fn streams(&self, who: Contender) -> Vec<String> {
        let first = |who, quantile| {
            let all: Vec<f64> = self.runs(who).flat_map(|run| run.first_chunks.iter().copied()).collect();
            (!all.is_empty()).then(|| self::quantile(&all, quantile) / 1000.0)
        };
        let added =
            |quantile| first(who, quantile).zip(first(Contender::Direct, quantile)).map(|(ours, direct)| ours - direct);
        let events = |run: &Run| run.events_per_second;
        vec![
            number(self.median(who, events), 0),
            range(self.ratio(who, Contender::Nginx, events)),
            range(self.ratio(who, Contender::Direct, events)),
            number(self.median(who, |run| run.cpu_per_event), 2),
            number(first(who, 0.5), 0),
            number(added(0.5), 0),
            number(added(0.99), 0),
        ]
    }

    fn runs(&self, who: Contender) -> impl Iterator<Item = &Run> {
        self.rounds.iter().flatten().filter(move |(contender, _)| *contender == who).map(|(_, run)| run)
    }

    fn median(&self, who: Contender, value: impl Fn(&Run) -> f64) -> Option<f64> {
        median(self.runs(who).map(value))
    }

    fn pairs(&self, who: Contender, other: Contender) -> impl Iterator<Item = (&Run, &Run)> {
        let of = |round: &&Vec<(Contender, Run)>, who| round.iter().position(|(contender, _)| *contender == who);
        self.rounds.iter().filter_map(move |round| {
            let (ours, others) = (of(&round, who)?, of(&round, other)?);
            Some((&round[ours].1, &round[others].1))
        })
    }

    fn ratio(&self, who: Contender, other: Contender, value: impl Fn(&Run) -> f64) -> Option<Spread> {
        Spread::of(self.pairs(who, other).map(|(ours, others)| value(ours) / value(others)))
    }

    fn added(&self, who: Contender, value: impl Fn(&Run) -> f64) -> Option<f64> {
        median(self.pairs(who, Contender::Direct).map(|(ours, direct)| value(ours) - value(direct)))
    }
}

fn range(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || "-".to_owned(),
        |Spread { low, median, high }| {
            if low == high { format!("{median:.2}") } else { format!("{median:.2} ({low:.2}–{high:.2})") }
        },
    )
}

/// NaN when there are no values.
fn quantile(values: &[f64], quantile: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (quantile * sorted.len() as f64).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|q| quantile(&values, q)), [1.0, 50.0, 99.0, 100.0]);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
