//! The management network: tried, then kept by somebody who still reaches the box, else taken back by the agent.
//!
//! The answer to the form is the page itself, not a way to another one: where the address changes, nothing can be fetched from the old one a
//! moment later, and what is on the screen by then must say where to go.

use std::net::IpAddr;

use ipnet::IpNet;
use tbi_api::settings::{Addressing, Management, NicChoice};
use tbi_api::trial::{Order, Outcome, Trial};
use tbi_daemon::ClientError;

use super::super::form::Fields;
use super::super::look::Look;
use super::super::visit::Visit;
use super::super::words::Said;
use super::view::{Field, Kind, Problems, View};
use super::{Around, Kept};

/// Times to choose from, seconds.
const TIMES: [&str; 3] = ["60", "120", "300"];

pub(super) async fn view(visit: &Visit, around: &Around, typed: Option<&Fields>) -> View {
    let look = &visit.look;
    let (settings, trials, cards) = tokio::join!(visit.agent.settings(), visit.agent.trials(), visit.agent.cards());
    if let Ok(trials) = &trials
        && let Some(trial) = &trials.on
    {
        let mut view = on_trial(visit, trial);
        view.reload_after = Some(trial.seconds_left);
        return view;
    }
    let mut view = View::new(look, "management");
    for error in [settings.as_ref().err(), trials.as_ref().err(), cards.as_ref().err()].into_iter().flatten() {
        view.unknown(look, error);
    }
    if let Ok(status) = &around.status {
        let addresses = if status.addresses.is_empty() {
            look.say("box-no-address").into_owned()
        } else {
            status.addresses.join(", ")
        };
        view.fact(look.say("box-addresses"), addresses);
        view.fact(look.say("setup-management-card"), status.management_interface.clone().unwrap_or_default());
    }
    if let Some(last) = trials.ok().and_then(|trials| trials.last)
        && matches!(last.outcome, Outcome::TimedOut | Outcome::Restarted)
    {
        let text = look.with("setup-trial-ended", "when", look.time_of(&last.when)).into_owned();
        view.banner = Some(super::Banner { text, reason: last.sentence });
    }
    let Ok(settings) = settings else { return view };
    let management = settings.settings.management;
    let (method, address, gateway, dns) = match &management.addressing {
        Addressing::Dhcp => ("dhcp", String::new(), String::new(), String::new()),
        Addressing::Static { address, gateway, dns } => {
            let dns = dns.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            ("static", address.to_string(), gateway.map(|it| it.to_string()).unwrap_or_default(), dns)
        }
    };
    let methods = [("dhcp", look.say("setup-dhcp")), ("static", look.say("setup-static"))];
    let methods = methods.map(|(value, text)| (value.to_owned(), text.into_owned()));
    let first = (String::new(), look.say("setup-first-card").into_owned());
    let nic = management.nic.map(|nic| nic.mac).unwrap_or_default();
    let there = cards.unwrap_or_default();
    let gone = Some(nic.clone()).filter(|mac| !mac.is_empty() && !there.iter().any(|card| card.mac == *mac));
    let gone = gone.map(|mac| (mac.clone(), mac));
    let listed = there.iter().map(|card| (card.mac.clone(), format!("{} ({})", card.name, card.mac)));
    let times = TIMES.map(|seconds| (seconds.to_owned(), look.with("setup-seconds", "seconds", seconds).into_owned()));
    let line = || Kind::Text { most: 64 };
    view.fields = vec![
        Field::select(
            "nic",
            look.say("setup-management-card"),
            typed,
            nic,
            [first].into_iter().chain(listed).chain(gone),
        ),
        Field::select("method", look.say("setup-method"), typed, method, methods),
        Field::new("address", line(), look.say("setup-address"), typed, address).hint(look.say("setup-address-rule")),
        Field::new("gateway", line(), look.say("setup-gateway"), typed, gateway).hint(look.say("setup-gateway-rule")),
        Field::new("dns", Kind::Text { most: 400 }, look.say("setup-dns"), typed, dns).hint(look.say("setup-dns-rule")),
        Field::select("seconds", look.say("setup-trial-time"), typed, TIMES[0], times)
            .hint(look.say("setup-trial-hint")),
    ];
    view.hidden.push(("based_on", settings.version.to_string()));
    view.keep = Some(look.say("setup-try").into_owned());
    view.done = Some(look.say("setup-management-stay").into_owned());
    view
}

/// What is typed, as the agent takes it.
fn parse(look: &Look, fields: &Fields) -> Result<Order, Problems> {
    let mut problems = Problems::default();
    let addressing = match fields.text("method") {
        "dhcp" => Some(Addressing::Dhcp),
        "static" => {
            let address = fields.text("address").trim().parse::<IpNet>();
            if address.is_err() {
                problems = problems.and("address", look.say("setup-address-rule"));
            }
            let gateway = match fields.text("gateway").trim() {
                "" => Ok(None),
                text => text.parse::<IpAddr>().map(Some),
            };
            if gateway.is_err() {
                problems = problems.and("gateway", look.say("setup-gateway-rule"));
            }
            let words = fields.text("dns").split([' ', ',', ';', '\t']).filter(|word| !word.is_empty());
            let dns = words.map(str::parse::<IpAddr>).collect::<Result<Vec<_>, _>>();
            if dns.is_err() {
                problems = problems.and("dns", look.say("setup-dns-rule"));
            }
            match (address, gateway, dns) {
                (Ok(address), Ok(gateway), Ok(dns)) => Some(Addressing::Static { address, gateway, dns }),
                _ => None,
            }
        }
        _ => {
            problems = problems.and("method", look.say("setup-choose"));
            None
        }
    };
    let seconds = TIMES.contains(&fields.text("seconds")).then(|| fields.text("seconds").parse().ok()).flatten();
    if seconds.is_none() {
        problems = problems.and("seconds", look.say("setup-choose"));
    }
    let Ok(based_on) = fields.text("based_on").parse() else {
        return Err(Problems::page(look.say("setup-changed")));
    };
    let nic = Some(fields.text("nic")).filter(|mac| !mac.is_empty()).map(|mac| NicChoice { mac: mac.to_owned() });
    match addressing {
        Some(addressing) if problems.is_empty() => {
            Ok(Order { based_on, management: Management { nic, addressing }, seconds })
        }
        _ => Err(problems),
    }
}

pub(super) async fn keep(visit: &Visit, fields: &Fields) -> Result<Kept, ClientError> {
    let look = &visit.look;
    let order = match parse(look, fields) {
        Ok(order) => order,
        Err(problems) => return Ok(problems.into()),
    };
    match visit.agent.begin_trial(&order).await {
        Ok(trial) => Ok(Kept::Shown(Box::new(on_trial(visit, &trial)))),
        Err(ClientError::Problem(problem)) if problem.code == "settings-refused" => {
            // The agent's sentence begins with what it is about.
            let field = [("gateway", "gateway"), ("name server", "dns"), ("dns", "dns"), ("management.nic", "nic")]
                .into_iter()
                .find(|(lead, _)| problem.detail.starts_with(lead))
                .map_or("address", |(_, field)| field);
            let problems = Problems::of(look, &ClientError::Problem(problem));
            Ok(problems.and(field, look.say("setup-reason-above")).into())
        }
        Err(error) => Err(error),
    }
}

/// A URL of this box; the port is that of the reader's own.
pub(super) fn url(host: &str, address: IpAddr) -> String {
    let port =
        host.rsplit_once(':').map(|(_, port)| port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    match address {
        IpAddr::V4(address) => format!("https://{address}{port}/"),
        IpAddr::V6(address) => format!("https://[{address}]{port}/"),
    }
}

/// Host by which the reader came.
pub(super) fn host(visit: &Visit) -> &str {
    visit.who.visitor.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
}

/// A trial that is on: where the box is reached now, and what happens if nothing is pressed.
fn on_trial(visit: &Visit, trial: &Trial) -> View {
    let look = &visit.look;
    let mut view = View { lead: look.say("setup-trial-lead").into_owned(), ..View::default() };
    view.fact(look.say("setup-old-url"), format!("https://{}/", host(visit)));
    match &trial.management.addressing {
        Addressing::Static { address, .. } => {
            let url = url(host(visit), address.addr());
            view.links.push((format!("{url}setup/management"), url.clone()));
            view.show_code(&format!("{url}setup/management"));
            view.fact(look.say("setup-new-url"), url);
        }
        Addressing::Dhcp => view.fact(look.say("setup-new-url"), look.say("setup-url-of-dhcp")),
    }
    view.fact(look.say("setup-trial-until"), look.time_of(&trial.until));
    let left = Said::new("setup-trial-left").and("seconds", trial.seconds_left.to_string());
    view.notice = Some(look.tell(&left).into_owned());
    view.buttons = vec![
        ("confirm", look.say("setup-trial-keep").into_owned()),
        ("withdraw", look.say("setup-trial-back").into_owned()),
    ];
    view
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn urls_have_the_readers_port_and_brackets_where_they_belong() {
        for (host, address, expected) in [
            ("tbi.example", "192.0.2.10", "https://192.0.2.10/"),
            ("192.0.2.1:8443", "192.0.2.10", "https://192.0.2.10:8443/"),
            ("[2001:db8::1]", "2001:db8::10", "https://[2001:db8::10]/"),
            ("[2001:db8::1]:8443", "192.0.2.10", "https://192.0.2.10:8443/"),
        ] {
            assert_eq!(url(host, address.parse().unwrap()), expected, "{host}");
        }
    }
}
