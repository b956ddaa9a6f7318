//! Certificates: the one that the door shows, for everybody; those of clients, for administrators and auditors.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tbi_api::access::{Certificate, Digest, DoorCertificate, Role};

use super::super::frame::Frame;
use super::super::look::Look;
use super::super::refused::Shown;
use super::super::visit::Visit;
use super::super::{Pages, html};
use crate::access::page;

/// What the door shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Door {
    pub(super) leaf: String,
    pub(super) ca: String,
    pub(super) names: Vec<String>,
    pub(super) ends: String,
    pub(super) origin: &'static str,
    pub(super) trouble: Option<String>,
}

/// A client's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) fingerprint: String,
    pub(super) shown: String,
    pub(super) account: String,
    pub(super) label: String,
    pub(super) created: String,
}

#[derive(Template)]
#[template(path = "rooms/certificates.html")]
struct CertificatesPage {
    look: Look,
    frame: Frame,
    door: Door,
    request_pending: bool,
    /// `None`: they are not the reader's to see.
    rows: Option<Vec<Row>>,
    may_change: bool,
}

/// As browsers print it: pairs of digits with colons.
pub(super) fn printed(digest: &Digest) -> String {
    let digits = digest.as_str().to_ascii_uppercase();
    let pairs = digits.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
    pairs.collect::<Vec<_>>().join(":")
}

pub(super) fn door(shown: DoorCertificate, look: &Look) -> Door {
    Door {
        leaf: printed(&shown.leaf_sha256),
        ca: printed(&shown.ca_sha256),
        names: shown.names,
        ends: look.time(shown.not_after),
        origin: shown.origin.as_str(),
        trouble: shown.trouble,
    }
}

pub(super) fn row(certificate: Certificate, look: &Look) -> Row {
    Row {
        shown: printed(&certificate.fingerprint),
        fingerprint: certificate.fingerprint.to_string(),
        account: certificate.account.to_string(),
        label: certificate.label,
        created: look.time(certificate.created),
    }
}

/// The page.
pub(super) async fn show(State(pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    let sees_clients = matches!(visit.who.role, Role::Administrator | Role::Auditor);
    let clients = async {
        match sees_clients {
            true => page::certificates(&pages.access, visit.who.clone()).await.map(Some),
            false => Ok(None),
        }
    };
    let shown = page::door_certificate(&pages.desk, visit.who.clone());
    let (status, shown, clients) = tokio::join!(visit.agent.status(), shown, clients);
    let (shown, clients) = (shown?, clients?);
    let look = visit.look.clone();
    Ok(html(&CertificatesPage {
        frame: visit.frame("certificates-title", &status),
        door: door(shown.shown, &look),
        request_pending: shown.request_pending,
        rows: clients.map(|all| all.into_iter().map(|one| row(one, &look)).collect()),
        may_change: visit.who.role == Role::Administrator,
        look,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_printed_as_browsers_do() {
        let text = printed(&Digest::of_bytes(&[0xab; 32]));
        assert!(text.starts_with("AB:AB:") && text.len() == 32 * 3 - 1, "{text}");
    }
}
