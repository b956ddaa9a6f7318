//! What the pages say, in the reader's language. The words are in `words/LANGUAGE/*.ftl` (Project Fluent) and part of the program; both
//! languages have the same ids with the same arguments, which a test holds them to. Sentences of the agent are English and stay it; a page
//! marks them as such.
//!
//! An id that is missing shows itself. It never stops a page.

use std::borrow::Cow;
use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use unic_langid::LanguageIdentifier;

use super::number;

/// A language that the pages speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lang {
    En,
    PtBr,
}

/// Sources of one language.
type Sources = &'static [&'static str];

const EN: Sources = &[
    include_str!("../../words/en/frame.ftl"),
    include_str!("../../words/en/access.ftl"),
    include_str!("../../words/en/refusals.ftl"),
    include_str!("../../words/en/box.ftl"),
    include_str!("../../words/en/runs.ftl"),
    include_str!("../../words/en/audit.ftl"),
    include_str!("../../words/en/live.ftl"),
    include_str!("../../words/en/rooms.ftl"),
    include_str!("../../words/en/setup.ftl"),
    include_str!("../../words/en/bench.ftl"),
];
const PT_BR: Sources = &[
    include_str!("../../words/pt-BR/frame.ftl"),
    include_str!("../../words/pt-BR/access.ftl"),
    include_str!("../../words/pt-BR/refusals.ftl"),
    include_str!("../../words/pt-BR/box.ftl"),
    include_str!("../../words/pt-BR/runs.ftl"),
    include_str!("../../words/pt-BR/audit.ftl"),
    include_str!("../../words/pt-BR/live.ftl"),
    include_str!("../../words/pt-BR/rooms.ftl"),
    include_str!("../../words/pt-BR/setup.ftl"),
    include_str!("../../words/pt-BR/bench.ftl"),
];

static ENGLISH: LazyLock<FluentBundle<FluentResource>> = LazyLock::new(|| bundle(Lang::En));
static PORTUGUESE: LazyLock<FluentBundle<FluentResource>> = LazyLock::new(|| bundle(Lang::PtBr));

impl Lang {
    pub(crate) const ALL: [Self; 2] = [Self::En, Self::PtBr];

    /// BCP 47.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::PtBr => "pt-BR",
        }
    }

    /// As its speakers call it.
    pub(crate) fn own_name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::PtBr => "Português (Brasil)",
        }
    }

    pub(crate) fn of_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lang| lang.tag().eq_ignore_ascii_case(tag))
    }

    /// The one that an `Accept-Language` likes most; English when it knows none of ours.
    pub(crate) fn accepted(accept: &str) -> Self {
        let mut best = (0, Self::En);
        for range in accept.split(',').take(20) {
            let mut parts = range.split(';').map(str::trim);
            let primary = parts.next().unwrap_or_default().split('-').next().unwrap_or_default();
            let lang = match primary.to_ascii_lowercase().as_str() {
                "en" => Self::En,
                "pt" => Self::PtBr,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f32>().ok());
            // Thousandths, as the header has them; what is no quality is not wanted.
            let quality = quality.filter(|q| (0.0..=1.0).contains(q)).map_or(0, |q| (q * 1000.0) as u32);
            // The first of two that are liked alike.
            if quality > best.0 {
                best = (quality, lang);
            }
        }
        best.1
    }

    pub(super) fn sources(self) -> Sources {
        match self {
            Self::En => EN,
            Self::PtBr => PT_BR,
        }
    }

    fn bundle(self) -> &'static FluentBundle<FluentResource> {
        match self {
            Self::En => &ENGLISH,
            Self::PtBr => &PORTUGUESE,
        }
    }

    /// The words of an id without arguments.
    pub(crate) fn say(self, id: &str) -> Cow<'static, str> {
        self.format(id, None)
    }

    /// The words of an id with one argument.
    pub(crate) fn with(
        self,
        id: &str,
        name: &'static str,
        value: impl Into<FluentValue<'static>>,
    ) -> Cow<'static, str> {
        self.tell(&Said::new(id).and(name, value))
    }

    /// The words of something that was to be said.
    pub(crate) fn tell(self, said: &Said) -> Cow<'static, str> {
        self.format(&said.id, Some(&said.arguments))
    }

    fn format(self, id: &str, arguments: Option<&FluentArgs<'_>>) -> Cow<'static, str> {
        let bundle = self.bundle();
        let Some(pattern) = bundle.get_message(id).and_then(|message| message.value()) else {
            tracing::error!(id, lang = self.tag(), "a page says something that there are no words for; report this");
            return Cow::Owned(id.to_owned());
        };
        let mut errors = Vec::new();
        let text = bundle.format_pattern(pattern, arguments, &mut errors).into_owned();
        if let Some(error) = errors.first() {
            tracing::error!(id, lang = self.tag(), %error, "a page says something with other arguments; report this");
        }
        Cow::Owned(text)
    }
}

/// Something to be said, before it is known in which language.
#[derive(Debug)]
pub(crate) struct Said {
    id: String,
    arguments: FluentArgs<'static>,
}

impl Said {
    pub(crate) fn new(id: &str) -> Self {
        Self { id: id.to_owned(), arguments: FluentArgs::new() }
    }

    pub(crate) fn and(mut self, name: &'static str, value: impl Into<FluentValue<'static>>) -> Self {
        self.arguments.set(name, value);
        self
    }
}

fn bundle(lang: Lang) -> FluentBundle<FluentResource> {
    // Both tags are language tags; the default would only cost plural rules.
    let tag: LanguageIdentifier = lang.tag().parse().unwrap_or_default();
    let mut bundle = FluentBundle::new_concurrent(vec![tag]);
    // Marks around arguments are for texts of two directions; both languages have one, and what comes from outside stands in elements.
    bundle.set_use_isolating(false);
    bundle.set_formatter(Some(match lang {
        Lang::En => in_english,
        Lang::PtBr => in_portuguese,
    }));
    for source in lang.sources() {
        // A mistake in a file is found by a test; what is right in it is used all the same.
        let resource = FluentResource::try_new((*source).to_owned()).unwrap_or_else(|(resource, _errors)| resource);
        bundle.add_resource_overriding(resource);
    }
    bundle
}

fn in_english<M>(value: &FluentValue<'_>, _memoizer: &M) -> Option<String> {
    written(value, Lang::En)
}

fn in_portuguese<M>(value: &FluentValue<'_>, _memoizer: &M) -> Option<String> {
    written(value, Lang::PtBr)
}

fn written(value: &FluentValue<'_>, lang: Lang) -> Option<String> {
    match value {
        FluentValue::Number(number) => {
            let decimals = number.options.minimum_fraction_digits.unwrap_or(0);
            Some(number::decimal(number.value, decimals, lang))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_one_liked_most_of_those_there_are() {
        for (accept, lang) in [
            ("", Lang::En),
            ("*", Lang::En),
            ("pt-BR,pt;q=0.9,en;q=0.8", Lang::PtBr),
            ("pt", Lang::PtBr),
            ("PT-pt", Lang::PtBr),
            ("de, fr;q=0.9", Lang::En),
            ("de, pt;q=0.2", Lang::PtBr),
            ("en;q=0.5, pt;q=0.7", Lang::PtBr),
            ("en;q=0.7, pt;q=0.7", Lang::En),
            ("pt;q=0, en;q=0.1", Lang::En),
            ("pt;q=2", Lang::En),
            ("pt;q=nan", Lang::En),
            ("ptolemy", Lang::En),
        ] {
            assert_eq!(Lang::accepted(accept), lang, "{accept}");
        }
    }

    #[test]
    fn what_there_are_no_words_for_shows_itself() {
        assert_eq!(Lang::En.say("no-such-words"), "no-such-words");
    }
}
