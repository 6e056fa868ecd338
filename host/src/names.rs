//! Interned names: what a policy gets as a number, and the text behind it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use witgate_core::config::Config;
use witgate_core::decision::Names;

/// The names of one configuration, and the model names that clients have sent.
pub struct NameTable {
    tenants: Vec<Tenant>,
    routes: Vec<Arc<str>>,
    models: Arc<ModelNames>,
}

struct Tenant {
    name: Arc<str>,
    labels: Vec<(Arc<str>, Arc<str>)>,
}

/// The id of requests without a key.
pub const ANONYMOUS: u32 = 0;

impl NameTable {
    /// Numbers the tenants of `config`; the anonymous one is 0.
    pub fn new(config: &Config, models: Arc<ModelNames>) -> Self {
        let mut tenants = vec![Tenant { name: Arc::from("anonymous"), labels: Vec::new() }];
        for key in &config.auth.keys {
            match tenants.iter_mut().skip(1).find(|tenant| tenant.name == key.tenant) {
                Some(tenant) => tenant.labels.extend(key.labels.iter().cloned()),
                None => tenants.push(Tenant { name: Arc::clone(&key.tenant), labels: key.labels.clone() }),
            }
        }
        let routes = config.routes.iter().map(|route| Arc::clone(&route.name)).collect();
        Self { tenants, routes, models }
    }

    /// The number of a tenant that a key names.
    pub fn tenant_id(&self, name: &str) -> u32 {
        let place = self.tenants.iter().skip(1).position(|tenant| &*tenant.name == name);
        place.map_or(ANONYMOUS, |place| u32::try_from(place + 1).unwrap_or(ANONYMOUS))
    }

    /// The number of a model name that a client sent.
    pub fn model_id(&self, name: &str) -> u32 {
        self.models.intern(name)
    }
}

impl Names for NameTable {
    fn tenant(&self, id: u32) -> Arc<str> {
        self.tenants.get(id as usize).map_or_else(nothing, |tenant| Arc::clone(&tenant.name))
    }

    fn tenant_label(&self, id: u32, key: &str) -> Option<Arc<str>> {
        let labels = &self.tenants.get(id as usize)?.labels;
        labels.iter().find(|(name, _)| &**name == key).map(|(_, value)| Arc::clone(value))
    }

    fn route(&self, id: u32) -> Arc<str> {
        self.routes.get(id as usize).cloned().unwrap_or_else(nothing)
    }

    fn model(&self, id: u32) -> Arc<str> {
        self.models.text(id)
    }
}

/// Model names that clients have sent, for the life of the process. Bounded, because clients choose them: names
/// beyond the bound, and names of unusual length, are all number 0, the empty text.
pub struct ModelNames(RwLock<Interned>);

#[derive(Default)]
struct Interned {
    by_name: HashMap<Arc<str>, u32, ahash::RandomState>,
    names: Vec<Arc<str>>,
}

impl Default for ModelNames {
    fn default() -> Self {
        Self(RwLock::new(Interned { names: vec![nothing()], ..Interned::default() }))
    }
}

impl ModelNames {
    fn intern(&self, name: &str) -> u32 {
        if let Some(id) = self.0.read().by_name.get(name) {
            return *id;
        }
        let mut interned = self.0.write();
        if let Some(id) = interned.by_name.get(name) {
            return *id;
        }
        let Some(id) = u32::try_from(interned.names.len()).ok().filter(|id| *id < MOST_NAMES) else { return 0 };
        if name.len() > LONGEST_NAME {
            return 0;
        }
        let name: Arc<str> = name.into();
        interned.names.push(Arc::clone(&name));
        interned.by_name.insert(name, id);
        id
    }

    fn text(&self, id: u32) -> Arc<str> {
        self.0.read().names.get(id as usize).cloned().unwrap_or_else(nothing)
    }
}

fn nothing() -> Arc<str> {
    Arc::from("")
}

const MOST_NAMES: u32 = 16_384;
const LONGEST_NAME: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_the_table_stays_bounded() {
        let models = ModelNames::default();
        assert_eq!((models.intern("a"), models.intern("b"), models.intern("a")), (1, 2, 1));
        assert_eq!((&*models.text(2), &*models.text(0), &*models.text(99)), ("b", "", ""));
        assert_eq!(models.intern(&"x".repeat(LONGEST_NAME)), 3);
        assert_eq!(models.intern(&"x".repeat(LONGEST_NAME + 1)), 0);
        for number in 0..MOST_NAMES {
            models.intern(&format!("m{number}"));
        }
        assert_eq!(models.0.read().names.len(), MOST_NAMES as usize);
        assert_eq!(models.intern("one more"), 0);
    }
}
