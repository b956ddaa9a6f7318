//! What is asked of the agent about its books and its machine: licences, usage, hardware, capabilities.

use serde_json::{Value, json};
use tbi_daemon::ClientError;

use super::AgentClient;
use crate::hardware::Hardware;
use crate::licence::{Document, Installed};
use crate::node::Capabilities;
use crate::reason::Reason;
use crate::usage::{Started, Usage};

impl AgentClient {
    /// What the machine is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn hardware(&self) -> Result<Hardware, ClientError> {
        self.socket.get_json("/v1/hardware").await
    }

    /// What the box can be used for.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn capabilities(&self) -> Result<Capabilities, ClientError> {
        self.socket.get_json("/v1/capabilities").await
    }

    /// Installs an envelope.
    ///
    /// # Errors
    /// [`ClientError`], code `licence-refused` or `licence-exists`.
    pub async fn install_licence(&self, document: &Document) -> Result<Installed, ClientError> {
        self.socket.post_json("/v1/licences", document).await
    }

    /// Removes an envelope.
    ///
    /// # Errors
    /// [`ClientError`], code `no-such-licence`.
    pub async fn remove_licence(&self, id: &str, reason: &Reason) -> Result<(), ClientError> {
        self.socket.delete(&format!("/v1/licences/{}?{}", segment(id), reason.query())).await
    }

    /// How the meter stands.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn usage(&self) -> Result<Usage, ClientError> {
        self.socket.get_json("/v1/usage").await
    }

    /// Reports usage now.
    ///
    /// # Errors
    /// [`ClientError`], code `no-usage-endpoint` or `cannot-report`.
    pub async fn report_usage(&self) -> Result<Started, ClientError> {
        self.socket.post_json::<Value, _>("/v1/usage/report", &json!({})).await
    }
}

/// A text as one segment of a path.
fn segment(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_segment_whatever_is_in_it() {
        assert_eq!(segment("L-2026_01.a"), "L-2026_01.a");
        assert_eq!(segment("a/b?c#d e\u{e4}"), "a%2Fb%3Fc%23d%20e%C3%A4");
    }
}
