//! The administrator who set the box up, and the second factor that is offered to them.

use super::super::roles_of;
use super::super::visit::Visit;
use super::view::View;

/// The page about one's own account, where there is one.
const OWN: &str = "/account";

pub(super) fn view(visit: &Visit) -> View {
    let look = &visit.look;
    let account = visit.who.identity.account();
    let mut view = View::new(look, "account");
    view.fact(look.say("account"), account.name.to_string());
    view.fact(look.say("user-second-factor"), if account.second_factor { look.say("yes") } else { look.say("no") });
    if !account.second_factor && roles_of(OWN).is_some() {
        view.links.push((OWN.to_owned(), look.say("setup-account-factor").into_owned()));
    }
    view.done = Some(look.say("setup-go-on").into_owned());
    view
}
