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
//! | `DELETE /v1/preflight` | | 202 [`bench::Examination`]; 409 when none are being made |
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
//! | `GET /v1/runs/{id}/events` | | SSE: `progress` ([`runs::Progress`]), the same as `pulse` when nothing is new for 5 s, `bye` at its end |
//! | `GET /v1/runs/{id}/outline` | | [`runs::Outline`]: the record without its measurements; 404 while there is none |
//! | `GET /v1/runs/{id}/series` | | [`series::Series`]: what was measured so far, or in all, small enough to be drawn |
//! | `GET /v1/runs/{id}/csv` | [`series::Written`] in the query | every KPI of every block and every result, as CSV |
//! | `GET /v1/runs/{id}/histograms` | | the record's histograms, each bucket with its count |
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
//! | `GET /v1/support/bundle` | | [`support::Bundle`]: what a supporter needs, without secrets |
//! | `GET /v1/setup` | | [`setup::Setup`]: the steps of the first-boot wizard |
//! | `PUT /v1/setup/steps/{step}` | [`setup::Mark`] | [`setup::Setup`]; 409 when the setup is finished, 422 when the step is not done |
//! | `POST /v1/setup/finish` | | [`setup::Setup`]; 409 when it is finished, 422 with the step that is missing |
//! | `GET /v1/locale` | | [`setup::Locale`] |
//! | `PUT /v1/locale` | [`setup::Locale`] | [`setup::Locale`]; 422 with the sentence |
//! | `GET /v1/time` | | [`setup::TimeReport`] |
//! | `GET /v1/trunk/check` | | [`setup::TrunkCheck`] |
//! | `POST /v1/trunk/probe` | | [`setup::TrunkCheck`] |
//! | `GET /v1/settings/trial` | | [`trial::Trials`] |
//! | `POST /v1/settings/trial` | [`trial::Order`] | 201 [`trial::Trial`]: in force until its deadline; 409 while one is on |
//! | `POST /v1/settings/trial/confirm` | | [`trial::Trials`]: kept; 409 when none is on |
//! | `DELETE /v1/settings/trial` | | 204: taken back; 409 when none is on |
//! | `GET /v1/device` | | [`device::Device`] |
//! | `PUT /v1/device` | [`device::Change`] | [`device::Device`]; 422 with the sentence |
//! | `GET /v1/device/authorities` | | list of [`device::Authority`] |
//! | `POST /v1/device/authorities` | [`device::Bundle`] | list of [`device::Authority`]; 422 with the sentence |
//! | `DELETE /v1/device/authorities/{sha256}` | | 204 |
//! | `POST /v1/power` | [`power::Order`] | 202 [`power::Order`]; 503 when the system refuses |
//!
//! Every change takes `?reason=…` ([`reason::Reason`]), which is kept in its audit entry.

pub mod access;
pub mod audit;
pub mod bench;
pub mod client;
pub mod device;
pub mod estimate;
pub mod hardware;
pub mod health;
pub mod history;
pub mod isp;
pub mod licence;
pub mod node;
pub mod power;
pub mod preflight;
pub mod reason;
pub mod runs;
pub mod series;
pub mod settings;
pub mod setup;
pub mod status;
pub mod support;
pub mod trial;
pub mod usage;

/// Where the agent listens on an appliance.
pub const AGENT_SOCKET: &str = "/run/tlsstress/agent.sock";
