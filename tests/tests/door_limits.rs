//! The front door with the agent behind it, asked with curl: limits at their edge, restarts, repeated requests, and the audit chain that comes
//! out of it all.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tbi_api::access::Role;
use tbi_tests::child::{run, until};
use tbi_tests::door::{ADA, As, Door, Limits, SOON, Session};
use tbi_tests::program;
use tbi_tests::stand::{read, write};

const SETTINGS: &str = "/api/v1/agent/settings";
const WHOAMI: &str = "/api/v1/access/whoami";

/// Another host name, based on what is in force.
fn renamed(door: &Door, by: &Session, name: &str) -> Value {
    let mut now = door.ask(As::Session(by), "GET", SETTINGS, None).expect(200).json();
    now["settings"]["host_name"] = json!(name);
    json!({"based_on": now["version"], "settings": now["settings"]})
}

#[test]
fn door_limits_admit_exactly_as_many_as_they_say() {
    const BURST: usize = 20;
    let door = Door::start(Limits { burst: BURST as u32, sustained: 10_000 });
    // One curl, one connection: all of them within a part of the window.
    let mut curl = door.curl();
    curl.args(["--output", "/dev/null", "--write-out"]);
    curl.arg("%{http_code} %header{x-ratelimit-remaining} %header{x-ratelimit-reset} %header{retry-after}\n");
    curl.arg(format!("https://{}/health/live?n=[1-{}]", door.authority(), BURST + 1));
    let asked = run(&mut curl, SOON);
    assert_eq!(asked.code(), 0, "{}", asked.stderr);
    let lines: Vec<Vec<&str>> = asked.stdout.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(lines.len(), BURST + 1, "{}", asked.stdout);
    for (number, line) in lines[..BURST].iter().enumerate() {
        assert_eq!((line[0], line[1]), ("200", (BURST - 1 - number).to_string().as_str()), "{}", asked.stdout);
        assert_eq!(line[3], "", "who is admitted need not come again: {}", asked.stdout);
    }
    let refused = &lines[BURST];
    assert_eq!((refused[0], refused[1], refused[2]), ("429", "0", refused[3]), "{}", asked.stdout);
    let wait: u64 = refused[3].parse().unwrap();
    assert!((1..=10).contains(&wait), "a window has ten seconds: {}", asked.stdout);
    let again = door.ask(As::Nobody, "GET", "/health/live", None);
    again.assert_problem(429, "rate-limited");
    // Refused requests count for nothing, so asking all the time does not prolong it.
    until("to be admitted again", Duration::from_secs(wait) + SOON, || {
        (door.ask(As::Nobody, "GET", "/health/live", None).status == 200).then_some(())
    });
}

#[test]
fn door_limits_sessions_outlive_a_restart_of_the_door() {
    let mut door = Door::start(Limits::HIGH);
    door.wait_ready();
    let session = door.first_administrator();
    let before = door.ask(As::Session(&session), "GET", WHOAMI, None).expect(200).json();
    door.stop_door();
    door.start_door(Limits::HIGH);
    door.wait_ready();
    let after = door.ask(As::Session(&session), "GET", WHOAMI, None).expect(200).json();
    assert_eq!(after["account"], ADA);
    assert_eq!((&after["csrf"], &after["ends"]), (&before["csrf"], &before["ends"]));
    let change = renamed(&door, &session, "after-the-restart");
    let _changed = door.ask(As::Session(&session), "PUT", SETTINGS, Some(&change)).expect(200);
}

#[test]
fn door_limits_nobody_is_let_in_while_the_agent_is_away() {
    let mut door = Door::start(Limits::HIGH);
    door.wait_ready();
    let session = door.first_administrator();
    let token = door.token(&session, "vera", Role::Viewer);
    door.stop_agent();
    // What was known of a caller is kept for seconds, and then asked again.
    let refused = until("the door to notice", SOON, || {
        let answer = door.ask(As::Token(&token), "GET", WHOAMI, None);
        (answer.status != 200).then_some(answer)
    });
    refused.assert_problem(503, "accounts-unavailable");
    assert!(refused.header("retry-after").is_some_and(|wait| wait.parse::<u64>().is_ok_and(|wait| wait >= 1)));
    door.ask(As::Session(&session), "GET", WHOAMI, None).assert_problem(503, "accounts-unavailable");
    // Heartbeats notice in their own time.
    let ready = until("the door to say so", SOON, || {
        let answer = door.ask(As::Nobody, "GET", "/health/ready", None);
        (answer.status != 200).then_some(answer)
    });
    ready.assert_problem(503, "not-ready");
    let _lives = door.ask(As::Nobody, "GET", "/health/live", None).expect(200);
    door.start_agent();
    door.wait_ready();
    let _token = door.ask(As::Token(&token), "GET", WHOAMI, None).expect(200);
    let _session = door.ask(As::Session(&session), "GET", SETTINGS, None).expect(200);
}

#[test]
fn door_limits_a_repeated_key_is_done_once_and_every_change_is_in_the_chain() {
    let door = Door::start(Limits::HIGH);
    door.wait_ready();
    let session = door.first_administrator();
    let (token, other) =
        (door.token(&session, "greta", Role::Administrator), door.token(&session, "olaf", Role::Operator));
    let asker = As::Token(&token);
    let change = renamed(&door, &session, "bench-7");
    let put = |key: &str, id: &str, body: &Value| {
        let fields = [format!("Idempotency-Key: {key}"), format!("X-Correlation-Id: {id}")];
        door.ask_with(asker, "PUT", SETTINGS, &[&fields[0], &fields[1]], Some(body))
    };
    let first = put("key-1", "first", &change).expect(200);
    assert_eq!(first.header("idempotent-replayed"), None);
    // Done a second time it would be refused: it is based on a version that is gone.
    let second = put("key-1", "second", &change).expect(200);
    assert_eq!((second.header("idempotent-replayed"), &second.body), (Some("true"), &first.body));
    let another = renamed(&door, &session, "bench-8");
    put("key-1", "third", &another).assert_problem(422, "idempotency-key-reused");
    put("key-2", "fourth", &change).assert_problem(409, "settings-changed");
    let stored = door.ask(asker, "GET", SETTINGS, None).expect(200).json();
    assert_eq!((&stored["settings"]["host_name"], &stored["version"]), (&json!("bench-7"), &first.json()["version"]));
    door.ask(As::Token(&other), "PUT", SETTINGS, Some(&another)).assert_problem(403, "not-permitted");

    let entries = |filter: &str| {
        let path = format!("/api/v1/agent/audit?{filter}");
        door.ask(asker, "GET", &path, None).expect(200).json().as_array().unwrap().clone()
    };
    let changed = entries("correlation=first");
    assert_eq!(changed.len(), 1, "{changed:?}");
    let entry = &changed[0];
    for (field, value) in [
        ("actor", "greta"),
        ("role", "administrator"),
        ("source", "local"),
        ("action", "settings.change"),
        ("target", "/v1/settings"),
        ("outcome", "done"),
    ] {
        assert_eq!(entry[field], value, "{entry}");
    }
    // The text that is signed.
    let detail: Value = serde_json::from_str(entry["detail"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&detail["before"]["host_name"], &detail["after"]["host_name"]),
        (&json!(""), &json!("bench-7")),
        "{entry}"
    );
    assert!(entries("correlation=second").is_empty(), "a replayed answer changed nothing");
    assert_eq!(entries("correlation=fourth")[0]["outcome"], "refused");
    // Also those that are about people.
    let made = entries(&format!("actor={ADA}"));
    let made = made.iter().find(|entry| entry["action"] == "account.create" && entry["target"] == "olaf");
    assert!(made.is_some_and(|entry| entry["role"] == "administrator" && entry["source"] == "local"), "{made:?}");

    proven(&door, &token);
}

/// Takes the chain along and proves it without the box; then spoils it.
fn proven(door: &Door, token: &str) {
    let identity = door.ask(As::Token(token), "GET", "/api/v1/agent/identity", None).expect(200).json();
    write(&door.path("box.crt"), identity["certificate_pem"].as_str().unwrap());
    let export = door.ask(As::Token(token), "GET", "/api/v1/agent/audit/export", None).expect(200).body;
    let verify = |text: &str| {
        let file = door.path("audit.jsonl");
        write(&file, text);
        let mut verify = Command::new(program("tbi-agent"));
        verify.args(["audit", "verify", "--certificate"]).arg(door.path("box.crt")).arg(file);
        run(&mut verify, SOON)
    };
    let good = verify(&export);
    assert_eq!(good.code(), 0, "{}", good.stderr);
    good.assert_says(&["intact: ", "that certificate's"]);
    assert_eq!(read(&door.path("audit.jsonl")), export);
    let lines = export.lines().count();
    assert!(lines > 5, "{export}");
    // One byte of one entry in the middle: another letter of who did it.
    let (at, letter) = (export.find("greta").unwrap(), "h");
    let mut flipped = export.clone();
    flipped.replace_range(at..=at, letter);
    // The last line is the signed end; without it, and with half of it, the file is cut.
    let end = export.trim_end().rfind('\n').unwrap() + 1;
    let missing_entry: String =
        export.lines().enumerate().filter(|(n, _)| *n != lines / 2).map(|(_, line)| format!("{line}\n")).collect();
    for (what, spoiled) in [
        ("one byte flipped", flipped.as_str()),
        ("cut at its end", &export[..end]),
        ("cut in its end", &export[..(end + export.len()) / 2]),
        ("an entry left out", &missing_entry),
    ] {
        let bad = verify(spoiled);
        assert_eq!(bad.code(), 1, "{what}: {}{}", bad.stdout, bad.stderr);
        bad.assert_says(&["not intact: "]);
    }
}
