//! The head of an HTTP/1.1 request, read more strictly than RFC 9112 demands: whatever two programs could read in two ways is refused here,
//! before hyper sees a byte of it, and so is never passed on. Pure; it keeps nothing and changes nothing.

use http::StatusCode;

/// Largest head, bytes.
pub(crate) const HEAD_LIMIT: usize = 16 << 10;
/// Most fields in a head.
pub(crate) const FIELD_LIMIT: usize = 100;

/// How long the body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    Length(u64),
    Chunked,
}

/// Why a request is refused before it is one. The numbers travel through an atomic, see [`super::Verdict`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Refused {
    HeadTooLarge = 1,
    TooManyFields,
    Slow,
    BareLineFeed,
    BareCarriageReturn,
    RequestLine,
    Version,
    Connect,
    AbsoluteForm,
    Target,
    FieldName,
    FieldValue,
    Folded,
    Host,
    LengthAndEncoding,
    TwoLengths,
    Length,
    Encoding,
    Expectation,
    Chunk,
}

impl Refused {
    const ALL: [Self; 20] = [
        Self::HeadTooLarge,
        Self::TooManyFields,
        Self::Slow,
        Self::BareLineFeed,
        Self::BareCarriageReturn,
        Self::RequestLine,
        Self::Version,
        Self::Connect,
        Self::AbsoluteForm,
        Self::Target,
        Self::FieldName,
        Self::FieldValue,
        Self::Folded,
        Self::Host,
        Self::LengthAndEncoding,
        Self::TwoLengths,
        Self::Length,
        Self::Encoding,
        Self::Expectation,
        Self::Chunk,
    ];

    pub(crate) fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|refused| *refused as u8 == number)
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::HeadTooLarge | Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::HeadTooLarge | Self::TooManyFields => "headers-too-large",
            Self::Slow => "request-timeout",
            Self::Version => "http-version",
            _ => "malformed-request",
        }
    }

    /// What is wrong and what to do.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::HeadTooLarge => "the request's head is larger than 16 KiB; send fewer or shorter header fields",
            Self::TooManyFields => "the request has more than 100 header fields; send fewer",
            Self::Slow => "the request's head did not arrive within 10 s; send it in one piece",
            Self::BareLineFeed => "the request's head has a line feed without a carriage return; end lines with both",
            Self::BareCarriageReturn => {
                "the request's head has a carriage return without a line feed; end lines with both"
            }
            Self::RequestLine => "the request line is not METHOD TARGET VERSION with single spaces between; send it so",
            Self::Version => "the request's version is not HTTP/1.1; use HTTP/1.1, HTTP/2 or HTTP/3",
            Self::Connect => "CONNECT asks for a proxy and this is none; send the request to its target",
            Self::AbsoluteForm => "the request's target is a whole URL, as for a proxy; send the path only",
            Self::Target => "the request's target does not begin with a slash or has a forbidden character; encode it",
            Self::FieldName => {
                "a header field's name is empty, or has a forbidden character or a space before the colon; correct it"
            }
            Self::FieldValue => "a header field's value has a control character; remove it",
            Self::Folded => "a header field goes on in a second line, which is obsolete; write it in one line",
            Self::Host => "the request has no valid Host field, or more than one; send exactly one",
            Self::LengthAndEncoding => "the request has both Content-Length and Transfer-Encoding; send one of them",
            Self::TwoLengths => "the request has more than one Content-Length; send one",
            Self::Length => "the request's Content-Length is not a plain decimal number; correct it",
            Self::Encoding => {
                "the request's Transfer-Encoding is not exactly one 'chunked'; send that or Content-Length"
            }
            Self::Expectation => "the request expects something other than 100-continue; leave the Expect field out",
            Self::Chunk => {
                "a chunk of the request's body is malformed, or has extensions or trailers; send plain chunks"
            }
        }
    }
}

/// Where the head that begins `bytes` ends (after its empty line); `None` when more is needed. `from` bytes were looked at before.
///
/// # Errors
/// A line that does not end in CR LF.
pub(crate) fn end(bytes: &[u8], from: usize) -> Result<Option<usize>, Refused> {
    // One byte back: a carriage return that was last may get its line feed, or not, only now.
    for index in from.saturating_sub(1)..bytes.len() {
        match bytes[index] {
            b'\n' => {
                if index == 0 || bytes[index - 1] != b'\r' {
                    return Err(Refused::BareLineFeed);
                }
                if index >= 3 && bytes[index - 2] == b'\n' {
                    return Ok(Some(index + 1));
                }
                if index == 1 {
                    return Err(Refused::RequestLine);
                }
            }
            b'\r' if bytes.get(index + 1).is_some_and(|next| *next != b'\n') => {
                return Err(Refused::BareCarriageReturn);
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Reads a whole head, its empty line included.
///
/// # Errors
/// [`Refused`].
pub(crate) fn check(head: &[u8]) -> Result<Body, Refused> {
    // `end` saw to it that every line ends in CR LF and that there is no other CR or LF.
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    request_line(lines.next().unwrap_or_default())?;
    let (mut fields, mut hosts) = (0, 0);
    let (mut length, mut chunked) = (None, false);
    for line in lines.take_while(|line| !line.is_empty()) {
        fields += 1;
        if fields > FIELD_LIMIT {
            return Err(Refused::TooManyFields);
        }
        if matches!(line[0], b' ' | b'\t') {
            return Err(Refused::Folded);
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Refused::FieldName)?;
        let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
        if name.is_empty() || !name.iter().all(|byte| token(*byte)) {
            return Err(Refused::FieldName);
        }
        if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err(Refused::FieldValue);
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                hosts += 1;
                if !is_host(value) {
                    return Err(Refused::Host);
                }
            }
            6 if name.eq_ignore_ascii_case(b"expect") && !value.eq_ignore_ascii_case(b"100-continue") => {
                return Err(Refused::Expectation);
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if length.is_some() {
                    return Err(Refused::TwoLengths);
                }
                length = Some(decimal(value).ok_or(Refused::Length)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refused::Encoding);
                }
                chunked = true;
            }
            _ => {}
        }
    }
    if hosts != 1 {
        return Err(Refused::Host);
    }
    match (length, chunked) {
        (Some(_), true) => Err(Refused::LengthAndEncoding),
        (None, true) => Ok(Body::Chunked),
        (length, false) => Ok(Body::Length(length.unwrap_or(0))),
    }
}

fn request_line(line: &[u8]) -> Result<(), Refused> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refused::RequestLine);
    };
    if method.is_empty() || !method.iter().all(|byte| token(*byte)) || target.is_empty() {
        return Err(Refused::RequestLine);
    }
    if version != b"HTTP/1.1" {
        return Err(if version.starts_with(b"HTTP/") { Refused::Version } else { Refused::RequestLine });
    }
    if method == b"CONNECT" {
        return Err(Refused::Connect);
    }
    match target[0] {
        b'/' if target.iter().all(|byte| target_byte(*byte)) => Ok(()),
        b'/' | b'*' => Err(Refused::Target),
        _ if target.windows(3).any(|three| three == b"://") => Err(Refused::AbsoluteForm),
        _ => Err(Refused::Target),
    }
}

/// None that RFC 3986 has only in fragments or nowhere: hyper refuses some of them without a word, and cuts the target at a `#`.
fn target_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'`')
}

/// `tchar` of RFC 9110 section 5.6.2.
fn token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A host name or address with or without port; which one is not asked.
pub(crate) fn is_host(value: &[u8]) -> bool {
    !value.is_empty()
        && value.len() <= 262
        && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte))
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn decimal(value: &[u8]) -> Option<u64> {
    // A sign, which `parse` would take, is no digit. Above eighteen of them hyper has limits of its own.
    (value.len() <= 18 && value.iter().all(u8::is_ascii_digit))
        .then(|| std::str::from_utf8(value).ok()?.parse().ok())
        .flatten()
}
