//! Licences, usage, and the machine: what is shown, and what is ordered of the agent.

use serde_json::json;
use tbi_api::runs::RunState;

use super::super::agent::run;
use super::{Browser, Stand, proven, send};

#[tokio::test]
async fn licences_and_usage_are_shown_to_all_and_changed_by_administrators() {
    let stand = Stand::start().await;
    let mut vera = Browser::log_in(&stand, "vera").await;
    let page = vera.get(&stand, "/licence").await.is(200).has("98,800 TSU").has("L-1.a").has("in its days of grace");
    let page = page.has("Example Ltd").has("<td class=\"number\">100,000</td>").has("14 d").has("usage.example.net");
    page.has("<dd>1,204</dd>")
        .has("<dd>4</dd>")
        .has("<dd>3</dd>")
        .has_not("/licence/install")
        .has_not("/licence/report");
    let mut anna = Browser::log_in(&stand, "anna").await;
    let page = anna.get(&stand, "/licence").await.is(200).has("/licence/install").has("Report now");
    let token = page.has("href=\"/licence/remove/L-1.a\"").token();
    send(&mut anna, &stand, &token, "/licence/report", &[]).await.leads_to("/licence?reported=yes");
    anna.get(&stand, "/licence?reported=yes").await.has("The report is under way");
    stand.agent.change(|told| {
        told.rooms.licences.installed.clear();
        told.rooms.licences.enforced = false;
        told.rooms.usage.url = None;
        told.rooms.usage.sentence = "the spool is broken; restart".to_owned();
    });
    let page = anna.get(&stand, "/licence").await.has("No licence is installed").has("developer envelope");
    page.has("nowhere").has("the spool is broken").has_not("Report now");
    stand.stop().await;
}

#[tokio::test]
async fn a_licence_is_installed_and_the_reason_of_a_refusal_stands_at_the_field() {
    const PATH: &str = "/licence/install";
    let stand = Stand::start().await;
    let (mut anna, token) = proven(&stand, "anna").await;
    anna.get(&stand, PATH).await.is(200);
    send(&mut anna, &stand, &token, PATH, &[("document", " \n")]).await.is(422).has("id=\"document-error\"");
    let sentence = "the signature is of no known issuer; ask for the file again <b>";
    stand.agent.change(|told| told.rooms.refuse = Some((422, "licence-refused", sentence.to_owned())));
    let huge = format!("{{\"a\": \"{}\"}}", "x".repeat(30_000));
    for document in ["not json", "</textarea><script>alert(1)</script>", &huge] {
        let page = send(&mut anna, &stand, &token, PATH, &[("document", document)]).await.is(422);
        let page = page.has("id=\"document-error\"").has("no known issuer").has_not("<b>").has_not("<script>alert");
        page.has(&document.replace('<', "&#60;").replace('>', "&#62;").replace('"', "&#34;"));
    }
    send(&mut anna, &stand, &token, PATH, &[("document", &"x".repeat(80_000))]).await.is(413);
    stand.agent.change(|told| told.rooms.refuse = Some((409, "licence-exists", "it exists".to_owned())));
    send(&mut anna, &stand, &token, PATH, &[("document", "{}")]).await.is(422).has("Another licence with this id");
    stand.agent.change(|told| told.rooms.refuse = Some((507, "state-not-writable", "the disk is full".to_owned())));
    send(&mut anna, &stand, &token, PATH, &[("document", "{}")]).await.is(507).has("the disk is full");
    stand.agent.change(|told| told.rooms.refuse = None);
    send(&mut anna, &stand, &token, PATH, &[("document", "{\"format\":1}")]).await.leads_to("/licence");
    stand.agent.change(|told| {
        assert_eq!(told.rooms.ordered.last().unwrap(), &("install", json!({ "document": "{\"format\":1}" })));
    });
    stand.stop().await;
}

#[tokio::test]
async fn a_licence_is_removed_with_a_reason_that_reaches_the_agent() {
    const PATH: &str = "/licence/remove/L-1.a";
    let stand = Stand::start().await;
    let (mut anna, token) = proven(&stand, "anna").await;
    anna.get(&stand, PATH).await.is(200).has("<bdi>L-1.a</bdi>").has(&format!("action=\"{PATH}\""));
    anna.get(&stand, "/licence/remove/other").await.is(404);
    let page = send(&mut anna, &stand, &token, PATH, &[("reason", "a\nb")]).await.is(422).has("id=\"reason-error\"");
    page.has("L-1.a");
    send(&mut anna, &stand, &token, PATH, &[("reason", "contrato & acabou ç")]).await.leads_to("/licence");
    stand.agent.change(|told| {
        let wanted = json!({ "id": "L-1.a", "reason": "contrato & acabou ç" });
        assert_eq!(told.rooms.ordered, [("remove", wanted)]);
    });
    stand.stop().await;
}

#[tokio::test]
async fn settings_of_licence_and_usage_change_nothing_else_and_two_administrators_do_not_undo_each_other() {
    const PATH: &str = "/licence/settings";
    let stand = Stand::start().await;
    let (mut anna, token) = proven(&stand, "anna").await;
    let page = anna.get(&stand, PATH).await.is(200).has("name=\"version\" value=\"7\"");
    page.has("value=\"https://usage.example.net\"");
    for version in ["6", "", "x", "-1"] {
        let fields = [("version", version), ("enforce", "yes"), ("url", "https://mine.example"), ("ca_pem", "PEM")];
        let page = send(&mut anna, &stand, &token, PATH, &fields).await.is(422).has("Somebody else changed");
        page.has("value=\"https://mine.example\"").has(">\nPEM</textarea>");
    }
    for (sentence, field) in [
        ("usage.url has a path; give https://HOST", "url"),
        ("usage.url is given without usage.ca_pem; give it", "ca_pem"),
        ("usage.ca_pem holds no certificate; give one", "ca_pem"),
    ] {
        stand.agent.change(|told| told.rooms.refuse = Some((422, "settings-refused", sentence.to_owned())));
        let fields =
            [("version", "7"), ("enforce", "no"), ("url", "<i>&\""), ("ca_pem", "-----BEGIN PRIVATE KEY-----x")];
        let page = send(&mut anna, &stand, &token, PATH, &fields).await.is(422).has(&format!("id=\"{field}-error\""));
        page.has(sentence).has_not("<i>").has_not("PRIVATE KEY-----x");
    }
    stand.agent.change(|told| {
        told.rooms.refuse = None;
        told.rooms.ordered.clear();
    });
    let fields = [("version", "7"), ("enforce", "yes"), ("url", " "), ("ca_pem", "")];
    send(&mut anna, &stand, &token, PATH, &fields).await.leads_to("/licence");
    stand.agent.change(|told| {
        let settings = &told.rooms.snapshot.settings;
        assert!(settings.licence.enforce && settings.usage.url.is_none() && settings.usage.ca_pem.is_none());
        assert_eq!((settings.host_name.as_str(), settings.ntp_servers.len()), ("tbi-c0ffee", 1));
    });
    stand.stop().await;
}

#[tokio::test]
async fn the_machine_goes_down_only_for_an_administrator_with_a_reason() {
    const PATH: &str = "/system";
    let stand = Stand::start().await;
    Browser::log_in(&stand, "olaf").await.get(&stand, PATH).await.is(403);
    stand.agent.change(|told| told.status.run = Some(run("20260131T230000Z", "short", RunState::Running)));
    let (mut anna, token) = proven(&stand, "anna").await;
    anna.get(&stand, PATH).await.is(200).has("Restarted by anna.").has("A run is under way").has("<bdi>short</bdi>");
    let huge = "a".repeat(201);
    for (what, reason, field) in [
        ("reboot", "", "reason"),
        ("reboot", huge.as_str(), "reason"),
        ("explode", "because", "what"),
        ("", "because", "what"),
    ] {
        let fields = [("what", what), ("reason", reason)];
        let page = send(&mut anna, &stand, &token, PATH, &fields).await.is(422);
        page.has(&format!("id=\"{field}-error\"")).has(&format!("value=\"{reason}\""));
    }
    stand.agent.change(|told| assert!(told.rooms.ordered.is_empty(), "nothing wrong reached the agent"));
    stand.agent.change(|told| told.rooms.refuse = Some((503, "power-refused", "an update is under way".to_owned())));
    let fields = [("what", "power-off"), ("reason", "moved to rack 7")];
    send(&mut anna, &stand, &token, PATH, &fields).await.is(422).has("an update is under way").has("rack 7");
    stand.agent.change(|told| told.rooms.refuse = None);
    send(&mut anna, &stand, &token, PATH, &fields).await.leads_to("/system?ordered=power-off");
    anna.get(&stand, "/system?ordered=power-off").await.is(200).has("The box is switched off");
    anna.get(&stand, "/system?ordered=%3Cscript%3E").await.is(200).has_not("system-ordered");
    stand.agent.change(|told| {
        let wanted = json!({ "action": "power_off", "reason": "moved to rack 7" });
        assert_eq!(told.rooms.ordered.last().unwrap(), &("power", wanted));
    });
    stand.stop().await;
}
