//! From the contract's functions to a policy's traits.

use std::cell::OnceCell;
use std::thread::LocalKey;

use crate::bindings::imports::types::{Catalogue, PolicyInfo, Subscription};
use crate::bindings::{fallback, filter, lifecycle, observer, router, scorer};
use crate::{
    Ask, FailedAttempt, Fallback, Filter, Observer, Outcomes, Policy, Request, Router, Scorer, Setup, Verdict,
};

/// What [`register!`](crate::register) makes: a place for the configured policy, one in each instance.
pub trait Component {
    /// The registered policy.
    type Policy: Policy;
    /// Filled by `configure`.
    fn place() -> &'static LocalKey<OnceCell<Self::Policy>>;
}

/// Makes a component of a policy: `register!(MyPolicy: router, fallback);` with one or more of `router`, `fallback`,
/// `filter`, `scorer` and `observer`. Once in a crate of type `cdylib`.
#[macro_export]
macro_rules! register {
    ($policy:ty: $($hook:ident),+ $(,)?) => {
        const _: () = {
            struct Registered;
            ::std::thread_local! {
                static POLICY: ::std::cell::OnceCell<$policy> = const { ::std::cell::OnceCell::new() };
            }
            impl $crate::component::Component for Registered {
                type Policy = $policy;
                fn place() -> &'static ::std::thread::LocalKey<::std::cell::OnceCell<$policy>> {
                    &POLICY
                }
            }
            // Elsewhere there is nothing to export to, and linkers refuse the names.
            #[cfg(target_arch = "wasm32")]
            $crate::bindings::lifecycle::export!(Registered with_types_in $crate::bindings::lifecycle);
            $(
                #[cfg(target_arch = "wasm32")]
                $crate::bindings::$hook::export!(Registered with_types_in $crate::bindings::$hook);
                #[cfg(not(target_arch = "wasm32"))]
                const _: fn() = || {
                    fn answers<C: $crate::bindings::$hook::Guest>() {}
                    answers::<Registered>();
                };
            )+
        };
    };
}

impl<C: Component> lifecycle::Guest for C {
    fn describe() -> PolicyInfo {
        C::Policy::ABOUT.into()
    }

    fn configure(catalogue: Catalogue) -> Result<Subscription, String> {
        let mut setup = Setup::new(catalogue);
        let policy = C::Policy::configure(&mut setup)?;
        let stored = C::place().with(|place| place.set(policy));
        stored.map_err(|_| "configured twice".to_owned())?;
        Ok(setup.into_subscription())
    }
}

impl<C: Component<Policy: Router>> router::Guest for C {
    fn route(request: Request, candidates: Vec<u32>, signals: Vec<f64>, facts: Vec<f64>) -> Result<Verdict, String> {
        let ask = Ask::new(request, &candidates, &signals, &facts);
        with::<C, _>(|policy| policy.route(&ask))
    }
}

impl<C: Component<Policy: Fallback>> fallback::Guest for C {
    fn after_failure(
        request: Request,
        failures: Vec<FailedAttempt>,
        candidates: Vec<u32>,
        signals: Vec<f64>,
        facts: Vec<f64>,
    ) -> Result<Verdict, String> {
        let ask = Ask::new(request, &candidates, &signals, &facts);
        with::<C, _>(|policy| policy.after_failure(&failures, &ask))
    }
}

impl<C: Component<Policy: Filter>> filter::Guest for C {
    fn keep(request: Request, candidates: Vec<u32>, signals: Vec<f64>, facts: Vec<f64>) -> Result<Vec<u32>, String> {
        let ask = Ask::new(request, &candidates, &signals, &facts);
        with::<C, _>(|policy| policy.keep(&ask))
    }
}

impl<C: Component<Policy: Scorer>> scorer::Guest for C {
    fn score(request: Request, candidates: Vec<u32>, signals: Vec<f64>, facts: Vec<f64>) -> Result<Vec<f64>, String> {
        let ask = Ask::new(request, &candidates, &signals, &facts);
        with::<C, _>(|policy| policy.score(&ask))
    }
}

impl<C: Component<Policy: Observer>> observer::Guest for C {
    fn observe(rows: u32, columns: Vec<f64>) -> Result<(), String> {
        let outcomes = Outcomes::new(rows as usize, &columns);
        with::<C, _>(|policy| policy.observe(&outcomes))
    }
}

fn with<C: Component, T>(call: impl FnOnce(&C::Policy) -> Result<T, String>) -> Result<T, String> {
    C::place().with(|place| match place.get() {
        Some(policy) => call(policy),
        None => Err("not configured".to_owned()),
    })
}
