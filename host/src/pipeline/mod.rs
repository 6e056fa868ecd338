//! From a request to its answer, in the order of the modules:
//!
//! - [`context`]: what one request carries from stage to stage
//! - [`decide`]: asks the policy chain
//! - [`bounds`]: what the host allows beyond the first attempt
//! - [`execute`], `race`: carry the plan out: attempts, failover, hedge
//! - [`slot`]: waits where a deployment carries out as many requests as it may
//! - [`relay`]: passes the answer on, event by event
//! - [`resume`]: goes on with a stream that broke
//! - [`receipt`]: tells the client what was done
//! - [`record`], [`request`]: one outcome for each attempt, one record for each request

pub mod bounds;
pub mod context;
pub mod decide;
pub mod execute;
mod race;
pub mod receipt;
pub mod record;
pub mod relay;
pub mod request;
pub mod resume;
pub mod slot;
