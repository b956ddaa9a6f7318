//! Cookies that mean little: the first of a name counts. The session's cookie is not read here; it is access' own.

use http::header::{self, HeaderMap};

/// Longest value that is looked at, bytes.
const LONGEST: usize = 1024;

/// The value of the first cookie of this name, when it is text of a sane length.
pub(super) fn first<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).map(str::trim);
    let value = pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    (value.len() <= LONGEST).then_some(value)
}
