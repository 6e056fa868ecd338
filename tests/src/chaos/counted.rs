//! What a gateway has counted, and whether it adds up.

use std::collections::BTreeMap;

/// Its metrics, by name and labels.
#[derive(Debug)]
pub(super) struct Counted(BTreeMap<String, f64>);

impl Counted {
    /// Of Prometheus' text.
    pub(super) fn of(text: &str) -> Self {
        let series = text.lines().filter(|line| !line.starts_with('#'));
        Self(
            series
                .filter_map(|line| line.rsplit_once(' '))
                .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
                .collect(),
        )
    }

    /// Instances of policies in memory.
    pub(super) fn instances(&self) -> f64 {
        self.sum("witgate_policy_instances", &[])
    }

    /// In one line.
    pub(super) fn summary(&self) -> String {
        let all = |name| self.sum(name, &[]);
        format!(
            "{} attempts, {} of them beyond the first, {} refused by the budget; {} streams gone on with; {} breakers \
             opened; {} policies and {} configurations reloaded",
            all("witgate_attempts_total"),
            all("witgate_retries_total"),
            all("witgate_retries_refused_total"),
            self.sum("witgate_broken_streams_total", &["result=\"resumed\""]),
            all("witgate_breaker_opened_total"),
            all("witgate_policy_reloads_total"),
            all("witgate_config_reloads_total"),
        )
    }

    /// What is held although nothing is asked.
    pub(super) fn at_rest(&self) -> Vec<String> {
        let state = |name: &str| {
            if !self.0.keys().any(|series| series.split('{').next() == Some(name)) {
                return Some(format!("{name} is not there"));
            }
            let held = self.sum(name, &[]);
            (held != 0.0).then(|| format!("{name} is {held} although nothing is asked"))
        };
        HELD.into_iter().filter_map(state).collect()
    }

    /// Whether requests and attempts agree with each other and with the clients, who sent so many, got so many good
    /// answers, and left so many alone.
    pub(super) fn adds_up(&self, [sent, good, left]: [u64; 3]) -> Vec<String> {
        let [sent, good, left] = [sent, good, left].map(|count| count as f64);
        let requests = self.sum("witgate_requests_total", &[]);
        let served = self.sum("witgate_requests_total", &["outcome=\"served\""]);
        let attempts = self.sum("witgate_attempts_total", &[]);
        let repeated = self.sum("witgate_retries_total", &[]);
        let mut wrong = Vec::new();
        let mut within = |what: &str, value: f64, least: f64, most: f64| {
            if value < least || value > most {
                wrong.push(format!("{what}: {value}, which is not between {least} and {most}"));
            }
        };
        // A client may leave before the gateway has seen its request, or after it has got all of the answer.
        within("requests that the gateway counted", requests, sent - left, sent);
        within("requests that the gateway served", served, good, good + left);
        within("attempts that were a request's first", attempts - repeated, requests - left, requests);
        wrong
    }

    /// Whether a scripted upstream has seen what the gateway says that it sent there. `expired` requests came twice.
    pub(super) fn seen_by(&self, place: usize, seen: [(&str, usize); 2], expired: usize) -> Vec<String> {
        let mut wrong = Vec::new();
        let (mut attempts, mut cancelled, mut hits) = (0.0, 0.0, 0);
        for (kind, seen) in seen {
            let deployment = format!("deployment=\"m@{kind}{place}\"");
            attempts += self.sum("witgate_attempts_total", &[&deployment]);
            cancelled += self.sum("witgate_attempts_total", &[&deployment, "outcome=\"cancelled\""]);
            hits += seen;
        }
        let hits = (hits - expired) as f64;
        if hits > attempts || hits < attempts - cancelled {
            wrong.push(format!(
                "upstream {place} has seen {hits} requests, and the gateway has counted {attempts} attempts there, \
                 {cancelled} of them cancelled"
            ));
        }
        wrong
    }

    fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let series = self.0.iter().filter(|(series, _)| {
            let (known, with) = series.split_once('{').unwrap_or((series, ""));
            known == name && labels.iter().all(|label| with.contains(label))
        });
        series.map(|(_, value)| value).sum()
    }
}

/// Gauges of what requests hold while they run.
const HELD: [&str; 5] = [
    "witgate_in_flight",
    "witgate_admitted_requests",
    "witgate_queue_depth",
    "witgate_deployment_queue_depth",
    "witgate_body_bytes",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_at_rest_is_told_and_so_is_what_is_not_counted() {
        let text = "witgate_in_flight{deployment=\"a\"} 0\nwitgate_admitted_requests 2\nwitgate_queue_depth 0\n\
                    witgate_deployment_queue_depth{deployment=\"a\"} 0\n";
        assert_eq!(
            Counted::of(text).at_rest(),
            ["witgate_admitted_requests is 2 although nothing is asked", "witgate_body_bytes is not there"]
        );
    }

    fn counted(attempts: u32, hits: usize) -> Vec<String> {
        let text = format!(
            "# TYPE witgate_attempts_total counter\n\
             witgate_attempts_total{{deployment=\"m@s0\",outcome=\"served\"}} {attempts}\n\
             witgate_attempts_total{{deployment=\"m@s0\",outcome=\"cancelled\"}} 2\n\
             witgate_attempts_total{{deployment=\"m@s1\",outcome=\"served\"}} 7\n"
        );
        Counted::of(&text).seen_by(0, [("s", hits), ("v", 0)], 1)
    }

    #[test]
    fn upstreams_see_every_attempt_but_some_that_were_cancelled() {
        assert_eq!([counted(10, 13), counted(10, 11)], [[""; 0]; 2]);
        let told =
            "upstream 0 has seen 13 requests, and the gateway has counted 12 attempts there, 2 of them cancelled";
        assert_eq!(counted(10, 14), [told]);
        assert_eq!(counted(10, 10).len(), 1);
    }

    #[test]
    fn requests_and_attempts_agree() {
        let text = "witgate_requests_total{outcome=\"served\"} 8\nwitgate_requests_total{outcome=\"cancelled\"} 1\n\
                    witgate_attempts_total{outcome=\"x\"} 12\nwitgate_retries_total{kind=\"failover\"} 3\n";
        let counted = Counted::of(text);
        assert_eq!(counted.adds_up([10, 8, 2]), [""; 0]);
        assert_eq!(
            counted.adds_up([8, 9, 0]),
            [
                "requests that the gateway counted: 9, which is not between 8 and 8",
                "requests that the gateway served: 8, which is not between 9 and 9",
            ]
        );
    }
}
