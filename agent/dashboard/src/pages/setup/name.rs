//! The name of the box on its network and in its certificate. What is a name, the agent says: its rules are those of the settings.

use tbi_daemon::ClientError;

use super::super::form::Fields;
use super::super::visit::Visit;
use super::view::{Field, Kind, Problems, View};
use super::{Around, Kept, time};

pub(super) async fn view(visit: &Visit, around: &Around, typed: Option<&Fields>) -> View {
    let look = &visit.look;
    let mut view = View::new(look, "name");
    if let Ok(status) = &around.status {
        view.fact(look.say("setup-host-name"), status.host_name.clone());
    }
    match visit.agent.settings().await {
        Ok(settings) => {
            let stored = settings.settings.host_name;
            let field = Field::new("host_name", Kind::Text { most: 63 }, look.say("setup-host-name"), typed, stored);
            view.fields.push(field.hint(look.say("setup-host-name-rule")));
            view.hidden.push(("based_on", settings.version.to_string()));
            view.keep = Some(look.say("setup-keep-on").into_owned());
        }
        Err(error) => view.unknown(look, &error),
    }
    view
}

pub(super) async fn keep(visit: &Visit, fields: &Fields) -> Result<Kept, ClientError> {
    let look = &visit.look;
    let name = fields.text("host_name").trim().to_owned();
    // Nothing to apply to the machine: whoever goes on with the name as it is changes no settings.
    if visit.agent.settings().await?.settings.host_name == name {
        return Ok(Kept::Done);
    }
    match time::change(visit, fields, |settings| settings.host_name = name).await {
        Ok(Kept::Stay) => Ok(Kept::Done),
        Err(error) if error.code() == Some("settings-refused") => {
            Ok(Problems::of(look, &error).and("host_name", look.say("setup-host-name-rule")).into())
        }
        other => other,
    }
}
