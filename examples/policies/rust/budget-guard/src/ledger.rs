//! What each tenant has spent in the current period: two cells a tenant, in the gateway's memory, so that a reload or the
//! loss of an instance forgets nothing. They are shared by all instances, so a period begins for all of them at once.

use witgate_sdk::cells::Table;

/// Tenants that have accounts. Numbers are given in the order of the configuration.
const ACCOUNTS: usize = 4096;

/// A tenant's place in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account(usize);

impl Account {
    /// `None` beyond the last account: such a tenant is not guarded.
    pub(crate) fn of(tenant: f64) -> Option<Self> {
        (0.0..ACCOUNTS as f64).contains(&tenant).then_some(Self(tenant as usize))
    }

    const fn period(self) -> usize {
        2 * self.0
    }

    const fn usd(self) -> usize {
        2 * self.0 + 1
    }
}

pub(crate) struct Ledger {
    table: Table,
    period_ms: f64,
}

impl Ledger {
    pub(crate) fn open(period_ms: f64) -> Result<Self, String> {
        Ok(Self { table: Table::open("spent", 2 * ACCOUNTS)?, period_ms })
    }

    /// So far in the period of this moment. The first look in a new period empties the account; outcomes of the period
    /// before that come later are booked in the new one.
    pub(crate) fn spent(&self, account: Account, now_ms: f64) -> f64 {
        let period = (now_ms / self.period_ms).floor();
        let before = self.table.load(account.period());
        if before != period && self.table.swap_if(account.period(), before, period) {
            self.table.store(account.usd(), 0.0);
        }
        self.table.load(account.usd())
    }

    pub(crate) fn book(&self, account: Account, usd: f64) {
        self.table.add(account.usd(), usd);
    }

    pub(crate) fn until_next_period(&self, now_ms: f64) -> f64 {
        self.period_ms - now_ms.rem_euclid(self.period_ms)
    }
}
