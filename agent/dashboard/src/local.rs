//! Operations of the door's own process that are routed like a daemon's: by the table read from their document, with the claims in it. Here is
//! only what the door needs to find them; what they do is their router's business.

use serde_json::Value;

use crate::registry::{MeterShelf, Routes};

/// A router of this process. Its handlers find [`crate::gate::Caller`] and [`crate::gate::Peer`] among the request's extensions.
pub(crate) struct Local {
    pub(crate) name: &'static str,
    pub(crate) place: Mount,
    /// OpenAPI, its paths as the door has them.
    pub(crate) document: Value,
    pub(crate) router: axum::Router,
}

/// Where a [`Local`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mount {
    /// Under `/api/v1/NAME/`, and in the merged document.
    Api,
    /// Everywhere that nothing else is: pages for people, whose forms carry the token for changes.
    Pages,
}

/// Routes of the door's process with their numbers.
pub(crate) struct Table {
    pub(crate) routes: Routes,
    pub(crate) meters: MeterShelf,
}

impl Table {
    pub(crate) fn new(name: &str, document: &Value) -> Self {
        let meters = MeterShelf::new(name);
        Self { routes: Routes::of_document(document, &meters), meters }
    }

    pub(crate) fn beside(local: Local) -> (Local, Self) {
        let table = Self::new(local.name, &local.document);
        (local, table)
    }
}
