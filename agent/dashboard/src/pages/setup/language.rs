//! Language and zone of the box, for readers who chose none of their own.

use tbi_api::setup::Locale;
use tbi_daemon::ClientError;

use super::super::form::Fields;
use super::super::look::Zone;
use super::super::visit::Visit;
use super::super::words::Lang;
use super::Kept;
use super::view::{Field, Problems, View};

pub(super) async fn view(visit: &Visit, typed: Option<&Fields>) -> View {
    let look = &visit.look;
    let mut view = View::new(look, "language");
    let stored = match visit.agent.locale().await {
        Ok(locale) => locale,
        Err(error) => {
            view.unknown(look, &error);
            Locale::default()
        }
    };
    let languages = Lang::ALL.map(|lang| (lang.tag().to_owned(), lang.own_name().to_owned()));
    let zones = Zone::all().into_iter().map(|name| (name.clone(), name));
    view.fields = vec![
        Field::select("language", look.say("language"), typed, stored.language, languages),
        Field::select("zone", look.say("zone"), typed, stored.zone, zones).hint(look.say("zone-hint")),
    ];
    view.keep = Some(look.say("setup-keep-on").into_owned());
    view
}

pub(super) async fn keep(visit: &Visit, fields: &Fields) -> Result<Kept, ClientError> {
    let look = &visit.look;
    let (language, zone) = (fields.text("language"), fields.text("zone"));
    let mut problems = Problems::default();
    if Lang::of_tag(language).is_none() {
        problems = problems.and("language", look.say("setup-language-wrong"));
    }
    if Zone::named(zone).is_none() {
        problems = problems.and("zone", look.say("setup-zone-wrong"));
    }
    if !problems.is_empty() {
        return Ok(problems.into());
    }
    let locale = Locale { language: language.to_owned(), zone: zone.to_owned() };
    visit.agent.change_locale(&locale).await.map(|_kept| Kept::Done)
}
