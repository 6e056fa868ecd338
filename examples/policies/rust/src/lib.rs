//! A routing policy in Rust.

use witgate_sdk::*;

struct LeastBusy {
    in_flight: Signal,
    usd: Signal,
}

impl Policy for LeastBusy {
    const ABOUT: About = About::new("least-busy-rust", "1.0.0", "Fewest requests in flight; of equals, the cheapest.");

    fn configure(setup: &mut Setup) -> Result<Self, String> {
        Ok(Self { in_flight: setup.signal("in-flight"), usd: setup.signal("usd-per-mtok-out") })
    }
}

impl Router for LeastBusy {
    fn route(&self, ask: &Ask) -> Result<Verdict, String> {
        let (in_flight, usd) = (ask.signal(self.in_flight), ask.signal(self.usd));
        let best = ask.rows().min_by(|&a, &b| in_flight[a].total_cmp(&in_flight[b]).then(usd[a].total_cmp(&usd[b])));
        Ok(best.map_or(Verdict::Abstain, |row| ask.pick(row)))
    }
}

register!(LeastBusy: router);
