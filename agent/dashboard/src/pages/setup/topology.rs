//! Whether the device is the practice one of the box or stands outside, behind a card of its own.

use tbi_daemon::ClientError;

use super::super::form::Fields;
use super::super::visit::Visit;
use super::view::{Field, Problems, View};
use super::{Kept, time};

pub(super) async fn view(visit: &Visit, typed: Option<&Fields>) -> View {
    let look = &visit.look;
    let mut view = View::new(look, "topology");
    match visit.agent.settings().await {
        Ok(settings) => {
            let stored = if settings.settings.trunk.is_some() { "outside" } else { "practice" };
            let places = [("practice", look.say("setup-practice")), ("outside", look.say("setup-outside"))];
            let places = places.map(|(value, text)| (value.to_owned(), text.into_owned()));
            let field = Field::select("place", look.say("setup-place-of-device"), typed, stored, places);
            view.fields.push(field.hint(look.say("setup-place-hint")));
            view.hidden.push(("based_on", settings.version.to_string()));
            view.keep = Some(look.say("setup-keep-on").into_owned());
        }
        Err(error) => view.unknown(look, &error),
    }
    view
}

pub(super) async fn keep(visit: &Visit, fields: &Fields) -> Result<Kept, ClientError> {
    match fields.text("place") {
        // Only where it changes something: the bench starts again with another trunk.
        "practice" if visit.agent.settings().await?.settings.trunk.is_some() => {
            match time::change(visit, fields, |settings| settings.trunk = None).await? {
                Kept::Stay => Ok(Kept::Done),
                other => Ok(other),
            }
        }
        // Which card is the next step's.
        "practice" | "outside" => Ok(Kept::Done),
        _ => Ok(Problems::at("place", visit.look.say("setup-choose")).into()),
    }
}
