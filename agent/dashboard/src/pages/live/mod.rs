//! Runs from the wish to the comparison: ordered on a form that draws what it will do, followed while they are under way, stopped with a
//! reason, put beside each other.
//!
//! | module | job |
//! |---|---|
//! | [`plan_form`] | a form becomes a plan, with what is wrong at its field (pure) |
//! | [`drawing`] | a plan's blocks as a picture and as a table (pure) |
//! | [`new_run`] | the page that checks, draws and orders |
//! | [`figures`], [`story`] | what was measured in the words of a page (pure) |
//! | [`stop`] | stopping with a reason |
//! | [`compare`] | runs beside a baseline |
//!
//! The page of one run is [`super::run`]; it shows a [`story`] whether the run is under way or over, so that both have the same numbers.

mod compare;
mod drawing;
mod figures;
mod new_run;
mod plan_form;
mod stop;
pub(super) mod story;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tbi_api::access::Role;

use super::{EVERYBODY, Page, Pages, Proof};

const WHO_ORDERS: &[Role] = &[Role::Operator, Role::Administrator];

/// These pages; before the page of one run, whose path would fit some of theirs.
pub(super) const PAGES: &[Page] = &[
    Page("/runs/new", &["get", "post"], WHO_ORDERS, Proof::Usual),
    Page("/runs/compare", &["get"], EVERYBODY, Proof::Usual),
    Page("/runs/{id}/stop", &["get", "post"], WHO_ORDERS, Proof::Usual),
];

pub(super) fn router() -> Router<Arc<Pages>> {
    Router::new()
        .route("/runs/new", get(new_run::show).post(new_run::send))
        .route("/runs/compare", get(compare::show))
        .route("/runs/{id}/stop", get(stop::show).post(stop::send))
}
