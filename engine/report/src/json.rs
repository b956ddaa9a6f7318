//! The record as JSON and the schema of that JSON.
//!
//! Pretty, but a histogram of a thousand buckets stays on one line: objects and strings start a line of their own, numbers and
//! lists of numbers do not. Field order is that of the types, map order that of the keys, so equal records give equal bytes.

use std::io;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};
use tbi_bench::record::{RECORD_VERSION, RunRecord};

use crate::ReportError;

/// Identifies the schema; it names, nothing is ever fetched from there.
const SCHEMA_ID: &str = "https://tlsstress.art/schema/run-v1.json";

pub(crate) fn write(record: &RunRecord) -> Result<String, ReportError> {
    let mut out = Vec::new();
    record.serialize(&mut Serializer::with_formatter(&mut out, Layout::default()))?;
    out.push(b'\n');
    String::from_utf8(out).map_err(|error| ReportError::Json(serde::ser::Error::custom(error)))
}

pub(crate) fn read(text: &str) -> Result<RunRecord, ReportError> {
    #[derive(serde::Deserialize)]
    struct Head {
        version: u32,
    }
    let found = serde_json::from_str::<Head>(text)?.version;
    if found != RECORD_VERSION {
        return Err(ReportError::Version { found, known: RECORD_VERSION });
    }
    Ok(serde_json::from_str(text)?)
}

pub(crate) fn schema() -> Value {
    let mut schema = schemars::schema_for!(RunRecord);
    schema.insert("$id".to_owned(), SCHEMA_ID.into());
    schema.insert("title".to_owned(), "TLSStress.Art TBI run record, version 1".into());
    schema.to_value()
}

/// Indentation by two spaces; see the module's words on lines.
#[derive(Default)]
struct Layout {
    depth: usize,
    /// For every open list and object: whether its last value began a line.
    broken: Vec<bool>,
    /// The next token is the first of a list element.
    element: bool,
}

impl Layout {
    fn line(&self, writer: &mut (impl io::Write + ?Sized)) -> io::Result<()> {
        writer.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| writer.write_all(b"  "))
    }

    fn break_element<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if !std::mem::take(&mut self.element) {
            return Ok(());
        }
        if let Some(broken) = self.broken.last_mut() {
            *broken = true;
        }
        self.line(writer)
    }

    fn open(&mut self) {
        self.depth += 1;
        self.broken.push(false);
    }

    fn close<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        if self.broken.pop() == Some(true) { self.line(writer) } else { Ok(()) }
    }
}

impl Formatter for Layout {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.element = false;
        self.open();
        writer.write_all(b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer)?;
        writer.write_all(b"]")
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.element = true;
        if first { Ok(()) } else { writer.write_all(b",") }
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.element = false;
        Ok(())
    }

    fn begin_string<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.break_element(writer)?;
        writer.write_all(b"\"")
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.break_element(writer)?;
        self.open();
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer)?;
        writer.write_all(b"}")
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if let Some(broken) = self.broken.last_mut() {
            *broken = true;
        }
        if !first {
            writer.write_all(b",")?;
        }
        self.line(writer)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn number_lists_stay_on_one_line() {
        let value =
            serde_json::json!({ "a": [[1, 2], [3, 4]], "b": ["x", "y"], "c": [], "d": {}, "e": [{ "f": null }] });
        let mut out = Vec::new();
        value.serialize(&mut Serializer::with_formatter(&mut out, Layout::default())).unwrap();
        let expected = "{\n  \"a\": [[1,2],[3,4]],\n  \"b\": [\n    \"x\",\n    \"y\"\n  ],\n  \"c\": [],\n  \"d\": {},\n  \
                        \"e\": [\n    {\n      \"f\": null\n    }\n  ]\n}";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
