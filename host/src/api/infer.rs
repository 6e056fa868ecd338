//! Every endpoint at which a model is asked: the life of a request, on one screen.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use witgate_core::openai::Endpoint;

use crate::api::doors::{self, Visitor};
use crate::api::error::ApiError;
use crate::cache::{Hit, Lookup, Question, Slot};
use crate::gateway::Gateway;
use crate::pipeline::context::{Arrival, Context};
use crate::pipeline::execute::{self, Answered};
use crate::pipeline::relay;
use crate::pipeline::request::RequestRecord;
use crate::pipeline::resume::Resume;
use crate::telemetry::metrics::Purpose;

/// Answers a request for an endpoint.
pub async fn infer(State(gateway): State<Arc<Gateway>>, endpoint: Endpoint, request: Request<Body>) -> Response<Body> {
    // In a box of its own: what is around it is moved several times until it runs.
    let answer = async |visitor, record: &mut RequestRecord| Box::pin(answer(visitor, endpoint, record)).await;
    doors::attend(gateway, Purpose::Endpoint(endpoint), request, answer, |found, record| match found {
        Found::Kept(hit) => relay::replay(&hit, record),
        Found::Answered { answered, slot, resume } => relay::respond(*answered, record, slot, resume),
    })
    .await
}

/// Where the answer is.
enum Found {
    /// In the cache.
    Kept(Hit),
    /// Upstream.
    Answered {
        answered: Box<Answered>,
        /// The cache's place for it.
        slot: Option<Slot>,
        /// What it takes to go on with it if it breaks.
        resume: Option<Box<Resume>>,
    },
}

async fn answer(visitor: Visitor, endpoint: Endpoint, record: &mut RequestRecord) -> Result<Found, ApiError> {
    let mut arrival = doors::enter(visitor, endpoint, record).await?;
    keep_to_the_previous(&mut arrival)?;
    let context = Context::new(arrival);
    // Under each name that it may be given, an answer is another.
    let named = context.route().rewrite_model.then(|| format!("{}\n{}", context.requested_model, context.peek.model));
    let question = Question {
        // What may be anything is not kept: it is large, or made anew each time.
        scope: context.route().cache.as_ref().filter(|_| !context.peek.endpoint.answers_anything()),
        tenant: &context.caller.tenant_name,
        endpoint: context.peek.endpoint,
        model: named.as_deref().unwrap_or(&context.requested_model),
        headers: &context.headers,
        body: &context.body,
    };
    let lookup = context.gateway.cache.look(question).await;
    record.cache(&lookup);
    let slot = match lookup {
        Lookup::Hit(hit) => return Ok(Found::Kept(hit)),
        Lookup::Miss(slot) => Some(slot),
        Lookup::Bypass => None,
    };
    match execute::run(&context).await {
        Ok(mut answered) => {
            remember(&context, &answered);
            let resume = Resume::prepare(context, &mut answered.past);
            Ok(Found::Answered { answered: Box::new(answered), slot, resume })
        }
        Err(unanswered) => {
            record.decided(unanswered.by, unanswered.deployment, unanswered.attempts);
            Err(unanswered.error)
        }
    }
}

/// A response that goes on from another can be made only where that one is kept. Of one that is not known here the
/// upstream says so itself.
fn keep_to_the_previous(arrival: &mut Arrival) -> Result<(), ApiError> {
    let Some(previous) = &arrival.peek.previous else { return Ok(()) };
    let Some(provider) = arrival.gateway.kept.provider_of(&arrival.caller.tenant_name, previous) else {
        return Ok(());
    };
    let config = &arrival.snapshot.config;
    let there = |number: &u32| config.provider_of(*number).is_some_and(|known| known.name == provider);
    let candidates: Vec<u32> = arrival.candidates.iter().copied().filter(there).collect();
    if candidates.is_empty() {
        return Err(ApiError::KeptElsewhere { id: previous.clone() });
    }
    arrival.candidates = candidates.into();
    arrival.bound = true;
    Ok(())
}

/// Where a provider keeps what it has made.
fn remember(context: &Context, answered: &Answered) {
    if context.peek.endpoint != Endpoint::Responses {
        return;
    }
    let provider = context.snapshot.config.provider_of(answered.record.target());
    // What is translated is kept nowhere.
    let Some(provider) = provider.filter(|provider| provider.responses) else { return };
    if let Some(id) = answered.reply.response_id() {
        context.gateway.kept.remember(&context.caller.tenant_name, &id, &provider.name);
    }
}
