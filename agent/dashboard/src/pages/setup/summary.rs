//! What was set up, to print: where the box is reached, by which fingerprint it is known, what it measures.

use std::sync::Arc;

use super::super::Pages;
use super::super::visit::Visit;
use super::certificate::pairs;
use super::view::View;
use super::{Around, authorities, device, management};

pub(super) async fn view(_pages: &Arc<Pages>, visit: &Visit, around: &Around) -> View {
    let look = &visit.look;
    let agent = &visit.agent;
    let mut view = View::new(look, "summary");
    let (settings, locale, described, known, persona) =
        tokio::join!(agent.settings(), agent.locale(), agent.device(), agent.authorities(), agent.persona_ca());
    view.fact(look.say("setup-old-url"), format!("https://{}/", management::host(visit)));
    if let Ok(status) = &around.status {
        let urls = status.addresses.iter().filter_map(|address| address.split('/').next()?.parse().ok());
        let urls: Vec<String> = urls.map(|address| management::url(management::host(visit), address)).collect();
        if let Some(first) = urls.first() {
            view.show_code(first);
        }
        let urls = if urls.is_empty() { look.say("box-no-address").into_owned() } else { urls.join(" ") };
        view.fact(look.say("setup-new-url"), urls);
        view.fact(look.say("setup-host-name"), status.host_name.clone());
        view.fact(look.say("box-version"), status.version.clone());
        match &status.door_certificate {
            Some(certificate) => {
                view.code(look.say("setup-leaf"), pairs(certificate.leaf_sha256.as_str()));
                view.code(look.say("setup-ca"), pairs(certificate.ca_sha256.as_str()));
            }
            None => view.fact(look.say("setup-leaf"), look.say("setup-certificate-unknown")),
        }
        view.code(look.say("setup-node"), status.certificate_sha256.to_uppercase());
    }
    let steps = around.setup.as_ref().map(|setup| setup.steps.as_slice()).unwrap_or_default();
    for reason in steps.iter().filter_map(|step| step.reason.clone()) {
        view.fact(look.say("setup-preflight-reason"), reason);
    }
    if let Ok(locale) = locale {
        view.fact(look.say("setup-step-language"), format!("{}, {}", locale.language, locale.zone));
    }
    if let Ok(settings) = &settings {
        let servers = &settings.settings.ntp_servers;
        let servers =
            if servers.is_empty() { look.say("setup-servers-of-dhcp").into_owned() } else { servers.join(" ") };
        view.fact(look.say("setup-servers"), servers);
        let trunk = settings.settings.trunk.as_ref().map(|nic| nic.mac.clone());
        view.fact(look.say("setup-trunk-card"), trunk.unwrap_or_else(|| look.say("setup-no-trunk").into_owned()));
    }
    if let Ok(persona) = persona {
        view.code(look.say("setup-persona-ca"), authorities::fingerprint(&persona));
    }
    if let Ok(described) = &described {
        view.fact(look.say("setup-step-device"), look.word("setup-device-", described.kind.as_str()));
        view.tables.push(device::capabilities(look, described));
    }
    if let Ok(known) = &known
        && !known.is_empty()
    {
        view.tables.push(authorities::table(look, known, false));
    }
    for error in [settings.err(), described.err(), known.err()].into_iter().flatten() {
        view.unknown(look, &error);
    }
    view.notice = Some(look.say("setup-print").into_owned());
    view.buttons = vec![("finish", look.say("setup-finish").into_owned())];
    view
}
