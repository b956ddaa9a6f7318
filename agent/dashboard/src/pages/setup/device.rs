//! The device under test: what it is, where it answers, its credential, and what is documented of its kind.

use tbi_api::access::Hidden;
use tbi_api::device::{Change, Device, Kind, Standing};
use tbi_api::node::KeyStorage;
use tbi_daemon::ClientError;

use super::super::form::Fields;
use super::super::look::Look;
use super::super::visit::Visit;
use super::Kept;
use super::view::{Cell, Field, Kind as FieldKind, Problems, Table, View};

pub(super) async fn view(visit: &Visit, typed: Option<&Fields>) -> View {
    let look = &visit.look;
    let mut view = View::new(look, "device");
    let device = match visit.agent.device().await {
        Ok(device) => device,
        Err(error) => {
            view.unknown(look, &error);
            return view;
        }
    };
    let secret = match device.secret {
        None => look.say("setup-secret-none"),
        Some(KeyStorage::SealedToTpm) => look.say("setup-secret-tpm"),
        Some(KeyStorage::StatePartition | KeyStorage::ThisStartOnly) => look.say("setup-secret-disk"),
    };
    view.fact(look.say("setup-secret"), secret);
    view.tables.push(capabilities(look, &device));
    let kinds =
        Kind::ALL.map(|kind| (kind.as_str().to_owned(), look.word("setup-device-", kind.as_str()).into_owned()));
    let line = |most| FieldKind::Text { most };
    view.fields = vec![
        Field::select("kind", look.say("setup-device-kind"), typed, device.kind.as_str(), kinds),
        Field::new("address", line(300), look.say("setup-device-address"), typed, device.address.unwrap_or_default())
            .hint(look.say("setup-device-address-rule")),
        Field::new("account", line(128), look.say("setup-device-account"), typed, device.account.unwrap_or_default())
            .hint(look.say("setup-device-account-rule")),
        Field::new("secret", FieldKind::Password, look.say("setup-device-secret"), typed, "")
            .hint(look.say("setup-device-secret-rule")),
    ];
    view.keep = Some(look.say("setup-keep").into_owned());
    view.done = device.changed.is_some().then(|| look.say("setup-go-on").into_owned());
    view
}

/// What is known of its kind, and whether anything uses it.
pub(super) fn capabilities(look: &Look, device: &Device) -> Table {
    let standing = |standing| match standing {
        Standing::Available => (look.say("setup-standing-available"), "healthy"),
        Standing::Documented => (look.say("setup-standing-documented"), "starting"),
        Standing::Unknown => (look.say("setup-standing-unknown"), "degraded"),
        Standing::Absent => (look.say("setup-standing-absent"), "failed"),
    };
    let rows = device.capabilities.iter().map(|fact| {
        let (words, class) = standing(fact.standing);
        vec![
            Cell::text(fact.name.clone()),
            Cell::state(words, class),
            Cell::english(fact.value.clone()),
            Cell::english(fact.evidence.clone()),
        ]
    });
    let heads = [
        look.say("setup-found-what"),
        look.say("setup-standing"),
        look.say("setup-capability"),
        look.say("setup-capability-from"),
    ];
    Table {
        id: "capabilities",
        title: look.with("setup-capabilities", "device", look.word("setup-device-", device.kind.as_str())).into_owned(),
        heads: heads.map(|head| head.into_owned()).into(),
        rows: rows.collect(),
        action: None,
    }
}

pub(super) async fn keep(visit: &Visit, fields: &Fields) -> Result<Kept, ClientError> {
    let look = &visit.look;
    let Some(kind) = Kind::named(fields.text("kind")) else {
        return Ok(Problems::at("kind", look.say("setup-choose")).into());
    };
    let some = |name: &str| Some(fields.text(name).trim().to_owned()).filter(|text| !text.is_empty());
    // Not trimmed: a password may begin with a blank.
    let secret = Some(fields.text("secret")).filter(|secret| !secret.is_empty()).map(Hidden::new);
    let change = Change { kind, address: some("address"), account: some("account"), secret, forget_secret: false };
    match visit.agent.change_device(&change).await {
        Ok(_device) => Ok(Kept::Stay),
        Err(ClientError::Problem(problem)) if problem.code == "device-refused" => {
            let (field, words) = match problem.detail.split(' ').next() {
                Some("account") => ("account", look.say("setup-device-account-rule")),
                Some("secret") => ("secret", look.say("setup-device-secret-rule")),
                _ => ("address", look.say("setup-device-address-rule")),
            };
            Ok(Problems::at(field, words).into())
        }
        Err(error) => Err(error),
    }
}
