//! The words in which the agent is spoken to on its socket: by the console, the dashboard, tests and whoever automates a box.
//!
//! Types only, one module per noun; [`client`] wraps the transport of `tbi-daemon` for programs that ask. Nothing here decides. The agent
//! also answers `/health/live`, `/health/ready`, `/health/startup`, `/metrics` and `/openapi.json` like every daemon, and gives errors as
//! RFC 9457 problem documents.
//!
//! | method and path | body | answer |
//! |---|---|---|
//! | `GET /v1/status` | | [`status::Status`]: what the console shows |
//! | `GET /v1/health` | | [`health::Health`]: every part of the box, aggregated |
//! | `GET /v1/identity` | | [`node::Identity`] |
//! | `GET /v1/hardware` | | [`hardware::Hardware`] |
//! | `GET /v1/capabilities` | | [`node::Capabilities`] |
//! | `GET /v1/settings` | | [`settings::Snapshot`] |
//! | `PUT /v1/settings` | [`settings::Change`] | [`settings::Snapshot`]; 409 when somebody else was faster, 422 with the sentence, 507 when it cannot be kept |
//! | `GET /v1/topology` | | [`settings::TopologyText`] as stored, also when it cannot be used (health says so) |
//! | `PUT /v1/topology` | [`settings::TopologyText`] | 200; 422 with the sentence when it cannot be built here |
//! | `GET /v1/isp` | | [`isp::Isp`] |
//! | `PUT /v1/isp/root` | a squashfs file, with its length | [`isp::Root`]; 409 while it is in use, 411, 413, 422 with the sentence, 507 when there is no room |
//! | `DELETE /v1/isp/root` | | [`isp::Isp`]; 409 while the settings choose it |
//! | `GET /v1/isp/config.boot` | | what a router in the slot is given, as text |
//! | `POST /v1/isp/config.boot/check` | a `config.boot`, as text | [`isp::Check`]; 422 with the line that cannot be read |
//! | `GET /v1/preflight` | | [`bench::Examination`]: the pre-flight checks made without a run, and how far they are |
//! | `POST /v1/preflight` | [`bench::Order`] | 202 [`bench::Examination`]; 409 while a run or other checks use the bench |
//! | `GET /v1/personas` | | [`bench::Personas`], with their certificates |
//! | `GET /v1/personas/ca.pem` | | persona CA certificate; 503 while the personas do not say |
//! | `GET /v1/dut` | | [`bench::Dut`] |
//! | `GET /v1/evidence` | | [`bench::Evidence`]: what the newest record says about the bench itself |
//! | `GET /v1/links` | | [`bench::Links`]: network cards with their counters |
//! | `GET /v1/history` | [`history::Asked`] in the query | [`history::History`]: how the box was, at most thirty days back |
//! | `GET /v1/runs` | [`runs::Filter`] in the query | list of [`runs::Run`], newest first |
//! | `GET /v1/runs/compare` | [`runs::Compare`] in the query | runs beside a baseline (`tbi_bench::compare`); 404 without a record |
//! | `POST /v1/runs` | [`runs::Order`] | 202 [`runs::Run`]; 409 when one is under way |
//! | `GET /v1/runs/{id}` | | [`runs::Run`] |
//! | `DELETE /v1/runs/{id}` | | 202: will end `interrupted` |
//! | `GET /v1/runs/{id}/events` | | SSE: `progress` ([`runs::Progress`]), `bye` at its end |
//! | `GET /v1/runs/{id}/outline` | | [`runs::Outline`]: the record without its measurements; 404 while there is none |
//! | `GET /v1/runs/{id}/record` | | the run record (`run.json`) |
//! | `GET /v1/runs/{id}/report` | | the report (HTML) |
//! | `GET /v1/audit` | [`audit::Filter`] in the query | list of [`audit::Entry`], newest first |
//! | `GET /v1/audit/export` | | the whole chain as JSON lines, signed at its end (`tbi-agent audit verify`) |
//! | `GET /v1/audit/verification` | | [`audit::Verification`] |
//! | `GET /v1/licences` | | [`licence::Licences`] |
//! | `POST /v1/licences` | [`licence::Document`] | 201 [`licence::Installed`]; 422 with the sentence |
//! | `DELETE /v1/licences/{id}` | | 204 |
//! | `GET /v1/usage` | | [`usage::Usage`] |
//! | `GET /v1/usage/pending` | [`usage::Batch`] in the query | [`usage::Report`]: ticks the endpoint does not have |
//! | `POST /v1/usage/acknowledgement` | [`usage::Accepted`] | [`usage::Usage`]; 422 for a number that was never handed out |
//! | `POST /v1/usage/report` | | 202 [`usage::Started`]: reports now; 409 without an endpoint, 503 when it cannot be started |
//! | `POST /v1/power` | [`power::Order`] | 202 [`power::Order`]; 503 when the system refuses |

pub mod access;
pub mod audit;
pub mod bench;
pub mod client;
pub mod hardware;
pub mod health;
pub mod history;
pub mod isp;
pub mod licence;
pub mod node;
pub mod power;
pub mod preflight;
pub mod runs;
pub mod settings;
pub mod status;
pub mod usage;

/// Where the agent listens on an appliance.
pub const AGENT_SOCKET: &str = "/run/tlsstress/agent.sock";
