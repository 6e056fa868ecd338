//! Times of single calls, clean of what looking at the clock costs.

use std::time::{Duration, Instant};

use witgate_core::decision::Offer;

use super::fleet;
use crate::stats::Times;

/// Calls in a row before it is the other's turn.
const TURN: u32 = 200;
/// Calls before anything is recorded.
const WARM_UP: u32 = 300;

/// What it costs to look at the clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    nanos: u64,
}

impl Clock {
    pub(super) fn calibrate() -> Self {
        let mut times: Vec<u64> = (0..10_000).map(|_| nanos(Instant::now().elapsed())).collect();
        times.sort_unstable();
        Self { nanos: times[times.len() / 2] }
    }

    fn time(self, call: impl FnOnce() -> Result<(), String>) -> Result<u64, String> {
        let started = Instant::now();
        let answer = call();
        let elapsed = nanos(started.elapsed());
        answer.map(|()| elapsed.saturating_sub(self.nanos))
    }
}

/// Times both in turns until the budget is spent. Each call gets a question of its own.
///
/// # Errors
/// The first failed call.
pub(super) fn in_turns(
    clock: Clock,
    budget: Duration,
    offer: &mut Offer,
    wasm: impl Fn(&Offer) -> Result<(), String>,
    native: Option<impl Fn(&Offer) -> Result<(), String>>,
) -> Result<(Times, Option<Times>), String> {
    let turn = |times: &mut Times, offer: &mut Offer, calls, ask: &dyn Fn(&Offer) -> Result<(), String>| {
        let end = Instant::now() + budget / 4;
        for _ in 0..calls {
            fleet::next(offer);
            times.record_nanos(clock.time(|| ask(offer))?);
            // A slow guest must not spend everything in one turn.
            if Instant::now() > end {
                break;
            }
        }
        Ok::<_, String>(())
    };
    let mut unused = Times::new();
    turn(&mut unused, offer, WARM_UP, &wasm)?;
    let (mut ours, mut theirs) = (Times::new(), native.as_ref().map(|_| Times::new()));
    let started = Instant::now();
    while started.elapsed() < budget {
        turn(&mut ours, offer, TURN, &wasm)?;
        if let (Some(native), Some(times)) = (&native, &mut theirs) {
            turn(times, offer, TURN, native)?;
        }
    }
    Ok((ours, theirs))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
