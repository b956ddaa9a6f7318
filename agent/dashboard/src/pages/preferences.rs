//! Language, colours and zone: chosen on every page and, with all zones there are, here. Anybody may; it is one cookie of theirs.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::header;

use super::form::OwnForm;
use super::frame::{Choice, Frame};
use super::look::{Look, Zone};
use super::next::Next;
use super::refused::Shown;
use super::visit::Guest;
use super::{Pages, html, see_other};

#[derive(Template)]
#[template(path = "preferences.html")]
struct PreferencesPage {
    look: Look,
    frame: Frame,
    zones: Vec<Choice>,
}

/// All zones.
pub(super) async fn show(State(pages): State<Arc<Pages>>, Guest(visitor): Guest) -> Shown {
    let look = Look::of(&visitor.headers);
    let identity = pages.access.reader(&visitor.headers, &visitor.peer, &visitor.correlation_id).await?;
    let title = look.say("preferences-title");
    let frame = Frame::new(&look, &title, "/preferences").of_identity(&pages, identity.as_ref());
    let zone = |name: String| Choice { chosen: name == look.zone.name(), text: name.clone(), value: name };
    let zones = Zone::all().into_iter().map(zone).collect();
    Ok(html(&PreferencesPage { frame, zones, look }))
}

/// Keeps what was chosen and goes back.
pub(super) async fn choose(State(_pages): State<Arc<Pages>>, form: OwnForm) -> Response {
    let mut look = Look::of(&form.visitor.headers);
    for name in ["language", "theme", "zone"] {
        look.choose(name, form.fields.text(name));
    }
    let mut response = see_other(Next::of(form.fields.text("next")).unwrap_or_else(Next::start).as_str());
    if let Some(cookie) = look.set_cookie() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
