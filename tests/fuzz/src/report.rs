//! Bodies of the fuzz targets for the parsers of `tbi-report`; see `bench.rs`.

use tbi_report::Colour;

/// Name and body of a target.
pub type Target = (&'static str, fn(&[u8]));

/// Every target here, by the name of its corpus folder.
pub const TARGETS: &[Target] = &[("report_record", record)];

/// A record that reads can be written, read again, printed and made into a page, whatever its numbers.
pub fn record(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let record = match tbi_report::read(text) {
        Ok(record) => record,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let json = tbi_report::json(&record).expect("what was read can be written");
    tbi_report::read(&json).expect("what was written can be read");
    let page = tbi_report::html(&record).expect("what was read makes a page");
    assert!(page.ends_with("</html>\n") || page.ends_with("</html>"));
    let _table = tbi_report::table(&record, 100, Colour::Plain);
    let _narrow = tbi_report::table(&record, 0, Colour::Plain);
}
