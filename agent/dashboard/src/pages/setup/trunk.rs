//! The card towards an outside device: chosen here, and looked at.

use tbi_api::settings::NicChoice;
use tbi_api::setup::PROBE_WITHIN;
use tbi_daemon::ClientError;

use super::super::form::Fields;
use super::super::visit::Visit;
use super::view::{Field, Problems, View, findings};
use super::{Kept, time};

pub(super) async fn view(visit: &Visit, typed: Option<&Fields>) -> View {
    let look = &visit.look;
    let mut view = View::new(look, "trunk");
    let (settings, cards, check) = tokio::join!(visit.agent.settings(), visit.agent.cards(), visit.agent.check_trunk());
    for error in [settings.as_ref().err(), cards.as_ref().err(), check.as_ref().err()].into_iter().flatten() {
        view.unknown(look, error);
    }
    if let Ok(check) = &check {
        view.tables.push(findings(look, &check.findings));
    }
    let (Ok(settings), Ok(cards)) = (settings, cards) else { return view };
    let stored = settings.settings.trunk.map(|nic| nic.mac).unwrap_or_default();
    let free = cards.iter().filter(|card| card.role != "management");
    let free = free.map(|card| (card.mac.clone(), format!("{} ({}, {})", card.name, card.mac, card.driver)));
    let none = (String::new(), look.say("setup-no-trunk").into_owned());
    let is_chosen = !stored.is_empty();
    let field = Field::select("nic", look.say("setup-trunk-card"), typed, stored, [none].into_iter().chain(free));
    view.fields.push(field.hint(look.say("setup-trunk-hint")));
    view.hidden.push(("based_on", settings.version.to_string()));
    view.keep = Some(look.say("setup-trunk-keep").into_owned());
    if is_chosen {
        view.buttons.push(("probe", look.say("setup-trunk-probe").into_owned()));
    }
    view.done = is_chosen.then(|| look.say("setup-go-on").into_owned());
    view
}

/// Asks the wire; what it answered stands in the findings afterwards.
pub(super) async fn probe(visit: &Visit) -> Result<Kept, ClientError> {
    visit.agent.clone().with_timeout(PROBE_WITHIN).probe_trunk().await.map(|_check| Kept::Stay)
}

pub(super) async fn keep(visit: &Visit, fields: &Fields) -> Result<Kept, ClientError> {
    let look = &visit.look;
    let mac = fields.text("nic").to_owned();
    let known =
        mac.is_empty() || visit.agent.cards().await?.iter().any(|card| card.mac == mac && card.role != "management");
    if !known {
        return Ok(Problems::at("nic", look.say("setup-choose")).into());
    }
    let trunk = Some(mac).filter(|mac| !mac.is_empty()).map(|mac| NicChoice { mac });
    match time::change(visit, fields, |settings| settings.trunk = trunk).await {
        Err(error) if error.code() == Some("settings-refused") => {
            Ok(Problems::of(look, &error).and("nic", look.say("setup-reason-above")).into())
        }
        other => other,
    }
}
