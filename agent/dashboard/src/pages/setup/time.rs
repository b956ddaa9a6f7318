//! Time servers, and what is known of the clock.

use tbi_api::settings::{Change, Settings};
use tbi_daemon::ClientError;

use super::super::form::Fields;
use super::super::visit::Visit;
use super::Kept;
use super::view::{Field, Kind, Problems, View, findings};

pub(super) async fn view(visit: &Visit, typed: Option<&Fields>) -> View {
    let look = &visit.look;
    let mut view = View::new(look, "time");
    let (time, settings) = tokio::join!(visit.agent.time(), visit.agent.settings());
    match &time {
        Ok(time) => {
            view.fact(look.say("box-time"), look.time_of(&time.now));
            if let Some(skew) = time.rtc_skew_seconds {
                view.fact(look.say("setup-skew"), format!("{skew} s"));
            }
            view.tables.push(findings(look, &time.findings));
        }
        Err(error) => view.unknown(look, error),
    }
    if let Ok(settings) = settings {
        let servers = settings.settings.ntp_servers.join("\n");
        let field = Field::new("servers", Kind::Area { rows: 3 }, look.say("setup-servers"), typed, servers);
        view.fields.push(field.hint(look.say("setup-servers-rule")));
        view.hidden.push(("based_on", settings.version.to_string()));
        view.keep = Some(look.say("setup-keep").into_owned());
        view.done = Some(look.say("setup-go-on").into_owned());
    }
    view
}

pub(super) async fn keep(visit: &Visit, fields: &Fields) -> Result<Kept, ClientError> {
    let look = &visit.look;
    let servers: Vec<String> = fields.text("servers").split_whitespace().map(str::to_owned).collect();
    let wrong = |name: &String| {
        name.len() > 253 || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:".contains(&byte))
    };
    if servers.len() > 8 || servers.iter().any(wrong) {
        return Ok(Problems::at("servers", look.say("setup-servers-rule")).into());
    }
    match change(visit, fields, |settings| settings.ntp_servers = servers).await {
        Ok(kept) => Ok(kept),
        Err(error) if error.code() == Some("settings-refused") => {
            Ok(Problems::of(look, &error).and("servers", look.say("setup-servers-rule")).into())
        }
        Err(error) => Err(error),
    }
}

/// Changes settings on top of what the form was shown with.
pub(super) async fn change(
    visit: &Visit,
    fields: &Fields,
    change: impl FnOnce(&mut Settings),
) -> Result<Kept, ClientError> {
    let Ok(based_on) = fields.text("based_on").parse() else {
        return Ok(Problems::page(visit.look.say("setup-changed")).into());
    };
    let mut settings = visit.agent.settings().await?.settings;
    change(&mut settings);
    visit.agent.change_settings(&Change { based_on, settings }).await.map(|_kept| Kept::Stay)
}
