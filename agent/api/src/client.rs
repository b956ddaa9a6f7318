//! The agent's API for programs that ask: one method per path, nothing hidden.

mod bench;
mod rooms;

use std::path::Path;
use std::time::Duration;

use http::HeaderName;
use serde::Serialize;
use serde_json::Value;
use tbi_bench::compare::Comparison;
use tbi_daemon::{ClientError, UnixClient};

use crate::access::{ACTOR_HEADER, By, ROLE_HEADER, Role, SOURCE_HEADER};
use crate::health::Health;
use crate::licence::Licences;
use crate::node::Identity;
use crate::runs::{self, Order, Outline, Run};
use crate::series::Series;
use crate::settings::{Change, Snapshot, TopologyText};
use crate::status::Status;
use crate::{audit, power};

/// Asks the agent behind a socket.
#[derive(Debug, Clone)]
pub struct AgentClient {
    /// Also for the methods that stand beside their types.
    pub(crate) socket: UnixClient,
}

impl AgentClient {
    /// Client of the agent at `socket` ([`crate::AGENT_SOCKET`] on an appliance).
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: UnixClient::new(socket) }
    }

    /// The same with another limit for each request.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { socket: self.socket.with_timeout(timeout) }
    }

    /// The same, asking in the name of somebody whom the caller admitted.
    #[must_use]
    pub fn on_behalf_of(self, by: &By) -> Self {
        let role = by.role.map_or("", Role::as_str);
        let fields = [(ACTOR_HEADER, by.actor.as_str()), (ROLE_HEADER, role), (SOURCE_HEADER, by.source.as_str())];
        let socket = self.socket.with_correlation_id(&by.correlation_id);
        let said = fields.into_iter().filter(|(_name, value)| !value.is_empty());
        Self { socket: said.fold(socket, |it, (name, value)| it.with_field(HeaderName::from_static(name), value)) }
    }

    /// What the console shows.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.socket.get_json("/v1/status").await
    }

    /// Every part of the box.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.socket.get_json("/v1/health").await
    }

    /// Who it is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn identity(&self) -> Result<Identity, ClientError> {
        self.socket.get_json("/v1/identity").await
    }

    /// Settings in force.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn settings(&self) -> Result<Snapshot, ClientError> {
        self.socket.get_json("/v1/settings").await
    }

    /// Changes settings.
    ///
    /// # Errors
    /// [`ClientError`], code `settings-changed` when somebody else was faster.
    pub async fn change_settings(&self, change: &Change) -> Result<Snapshot, ClientError> {
        self.socket.put_json("/v1/settings", change).await
    }

    /// Starts a run.
    ///
    /// # Errors
    /// [`ClientError`], code `run-under-way` when there is one.
    pub async fn start_run(&self, order: &Order) -> Result<Run, ClientError> {
        self.socket.post_json("/v1/runs", order).await
    }

    /// The same, so that the same request is done once (`Idempotency-Key`).
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { socket: self.socket.clone().with_field(HeaderName::from_static("idempotency-key"), key) }
    }

    /// Asks a run to end, and says why.
    ///
    /// # Errors
    /// [`ClientError`], code `reason-refused` when the reason cannot be kept.
    pub async fn stop_run(&self, id: &str, stop: &runs::Stop) -> Result<(), ClientError> {
        self.socket.delete(&asking(&format!("/v1/runs/{id}"), stop)).await
    }

    /// What a run measured.
    ///
    /// # Errors
    /// [`ClientError`], code `not-written-yet` while there is nothing.
    pub async fn run_series(&self, id: &str) -> Result<Series, ClientError> {
        self.socket.get_json(&format!("/v1/runs/{id}/series")).await
    }

    /// Runs beside a baseline.
    ///
    /// # Errors
    /// [`ClientError`], code `not-written-yet` when one of them has no record.
    pub async fn compare_runs(&self, compare: &runs::Compare) -> Result<Comparison, ClientError> {
        self.socket.get_json(&asking("/v1/runs/compare", compare)).await
    }

    /// How the box stands to licences.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn licences(&self) -> Result<Licences, ClientError> {
        self.socket.get_json("/v1/licences").await
    }

    /// Stores another topology.
    ///
    /// # Errors
    /// [`ClientError`], code `topology-refused` when it cannot be built on the box.
    pub async fn change_topology(&self, topology: &TopologyText) -> Result<TopologyText, ClientError> {
        self.socket.put_json("/v1/topology", topology).await
    }

    /// Restarts the machine or switches it off.
    ///
    /// # Errors
    /// [`ClientError`], code `power-refused` when the system does not let the agent.
    pub async fn power(&self, order: &power::Order) -> Result<power::Order, ClientError> {
        self.socket.post_json("/v1/power", order).await
    }

    /// One run.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn run(&self, id: &str) -> Result<Run, ClientError> {
        self.socket.get_json(&format!("/v1/runs/{id}")).await
    }

    /// Runs, newest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn runs(&self, filter: &runs::Filter) -> Result<Vec<Run>, ClientError> {
        self.socket.get_json(&asking("/v1/runs", filter)).await
    }

    /// What a run's record says in short.
    ///
    /// # Errors
    /// [`ClientError`], code `not-written-yet` while it is under way.
    pub async fn run_outline(&self, id: &str) -> Result<Outline, ClientError> {
        self.socket.get_json(&format!("/v1/runs/{id}/outline")).await
    }

    /// Entries of the audit chain, newest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit(&self, filter: &audit::Filter) -> Result<Vec<audit::Entry>, ClientError> {
        self.socket.get_json(&asking("/v1/audit", filter)).await
    }

    /// Looks through the whole audit chain.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit_verification(&self) -> Result<audit::Verification, ClientError> {
        self.socket.get_json("/v1/audit/verification").await
    }
}

/// A path with a filter as its query: what is absent in the filter is absent there.
fn asking(path: &str, filter: &impl Serialize) -> String {
    let fields = serde_json::to_value(filter).unwrap_or_default();
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields.as_object().into_iter().flatten() {
        match value {
            Value::Null => {}
            Value::String(text) => drop(query.append_pair(name, text)),
            other => drop(query.append_pair(name, &other.to_string())),
        }
    }
    match query.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_becomes_a_query_that_nothing_in_it_can_break_out_of() {
        assert_eq!(asking("/v1/runs", &runs::Filter::default()), "/v1/runs");
        let filter = runs::Filter { name: Some("a&limit=5 #?/\u{e4}".to_owned()), ..runs::Filter::default() };
        assert_eq!(asking("/v1/runs", &filter), "/v1/runs?name=a%26limit%3D5+%23%3F%2F%C3%A4");
        let filter = audit::Filter { before: Some(7), limit: Some(50), ..audit::Filter::default() };
        assert_eq!(asking("/v1/audit", &filter), "/v1/audit?before=7&limit=50");
    }
}
