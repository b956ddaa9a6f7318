//! What is wrong with the box now, and the way to the first pre-flight checks.

use tbi_api::setup::{Finding, FindingVerdict};

use super::super::roles_of;
use super::super::visit::Visit;
use super::view::{View, findings};

/// The page about the checks, where there is one.
const CHECKS: &str = "/preflight";

pub(super) async fn view(visit: &Visit) -> View {
    use tbi_api::health::State;
    let look = &visit.look;
    let mut view = View::new(look, "preflight");
    match visit.agent.health().await {
        Ok(health) => {
            let found: Vec<Finding> = health
                .components
                .into_iter()
                .map(|part| Finding {
                    name: part.name,
                    verdict: match part.state {
                        State::Healthy => FindingVerdict::Passed,
                        State::Starting => FindingVerdict::NotChecked,
                        State::Degraded => FindingVerdict::Warning,
                        State::Failed => FindingVerdict::Failed,
                    },
                    evidence: part.sentence,
                    remedy: String::new(),
                })
                .collect();
            view.tables.push(findings(look, &found));
        }
        Err(error) => view.unknown(look, &error),
    }
    if roles_of(CHECKS).is_some() {
        view.links.push((CHECKS.to_owned(), look.say("setup-preflight-go").into_owned()));
    }
    view.done = Some(look.say("setup-go-on").into_owned());
    view
}
