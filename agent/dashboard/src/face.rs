//! What the door shows when a person's browser is refused something. Programs get a problem document ([`crate::answers::problem`]); who accepts
//! HTML is asked about here. Whoever implements [`Face`] decides nothing: the refusal stands, only its looks are chosen.

use futures_util::future::BoxFuture;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Uri};

use crate::answers::Answer;
use crate::gate::{Peer, Refusal};

/// The head of a request that somebody reads the answer to.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) peer: Peer,
    pub(crate) correlation_id: String,
}

/// Shows refusals to people.
pub(crate) trait Face: Send + Sync + 'static {
    fn refused(&self, reader: Reader, refusal: Refusal) -> BoxFuture<'_, Answer>;
}

impl Reader {
    /// When the request is a browser's that loads a page. Scripts and programs do not ask for HTML.
    pub(crate) fn of<B>(request: &Request<B>, peer: &Peer, correlation_id: &HeaderValue) -> Option<Self> {
        accepts_html(request.headers()).then(|| Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            peer: peer.clone(),
            correlation_id: correlation_id.to_str().unwrap_or_default().to_owned(),
        })
    }
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().any(|accept| {
        let ranges = accept.as_bytes().split(|byte| *byte == b',');
        ranges
            .map(|range| range.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii())
            .any(|kind| kind.eq_ignore_ascii_case(b"text/html"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_that_load_a_page_are_told_from_programs() {
        let accepts = |accept: &'static str| {
            accepts_html(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]))
        };
        for person in ["text/html", "application/xml;q=0.9, TEXT/HTML;q=0.8, */*", "text/html,application/xhtml+xml"] {
            assert!(accepts(person), "{person}");
        }
        for program in ["*/*", "application/json", "text/htmlx", "text/event-stream", "application/x; a=text/html", ""]
        {
            assert!(!accepts(program), "{program}");
        }
        assert!(!accepts_html(&HeaderMap::new()));
    }
}
