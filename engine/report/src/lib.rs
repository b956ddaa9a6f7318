//! From a run record to what people and programs read: one self-contained HTML file, the table a run ends with, JSON and its schema.
//!
//! Pure: a [`RunRecord`] goes in, strings come out; nothing here opens a file, asks a clock or measures anything. The report says
//! nothing the record does not hold, and what may be claimed from a number is decided in one place (`claim`), for HTML and text alike.
//!
//! Invariants: every text from the record is escaped; no number is printed that is not finite; a result without bench certificate is
//! withheld (REQUIREMENTS A7); the HTML refers to nothing outside itself and needs no JavaScript; the same record gives the same bytes.

mod chart;
mod claim;
mod html;
mod json;
mod number;
mod text;
mod words;

use tbi_bench::record::RunRecord;

pub use text::Colour;

/// A record could not be turned into a report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The template engine refused.
    #[error("the HTML report could not be rendered; the record is unharmed, run the report again from run.json")]
    Render(#[from] askama::Error),
    /// The record could not be serialised or parsed.
    #[error("the run record cannot be written as or read from JSON; compare it with engine/report/schema/run-v1.json")]
    Json(#[from] serde_json::Error),
    /// The record was written by another version of the program.
    #[error("the run record has version {found}, this program reads version {known}; use the program that wrote it")]
    Version {
        /// Version in the record.
        found: u32,
        /// Version this program reads.
        known: u32,
    },
}

/// The whole report as one HTML file.
///
/// # Errors
/// [`ReportError::Render`] when the template engine fails, which no record should be able to cause.
pub fn html(record: &RunRecord) -> Result<String, ReportError> {
    html::render(record)
}

/// The table a run ends with, as plain text at most `width` columns wide (but never narrower than 100).
#[must_use]
pub fn table(record: &RunRecord, width: usize, colour: Colour) -> String {
    text::render(record, width, colour)
}

/// The record as JSON: fields in the order of the types, lists of numbers on one line.
///
/// # Errors
/// [`ReportError::Json`] when a number in it is not representable.
pub fn json(record: &RunRecord) -> Result<String, ReportError> {
    json::write(record)
}

/// Reads what [`json`] wrote.
///
/// # Errors
/// [`ReportError::Version`] for another format version, [`ReportError::Json`] for anything that is not a record.
pub fn read(text: &str) -> Result<RunRecord, ReportError> {
    json::read(text)
}

/// JSON Schema (draft 2020-12) of the record.
#[must_use]
pub fn schema() -> serde_json::Value {
    json::schema()
}
