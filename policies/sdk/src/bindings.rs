//! What wit-bindgen makes of the contract: one module for the types and imports, one for each hook.
//!
//! A component must export everything that its world exports, so policies cannot share one world that names every
//! hook. Here each hook is a world of its own. Its export macro puts that world's description into the policy's
//! binary, and wit-component unites the descriptions that it finds: a policy exports exactly the hooks that
//! [`register!`](crate::register) names. Imports that are never called are dropped by wit-component, so one world
//! with all of them serves every policy.

/// Types and imports.
pub mod imports {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package witgate:sdk;
            world imported {
                include witgate:policy/imports@0.1.0;
                import witgate:policy/types@0.1.0;
                import witgate:policy/headers@0.1.0;
                import witgate:policy/prompt@0.1.0;
            }
        ",
        generate_all,
        generate_unused_types: true,
        additional_derives: [PartialEq],
    });
    pub use self::witgate::policy::{cells, headers, log, names, prompt, types};
}

macro_rules! hooks {
    ($($name:ident: $world:literal, with $with:tt;)+) => {$(
        #[doc = concat!("The hook `", stringify!($name), "`.")]
        pub mod $name {
            wit_bindgen::generate!({
                path: "../../wit",
                inline: $world,
                with: $with,
                generate_all,
                pub_export_macro: true,
                runtime_path: "::witgate_sdk::wit_bindgen::rt",
            });
            pub use self::exports::witgate::policy::$name::Guest;
        }
    )+};
}

hooks! {
    lifecycle: "package witgate:sdk; world lifecycle-hook { export witgate:policy/lifecycle@0.1.0; }",
        with { "witgate:policy/types@0.1.0": crate::bindings::imports::types };
    router: "package witgate:sdk; world router-hook { export witgate:policy/router@0.1.0; }",
        with { "witgate:policy/types@0.1.0": crate::bindings::imports::types };
    fallback: "package witgate:sdk; world fallback-hook { export witgate:policy/fallback@0.1.0; }",
        with { "witgate:policy/types@0.1.0": crate::bindings::imports::types };
    filter: "package witgate:sdk; world filter-hook { export witgate:policy/filter@0.1.0; }",
        with { "witgate:policy/types@0.1.0": crate::bindings::imports::types };
    scorer: "package witgate:sdk; world scorer-hook { export witgate:policy/scorer@0.1.0; }",
        with { "witgate:policy/types@0.1.0": crate::bindings::imports::types };
    observer: "package witgate:sdk; world observer-hook { export witgate:policy/observer@0.1.0; }",
        with {};
}
