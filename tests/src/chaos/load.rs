//! Clients that ask for everything there is, all the time, and check every answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use fastrand::Rng;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::schedule::{REAL, SCRIPTED};
use crate::{Fault, Request, Speech, Understood, fault};

/// What scripted upstreams say when they are well.
pub(super) const SCRIPTED_TEXT: &str = "ok";
/// The model whose streams are gone on with when they break.
pub(super) const RESUMED: &str = "resumed";
/// Where embeddings are asked for.
pub(super) const EMBEDDINGS: &str = "/v1/embeddings";

/// What all clients share.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) gateway: SocketAddr,
    /// What each real server says; empty where there are none.
    pub(super) real: Vec<&'static str>,
    pub(super) harm: Harm,
    pub(super) counts: Counts,
    stop: AtomicBool,
    wrong: Mutex<Vec<String>>,
}

/// When an upstream did what nobody can hide from the client of a stream that has begun.
#[derive(Debug, Default)]
pub(super) struct Harm {
    scripted: [Mutex<Times>; SCRIPTED],
    real: [Mutex<Times>; REAL],
}

#[derive(Debug, Default)]
struct Times {
    since: Option<Instant>,
    over: Vec<(Instant, Instant)>,
}

impl Times {
    fn is(&mut self, harmful: bool, now: Instant) {
        if let Some(since) = self.since.take() {
            self.over.push((since, now));
        }
        self.since = harmful.then_some(now);
    }

    fn any_since(&self, sent: Instant) -> bool {
        self.since.is_some() || self.over.iter().any(|(_, to)| *to >= sent)
    }
}

impl Harm {
    /// A scripted upstream behaves like this now.
    pub(super) fn scripted(&self, place: usize, fault: Fault) {
        self.scripted[place].lock().is(fault.strikes_begun_streams(), Instant::now());
    }

    /// A real server is being harmed, or not.
    pub(super) fn real(&self, place: usize, harmed: bool) {
        self.real[place].lock().is(harmed, Instant::now());
    }

    /// Whether the deployment may have broken a stream off that was asked for then.
    fn excuses(&self, deployment: &str, sent: Instant) -> bool {
        let of = |times: &[Mutex<Times>], place: Option<&str>| {
            let place = place.and_then(|place| place.parse::<usize>().ok());
            place.and_then(|place| times.get(place)).is_some_and(|times| times.lock().any_since(sent))
        };
        of(&self.scripted, deployment.strip_prefix("m@s")) || of(&self.real, deployment.strip_prefix("m@r"))
    }
}

/// What came of all requests.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Sent.
    pub(super) sent: AtomicU64,
    /// Whole, and as expected.
    pub(super) good: AtomicU64,
    /// Streams that an upstream broke off after they had begun.
    pub(super) broken_off: AtomicU64,
    /// Left by the client.
    pub(super) left: AtomicU64,
    /// Anything else.
    pub(super) bad: AtomicU64,
}

impl Clients {
    pub(super) fn new(gateway: SocketAddr, real: Vec<&'static str>) -> Arc<Self> {
        Arc::new(Self {
            gateway,
            real,
            harm: Harm::default(),
            counts: Counts::default(),
            stop: AtomicBool::new(false),
            wrong: Mutex::default(),
        })
    }

    /// Asks until [`Clients::stop`].
    pub(super) async fn run(self: Arc<Self>, seed: u64) {
        let mut random = Rng::with_seed(seed);
        while !self.stop.load(Relaxed) {
            self.ask(&mut random).await;
            tokio::time::sleep(PAUSE.mul_f64(random.f64())).await;
        }
    }

    /// Before [`Clients::run`], after a [`Clients::stop`] too.
    pub(super) fn go(&self) {
        self.stop.store(false, Relaxed);
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// What went wrong, the first of it in words.
    pub(super) fn wrong(&self) -> Vec<String> {
        self.wrong.lock().clone()
    }

    async fn ask(&self, random: &mut Rng) {
        let (streams, leaves) = (random.bool(), random.u32(..10) == 0);
        let speech = if random.u32(..3) == 0 { Speech::Messages } else { Speech::Chat };
        let kind = match random.u32(..10) {
            0 | 1 => Kind::Embeddings,
            2..=4 if !self.real.is_empty() => Kind::Chat { model: "real", speech, streams },
            5 | 6 => Kind::Chat { model: RESUMED, speech, streams },
            _ => Kind::Chat { model: "scripted", speech, streams },
        };
        self.counts.sent.fetch_add(1, Relaxed);
        let request = kind.request(self.gateway);
        if leaves {
            let begun = request.begin().await;
            tokio::time::sleep(Duration::from_millis(random.u64(..30))).await;
            drop(begun);
            self.counts.left.fetch_add(1, Relaxed);
            return;
        }
        let sent = Instant::now();
        let (count, wrong) = match self.judge(kind, request, sent).await {
            Judgement::Good => (&self.counts.good, None),
            Judgement::BrokenOff => (&self.counts.broken_off, None),
            Judgement::Bad(what) => (&self.counts.bad, Some(what)),
        };
        count.fetch_add(1, Relaxed);
        if let Some(wrong) = wrong {
            let mut all = self.wrong.lock();
            if all.len() < MOST_TOLD {
                all.push(format!("{kind:?}: {wrong}"));
            }
        }
    }

    async fn judge(&self, kind: Kind, request: Request, sent: Instant) -> Judgement {
        let answer = match request.try_send().await {
            Ok(answer) => answer,
            Err(error) => return Judgement::Bad(error.to_string()),
        };
        let deployment = answer.deployment().unwrap_or_default().to_owned();
        let shown = || format!("{} by {deployment:?}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        if answer.status != 200 {
            return Judgement::Bad(shown());
        }
        let Kind::Chat { speech, streams, .. } = kind else {
            let is_vector = |value: Value| value["data"][0]["embedding"].is_array();
            let good = serde_json::from_slice(&answer.body).is_ok_and(is_vector);
            return if good { Judgement::Good } else { Judgement::Bad(shown()) };
        };
        let understood = str::from_utf8(&answer.body).map_err(|error| error.to_string());
        match understood.and_then(|body| speech.understand(&without_comments(body), streams)) {
            Ok(Understood::Text(text)) if self.says(kind, &text) => Judgement::Good,
            Ok(Understood::Error(_)) if kind.may_break_off() && self.harm.excuses(&deployment, sent) => {
                Judgement::BrokenOff
            }
            Ok(_) => Judgement::Bad(shown()),
            Err(error) => Judgement::Bad(format!("{error}: {}", shown())),
        }
    }

    fn says(&self, kind: Kind, text: &str) -> bool {
        match kind {
            Kind::Chat { model: "real", .. } => self.real.contains(&text),
            Kind::Chat { model: RESUMED, streams: true, .. } => is_continued(text),
            Kind::Chat { .. } => text == SCRIPTED_TEXT,
            Kind::Embeddings => false,
        }
    }
}

enum Judgement {
    Good,
    BrokenOff,
    Bad(String),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Chat { model: &'static str, speech: Speech, streams: bool },
    Embeddings,
}

impl Kind {
    /// Whether nobody goes on with what a client has begun to read.
    fn may_break_off(self) -> bool {
        matches!(self, Self::Chat { streams: true, model, .. } if model != RESUMED)
    }

    fn request(self, gateway: SocketAddr) -> Request {
        match self {
            Self::Chat { model, speech, streams } => {
                Request::new(gateway, "POST", speech.path()).json(speech.question(model, "hi", streams))
            }
            Self::Embeddings => {
                Request::new(gateway, "POST", EMBEDDINGS).json(json!({"model": "vectors", "input": "hi"}).to_string())
            }
        }
    }
}

/// What readers of events pass over, such as the word about who went on with a stream.
fn without_comments(body: &str) -> String {
    body.split_inclusive('\n').filter(|line| !line.starts_with(": x-witgate-")).collect()
}

/// What those said who broke off, one after the other, and in the end somebody who is well.
fn is_continued(text: &str) -> bool {
    let Some(mut rest) = text.strip_suffix(SCRIPTED_TEXT) else { return false };
    while let Some(after) = fault::beginnings().find_map(|beginning| rest.strip_prefix(beginning)) {
        rest = after;
    }
    rest.is_empty()
}

/// The longest pause of a client between two requests.
const PAUSE: Duration = Duration::from_millis(150);
/// More would hide the first.
const MOST_TOLD: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_continued_answer_has_what_was_said_before_and_an_end() {
        for good in ["ok", "one ok", "one \u{1f600} ok", "one \u{1f600} twoone ok"] {
            assert!(is_continued(good), "{good:?}");
        }
        for bad in ["", "one ", "one okok", "one two ok", "two ok", "ok one "] {
            assert!(!is_continued(bad), "{bad:?}");
        }
    }

    #[test]
    fn comments_of_the_gateway_are_passed_over() {
        let body = "data: a\n\n: x-witgate-resumed: m@s1\ndata: b\n\n: other\n\n";
        assert_eq!(without_comments(body), "data: a\n\ndata: b\n\n: other\n\n");
    }
}
