//! Words for the load engine. It runs one *trial* at a time (RFC 9411's word for one run of the four phases) and knows nothing of
//! arms, pairs or campaigns.
//!
//! | method and path | body | answer |
//! |---|---|---|
//! | `PUT /v1/trials/{id}` | [`TrialOrder`] | 202; 409 `busy` when another trial runs; repeating the same id is harmless |
//! | `GET /v1/trials/{id}` | | [`TrialStatus`] |
//! | `GET /v1/trials/{id}/ticks` | | SSE: event `tick` ([`Tick`]) once a second, `bye` at the end |
//! | `DELETE /v1/trials/{id}` | | stops early; the report says `stopped` |
//! | `POST /v1/probes` | [`ProbeOrder`] | [`ProbeReport`] when all probes ended |

mod order;
mod probe;
mod report;

pub use order::{Arrivals, CipherSuite, Group, Load, Phases, Target, TlsProfile, TlsVersions, TrialOrder, Trust};
pub use probe::{Fallback, Probe, ProbeFailure, ProbeOrder, ProbeReport};
pub use report::{Attempts, Cause, ErrorCount, Fault, Observed, Tick, Timings, TrialReport, TrialStatus, Witness};
