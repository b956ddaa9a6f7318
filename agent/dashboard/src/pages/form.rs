//! Forms: read only from a page of this box, and for a session only with its token. There is no other way to get at the fields of a form, so
//! no handler can forget to look.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::StatusCode;
use http::header;
use http::request::Parts;
use tbi_api::access::RefusalKind;

use super::Pages;
use super::refused::Refused;
use crate::access::{Origin, Visitor, Who, origin};

/// Largest form, bytes: a chain of ten certificates, as much as the API takes.
pub(crate) const LIMIT: usize = 64 << 10;
/// Field of the token.
pub(crate) const TOKEN: &str = "csrf";
const KIND: &[u8] = b"application/x-www-form-urlencoded";

/// Fields of a form; each name once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// `None`: a name comes twice, and nobody can say which of them is meant.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let mut fields = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            if fields.insert(name.into_owned(), value.into_owned()).is_some() {
                return None;
            }
        }
        Some(Self(fields))
    }

    /// Names of the fields that there are.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What was written into a field; nothing when there is no such field.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

/// That this module looked: nobody else can make one, and so no form.
struct Proven;

/// A form of anybody, from a page of this box.
pub(crate) struct OwnForm {
    pub(crate) visitor: Visitor,
    pub(crate) fields: Fields,
    _proven: Proven,
}

/// A form of somebody logged in, from a page of this box, with the token of the session.
pub(crate) struct SignedForm {
    pub(crate) who: Who,
    pub(crate) fields: Fields,
    _proven: Proven,
}

fn refused(status: StatusCode, code: &'static str, detail: &str) -> Refused {
    Refused::new(status, code, detail)
}

fn not_own(why: &str) -> Refused {
    let detail =
        format!("the form is not taken as the reader's own wish: {why}; load the page again and send it once more");
    refused(StatusCode::FORBIDDEN, "csrf", &detail)
}

/// `account`: whose session it is, when there is one.
async fn fields(
    request: Request,
    pages: &Arc<Pages>,
    visitor: &Visitor,
    account: Option<&str>,
) -> Result<Fields, Refused> {
    let headers = request.headers();
    if origin(headers) != Origin::Own {
        pages.access.refused(visitor.peer.address, account, RefusalKind::Csrf);
        return Err(not_own("it does not come from a page of this box"));
    }
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !kind.eq_ignore_ascii_case(KIND) {
        let detail = "a page takes what a form sends (application/x-www-form-urlencoded); programs use /openapi.json";
        return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail));
    }
    let body = Bytes::from_request(request, pages).await.map_err(|rejected| {
        // Too large, or it broke off; the door's own limit says the first before it comes to this.
        refused(rejected.status(), "malformed-request", "the form could not be read; send it again")
    })?;
    let twice = "the form has a field twice; load the page again";
    Fields::parse(&body).ok_or_else(|| refused(StatusCode::BAD_REQUEST, "malformed-request", twice))
}

/// What a page is asked for in its query; not a form, because it changes nothing.
pub(crate) struct Asked(pub(crate) Fields);

impl FromRequestParts<Arc<Pages>> for Asked {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _pages: &Arc<Pages>) -> Result<Self, Refused> {
        let twice = "the query has a name twice; leave one out";
        let fields = Fields::parse(parts.uri.query().unwrap_or_default().as_bytes());
        fields.map(Self).ok_or_else(|| refused(StatusCode::BAD_REQUEST, "malformed-request", twice))
    }
}

impl FromRequest<Arc<Pages>> for OwnForm {
    type Rejection = Refused;

    async fn from_request(request: Request, pages: &Arc<Pages>) -> Result<Self, Refused> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, &pages.access).await?;
        let fields = fields(Request::from_parts(parts, body), pages, &visitor, None).await?;
        Ok(Self { visitor, fields, _proven: Proven })
    }
}

impl FromRequest<Arc<Pages>> for SignedForm {
    type Rejection = Refused;

    async fn from_request(request: Request, pages: &Arc<Pages>) -> Result<Self, Refused> {
        let (mut parts, body) = request.into_parts();
        let who = Who::from_request_parts(&mut parts, &pages.access).await?;
        let account = Some(who.identity.account().name.as_str());
        let fields = fields(Request::from_parts(parts, body), pages, &who.visitor, account).await?;
        if !pages.access.form_token_is(&who.identity, fields.text(TOKEN)) {
            pages.access.refused(who.visitor.peer.address, account, RefusalKind::Csrf);
            return Err(not_own("its token is not that of the session"));
        }
        Ok(Self { who, fields, _proven: Proven })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn fields_are_read_as_browsers_write_them() {
        let fields = Fields::parse("a=1+2&b=%C3%A4%3Cscript%3E&c=&d".as_bytes()).unwrap();
        assert_eq!(
            [fields.text("a"), fields.text("b"), fields.text("c"), fields.text("d")],
            ["1 2", "ä<script>", "", ""]
        );
        assert_eq!(fields.text("none"), "");
        assert_eq!(Fields::parse(b"\xff=%ff").unwrap().text("\u{fffd}"), "\u{fffd}");
    }

    #[test]
    fn a_field_that_comes_twice_is_no_form() {
        assert_eq!(Fields::parse(b"csrf=a&csrf=b"), None);
        assert_eq!(Fields::parse(b"a=1&%61=2"), None);
    }
}
