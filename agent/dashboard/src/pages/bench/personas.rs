//! The hundred personas with the certificates that they show, all or those of one country.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tbi_api::bench::{Persona, Personas};
use tbi_bench::control::personas::KeyKind;

use super::super::form::Asked;
use super::super::frame::{Choice, Frame};
use super::super::look::Look;
use super::super::refused::Shown;
use super::super::visit::Visit;
use super::super::{Pages, html, unprocessable};
use super::moment;

#[derive(Debug, PartialEq, Eq)]
struct Certificate {
    subject: String,
    key: &'static str,
    issuer: String,
    until: String,
    sha256: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    id: String,
    country: String,
    server_name: String,
    addresses: Vec<String>,
    vlan: u16,
    certificate: Option<Certificate>,
}

#[derive(Debug, PartialEq, Eq)]
struct Ca {
    sha256: String,
    until: String,
}

/// What is listed.
#[derive(Debug, PartialEq, Eq)]
struct List {
    rows: Vec<Row>,
    all: usize,
    ca: Option<Ca>,
    sentence: String,
}

#[derive(Template)]
#[template(path = "bench/personas.html")]
struct PersonasPage {
    look: Look,
    frame: Frame,
    countries: Vec<Choice>,
    country_error: Option<String>,
    filtered: bool,
    list: Option<List>,
}

/// As certificates and standards write them.
fn key(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::EcdsaP256 => "ECDSA P-256",
        KeyKind::EcdsaP384 => "ECDSA P-384",
        KeyKind::Rsa2048 => "RSA 2048",
        KeyKind::Rsa4096 => "RSA 4096",
    }
}

fn row(persona: Persona, look: &Look) -> Row {
    let certificate = persona.certificate.map(|certificate| Certificate {
        key: key(certificate.key),
        until: moment(look, certificate.not_after),
        subject: certificate.subject,
        issuer: certificate.issuer,
        sha256: certificate.sha256,
    });
    Row {
        country: format!("{} ({})", persona.country_name, persona.country.to_uppercase()),
        id: persona.id,
        server_name: persona.server_name,
        addresses: persona.addresses,
        vlan: persona.vlan,
        certificate,
    }
}

fn list(told: Personas, country: &str, look: &Look) -> List {
    let all = told.personas.len();
    let wanted = told.personas.into_iter().filter(|persona| country.is_empty() || persona.country == country);
    List {
        rows: wanted.map(|persona| row(persona, look)).collect(),
        all,
        ca: told.ca.map(|ca| Ca { until: moment(look, ca.not_after), sha256: ca.sha256 }),
        sentence: told.sentence,
    }
}

/// The page.
pub(in crate::pages) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit, Asked(asked): Asked) -> Shown {
    let (status, told) = tokio::join!(visit.agent.status(), visit.agent.personas());
    let mut frame = visit.frame("personas-title", &status);
    let look = visit.look.clone();
    if let Err(error) = &told {
        frame.silent(&look, error);
    }
    let country = asked.text("country");
    let known: BTreeMap<String, String> = told
        .iter()
        .flat_map(|told| &told.personas)
        .map(|persona| (persona.country_name.clone(), persona.country.clone()))
        .collect();
    let wrong = told.is_ok() && !country.is_empty() && !known.values().any(|code| code == country);
    let choice = |(text, value): (String, String)| Choice { chosen: value == country, text, value };
    let page = PersonasPage {
        frame,
        country_error: wrong.then(|| look.say("personas-country-wrong").into_owned()),
        filtered: !country.is_empty(),
        list: told.ok().map(|told| list(told, if wrong { "" } else { country }, &look)),
        countries: known.into_iter().map(choice).collect(),
        look,
    };
    Ok(if wrong { unprocessable(&page) } else { html(&page) })
}
