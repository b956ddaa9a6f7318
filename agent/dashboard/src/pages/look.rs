//! How a reader wants the pages: language, colours, zone of the times. All three are in one cookie that says nothing else; without it they
//! are the box's, and where it has none the browser's. What a cookie says that there is not is passed over: anybody can write any cookie.

use std::borrow::Cow;

use fluent_bundle::FluentValue;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::words::{Lang, Said};
use super::{cookie, number};

/// The prefix makes browsers insist on Secure, Path=/ and no Domain. Lax: a link from elsewhere opens in the reader's colours.
const COOKIE: &str = "__Host-tbi-look";
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=31536000";

/// Language and zone of the box, put beside a request by [`super::setup::locale`] and by nobody else.
pub(super) const DEFAULT_HEADER: HeaderName = HeaderName::from_static("x-tbi-default-look");

/// Whether a reader has chosen.
pub(super) fn is_chosen(headers: &HeaderMap) -> bool {
    cookie::first(headers, COOKIE).is_some()
}

/// Colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Theme {
    /// As the system has them.
    System,
    Light,
    Dark,
}

impl Theme {
    pub(crate) const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.name() == name)
    }
}

/// The zone in which all times are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Zone(TimeZone);

impl Zone {
    pub(crate) fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// By its IANA name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        if name.len() > 64 {
            return None;
        }
        TimeZone::get(name).ok().map(Self)
    }

    pub(crate) fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// All there are, by name.
    pub(crate) fn all() -> Vec<String> {
        let mut names: Vec<String> = jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
        names.sort_unstable();
        names
    }

    /// `2026-11-26 13:02:11 +00:00`.
    pub(crate) fn time(&self, at: Timestamp) -> String {
        at.to_zoned(self.0.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
    }

    /// `2026-11-26`, as a field for a date has it.
    pub(crate) fn day(&self, at: Timestamp) -> String {
        at.to_zoned(self.0.clone()).strftime("%Y-%m-%d").to_string()
    }

    /// What somebody typed: a date, with a time or without, in this zone, or a moment with its offset. Not a `datetime-local` field, which
    /// shows the browser's idea of a date and drops what it does not take.
    pub(crate) fn moment(&self, text: &str) -> Option<Timestamp> {
        let text = text.trim();
        if let Ok(moment) = text.parse::<Timestamp>() {
            return Some(moment);
        }
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        self.0.to_timestamp(civil).ok()
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) lang: Lang,
    pub(crate) theme: Theme,
    pub(crate) zone: Zone,
}

impl Look {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let mut look = Self { lang: accept.map_or(Lang::En, Lang::accepted), theme: Theme::System, zone: Zone::utc() };
        let of_the_box = headers.get(DEFAULT_HEADER).map(HeaderValue::as_bytes).unwrap_or_default();
        let kept = cookie::first(headers, COOKIE).unwrap_or_default();
        for (name, value) in form_urlencoded::parse(of_the_box).chain(form_urlencoded::parse(kept.as_bytes())) {
            look.choose(&name, &value);
        }
        look
    }

    /// Takes one choice; one that there is not changes nothing.
    pub(crate) fn choose(&mut self, name: &str, value: &str) {
        match name {
            "language" => self.lang = Lang::of_tag(value).unwrap_or(self.lang),
            "theme" => self.theme = Theme::named(value).unwrap_or(self.theme),
            "zone" => {
                if let Some(zone) = Zone::named(value) {
                    self.zone = zone;
                }
            }
            _ => {}
        }
    }

    pub(crate) fn set_cookie(&self) -> Option<HeaderValue> {
        let mut kept = form_urlencoded::Serializer::new(String::new());
        kept.append_pair("language", self.lang.tag());
        kept.append_pair("theme", self.theme.name());
        kept.append_pair("zone", self.zone.name());
        HeaderValue::from_str(&format!("{COOKIE}={}; {ATTRIBUTES}", kept.finish())).ok()
    }

    pub(crate) fn say(&self, id: &str) -> Cow<'static, str> {
        self.lang.say(id)
    }

    /// The words of `prefix` with the name of one of several.
    pub(crate) fn word(&self, prefix: &str, name: impl std::fmt::Display) -> Cow<'static, str> {
        self.lang.say(&format!("{prefix}{name}"))
    }

    pub(crate) fn with(
        &self,
        id: &str,
        name: &'static str,
        value: impl Into<FluentValue<'static>>,
    ) -> Cow<'static, str> {
        self.lang.with(id, name, value)
    }

    pub(crate) fn tell(&self, said: &Said) -> Cow<'static, str> {
        self.lang.tell(said)
    }

    pub(crate) fn time(&self, at: Timestamp) -> String {
        self.zone.time(at)
    }

    /// A time that the agent wrote; as it is when it is none.
    pub(crate) fn time_of(&self, text: &str) -> String {
        text.parse().map_or_else(|_no_time| text.to_owned(), |at| self.time(at))
    }

    pub(crate) fn count(&self, value: u64) -> String {
        number::count(value, self.lang)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn of(cookie: &str) -> Look {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static("pt-BR"));
        headers.insert(header::COOKIE, HeaderValue::from_bytes(format!("a=b; {COOKIE}={cookie}").as_bytes()).unwrap());
        Look::of(&headers)
    }

    #[test]
    fn what_was_chosen_comes_back() {
        let chosen = Look { lang: Lang::En, theme: Theme::Dark, zone: Zone::named("America/Sao_Paulo").unwrap() };
        let cookie = chosen.set_cookie().unwrap();
        let value = cookie.to_str().unwrap().split_once('=').unwrap().1.split(';').next().unwrap();
        assert_eq!(of(value), chosen);
    }

    #[test]
    fn a_cookie_that_somebody_made_up_changes_nothing() {
        let plain = Look { lang: Lang::PtBr, theme: Theme::System, zone: Zone::utc() };
        for made_up in [
            "",
            "language=xx&theme=pink&zone=Nowhere/At_All",
            "zone=../../etc/passwd",
            "zone=/etc/localtime",
            "language=%00%ff&theme=<script>",
            &"zone=".repeat(500),
            &format!("zone={}", "A".repeat(5000)),
        ] {
            assert_eq!(of(made_up), plain, "{made_up}");
        }
    }

    #[test]
    fn times_carry_their_offset_also_across_a_change_of_it() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(Zone::utc().time(at("2026-01-31T23:59:59Z")), "2026-01-31 23:59:59 +00:00");
        let berlin = Zone::named("Europe/Berlin").unwrap();
        assert_eq!(berlin.time(at("2026-03-29T00:59:59Z")), "2026-03-29 01:59:59 +01:00");
        assert_eq!(berlin.time(at("2026-03-29T01:00:00Z")), "2026-03-29 03:00:00 +02:00");
        let paulo = Zone::named("America/Sao_Paulo").unwrap();
        assert_eq!(paulo.moment("2026-01-31T20:59"), Some(at("2026-01-31T23:59:00Z")));
        assert_eq!(paulo.moment("2026-01-31T23:59:00Z"), Some(at("2026-01-31T23:59:00Z")));
        assert_eq!(paulo.moment(" 2026-01-31 20:59 "), Some(at("2026-01-31T23:59:00Z")));
        assert_eq!(paulo.moment("2026-01-31"), Some(at("2026-01-31T03:00:00Z")));
        assert_eq!(paulo.moment("2026-01-31 20:59:00 -03:00"), None, "a moment has no blank before its offset");
        for none in ["", "tomorrow", "31/01/2026", "2026-02-30", "2026-01-31 25:00", "\0", &"9".repeat(1000)] {
            assert_eq!(paulo.moment(none), None, "{none}");
        }
        assert!(Zone::all().len() > 300 && Zone::all().contains(&"America/Sao_Paulo".to_owned()));
    }
}
