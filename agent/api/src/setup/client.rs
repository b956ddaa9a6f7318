//! What programs ask of the setup and of what its steps set: one method per path.

use tbi_daemon::ClientError;

use super::{Locale, Mark, Setup, TimeReport, TrunkCheck};
use crate::client::AgentClient;
use crate::device::{self, Authority, Bundle, Device};
use crate::hardware::{Hardware, Nic};
use crate::trial::{self, Trial, Trials};

/// A body that says nothing.
const NOTHING: serde_json::Value = serde_json::Value::Null;

impl AgentClient {
    /// How far the setup is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn setup(&self) -> Result<Setup, ClientError> {
        self.socket.get_json("/v1/setup").await
    }

    /// Says that a step is done, left out, or still to be done. `step` must be a name of [`super::Step`].
    ///
    /// # Errors
    /// [`ClientError`], code `setup-finished` when there is nothing to set up any more.
    pub async fn mark_step(&self, step: &str, mark: &Mark) -> Result<Setup, ClientError> {
        self.socket.put_json(&format!("/v1/setup/steps/{step}"), mark).await
    }

    /// Ends the setup for good.
    ///
    /// # Errors
    /// [`ClientError`], codes `setup-incomplete` and `setup-finished`.
    pub async fn finish_setup(&self) -> Result<Setup, ClientError> {
        self.socket.post_json("/v1/setup/finish", &NOTHING).await
    }

    /// Language and zone of the box.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn locale(&self) -> Result<Locale, ClientError> {
        self.socket.get_json("/v1/locale").await
    }

    /// Chooses them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn change_locale(&self, locale: &Locale) -> Result<Locale, ClientError> {
        self.socket.put_json("/v1/locale", locale).await
    }

    /// Network cards of the machine.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn cards(&self) -> Result<Vec<Nic>, ClientError> {
        self.socket.get_json::<Hardware>("/v1/hardware").await.map(|hardware| hardware.nics)
    }

    /// The clock and what it is set by.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn time(&self) -> Result<TimeReport, ClientError> {
        self.socket.get_json("/v1/time").await
    }

    /// Looks at the card towards the device.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn check_trunk(&self) -> Result<TrunkCheck, ClientError> {
        self.socket.get_json("/v1/trunk/check").await
    }

    /// Asks the trunk who has the addresses of the topology, and looks at it. It takes up to seven seconds: the limit of this client must be
    /// longer ([`super::PROBE_WITHIN`]).
    ///
    /// # Errors
    /// [`ClientError`], codes `no-trunk`, `run-under-way`, `checks-under-way`, `not-probed`.
    pub async fn probe_trunk(&self) -> Result<TrunkCheck, ClientError> {
        self.socket.post_json("/v1/trunk/probe", &NOTHING).await
    }

    /// How trials of the management network stand.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn trials(&self) -> Result<Trials, ClientError> {
        self.socket.get_json("/v1/settings/trial").await
    }

    /// Tries a management network.
    ///
    /// # Errors
    /// [`ClientError`], code `trial-under-way` when there is one, `settings-changed` when somebody else was faster.
    pub async fn begin_trial(&self, order: &trial::Order) -> Result<Trial, ClientError> {
        self.socket.post_json("/v1/settings/trial", order).await
    }

    /// Keeps what is on trial.
    ///
    /// # Errors
    /// [`ClientError`], code `no-trial`.
    pub async fn confirm_trial(&self) -> Result<Trials, ClientError> {
        self.socket.post_json("/v1/settings/trial/confirm", &NOTHING).await
    }

    /// Takes back what is on trial.
    ///
    /// # Errors
    /// [`ClientError`], code `no-trial`.
    pub async fn withdraw_trial(&self) -> Result<(), ClientError> {
        self.socket.delete("/v1/settings/trial").await
    }

    /// The device under test.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn device(&self) -> Result<Device, ClientError> {
        self.socket.get_json("/v1/device").await
    }

    /// Describes it.
    ///
    /// # Errors
    /// [`ClientError`], code `device-refused`.
    pub async fn change_device(&self, change: &device::Change) -> Result<Device, ClientError> {
        self.socket.put_json("/v1/device", change).await
    }

    /// Certificates with which the device signs.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn authorities(&self) -> Result<Vec<Authority>, ClientError> {
        self.socket.get_json("/v1/device/authorities").await
    }

    /// Brings some.
    ///
    /// # Errors
    /// [`ClientError`], code `authority-refused`.
    pub async fn add_authorities(&self, bundle: &Bundle) -> Result<Vec<Authority>, ClientError> {
        self.socket.post_json("/v1/device/authorities", bundle).await
    }

    /// Forgets one; `sha256` must be 64 hex digits.
    ///
    /// # Errors
    /// [`ClientError`], code `no-such-authority`.
    pub async fn remove_authority(&self, sha256: &str) -> Result<(), ClientError> {
        self.socket.delete(&format!("/v1/device/authorities/{sha256}")).await
    }

    /// Certificate of the authority that signs for the personas, as PEM.
    ///
    /// # Errors
    /// [`ClientError`], code `personas-silent` while the personas are not up.
    pub async fn persona_ca(&self) -> Result<String, ClientError> {
        self.socket.get_text("/v1/personas/ca.pem").await
    }
}
