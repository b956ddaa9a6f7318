//! Which paths the door lets through: those that every program on the way reads alike. Refuses what one reader decodes and another does not
//! (`..` in any spelling, empty segments, encoded slashes, NUL, bytes that are no UTF-8). It routes nothing.

/// Longest path, bytes; the longest of ours is below 200.
const LONGEST: usize = 2048;

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    #[error("the path is longer than 2048 bytes; shorten it")]
    Long,
    #[error("the path does not begin with a slash; send it in origin form")]
    NoSlash,
    #[error("the path has an empty segment (//); write one slash")]
    Empty,
    #[error("the path has a segment . or ..; write the path that is meant")]
    Dots,
    #[error("the path has a percent sign without two hexadecimal digits; encode it as %25")]
    Percent,
    #[error("the path has an encoded slash, backslash or control character; there is none in any path here")]
    Encoded,
    #[error("the decoded path is not UTF-8; encode it as UTF-8")]
    NotUtf8,
    #[error("the path has a character that must be percent-encoded; encode it")]
    Raw,
}

/// Checks a path as it was sent, without the query.
///
/// # Errors
/// [`PathError`].
pub(crate) fn check(path: &str) -> Result<(), PathError> {
    if path.len() > LONGEST {
        return Err(PathError::Long);
    }
    let Some(rest) = path.strip_prefix('/') else { return Err(PathError::NoSlash) };
    // A path without escapes, which is nearly every one, is looked at in one pass and decoded never.
    let mut escaped = false;
    for byte in rest.bytes() {
        match byte {
            b'%' => escaped = true,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' => {}
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
            | b':' | b'@' => {}
            _ => return Err(PathError::Raw),
        }
    }
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        // A single slash at the end is another path, that nothing is at, but not an ambiguous one.
        if segment.is_empty() && segments.peek().is_some() {
            return Err(PathError::Empty);
        }
        if segment == "." || segment == ".." {
            return Err(PathError::Dots);
        }
        if escaped && segment.contains('%') {
            let decoded = decode(segment)?;
            if decoded == "." || decoded == ".." {
                return Err(PathError::Dots);
            }
        }
    }
    Ok(())
}

fn decode(segment: &str) -> Result<String, PathError> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (Some(high), Some(low)) = (rest.next().and_then(digit), rest.next().and_then(digit)) else {
            return Err(PathError::Percent);
        };
        let byte = high << 4 | low;
        if byte == b'/' || byte == b'\\' || byte.is_ascii_control() {
            return Err(PathError::Encoded);
        }
        bytes.push(byte);
    }
    String::from_utf8(bytes).map_err(|_bytes| PathError::NotUtf8)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_everybody_reads_alike_pass() {
        for path in
            ["/", "/api/v1/agent/runs/01J?".trim_end_matches('?'), "/a/b.c/~x", "/a/%C3%A4", "/a/", "/a/...", "/a%20b"]
        {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn paths_that_somebody_may_read_otherwise_are_refused() {
        for (path, why) in [
            ("", PathError::NoSlash),
            ("*", PathError::NoSlash),
            ("a/b", PathError::NoSlash),
            ("//", PathError::Empty),
            ("//a", PathError::Empty),
            ("/a//b", PathError::Empty),
            ("/..", PathError::Dots),
            ("/a/../b", PathError::Dots),
            ("/a/./b", PathError::Dots),
            ("/a/%2e%2E/b", PathError::Dots),
            ("/a/.%2e", PathError::Dots),
            ("/a%2fb", PathError::Encoded),
            ("/a%5Cb", PathError::Encoded),
            ("/a%00", PathError::Encoded),
            ("/a%0d%0a", PathError::Encoded),
            ("/a%7f", PathError::Encoded),
            ("/a%", PathError::Percent),
            ("/a%2", PathError::Percent),
            ("/a%zz", PathError::Percent),
            ("/a%ff", PathError::NotUtf8),
            ("/a%C3", PathError::NotUtf8),
            ("/a%c0%af", PathError::NotUtf8),
            ("/a\\b", PathError::Raw),
            ("/ä", PathError::Raw),
            ("/a b", PathError::Raw),
        ] {
            assert_eq!(check(path), Err(why), "{path}");
        }
        assert_eq!(check(&format!("/{}", "a".repeat(LONGEST))), Err(PathError::Long));
    }
}
