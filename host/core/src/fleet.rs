//! All deployments of one configuration with their live numbers: what signals are read from.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ability::Abilities;
use crate::breaker::BreakerState;
use crate::deployment::{Deployment, Price};
use crate::live::{Live, Millis, ProviderKeys};
use crate::vocabulary::Signal;

/// The deployments, numbered as policies see them, and the routes.
#[derive(Debug)]
pub struct Fleet {
    deployments: Vec<FleetEntry>,
    routes: Vec<Arc<str>>,
}

/// One deployment.
#[derive(Clone, Debug)]
pub struct FleetEntry {
    /// As configured.
    pub spec: Arc<Deployment>,
    /// How it is doing; shared with the fleet of the configuration before, if it was there.
    pub live: Arc<Live>,
}

impl FleetEntry {
    /// What is known of what it can do: by the configuration, by the server itself, or else by the catalogue.
    pub fn abilities(&self) -> Abilities {
        self.spec.able(self.live.learnt().abilities)
    }

    /// The context window, by the configuration, by the server itself, or else by the catalogue.
    pub fn context_tokens(&self) -> Option<u32> {
        self.spec.window(self.live.learnt().context_tokens)
    }
}

impl Fleet {
    /// A fleet whose deployments take over the live numbers of those of the same id in `before`.
    pub fn new(deployments: Vec<Arc<Deployment>>, routes: Vec<Arc<str>>, before: Option<&Self>) -> Self {
        let earlier = before.map(|fleet| &fleet.deployments[..]).unwrap_or_default();
        let known =
            earlier.iter().map(|entry| (Arc::clone(&entry.spec.provider), Arc::clone(entry.live.provider_keys())));
        let mut providers: HashMap<Arc<str>, Arc<ProviderKeys>> = known.collect();
        let deployments = deployments
            .into_iter()
            .map(|spec| {
                let known =
                    earlier.iter().find(|entry| entry.spec.id == spec.id && entry.spec.provider == spec.provider);
                let live = match known {
                    Some(entry) => Arc::clone(&entry.live),
                    None => {
                        let keys = providers.entry(Arc::clone(&spec.provider)).or_default();
                        Arc::new(Live::with_keys_of(Arc::clone(keys)))
                    }
                };
                FleetEntry { live, spec }
            })
            .collect();
        Self { deployments, routes }
    }

    /// What the deployments of a provider share; `None` when it has none.
    pub fn provider_keys(&self, provider: &str) -> Option<&Arc<ProviderKeys>> {
        let entry = self.deployments.iter().find(|entry| &*entry.spec.provider == provider)?;
        Some(entry.live.provider_keys())
    }

    /// In the order of their numbers.
    pub fn deployments(&self) -> &[FleetEntry] {
        &self.deployments
    }

    /// Names of the routes.
    pub fn routes(&self) -> &[Arc<str>] {
        &self.routes
    }

    /// Appends one signal of each candidate, in their order. Finite values only; a candidate that does not exist
    /// has the neutral one. [`Signal::Score`] is neutral: it belongs to the chain, not to the deployment.
    pub fn column(&self, signal: Signal, candidates: &[u32], now: Millis, out: &mut Vec<f64>) {
        match signal {
            Signal::InFlight => self.each(candidates, out, signal, |e| f64::from(e.live.in_flight())),
            Signal::TokensInFlight => self.each(candidates, out, signal, |e| e.live.tokens_in_flight() as f64),
            Signal::TtftEwmaMs => self.each(candidates, out, signal, |e| e.live.ttft_ms()),
            Signal::TtftPeakEwmaMs => self.each(candidates, out, signal, |e| e.live.ttft_peak_ms(now)),
            Signal::TtftP50Ms => self.each(candidates, out, signal, |e| e.live.ttft_quantiles()[0]),
            Signal::TtftP90Ms => self.each(candidates, out, signal, |e| e.live.ttft_quantiles()[1]),
            Signal::TtftP99Ms => self.each(candidates, out, signal, |e| e.live.ttft_quantiles()[2]),
            Signal::LatencyEwmaMs => self.each(candidates, out, signal, |e| e.live.latency_ms()),
            Signal::LatencyP50Ms => self.each(candidates, out, signal, |e| e.live.latency_quantiles()[0]),
            Signal::LatencyP90Ms => self.each(candidates, out, signal, |e| e.live.latency_quantiles()[1]),
            Signal::LatencyP99Ms => self.each(candidates, out, signal, |e| e.live.latency_quantiles()[2]),
            Signal::TokensPerSecond => self.each(candidates, out, signal, |e| e.live.tokens_per_second()),
            Signal::ErrorRate => self.each(candidates, out, signal, |e| e.live.error_rate()),
            Signal::ConsecutiveFailures => {
                self.each(candidates, out, signal, |e| f64::from(e.live.consecutive_failures()));
            }
            Signal::Samples => self.each(candidates, out, signal, |e| f64::from(e.live.samples())),
            Signal::RpmUsed => self.each(candidates, out, signal, |e| e.live.requests_per_minute(now)),
            Signal::TpmUsed => self.each(candidates, out, signal, |e| e.live.tokens_per_minute(now)),
            Signal::RpmHeadroom => {
                self.each(candidates, out, signal, |e| headroom(e.spec.rpm, || e.live.requests_per_minute(now)));
            }
            Signal::TpmHeadroom => {
                self.each(candidates, out, signal, |e| headroom(e.spec.tpm, || e.live.tokens_per_minute(now)));
            }
            Signal::CooldownMs => self.each(candidates, out, signal, |e| e.live.cooldown_ms(now)),
            Signal::UsdPerMtokIn => self.each(candidates, out, signal, |e| usd(e, |price| price.input)),
            Signal::UsdPerMtokOut => self.each(candidates, out, signal, |e| usd(e, |price| price.output)),
            Signal::UsdPerMtokCached => {
                self.each(candidates, out, signal, |e| usd(e, |price| price.cached_input.unwrap_or(price.input)));
            }
            Signal::Weight => self.each(candidates, out, signal, |e| e.spec.weight),
            Signal::ContextTokens => self.each(candidates, out, signal, |e| known(e.context_tokens())),
            Signal::MaxOutputTokens => self.each(candidates, out, signal, |e| known(e.spec.max_output_tokens)),
            Signal::BreakerState => self.each(candidates, out, signal, |e| match e.live.breaker_state(now) {
                BreakerState::Closed => 0.0,
                BreakerState::HalfOpen => 1.0,
                BreakerState::Open => 2.0,
            }),
            Signal::BreakerOpenMs => self.each(candidates, out, signal, |e| e.live.breaker_open_ms(now)),
            Signal::WarmUp => self.each(candidates, out, signal, |e| e.live.warm_up(now)),
            Signal::ReadyKeys => self.each(candidates, out, signal, |e| f64::from(e.live.ready_keys(now))),
            Signal::FreeSlots => self.each(candidates, out, signal, |e| match e.spec.max_concurrency {
                None => signal.neutral(),
                Some(limit) => f64::from(limit.get().saturating_sub(e.live.in_flight())),
            }),
            Signal::QueueDepth => self.each(candidates, out, signal, |e| f64::from(e.live.queued())),
            Signal::UpstreamQueue => self.each(candidates, out, signal, |e| e.live.reported(now).queue.unwrap_or(0.0)),
            Signal::UpstreamRunning => {
                self.each(candidates, out, signal, |e| e.live.reported(now).running.unwrap_or(0.0));
            }
            Signal::UpstreamFreeSlots => {
                self.each(candidates, out, signal, |e| e.live.reported(now).free_slots.unwrap_or(signal.neutral()));
            }
            Signal::KvUsed => self.each(candidates, out, signal, |e| e.live.reported(now).kv_used.unwrap_or(0.0)),
            Signal::ModelLoaded => self.each(candidates, out, signal, |e| match e.live.reported(now).loaded {
                Some(false) => 0.0,
                Some(true) | None => 1.0,
            }),
            Signal::Score => out.extend(candidates.iter().map(|_| signal.neutral())),
        }
    }

    fn each(&self, candidates: &[u32], out: &mut Vec<f64>, signal: Signal, value: impl Fn(&FleetEntry) -> f64) {
        out.extend(
            candidates
                .iter()
                .map(|candidate| self.deployments.get(*candidate as usize).map_or(signal.neutral(), &value)),
        );
    }
}

fn headroom(limit: Option<u32>, used: impl FnOnce() -> f64) -> f64 {
    match limit {
        None => 1.0,
        Some(0) => 0.0,
        Some(limit) => (1.0 - used() / f64::from(limit)).clamp(0.0, 1.0),
    }
}

fn usd(entry: &FleetEntry, part: impl FnOnce(&Price) -> f64) -> f64 {
    entry.spec.price.as_ref().map_or(0.0, part)
}

fn known(value: Option<u32>) -> f64 {
    value.map_or(0.0, f64::from)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::ability::Ability;
    use crate::catalogue::Match;
    use crate::deployment::Known;
    use crate::facts::Report;
    use crate::live::Learnt;

    fn deployment(id: &str, rpm: Option<u32>) -> Arc<Deployment> {
        Arc::new(Deployment {
            id: id.into(),
            provider: "p".into(),
            weight: 2.0,
            rpm,
            max_concurrency: NonZeroU32::new(2).filter(|_| id == "b"),
            ..Deployment::default()
        })
    }

    fn column(fleet: &Fleet, signal: Signal, candidates: &[u32]) -> Vec<f64> {
        let mut out = Vec::new();
        fleet.column(signal, candidates, Millis(0), &mut out);
        out
    }

    #[test]
    fn a_column_follows_the_candidates_order() {
        let fleet = Fleet::new(vec![deployment("a", Some(4)), deployment("b", None)], vec![], None);
        let _running = fleet.deployments()[0].live.begin(7, Millis(0));
        assert_eq!(column(&fleet, Signal::InFlight, &[1, 0]), [0.0, 1.0]);
        assert_eq!(column(&fleet, Signal::TokensInFlight, &[0]), [7.0]);
        assert_eq!(column(&fleet, Signal::RpmHeadroom, &[0, 1]), [0.75, 1.0]);
        assert_eq!(column(&fleet, Signal::Weight, &[0, 9]), [2.0, 1.0]);
        // only `b` has a limit
        let places: Vec<_> = (0..3).map(|_| fleet.deployments()[1].live.begin(0, Millis(0))).collect();
        assert_eq!(column(&fleet, Signal::FreeSlots, &[0, 1]), [1e6, 0.0]);
        drop(places);
        let waiting = fleet.deployments()[1].live.queue();
        assert_eq!(column(&fleet, Signal::FreeSlots, &[1]), [2.0]);
        assert_eq!(column(&fleet, Signal::QueueDepth, &[0, 1]), [0.0, 1.0]);
        drop(waiting);
        assert_eq!(column(&fleet, Signal::QueueDepth, &[1]), [0.0]);
    }

    #[test]
    fn what_a_server_says_of_itself_is_a_signal_until_it_is_too_old() {
        let fleet = Fleet::new(vec![deployment("a", None), deployment("b", None)], vec![], None);
        let report = Report {
            queue: Some(3.0),
            running: Some(2.0),
            kv_used: Some(0.5),
            free_slots: Some(0.0),
            loaded: Some(false),
        };
        fleet.deployments()[0].live.report(report, Millis(1));
        for (signal, said) in [
            (Signal::UpstreamQueue, 3.0),
            (Signal::UpstreamRunning, 2.0),
            (Signal::UpstreamFreeSlots, 0.0),
            (Signal::KvUsed, 0.5),
            (Signal::ModelLoaded, 0.0),
        ] {
            assert_eq!(column(&fleet, signal, &[0, 1]), [said, signal.neutral()], "{signal:?}");
            let mut later = Vec::new();
            fleet.column(signal, &[0], Millis(1), &mut later);
            assert_eq!(later, [signal.neutral()], "{signal:?}");
        }
    }

    #[test]
    fn every_signal_of_an_idle_deployment_is_finite() {
        let fleet = Fleet::new(vec![deployment("a", Some(0))], vec![], None);
        for signal in Signal::ALL {
            let values = column(&fleet, *signal, &[0]);
            assert!(values.len() == 1 && values[0].is_finite(), "{signal:?} is {values:?}");
        }
    }

    #[test]
    fn what_a_server_tells_fills_what_is_not_configured() {
        let said = Deployment {
            context_tokens: Some(4096),
            abilities: Abilities::default().with(Ability::Tools, true),
            ..(*deployment("b", None)).clone()
        };
        let all = Abilities::default().with(Ability::Vision, false).with(Ability::Audio, true);
        let known = Known { name: "p/c".into(), how: Match::Said, context_tokens: Some(16_384), abilities: all };
        let known = Deployment { known: Some(known), ..(*deployment("c", None)).clone() };
        let fleet = Fleet::new(vec![deployment("a", None), Arc::new(said), Arc::new(known)], vec![], None);
        assert_eq!(column(&fleet, Signal::ContextTokens, &[0, 1, 2]), [0.0, 4096.0, 16_384.0]);
        let told = Abilities::default().with(Ability::Tools, false).with(Ability::Vision, true);
        for entry in fleet.deployments() {
            entry.live.learn(Learnt { abilities: told, context_tokens: Some(8192) });
        }
        assert_eq!(column(&fleet, Signal::ContextTokens, &[0, 1, 2]), [8192.0, 4096.0, 8192.0]);
        let can = |number: usize| {
            let abilities = fleet.deployments()[number].abilities();
            [Ability::Tools, Ability::Vision, Ability::Audio].map(|ability| abilities.can(ability))
        };
        assert_eq!((can(0), can(1)), ([Some(false), Some(true), None], [Some(true), Some(true), None]));
        assert_eq!(can(2), [Some(false), Some(true), Some(true)], "the catalogue says what nobody else does");
    }

    #[test]
    fn live_numbers_outlive_a_reload_by_id() {
        let before = Fleet::new(vec![deployment("a", None), deployment("b", None)], vec![], None);
        let _running = before.deployments()[1].live.begin(0, Millis(0));
        let after = Fleet::new(vec![deployment("b", None), deployment("c", None)], vec![], Some(&before));
        assert_eq!(column(&after, Signal::InFlight, &[0, 1]), [1.0, 0.0]);
        let moved = Arc::new(Deployment { provider: "elsewhere".into(), ..(*deployment("b", None)).clone() });
        let moved = Fleet::new(vec![moved], vec![], Some(&after));
        assert_eq!(column(&moved, Signal::InFlight, &[0]), [0.0], "at another provider it is another deployment");
    }

    #[test]
    fn deployments_of_a_provider_share_its_keys() {
        let fleet = Fleet::new(vec![deployment("a", None), deployment("b", None)], vec![], None);
        fleet.provider_keys("p").unwrap().set(3, 7);
        assert_eq!(column(&fleet, Signal::ReadyKeys, &[0, 1]), [3.0, 3.0]);
        assert!(fleet.provider_keys("q").is_none());
        let after = Fleet::new(vec![deployment("c", None)], vec![], Some(&fleet));
        assert_eq!(column(&after, Signal::ReadyKeys, &[0]), [3.0]);
    }
}
