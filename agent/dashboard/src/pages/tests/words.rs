//! The words of both languages: the same ids, the same arguments, every one that is used and no other, and every file without a mistake.

use std::collections::{BTreeMap, BTreeSet};

use fluent_bundle::FluentResource;

use super::markup::files;
use crate::pages::words::Lang;

/// Ids with the arguments in them.
fn ids(lang: Lang) -> BTreeMap<String, BTreeSet<String>> {
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in lang.sources() {
        let mut current = None;
        for line in source.lines() {
            let begins = line.split_once(" =").filter(|(id, _)| !id.starts_with([' ', '#', '}']));
            if let Some((id, _rest)) = begins {
                assert!(ids.insert(id.to_owned(), BTreeSet::new()).is_none(), "{id} comes twice in {}", lang.tag());
                current = Some(id.to_owned());
            }
            for argument in line.split('$').skip(1) {
                let name: String =
                    argument.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
                ids.get_mut(current.as_ref().unwrap()).unwrap().insert(name);
            }
        }
    }
    assert!(ids.len() > 100, "{}", lang.tag());
    ids
}

#[test]
fn both_languages_have_the_same_words_with_the_same_arguments() {
    assert_eq!(ids(Lang::En), ids(Lang::PtBr));
}

#[test]
fn every_file_of_words_is_without_a_mistake() {
    for lang in Lang::ALL {
        for source in lang.sources() {
            if let Err((_, errors)) = FluentResource::try_new((*source).to_owned()) {
                panic!("{}: {errors:?}", lang.tag());
            }
        }
    }
}

#[test]
fn no_file_of_words_is_left_out() {
    for lang in Lang::ALL {
        let there: BTreeSet<String> =
            files(&format!("words/{}", lang.tag()), ".ftl").into_iter().map(|(_, text)| text).collect();
        assert_eq!(there, lang.sources().iter().map(|source| (*source).to_owned()).collect());
    }
}

/// What follows a word of the program up to the next quotation mark.
fn after<'a>(text: &'a str, lead: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(lead).skip(1).filter_map(|rest| rest.split('"').next())
}

#[test]
fn every_id_that_is_used_has_words_and_all_words_are_used() {
    let known: BTreeSet<String> = ids(Lang::En).into_keys().collect();
    let sources: Vec<_> = files("templates", ".html").into_iter().chain(files("src/pages", ".rs")).collect();
    let (mut used, mut prefixes) = (BTreeSet::new(), BTreeSet::new());
    for (path, text) in &sources {
        // What tests make up comes after this.
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for lead in
            [".say(\"", ".with(\"", "Said::new(\"", "say(look, \"", "say(&shown.look, \"", "frame(\"", "_word(\""]
        {
            for id in after(text, lead) {
                assert!(known.contains(id), "{}: there are no words for '{id}'", path.display());
                used.insert(id.to_owned());
            }
        }
        for prefix in after(text, ".word(\"") {
            assert!(
                known.iter().any(|id| id.starts_with(prefix)),
                "{}: no words begin with '{prefix}'",
                path.display()
            );
            prefixes.insert(prefix.to_owned());
        }
        // Ids in tables and in arguments of templates stand between quotation marks somewhere.
        used.extend(known.iter().filter(|id| text.contains(&format!("\"{id}\""))).cloned());
    }
    let idle: Vec<_> = known
        .iter()
        .filter(|id| !used.contains(*id) && !prefixes.iter().any(|prefix| id.starts_with(prefix.as_str())))
        .collect();
    assert!(idle.is_empty(), "nobody says {idle:?}");
    for (path, text) in files("templates", ".html") {
        for call in text.split("fields::field(look, ").skip(1) {
            let label = call.split('"').nth(5).unwrap();
            assert!(known.contains(label), "{}: no words for the label '{label}'", path.display());
        }
    }
}

#[test]
fn what_is_said_by_a_part_of_its_id_is_there_for_every_part() {
    use tbi_api::access::Role;
    for lang in Lang::ALL {
        let names = Role::ALL.map(|role| format!("role-{role}")).into_iter();
        let states = ["healthy", "starting", "degraded", "failed"];
        let boxes = states.iter().flat_map(|state| [format!("state-{state}"), format!("box-is-{state}")]);
        let runs = ["preparing", "running", "passed", "failed", "not_measured", "interrupted"];
        let runs = runs.iter().map(|state| format!("run-state-{state}"));
        let themes = ["system", "light", "dark"].iter().map(|theme| format!("theme-{theme}"));
        let refusals = crate::pages::refused::WORDS.iter().map(|code| format!("refusal-{code}"));
        for id in names.chain(boxes).chain(runs).chain(themes).chain(refusals) {
            assert_ne!(lang.say(&id), id, "{}", lang.tag());
        }
    }
}

#[test]
fn numbers_choose_the_plural_and_have_the_separators_of_the_language() {
    assert!(Lang::En.with("audit-intact", "entries", 1.0).starts_with("One entry"));
    assert!(Lang::En.with("audit-intact", "entries", 12_345.0).starts_with("12,345 entries"));
    assert!(Lang::PtBr.with("audit-intact", "entries", 12_345.0).starts_with("12.345 registros"));
    assert!(Lang::PtBr.with("audit-intact", "entries", 1.0).starts_with("Um registro"));
}
