//! What happens when, made of a seed alone, so that a run can be repeated.
//!
//! Time is cut into rounds of trouble and calm. In each round one scripted upstream and one real server are spared, and
//! whoever is spared has been well for the calm before it, so that there is always somebody who can answer.

use std::time::Duration;

use fastrand::Rng;

use crate::Fault;

/// Scripted upstreams.
pub const SCRIPTED: usize = 3;
/// Real servers.
pub const REAL: usize = 2;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// A scripted upstream behaves like this from now on.
    Mood(usize, Fault),
    /// A real server is killed.
    Kill(usize),
    /// And started again.
    Start(usize),
    /// A real server is stopped where it stands.
    Freeze(usize),
    /// And goes on.
    Thaw(usize),
    /// Another policy, of this number, is dropped in.
    Policy(u32),
    /// A file that is no policy is dropped in.
    BadPolicy,
    /// The configuration changes, to one of this number.
    Configuration(u32),
    /// The configuration is saved with an error in it.
    BadConfiguration,
}

/// Everything that happens, in order.
pub fn schedule(seed: u64, length: Duration, real: bool) -> Vec<(Duration, Step)> {
    let mut random = Rng::with_seed(seed);
    let mut steps = Vec::new();
    let mut begin = Duration::ZERO;
    while begin < length {
        let end = (begin + TROUBLE).min(length);
        let spared = random.usize(..SCRIPTED);
        for place in (0..SCRIPTED).filter(|place| *place != spared) {
            moods(&mut random, place, begin, end, &mut steps);
        }
        if real {
            harm(&mut random, begin, end, &mut steps);
        }
        begin += TROUBLE + CALM;
    }
    changes(&mut random, length, &mut steps);
    steps.sort_by_key(|(at, _)| *at);
    steps
}

fn moods(random: &mut Rng, place: usize, begin: Duration, end: Duration, steps: &mut Vec<(Duration, Step)>) {
    let mut at = begin + up_to(random, Duration::from_secs(1));
    while at < end {
        let fault = if random.u32(..4) == 0 { Fault::Well } else { MOODS[random.usize(..MOODS.len())] };
        steps.push((at, Step::Mood(place, fault)));
        at += Duration::from_millis(500) + up_to(random, Duration::from_millis(2500));
    }
    steps.push((end, Step::Mood(place, Fault::Well)));
}

/// One of the real servers, which is well again before the trouble ends.
fn harm(random: &mut Rng, begin: Duration, end: Duration, steps: &mut Vec<(Duration, Step)>) {
    let place = random.usize(..REAL);
    let at = begin + up_to(random, Duration::from_secs(2));
    let until = at + Duration::from_secs(2) + up_to(random, Duration::from_secs(3));
    if until >= end {
        return;
    }
    let [harm, mend] =
        if random.bool() { [Step::Kill(place), Step::Start(place)] } else { [Step::Freeze(place), Step::Thaw(place)] };
    steps.extend([(at, harm), (until, mend)]);
}

fn changes(random: &mut Rng, length: Duration, steps: &mut Vec<(Duration, Step)>) {
    let mut at = Duration::from_secs(1);
    while at < length {
        let step = match random.u32(..8) {
            0 => Step::BadPolicy,
            1 => Step::BadConfiguration,
            2..=4 => Step::Policy(random.u32(..)),
            _ => Step::Configuration(random.u32(..)),
        };
        steps.push((at, step));
        at += Duration::from_millis(700) + up_to(random, Duration::from_millis(1600));
    }
}

fn up_to(random: &mut Rng, longest: Duration) -> Duration {
    longest.mul_f64(random.f64())
}

/// How long trouble lasts.
pub const TROUBLE: Duration = Duration::from_secs(9);
/// And the calm after it: whoever has failed is to be used again within ten seconds.
pub const CALM: Duration = Duration::from_secs(11);

/// What scripted upstreams do in trouble; an endless line takes too much of the machine for many requests at a time.
const MOODS: [Fault; 31] = [
    Fault::ResetAtOnce,
    Fault::ClosedAtOnce,
    Fault::Expired,
    Fault::Silent,
    Fault::SlowHeaders,
    Fault::NotHttp,
    Fault::Redirects,
    Fault::KeyRefused,
    Fault::Limited,
    Fault::Broken,
    Fault::Overloaded,
    Fault::StalledError,
    Fault::SlowError,
    Fault::ErrorInside,
    Fault::Html,
    Fault::Empty,
    Fault::ResetAfterHeaders,
    Fault::ClosedAfterHeaders,
    Fault::StalledAfterHeaders,
    Fault::GarbageFirst,
    Fault::KeepAlivesOnly,
    Fault::Cut,
    Fault::Reset,
    Fault::HalfCharacterCut,
    Fault::HalfCharacter,
    Fault::Stalled,
    Fault::SlowBody,
    Fault::TruncatedChunk,
    Fault::LengthTooShort,
    Fault::ErrorEvent,
    Fault::NoEnd,
];

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(600);

    #[test]
    fn a_seed_says_it_all() {
        assert_eq!(schedule(7, LENGTH, true), schedule(7, LENGTH, true));
        assert_ne!(schedule(7, LENGTH, true), schedule(8, LENGTH, true));
    }

    #[test]
    fn somebody_has_been_well_for_the_calm_and_stays_so() {
        for seed in 0..50 {
            let steps = schedule(seed, LENGTH, true);
            let ill_until = |place: usize, from: Duration, to: Duration| {
                let mut of_place =
                    steps.iter().filter(|(_, step)| matches!(step, Step::Mood(other, _) if *other == place));
                of_place.any(|(at, step)| *at >= from && *at < to && !matches!(step, Step::Mood(_, Fault::Well)))
            };
            let mut begin = Duration::ZERO;
            while begin < LENGTH {
                let end = begin + TROUBLE;
                let well = (0..SCRIPTED).filter(|place| !ill_until(*place, begin.saturating_sub(CALM), end));
                assert!(well.count() >= 1, "seed {seed}: nobody is well at {begin:?}");
                begin += TROUBLE + CALM;
            }
        }
    }

    #[test]
    fn whatever_is_harmed_is_mended() {
        for seed in 0..50 {
            let mut harmed = None;
            for (_, step) in schedule(seed, LENGTH, true) {
                match step {
                    Step::Kill(place) | Step::Freeze(place) => assert_eq!(harmed.replace(place), None, "seed {seed}"),
                    Step::Start(place) | Step::Thaw(place) => assert_eq!(harmed.take(), Some(place), "seed {seed}"),
                    Step::Mood(..) | Step::Policy(_) | Step::BadPolicy => {}
                    Step::Configuration(_) | Step::BadConfiguration => {}
                }
            }
            assert_eq!(harmed, None);
        }
        assert!(schedule(1, LENGTH, false).iter().all(|(_, step)| !matches!(step, Step::Kill(_) | Step::Freeze(_))));
    }
}
