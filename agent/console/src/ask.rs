//! One question to the agent: how the box is, and how far its setup. A setup that is finished stays so, and is not asked for again.

use tbi_api::client::AgentClient;

use crate::frame::Known;

/// See the module.
#[derive(Debug)]
pub(crate) struct Asker {
    agent: AgentClient,
    is_set_up: bool,
}

impl Asker {
    /// Has asked nothing yet.
    pub(crate) fn new(agent: AgentClient) -> Self {
        Self { agent, is_set_up: false }
    }

    /// Asks; the sentence of an error says why there is no answer.
    pub(crate) async fn ask(&mut self) -> Result<Known, String> {
        let status = self.agent.status().await.map_err(|error| error.to_string())?;
        if self.is_set_up {
            return Ok(status.into());
        }
        // A status without the setup is still one: an agent whose database is gone has no setup to tell of.
        let setup = self.agent.setup().await.ok();
        self.is_set_up = setup.as_ref().is_some_and(|setup| setup.finished.is_some());
        Ok(Known { status, setup: setup.filter(|setup| setup.finished.is_none()) })
    }
}
