//! A client certificate that stands for an account: entered from its PEM, removed with a reason. A private key that somebody pastes along is
//! refused and not shown again.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tbi_api::access::{Digest, NewCertificate};
use x509_parser::parse_x509_certificate;

use super::super::form::SignedForm;
use super::super::frame::Frame;
use super::super::look::Look;
use super::super::refused::{Refused, Shown};
use super::super::visit::Visit;
use super::super::why::{Deed, Fact, Why};
use super::super::{Pages, api_call, html, see_other, unprocessable};
use super::certificates::row;
use super::{Wrong, because, missing};
use crate::access::page;
use crate::digest::sha256;

#[derive(Template)]
#[template(path = "rooms/client_certificate.html")]
struct ClientPage {
    look: Look,
    frame: Frame,
    token: String,
    account: String,
    /// In templates `label` is a word of the macros.
    purpose: String,
    pem: String,
    account_error: Option<String>,
    label_error: Option<String>,
    pem_error: Option<Wrong>,
}

/// Why a text is no certificate to enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoCertificate {
    HasKey,
    Unreadable,
}

/// SHA-256 of the one certificate in a text.
fn fingerprint(pem: &str) -> Result<Digest, NoCertificate> {
    if has_key(pem) {
        return Err(NoCertificate::HasKey);
    }
    let mut all = CertificateDer::pem_slice_iter(pem.as_bytes());
    let (Some(Ok(der)), None) = (all.next(), all.next()) else { return Err(NoCertificate::Unreadable) };
    match parse_x509_certificate(&der) {
        Ok(([], _certificate)) => Ok(sha256(&der)),
        _ => Err(NoCertificate::Unreadable),
    }
}

pub(super) fn has_key(pem: &str) -> bool {
    pem.contains("PRIVATE KEY")
}

async fn page_of(visit: &Visit) -> ClientPage {
    ClientPage {
        frame: visit.frame("client-certificate-title", &visit.agent.status().await),
        token: visit.token().to_owned(),
        account: String::new(),
        purpose: String::new(),
        pem: String::new(),
        account_error: None,
        label_error: None,
        pem_error: None,
        look: visit.look.clone(),
    }
}

/// The form.
pub(super) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    Ok(html(&page_of(&visit).await))
}

/// Enters it.
pub(super) async fn enter(State(pages): State<Arc<Pages>>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let visit = Visit::new(&pages, who, "/certificates/client/new");
    let mut shown = page_of(&visit).await;
    let look = &visit.look;
    let say = |id: &str| Some(look.say(id).into_owned());
    fields.text("account").trim().clone_into(&mut shown.account);
    fields.text("label").trim().clone_into(&mut shown.purpose);
    let pem = fields.text("pem");
    if !has_key(pem) {
        pem.clone_into(&mut shown.pem);
    }
    let account = shown.account.parse();
    if account.is_err() {
        shown.account_error = say("token-no-account");
    }
    if shown.purpose.is_empty() {
        shown.label_error = say("field-missing");
    }
    let print = fingerprint(pem);
    shown.pem_error = match print {
        Ok(_) => None,
        Err(NoCertificate::HasKey) => Wrong::said(look, "certificate-has-key"),
        Err(NoCertificate::Unreadable) => Wrong::said(look, "certificate-pem-wrong"),
    };
    let (Ok(account), Ok(fingerprint), None) = (account, print, &shown.label_error) else {
        return Ok(unprocessable(&shown));
    };
    let order = NewCertificate { fingerprint, account, label: shown.purpose.clone() };
    let Err(fault) = page::create_certificate(&pages.access, visit.who.clone(), order).await else {
        return Ok(see_other("/certificates"));
    };
    match fault.0.code {
        "no-such-account" => shown.account_error = say("token-no-account"),
        "label-not-taken" => shown.label_error = say("label-rule"),
        "certificate-exists" => shown.pem_error = Wrong::said(look, "certificate-exists"),
        _ => return Err(Refused::from(fault)),
    }
    Ok(unprocessable(&shown))
}

async fn remove_page(pages: &Arc<Pages>, visit: &Visit, fingerprint: &str) -> Result<Why, Refused> {
    let certificates = page::certificates(&pages.access, visit.who.clone());
    let (status, certificates) = tokio::join!(visit.agent.status(), certificates);
    let found = certificates?.into_iter().find(|one| one.fingerprint.as_str() == fingerprint);
    let found = found.ok_or_else(|| missing("there is no such certificate; the list has those there are"))?;
    let look = &visit.look;
    let row = row(found, look);
    let deed = Deed {
        title: "certificate-remove",
        lead: "certificate-remove-lead",
        button: "certificate-remove",
        back_words: "cancel",
        back: "/certificates".to_owned(),
        action: format!("/certificates/client/remove/{fingerprint}"),
        call: api_call::line("DELETE", format!("/api/v1/access/certificates/{fingerprint}?reason=WHY"), ""),
        facts: vec![
            Fact::text(look, "token-label", row.label),
            Fact::text(look, "account", row.account),
            Fact::code("SHA-256", row.shown),
            Fact::text(look, "client-entered", row.created),
        ],
    };
    Ok(Why::new(visit, &status, deed))
}

/// Asks why.
pub(super) async fn ask(State(pages): State<Arc<Pages>>, visit: Visit, Path(fingerprint): Path<String>) -> Shown {
    Ok(html(&remove_page(&pages, &visit, &fingerprint).await?))
}

/// Takes it its account.
pub(super) async fn remove(
    State(pages): State<Arc<Pages>>,
    Path(fingerprint): Path<String>,
    form: SignedForm,
) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let visit = Visit::new(&pages, who, "/certificates");
    match because(&visit.look, &fields) {
        Ok(reason) => {
            page::remove_certificate(&pages.access, visit.who.clone(), &fingerprint, &reason).await?;
            Ok(see_other("/certificates"))
        }
        Err(words) => Ok(remove_page(&pages, &visit, &fingerprint).await?.again(&fields, words)),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn one_certificate_is_taken_and_nothing_else() {
        let key = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap().self_signed(&key).unwrap();
        assert_eq!(fingerprint(&made.pem()), Ok(sha256(made.der())));
        assert_eq!(fingerprint(&format!("Bag Attributes\r\n{}", made.pem())), Ok(sha256(made.der())));
        assert_eq!(fingerprint(&format!("{}{}", made.pem(), key.serialize_pem())), Err(NoCertificate::HasKey));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for none in ["", "AB:CD", broken, "<script>", &made.pem().repeat(2), &made.pem()[..90]] {
            assert_eq!(fingerprint(none), Err(NoCertificate::Unreadable), "{none}");
        }
    }
}
