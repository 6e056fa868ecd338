//! Every fault of an upstream, crossed with the ways of asking, the dialects and the number of providers, against what
//! the table says must come of it.

mod table;

use std::fmt::Debug;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use witgate_core::config::Dialect;
use witgate_tests::gateway::metric_in;
use witgate_tests::redis::free_address;
use witgate_tests::{
    Answer, CHAT, Fault, Gateway, Request, Speech, Understood, Upstream, eventually, gateway, upstream,
};

use crate::program::Serving;
use table::{Alone, Asked, Charged, Row, rows};

/// What the faulty one says when it is well after all, and what the others say.
const TEXTS: [&str; 2] = ["ok", "I can"];
/// Cells at a time: most of them wait.
const AT_A_TIME: usize = 96;

/// One row with a client and providers.
struct Cell<'a> {
    number: usize,
    row: &'a Row,
    client: Speech,
    dialect: Dialect,
    providers: usize,
    faulty: Option<Upstream>,
}

/// Upstreams that are well, one for each dialect; each cell asks them under a path of its own.
type Others = Vec<(Dialect, Upstream)>;

/// The dialects, but of those that are the same over the wire only one.
fn dialects() -> Vec<Dialect> {
    let mut found: Vec<Dialect> = Vec::new();
    for dialect in [Dialect::OpenAi, Dialect::Ollama, Dialect::Anthropic] {
        if found.iter().all(|known| Speech::of(*known) != Speech::of(dialect)) {
            found.push(dialect);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_ends_as_the_table_says() {
    let mut others: Others = Vec::new();
    for dialect in dialects() {
        others.push((dialect, upstream().speaking(speech(dialect)).chat(TEXTS[1]).start().await));
    }
    let rows = rows();
    let mut cells = Vec::new();
    for row in &rows {
        for client in Speech::ALL {
            for dialect in dialects() {
                for providers in [1, 3] {
                    let reply = row.fault.reply(speech(dialect), row.asked == Asked::Stream);
                    let faulty = match reply {
                        Some(reply) => Some(reply.start().await),
                        None => None,
                    };
                    cells.push(Cell { number: cells.len(), row, client, dialect, providers, faulty });
                }
            }
        }
    }
    let gateway = start(&cells, &others).await;
    // Those that wait and those that are busy are mixed.
    let mut order: Vec<&Cell<'_>> = cells.iter().collect();
    order.sort_by_key(|cell| cell.number * 7919 % 1000);
    let checked = futures_util::stream::iter(order).map(|cell| cell.ask(&gateway)).buffer_unordered(AT_A_TIME);
    let mut wrong: Vec<String> = checked.collect::<Vec<_>>().await.into_iter().flatten().collect();
    let metrics = gateway.get("/metrics").await;
    for cell in &cells {
        wrong.extend(cell.counted(metrics.body_text(), &others));
    }
    assert!(wrong.is_empty(), "{} things are wrong with {} cells:\n{}", wrong.len(), cells.len(), wrong.join("\n"));
}

/// However long a line or an answer is: what cannot be passed on is not kept, what can is not held back.
#[tokio::test]
async fn what_never_ends_takes_no_more_memory_than_its_limit() {
    let endless = || upstream().header("content-length", "1073741824").header("content-type", "application/json");
    let line = Fault::LongLine.reply(Speech::Chat, true).expect("it listens").start().await;
    let answer = endless().unframed("{".repeat(64 << 10)).endless().start().await;
    let folder = gateway().model("line", [&line]).model("answer", [&answer]).write();
    let serving = Serving::start(&folder).await;
    let before = serving.peak_memory();
    let lines = (0..4).map(|_| serving.request("POST", CHAT).json(Speech::Chat.question("line", "hi", true)).send());
    for refused in futures_util::future::join_all(lines).await {
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (502, &json!("malformed")));
    }
    let with_lines = serving.peak_memory();
    // The event that is too large, and what it was while it grew.
    assert!(with_lines - before < 4 * (32 << 10) + SLACK_KIB, "from {before} to {with_lines} KiB");

    let body = Speech::Chat.question("answer", "hi", false);
    let mut reader = serving.request("POST", CHAT).json(body).begin().await;
    let taken = reader.take(128 << 20).await;
    assert_eq!(taken, 128 << 20);
    drop(reader);
    let with_answer = serving.peak_memory();
    assert!(with_answer - with_lines < SLACK_KIB, "from {with_lines} to {with_answer} KiB");
    eventually("the upstream is let go", async || answer.open_connections() == 0).await;
}

fn speech(dialect: Dialect) -> Speech {
    Speech::of(dialect).expect("it goes over a wire")
}

async fn start(cells: &[Cell<'_>], others: &Others) -> Gateway {
    let (mut providers, mut deployments, mut routes) = (json!({}), json!({}), json!({}));
    for cell in cells {
        let mut ids = Vec::new();
        for (place, id) in cell.ids().into_iter().enumerate() {
            let provider = id.trim_start_matches("m@");
            providers[provider] = if place == 0 { cell.faulty_provider() } else { cell.other(provider, others) };
            deployments[&id] = json!({"model": "real"});
            ids.push(id);
        }
        routes[cell.route()] = json!({"deployments": ids});
    }
    let config = json!({
        "providers": providers, "deployments": deployments, "routes": routes,
        // one failure is enough to be seen
        "breaker": {"consecutive_failures": 1},
        "log": {"requests": false},
    });
    gateway().policies(&["health", "in-order", "resilient"]).config(config).start().await
}

impl Cell<'_> {
    fn route(&self) -> String {
        format!("cell-{}", self.number)
    }

    fn ids(&self) -> Vec<String> {
        ["a", "b", "c"][..self.providers].iter().map(|place| format!("m@{place}{}", self.number)).collect()
    }

    fn faulty_provider(&self) -> Value {
        let address = self.faulty.as_ref().map_or_else(free_address, Upstream::address);
        json!({
            "dialect": name(self.dialect), "base_url": format!("http://{address}/v1"), "api_key": "sk-a",
            "probe": {"enabled": false}, "facts": {"enabled": false},
            "first_byte_timeout": "2s", "first_token_timeout": "2s", "idle_timeout": "1s", "keep_alive_timeout": "2s",
        })
    }

    fn other(&self, provider: &str, others: &Others) -> Value {
        let (_, well) = others.iter().find(|(dialect, _)| *dialect == self.dialect).expect("it is one of them");
        json!({
            "dialect": name(self.dialect), "base_url": format!("http://{}/{provider}/v1", well.address()),
            "api_key": "sk-b", "probe": {"enabled": false}, "facts": {"enabled": false},
        })
    }

    /// How often each of the others was asked.
    fn asked_of_others(&self, others: &Others) -> Vec<usize> {
        let hits = |id: &String| {
            let path = format!("/{}{}", id.trim_start_matches("m@"), speech(self.dialect).path());
            others.iter().map(|(_, other)| other.hits_at(&path)).sum()
        };
        self.ids()[1..].iter().map(hits).collect()
    }

    fn alone(&self) -> Alone {
        self.row.alone.exactly(speech(self.dialect) != self.client)
    }

    /// Asks once; says what is not as it must be.
    async fn ask(&self, gateway: &Gateway) -> Vec<String> {
        if self.row.fault == Fault::Expired {
            // so that there is a connection to expire
            self.request(gateway).send().await;
        }
        let got = Got::of(tokio::time::timeout(LONGEST, self.request(gateway).try_send()).await, self);
        let deployment = |place: usize| self.ids().get(place).cloned();
        let expected = match (self.alone(), self.providers) {
            (Alone::Answer, _) => Got::Answer { text: self.own_text(), by: deployment(0), attempts: 1 },
            (Alone::Error(..), 3) => Got::Answer { text: TEXTS[1].to_owned(), by: deployment(1), attempts: 2 },
            (Alone::Error(status, attempts), _) => {
                let status = if status == 503 && self.client == Speech::Messages { 529 } else { status };
                Got::Error { status, code: self.code(), by: deployment(0), attempts }
            }
            (Alone::TooLate, _) if self.row.asked == Asked::Stream => {
                Got::ErrorEvent { code: self.code(), by: deployment(0), attempts: 1 }
            }
            (Alone::TooLate, _) => Got::Broken,
            (Alone::TooLateUnlessTranslated(..), _) => unreachable!("it has been decided"),
        };
        self.differ("the client", &got, &expected).into_iter().collect()
    }

    fn request(&self, gateway: &Gateway) -> Request {
        let stream = self.row.asked == Asked::Stream;
        gateway.post(self.client.path(), self.client.question(&self.route(), "hi", stream))
    }

    fn own_text(&self) -> String {
        TEXTS[0].to_owned()
    }

    /// Anthropic's errors have no code; an error in the upstream's words has its own.
    fn code(&self) -> Option<String> {
        let own_words = self.row.fault == Fault::ErrorEvent;
        (self.client == Speech::Chat && !own_words).then(|| self.row.outcome.to_owned())
    }

    /// What metrics and upstreams say when all is over.
    fn counted(&self, metrics: &str, others: &Others) -> Vec<String> {
        let a = &self.ids()[0];
        let of_a = |metric: &str, more: &str| metric_in(metrics, &format!("{metric}{{deployment=\"{a}\"{more}}}"));
        let attempts = match (self.alone(), self.providers) {
            (Alone::Error(_, attempts), 1) => attempts,
            _ => 1,
        };
        // It came twice, on the connection that had expired and on a new one, after one that opened the first.
        let warm_up = usize::from(self.row.fault == Fault::Expired);
        let outcomes = of_a("witgate_attempts_total", &format!(",outcome=\"{}\"", self.row.outcome)) as usize;
        let breaker = of_a("witgate_breaker_state", "");
        let keys = of_a("witgate_ready_keys", "");
        let charged = match (breaker, keys) {
            (0.0, 1.0) => Charged::Nobody,
            (_, 1.0) => Charged::Breaker,
            _ => Charged::Key,
        };
        let second = usize::from(matches!(self.alone(), Alone::Error(..)));
        let expected_of_others = if self.providers == 3 { vec![second, 0] } else { vec![] };
        let hits = self.faulty.as_ref().map_or(attempts, Upstream::hits);
        [
            self.differ(&format!("attempts that are {:?}", self.row.outcome), &outcomes, &(attempts + warm_up)),
            self.differ("whom it is held against", &charged, &self.row.charged),
            self.differ("requests that the faulty one saw", &hits, &(attempts + 2 * warm_up)),
            self.differ("requests that the others saw", &self.asked_of_others(others), &expected_of_others),
            self.differ("in flight", &of_a("witgate_in_flight", ""), &0.0),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn differ<T: PartialEq + Debug>(&self, what: &str, got: &T, expected: &T) -> Option<String> {
        let Self { row, client, dialect, providers, .. } = self;
        (got != expected).then(|| {
            let cell = format!("{:?} ({:?}, {} at {dialect:?}, {providers})", row.fault, row.asked, client.name());
            format!("{cell}: {what}: {got:?}, expected {expected:?}")
        })
    }
}

/// What the client made of the answer.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Answer {
        text: String,
        by: Option<String>,
        attempts: usize,
    },
    Error {
        status: u16,
        code: Option<String>,
        by: Option<String>,
        attempts: usize,
    },
    ErrorEvent {
        code: Option<String>,
        by: Option<String>,
        attempts: usize,
    },
    /// The connection was closed before the end of the body.
    Broken,
    /// Nothing for too long.
    Nothing,
    /// What no client can read.
    Nonsense(String),
}

impl Got {
    fn of(answer: Result<std::io::Result<Answer>, tokio::time::error::Elapsed>, cell: &Cell<'_>) -> Self {
        let Ok(answer) = answer else { return Self::Nothing };
        let Ok(answer) = answer else { return Self::Broken };
        let stream = answer.header("content-type").is_some_and(|value| value.starts_with("text/event-stream"));
        let by = answer.deployment().map(str::to_owned);
        let attempts = answer.attempts().and_then(|attempts| attempts.parse().ok()).unwrap_or(0);
        let Ok(body) = str::from_utf8(&answer.body) else { return Self::Nonsense("not UTF-8".to_owned()) };
        match cell.client.understand(body, stream) {
            Ok(Understood::Text(text)) if answer.status == 200 => Self::Answer { text, by, attempts },
            Ok(Understood::Error(code)) if answer.status == 200 && stream => {
                let own_words = cell.row.fault == Fault::ErrorEvent;
                Self::ErrorEvent { code: code.filter(|_| !own_words), by, attempts }
            }
            Ok(Understood::Error(code)) => Self::Error { status: answer.status, code, by, attempts },
            Ok(Understood::Text(text)) => Self::Nonsense(format!("status {} and {text:?}", answer.status)),
            Err(nonsense) => Self::Nonsense(nonsense),
        }
    }
}

fn name(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAi => "openai",
        Dialect::Ollama => "ollama",
        Dialect::Anthropic => "anthropic",
        Dialect::Demo => "demo",
    }
}

/// For whatever else happens meanwhile.
const SLACK_KIB: u64 = 24 << 10;
/// A cell takes some seconds; the default times are minutes.
const LONGEST: Duration = Duration::from_secs(20);
