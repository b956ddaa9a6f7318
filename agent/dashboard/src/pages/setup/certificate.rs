//! The certificate that browsers see, to be compared with what the console says.

use super::super::visit::Visit;
use super::Around;
use super::view::{Field, View};

pub(super) fn view(visit: &Visit, around: &Around) -> View {
    let look = &visit.look;
    let mut view = View::new(look, "certificate");
    let Ok(status) = &around.status else { return view };
    let Some(certificate) = &status.door_certificate else {
        view.notice = Some(look.say("setup-certificate-unknown").into_owned());
        return view;
    };
    view.code(look.say("setup-leaf"), pairs(certificate.leaf_sha256.as_str()));
    view.code(look.say("setup-ca"), pairs(certificate.ca_sha256.as_str()));
    view.fact(look.say("setup-names"), certificate.names.join(", "));
    view.fact(look.say("setup-until"), look.time(certificate.not_after));
    view.links.push(("/ca.pem".to_owned(), look.say("setup-ca-download").into_owned()));
    view.hidden.push(("certificate_sha256", certificate.leaf_sha256.as_str().to_owned()));
    let answers = [("no", look.say("no")), ("yes", look.say("yes"))];
    let answers = answers.map(|(value, text)| (value.to_owned(), text.into_owned()));
    view.tick = Some(Field::select("compared", look.say("setup-compared"), None, "no", answers));
    view.done = Some(look.say("setup-go-on").into_owned());
    view
}

/// Fingerprints are compared in pairs.
pub(super) fn pairs(hex: &str) -> String {
    let upper = hex.to_ascii_uppercase();
    let pairs = (0..upper.len()).step_by(2).filter_map(|at| upper.get(at..upper.len().min(at + 2)));
    pairs.collect::<Vec<_>>().join(":")
}
