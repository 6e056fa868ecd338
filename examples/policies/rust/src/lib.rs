//! A routing policy in Rust.

use witgate_sdk::*;

struct LeastBusy([Signal; 4]);

impl Policy for LeastBusy {
    const ABOUT: About =
        About::new("least-busy-rust", "1.0.0", "Fewest in flight; then no pause, fewest errors, cheapest.");

    fn configure(setup: &mut Setup) -> Result<Self, String> {
        let names = ["in-flight", "cooldown-ms", "error-rate", "usd-per-mtok-out"];
        Ok(Self(names.map(|name| setup.signal(name))))
    }
}

impl Router for LeastBusy {
    fn route(&self, ask: &Ask) -> Result<Verdict, String> {
        let columns = self.0.map(|signal| ask.signal(signal));
        Ok(ask.pick_lowest(|row| columns.map(|column| column[row])))
    }
}

register!(LeastBusy: router);
