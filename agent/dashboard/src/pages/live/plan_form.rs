//! A form becomes a plan. Each field is a field of the plan and keeps what was typed; what is wrong is said at it: what is no number, length
//! or rate in the reader's language, what the plan itself refuses in the plan's words. Pure.
//!
//! What stands in the expert's text goes before what stands in the fields, so that a whole plan can be pasted.

use serde_json::{Map, Value, json};
use tbi_api::runs::Profile;
use tbi_bench::object::Object;
use tbi_bench::plan::{Plan, PlanError, PlanFile, PlanFormat, Profile as Resolved};
use tbi_bench::preflight::Bypass;
use tbi_bench::protocol::Protocol;
use tbi_bench::units::{Rate, Span};

use super::super::form::Fields;
use super::super::frame::Choice;
use super::super::look::Look;

/// What a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    /// A whole number.
    Number,
    /// A length of time.
    Span,
    Rate,
}

/// Fields with one value: name, place in the plan.
const INPUTS: [(&str, &[&str], Kind); 10] = [
    ("name", &["name"], Kind::Text),
    ("pairs", &["pairs"], Kind::Number),
    ("reference_blocks", &["reference_blocks"], Kind::Number),
    ("sustain", &["phases", "sustain"], Kind::Span),
    ("rate", &["latency", "rate"], Kind::Rate),
    ("connections", &["capacity", "connections"], Kind::Number),
    ("streams", &["capacity", "streams"], Kind::Number),
    ("transactions", &["capacity", "transactions_per_connection"], Kind::Number),
    ("personas", &["personas"], Kind::Number),
    ("seed", &["seed"], Kind::Number),
];
/// Loads, as the plan calls them.
const LOADS: [&str; 3] = ["latency", "connection_rate", "capacity"];
/// Templates, the shortest first.
const PROFILES: [Profile; 3] = [Profile::Quick, Profile::Short, Profile::Full];

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) text: String,
    /// The plan's own sentence.
    pub(super) english: bool,
}

/// A field with one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) id: &'static str,
    pub(super) value: String,
    pub(super) number: bool,
    pub(super) error: Option<Wrong>,
}

/// Several of a few.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) id: &'static str,
    pub(super) choices: Vec<Choice>,
    pub(super) error: Option<Wrong>,
}

impl Input {
    /// Name of its hint's words.
    pub(super) fn hint(&self) -> String {
        format!("{}-hint", self.id)
    }
}

impl Group {
    /// Name of its hint's words.
    pub(super) fn hint(&self) -> String {
        format!("{}-hint", self.id)
    }
}

/// The form as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Typed {
    pub(super) profiles: Vec<Choice>,
    pub(super) groups: Vec<Group>,
    pub(super) inputs: Vec<Input>,
    pub(super) expert: Input,
    pub(super) bypass: Input,
}

/// What is ordered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    pub(super) profile: Profile,
    pub(super) value: Value,
    pub(super) plan: Plan,
    pub(super) bypass: Option<String>,
}

fn word(profile: Profile) -> &'static str {
    match profile {
        Profile::Quick => "quick",
        Profile::Short => "short",
        Profile::Full => "full",
    }
}

fn resolved(profile: Profile) -> Resolved {
    match profile {
        Profile::Quick => Resolved::Quick,
        Profile::Short => Resolved::Short,
        Profile::Full => Resolved::Full,
    }
}

/// A profile by its word.
pub(super) fn profile(word_of: &str) -> Option<Profile> {
    PROFILES.into_iter().find(|profile| word(*profile) == word_of)
}

/// Values of a group, in the order of the plan's defaults and reports.
fn all_of(group: &str) -> Vec<&'static str> {
    match group {
        "protocols" => Protocol::ALL.map(Protocol::as_str).into(),
        "objects" => Object::ALL.map(Object::as_str).into(),
        _ => LOADS.into(),
    }
}

const GROUPS: [&str; 3] = ["protocols", "objects", "loads"];

fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

fn put(map: &mut Map<String, Value>, path: &[&str], value: Value) {
    match path {
        [name] => drop(map.insert((*name).to_owned(), value)),
        [name, rest @ ..] => {
            let inner = map.entry((*name).to_owned()).or_insert_with(|| json!({}));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
        [] => {}
    }
}

/// `over` on top of `base`.
fn merge(base: &mut Map<String, Value>, over: Map<String, Value>) {
    for (name, value) in over {
        match (base.get_mut(&name), value) {
            (Some(Value::Object(base)), Value::Object(over)) => merge(base, over),
            (_, value) => drop(base.insert(name, value)),
        }
    }
}

fn plain(id: &'static str, value: &str) -> Input {
    Input { id, value: value.to_owned(), number: false, error: None }
}

/// The form with what a plan says. What has no field of its own and is not as the profile has it stands in the expert's text.
pub(super) fn of_plan(plan: &Plan, profile: Profile, look: &Look) -> Typed {
    let value = serde_json::to_value(plan).unwrap_or_default();
    let usual = serde_json::to_value(Plan::of_profile(resolved(profile))).unwrap_or_default();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let inputs = INPUTS.map(|(id, path, kind)| Input {
        number: kind == Kind::Number,
        ..plain(id, &at(&value, path).map(text).unwrap_or_default())
    });
    let ticked = |group: &str, choice: &str| {
        value.get(group).and_then(Value::as_array).is_some_and(|list| list.iter().any(|it| it.as_str() == Some(choice)))
    };
    let mut rest = Map::new();
    let known = |name: &str| {
        name == "profile" || GROUPS.contains(&name) || INPUTS.iter().any(|(_, path, _)| *path == [name].as_slice())
    };
    for (name, value) in value.as_object().into_iter().flatten() {
        if !known(name) && usual.get(name) != Some(value) {
            rest.insert(name.clone(), value.clone());
        }
    }
    // Parts of these have fields, which are to count.
    for (_, path, _) in INPUTS.iter().filter(|(_, path, _)| path.len() == 2) {
        if let Some(Value::Object(part)) = rest.get_mut(path[0]) {
            part.remove(path[1]);
        }
    }
    rest.retain(|_, value| value.as_object().is_none_or(|part| !part.is_empty()));
    let expert = if rest.is_empty() { String::new() } else { serde_json::to_string_pretty(&rest).unwrap_or_default() };
    Typed {
        profiles: profiles(Some(profile), look),
        groups: GROUPS.map(|id| group(id, look, |choice| ticked(id, choice))).into(),
        inputs: inputs.into(),
        expert: plain("expert", &expert),
        bypass: plain("bypass", ""),
    }
}

fn profiles(chosen: Option<Profile>, look: &Look) -> Vec<Choice> {
    let choice = |profile| Choice {
        value: word(profile).to_owned(),
        text: look.word("plan-profile-", word(profile)).into_owned(),
        chosen: chosen == Some(profile),
    };
    PROFILES.map(choice).into()
}

fn group(id: &'static str, look: &Look, ticked: impl Fn(&str) -> bool) -> Group {
    let text = |value: &str| match id {
        "loads" => look.word("plan-load-", value).into_owned(),
        _ => value.to_owned(),
    };
    let choice = |value: &str| Choice { value: value.to_owned(), text: text(value), chosen: ticked(value) };
    Group { id, choices: all_of(id).into_iter().map(choice).collect(), error: None }
}

/// The form with what a profile says.
pub(super) fn of_profile(profile: Profile, look: &Look) -> Typed {
    of_plan(&Plan::of_profile(resolved(profile)), profile, look)
}

/// Reads a form. `None` beside it: something in it is wrong, and it says what.
pub(super) fn read(fields: &Fields, look: &Look) -> (Typed, Option<Wanted>) {
    let chosen = profile(fields.text("profile")).unwrap_or_default();
    let wrong = |id: &str| Some(Wrong { text: look.say(id).into_owned(), english: false });
    let mut built = Map::new();
    let mut inputs = Vec::new();
    for (id, path, kind) in INPUTS {
        let text = fields.text(id).trim();
        let mut input = Input { number: kind == Kind::Number, ..plain(id, text) };
        let value = match kind {
            _ if text.is_empty() => None,
            Kind::Number => {
                text.parse::<u32>().map(Value::from).map_err(|_| input.error = wrong("plan-number-wrong")).ok()
            }
            Kind::Span => {
                text.parse::<Span>().map(|_| Value::from(text)).map_err(|_| input.error = wrong("plan-span-wrong")).ok()
            }
            Kind::Rate => {
                text.parse::<Rate>().map(|_| Value::from(text)).map_err(|_| input.error = wrong("plan-rate-wrong")).ok()
            }
            Kind::Text => Some(Value::from(text)),
        };
        if let Some(value) = value {
            put(&mut built, path, value);
        }
        inputs.push(input);
    }
    let groups = GROUPS.map(|id| {
        let group = group(id, look, |choice| fields.text(&format!("{id}-{choice}")) == "yes");
        let ticked = group.choices.iter().filter(|it| it.chosen).map(|it| Value::from(it.value.as_str()));
        built.insert(id.to_owned(), ticked.collect());
        group
    });
    let mut typed = Typed {
        profiles: profiles(Some(chosen), look),
        groups: groups.into(),
        inputs,
        expert: plain("expert", fields.text("expert").trim_end()),
        bypass: plain("bypass", fields.text("bypass").trim()),
    };
    let over = match expert(&typed.expert.value) {
        Ok(over) => over,
        Err(text) => {
            typed.expert.error = Some(Wrong { text, english: true });
            return (typed, None);
        }
    };
    if !typed.bypass.value.is_empty()
        && let Err(error) = Bypass::new(&typed.bypass.value, "")
    {
        typed.bypass.error = Some(Wrong { text: error.to_string(), english: true });
    }
    if typed.inputs.iter().chain([&typed.bypass]).any(|input| input.error.is_some()) {
        return (typed, None);
    }
    let said = Value::Object(over.clone());
    merge(&mut built, over);
    let value = Value::Object(built);
    let plan = PlanFile::parse(&value.to_string(), PlanFormat::Json).and_then(|file| file.resolve(resolved(chosen)));
    match plan {
        Ok(plan) => {
            let bypass = Some(typed.bypass.value.clone()).filter(|reason| !reason.is_empty());
            (typed, Some(Wanted { profile: chosen, value, plan, bypass }))
        }
        Err(error) => {
            place(&mut typed, &said, &error);
            (typed, None)
        }
    }
}

/// The expert's text: JSON when it begins like it, otherwise TOML.
fn expert(text: &str) -> Result<Map<String, Value>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Map::new());
    }
    if text.starts_with('{') {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    toml::from_str(text).map_err(|error: toml::de::Error| error.to_string().trim().to_owned())
}

/// Puts what the plan refuses at the field it is about; at the expert's text when it stands there, or has no field.
fn place(typed: &mut Typed, expert: &Value, error: &PlanError) {
    let english = |text: String| Some(Wrong { text, english: true });
    if let PlanError::Field { field, problem } = error {
        let path: Vec<&str> = field.split('.').collect();
        let known = INPUTS.iter().find(|(_, its, _)| *its == path.as_slice()).map(|(id, _, _)| *id);
        let input = typed.inputs.iter_mut().find(|input| Some(input.id) == known);
        let group = typed.groups.iter_mut().find(|group| group.id == *field);
        let target = input.map(|input| &mut input.error).or(group.map(|group| &mut group.error));
        if let Some(target) = target.filter(|_| at(expert, &path).is_none()) {
            *target = english(problem.clone());
            return;
        }
    }
    typed.expert.error = english(error.to_string());
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn look() -> Look {
        Look::of(&http::HeaderMap::new())
    }

    /// What a browser sends of the form as it stands, with some fields typed over.
    fn sent(typed: &Typed, over: &[(&str, &str)]) -> Fields {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let chosen = typed.profiles.iter().find(|it| it.chosen).unwrap();
        let mut pairs = vec![("profile".to_owned(), chosen.value.clone())];
        pairs.extend(
            typed.inputs.iter().chain([&typed.expert, &typed.bypass]).map(|it| (it.id.to_owned(), it.value.clone())),
        );
        for group in &typed.groups {
            let ticked = group.choices.iter().filter(|it| it.chosen);
            pairs.extend(ticked.map(|it| (format!("{}-{}", group.id, it.value), "yes".to_owned())));
        }
        for (name, value) in over {
            pairs.retain(|(known, _)| known != name);
            pairs.push(((*name).to_owned(), (*value).to_owned()));
        }
        Fields::parse(form.extend_pairs(pairs).finish().as_bytes()).unwrap()
    }

    #[test]
    fn a_template_sent_as_it_is_is_that_template() {
        for profile in PROFILES {
            let typed = of_profile(profile, &look());
            assert_eq!(typed.expert.value, "");
            let (again, wanted) = read(&sent(&typed, &[]), &look());
            assert_eq!((&again, wanted.unwrap().plan), (&typed, Plan::of_profile(resolved(profile))));
        }
    }

    #[test]
    fn a_plan_of_an_earlier_run_comes_back_whole() {
        let mut plan = Plan::of_profile(Resolved::Short);
        plan.latency.max_in_flight = 77;
        plan.phases.ramp_up = Span::from_millis(300);
        plan.verify_probes = 9;
        plan.thresholds = vec!["h2 1KB time_to_first_byte cost_high <= 9.5".parse().unwrap()];
        let typed = of_plan(&plan, Profile::Short, &look());
        assert!(typed.expert.value.contains("max_in_flight"), "{}", typed.expert.value);
        assert_eq!(read(&sent(&typed, &[]), &look()).1.unwrap().plan, plan);
    }

    #[test]
    fn what_is_wrong_stands_at_its_field_and_stays() {
        let typed = of_profile(Profile::Short, &look());
        for (name, hostile) in [
            ("pairs", "many"),
            ("pairs", "0"),
            ("pairs", "99999999999"),
            ("pairs", "-1"),
            ("reference_blocks", "101"),
            ("sustain", "5"),
            ("sustain", "25h"),
            ("rate", "\"><script>"),
            ("rate", "99000000/s"),
            ("connections", "1e3"),
            ("streams", "101"),
            ("transactions", "0"),
            ("personas", "101"),
            ("seed", "1.5"),
            ("name", &"a".repeat(201)),
            ("name", "bell\u{7}"),
            ("bypass", "no"),
            ("bypass", "two\nlines of a reason"),
            ("expert", "{"),
            ("expert", "[1]"),
            ("expert", "colour = 1"),
            ("expert", "{\"pairs\": 0}"),
            ("expert", "[latency]\nrate = 5"),
            ("expert", "thresholds = [\"h1 1KB throughput on >= 1\"]"),
        ] {
            let (shown, wanted) = read(&sent(&typed, &[(name, hostile)]), &look());
            assert_eq!(wanted, None, "{name} = {hostile}");
            let inputs: Vec<_> = shown.inputs.iter().chain([&shown.expert, &shown.bypass]).collect();
            let wrong: Vec<_> = inputs.iter().filter(|input| input.error.is_some()).map(|input| input.id).collect();
            assert_eq!(wrong, [name], "{name} = {hostile}");
            assert_eq!(inputs.iter().find(|input| input.id == name).unwrap().value, hostile);
        }
        for group in GROUPS {
            let none: Vec<_> = all_of(group).into_iter().map(|it| (format!("{group}-{it}"), "no")).collect();
            let none: Vec<_> = none.iter().map(|(name, no)| (name.as_str(), *no)).collect();
            let (shown, wanted) = read(&sent(&typed, &none), &look());
            assert!(
                wanted.is_none() && shown.groups.iter().find(|it| it.id == group).unwrap().error.is_some(),
                "{group}"
            );
        }
    }

    #[test]
    fn the_experts_text_goes_before_the_fields() {
        let typed = of_profile(Profile::Short, &look());
        for text in ["{\"pairs\": 3, \"latency\": {\"max_in_flight\": 9}}", "pairs = 3\n[latency]\nmax_in_flight = 9"] {
            let plan =
                read(&sent(&typed, &[("expert", text), ("pairs", "8"), ("rate", "50/s")]), &look()).1.unwrap().plan;
            assert_eq!((plan.pairs, plan.latency.max_in_flight), (3, 9));
            assert!((plan.latency.rate.as_per_second() - 50.0).abs() < 1e-9, "the fields fill what it leaves out");
        }
    }

    #[test]
    fn every_field_has_words() {
        for id in INPUTS.map(|(id, _, _)| id).into_iter().chain(GROUPS).chain(["expert", "bypass"]) {
            for id in [format!("plan-{id}"), format!("plan-{id}-hint")] {
                assert_ne!(look().say(&id), id);
            }
        }
        for id in PROFILES
            .map(|it| format!("plan-profile-{}", word(it)))
            .into_iter()
            .chain(LOADS.map(|it| format!("plan-load-{it}")))
        {
            assert_ne!(look().say(&id), id);
        }
    }
}
