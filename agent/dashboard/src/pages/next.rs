//! Where a reader goes after a login or a choice: a page of this box, and nowhere else. Pure.

/// A path of this box with its query, as it may stand in `Location` and `href`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Next(String);

/// Longest that is kept.
const LONGEST: usize = 1024;

impl Next {
    /// The start page.
    pub(crate) fn start() -> Self {
        Self("/".to_owned())
    }

    /// What was asked for, when it is a path of this box and nothing that a browser could read as another place: `//host`, `/\host`, a
    /// scheme, or what a parser of URLs drops (tabs and line ends).
    pub(crate) fn of(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        let own = text.starts_with('/') && !text.starts_with("//");
        let path = text.split(['?', '#']).next().unwrap_or_default();
        (plain && own && text.len() <= LONGEST && crate::paths::check(path).is_ok()).then(|| Self(text.to_owned()))
    }

    /// The same after a login, from where nobody wants back to the pages about logging in; the start page when there is none.
    pub(crate) fn after_login(text: &str) -> Self {
        let path = text.split(['?', '#']).next().unwrap_or_default();
        let loops = matches!(path, "/login" | "/logout" | "/welcome" | "/preferences" | "/step-up");
        Self::of(text).filter(|_next| !loops).unwrap_or_else(Self::start)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The login that leads there.
    pub(crate) fn login(&self) -> String {
        self.behind("/login")
    }

    /// The fresh proof that leads there.
    pub(crate) fn step_up(&self) -> String {
        self.behind("/step-up")
    }

    fn behind(&self, page: &str) -> String {
        if *self == Self::start() {
            return page.to_owned();
        }
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("next", &self.0).finish();
        format!("{page}?{query}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_box_are_gone_to() {
        for own in ["/", "/runs", "/runs/20260131T235959Z", "/runs?state=passed&name=a%20b", "/audit?before=7#last"] {
            assert_eq!(Next::of(own).as_ref().map(Next::as_str), Some(own));
        }
        for other in [
            "",
            "runs",
            "//evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "/%2fevil.example",
            "/%5cevil.example",
            "/a//b",
            "/../x",
            "https://evil.example/",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/\r\nSet-Cookie: a=b",
            "/\u{202e}",
            " /runs",
        ] {
            assert_eq!(Next::of(other), None, "{other}");
            assert_eq!(Next::after_login(other), Next::start());
        }
        for login in ["/login", "/login?next=/", "/logout", "/welcome"] {
            assert_eq!(Next::after_login(login), Next::start());
        }
        assert_eq!(Next::of(&format!("/{}", "a".repeat(LONGEST))), None);
    }

    #[test]
    fn the_login_carries_it() {
        assert_eq!(Next::start().login(), "/login");
        assert_eq!(Next::after_login("/runs?a=b&c=d").login(), "/login?next=%2Fruns%3Fa%3Db%26c%3Dd");
    }
}
