//! Small requests for embeddings that come at about the same time, sent as one.
//!
//! A request waits only while another one runs at its deployment: until that ends, or the window is over, or as many
//! have come as are sent together. Alone it goes at once, so a client that asks one thing after another loses nothing.
//!
//! Each request stays an attempt of its own. The one call to the upstream is driven by those who wait for it, so it goes
//! on as long as somebody does: a client that goes away takes only its own inputs with it, and the last one ends the
//! call. What the upstream finds wrong with all, it is asked for each: one bad input fails nobody else.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{Shared, WeakShared};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use parking_lot::Mutex;
use tokio::sync::Notify;
use witgate_core::config::EmbeddingBatch;
use witgate_core::openai::ModelLiteral;
use witgate_core::openai::batch::{Likeness, Part, Share, merge, split};

use super::answer::AnswerBody;
use super::attempt::refused;
use super::failure::AttemptFailure;
use super::flow::{Flow, Source};
use super::passage::Passage;
use super::provider::Service;
use super::{Call, Reply, WholeReply, headers, vectors};

/// The requests for embeddings of one deployment.
pub(super) struct Batcher {
    rules: EmbeddingBatch,
    running: Arc<Running>,
    open: Mutex<Vec<Open>>,
}

/// How a request goes.
pub(super) enum Entry {
    /// By itself, at once.
    Alone(Run),
    /// With others.
    Together(Seat),
}

/// Where a call goes.
pub(super) struct Way<'a> {
    pub(super) service: &'a Arc<Service>,
    pub(super) passage: Passage,
    /// The model's name at the provider.
    pub(super) name: &'a str,
    /// The same, as it is written in a request.
    pub(super) model: ModelLiteral,
    /// Longest silence within an answer.
    pub(super) idle: Duration,
}

impl Batcher {
    pub(super) fn new(rules: EmbeddingBatch) -> Self {
        Self { rules, running: Arc::default(), open: Mutex::default() }
    }

    /// Takes a place with others, or goes alone.
    pub(super) fn enter(&self, call: &Call<'_>, way: Way<'_>) -> Entry {
        let part = Part::of(call.body).filter(|part| self.takes(part.share()));
        let mut open = self.open.lock();
        let Some(part) = part else { return Entry::Alone(Run::begin(&self.running)) };
        let kind =
            Kind { likeness: part.likeness().clone(), model: way.model.clone(), key: call.key, twice: call.twice };
        let mut member = Member::new(call, part);
        open.retain(|open| open.outcome.upgrade().is_some());
        for candidate in open.iter().filter(|open| open.batch.kind == kind) {
            let Some(outcome) = candidate.outcome.upgrade() else { continue };
            match candidate.batch.take_seat(member, &self.rules) {
                Ok(number) => return Entry::Together(Seat { batch: Arc::clone(&candidate.batch), outcome, number }),
                Err(back) => member = *back,
            }
        }
        if self.running.count.load(SeqCst) == 0 {
            return Entry::Alone(Run::begin(&self.running));
        }
        let running = Arc::clone(&self.running);
        let batch = Arc::new(Batch { kind, running, seats: Mutex::default(), full: Notify::new() });
        let sending = Sending {
            batch: Arc::clone(&batch),
            window: self.rules.window,
            service: Arc::clone(way.service),
            passage: way.passage,
            name: way.name.into(),
            idle: way.idle,
        };
        let outcome = sending.run().boxed().shared();
        // There is room for one in an empty one.
        let number = batch.take_seat(member, &self.rules).unwrap_or(0);
        open.extend(outcome.downgrade().map(|outcome| Open { batch: Arc::clone(&batch), outcome }));
        Entry::Together(Seat { batch, outcome, number })
    }

    fn takes(&self, share: Share) -> bool {
        share.inputs <= self.rules.items.get() && share.bytes <= self.rules.bytes
    }
}

/// Calls for embeddings that run at the deployment.
#[derive(Default)]
struct Running {
    count: AtomicUsize,
    none_left: Notify,
}

/// One of them, until it is dropped.
pub(super) struct Run(Arc<Running>);

impl Run {
    fn begin(running: &Arc<Running>) -> Self {
        running.count.fetch_add(1, SeqCst);
        Self(Arc::clone(running))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, SeqCst) == 1 {
            self.0.none_left.notify_waiters();
        }
    }
}

/// One that others may still join; gone when nobody waits for it.
struct Open {
    batch: Arc<Batch>,
    outcome: WeakShared<Told>,
}

type Told = Pin<Box<dyn Future<Output = Arc<Outcome>> + Send>>;

/// Requests that are sent as one.
struct Batch {
    kind: Kind,
    running: Arc<Running>,
    seats: Mutex<Seats>,
    full: Notify,
}

#[derive(PartialEq, Eq)]
struct Kind {
    likeness: Likeness,
    model: ModelLiteral,
    key: usize,
    /// Whether it may be sent once more where a connection breaks.
    twice: bool,
}

#[derive(Default)]
struct Seats {
    /// `None` once the client has gone.
    members: Vec<Option<Member>>,
    inputs: usize,
    bytes: usize,
    closed: bool,
}

struct Member {
    body: Bytes,
    part: Part,
    /// Of the client's, those that the provider may see.
    headers: HeaderMap,
    deadline: Instant,
}

impl Member {
    fn new(call: &Call<'_>, part: Part) -> Self {
        let mut forwarded = HeaderMap::new();
        headers::forward(call.client_headers, &mut forwarded);
        Self { body: call.body.clone(), part, headers: forwarded, deadline: call.deadline }
    }
}

impl Batch {
    /// A place, if there is one for so much.
    fn take_seat(&self, member: Member, rules: &EmbeddingBatch) -> Result<usize, Box<Member>> {
        let mut seats = self.seats.lock();
        let Share { inputs, bytes } = member.part.share();
        let fits = seats.inputs + inputs <= rules.items.get() && seats.bytes + bytes <= rules.bytes;
        if seats.closed || !fits {
            self.full.notify_one();
            return Err(Box::new(member));
        }
        seats.inputs += inputs;
        seats.bytes += bytes;
        seats.members.push(Some(member));
        if seats.inputs == rules.items.get() {
            self.full.notify_one();
        }
        Ok(seats.members.len() - 1)
    }
}

/// A request's place among others; given back when it is dropped.
pub(super) struct Seat {
    batch: Arc<Batch>,
    outcome: Shared<Told>,
    number: usize,
}

impl Seat {
    /// The request is sent by itself after all.
    pub(super) fn alone(&self) -> Run {
        Run::begin(&self.batch.running)
    }

    /// Waits for the answer; `None` when the request is to be sent by itself.
    pub(super) async fn answer(&self, call: &Call<'_>) -> Option<Result<Reply, AttemptFailure>> {
        match &*self.outcome.clone().await {
            Outcome::Answers { status, headers, answers, members } => {
                let answer = answers.get(self.number)?.clone()?;
                let mut headers = headers.clone();
                headers.insert(BATCHED, HeaderValue::from(*members));
                let body = vectors::as_asked(AnswerBody::Whole(answer), call.body);
                let body = match call.answer_model {
                    Some(name) => body.named(name),
                    None => body,
                };
                Some(Ok(Reply::Whole(WholeReply { status: *status, headers, body })))
            }
            Outcome::Failed(failure) => Some(Err(failure.clone())),
            Outcome::EachAlone => None,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.batch.seats.lock();
        if let Some(member) = seats.members.get_mut(self.number).and_then(Option::take) {
            let Share { inputs, bytes } = member.part.share();
            seats.inputs -= inputs;
            seats.bytes -= bytes;
        }
    }
}

/// What became of all.
enum Outcome {
    Answers {
        status: StatusCode,
        headers: HeaderMap,
        /// By seat.
        answers: Vec<Option<Bytes>>,
        members: usize,
    },
    Failed(AttemptFailure),
    /// There is only one, or something is wrong with at least one of them.
    EachAlone,
}

/// The call itself.
struct Sending {
    batch: Arc<Batch>,
    window: Duration,
    service: Arc<Service>,
    passage: Passage,
    name: Box<str>,
    idle: Duration,
}

impl Sending {
    async fn run(self) -> Arc<Outcome> {
        self.wait().await;
        let members = {
            let mut seats = self.batch.seats.lock();
            seats.closed = true;
            std::mem::take(&mut seats.members)
        };
        let there: Vec<(usize, &Member)> =
            members.iter().enumerate().filter_map(|(seat, member)| Some((seat, member.as_ref()?))).collect();
        if there.len() < 2 {
            return Arc::new(Outcome::EachAlone);
        }
        let _run = Run::begin(&self.batch.running);
        Arc::new(self.send(&there, members.len()).await.unwrap_or_else(|failure| {
            if failure.kind.is_the_requests_fault() { Outcome::EachAlone } else { Outcome::Failed(failure) }
        }))
    }

    async fn wait(&self) {
        let mut none_left = pin!(self.batch.running.none_left.notified());
        none_left.as_mut().enable();
        if self.batch.running.count.load(SeqCst) == 0 {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(self.window) => {}
            () = self.batch.full.notified() => {}
            () = none_left => {}
        }
    }

    async fn send(&self, there: &[(usize, &Member)], seats: usize) -> Result<Outcome, AttemptFailure> {
        let Kind { model, key, twice, .. } = &self.batch.kind;
        let body = merge(model, there.iter().map(|(_, member)| (&member.body, &member.part)));
        let client_headers = common(there.iter().map(|(_, member)| &member.headers));
        // Where Ollama's own API is spoken, all are translated as one.
        let translated = match self.passage.request(&body, &self.name, None) {
            Ok(translated) => translated.map(|translated| Bytes::from(translated.body)),
            // Each is told by itself what cannot be translated.
            Err(_) => return Ok(Outcome::EachAlone),
        };
        let sent = translated.unwrap_or_else(|| body.clone());
        let endpoint = self.passage.endpoint();
        let request = || self.service.request(endpoint, *key, sent.clone().into(), false, &client_headers);
        let (head, source) = self.service.client.send(request, *twice).await?;
        let deadline = there.iter().map(|(_, member)| member.deadline).max().unwrap_or_else(Instant::now);
        let flow = Flow::new(Source::Http(source), head.status.as_u16(), self.idle, deadline);
        if !head.status.is_success() {
            return Err(refused(self.passage.dialect(), &head, flow, &self.passage).await);
        }
        let answer = AnswerBody::whole(flow).await?;
        let shares: Vec<Share> = there.iter().map(|(_, member)| member.part.share()).collect();
        let answer = if self.passage.is_same() { Ok(answer.freeze()) } else { self.passage.answer(&answer, &body) };
        let told = match answer.and_then(|answer| split(&answer, &shares).map_err(|error| error.to_string())) {
            Ok(told) => told,
            Err(error) => {
                tracing::warn!(%error, "embeddings that were asked for together are asked for one by one");
                return Ok(Outcome::EachAlone);
            }
        };
        let mut answers = vec![None; seats];
        for ((seat, _), answer) in there.iter().zip(told) {
            answers[*seat] = Some(answer);
        }
        let headers = headers::relayed(&head.headers);
        Ok(Outcome::Answers { status: head.status, headers, answers, members: there.len() })
    }
}

/// The headers that all have, with the same values: what one client says is not said for another.
fn common<'a>(mut all: impl Iterator<Item = &'a HeaderMap> + Clone) -> HeaderMap {
    let Some(first) = all.next() else { return HeaderMap::new() };
    let same = |name: &HeaderName, other: &HeaderMap| first.get_all(name).iter().eq(other.get_all(name).iter());
    let kept = first.iter().filter(|(name, _)| all.clone().all(|other| same(name, other)));
    let mut headers = HeaderMap::new();
    for (name, value) in kept {
        headers.append(name, value.clone());
    }
    headers
}

/// How many requests were sent as one.
const BATCHED: HeaderName = HeaderName::from_static("x-witgate-batched");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_one_client_says_is_not_said_for_another() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            headers
        };
        let all = [
            headers(&[("user-agent", "a"), ("x-a", "1"), ("x-b", "1"), ("x-b", "2"), ("x-d", "1")]),
            headers(&[("user-agent", "a"), ("x-a", "2"), ("x-b", "1"), ("x-b", "2"), ("x-c", "1")]),
        ];
        assert_eq!(common(all.iter()), headers(&[("user-agent", "a"), ("x-b", "1"), ("x-b", "2")]));
    }
}
