//! The bench's pages as readers have them, and what they say when the agent says strange things or nothing.

use axum::extract::State;
use axum::response::IntoResponse as _;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use http::StatusCode;
use serde_json::json;
use tbi_api::bench::{Ca, Count, Dut, Evidence, Examination, Link, Links, Persona, Personas, Phase};
use tbi_api::hardware::{Cpu, Hardware, Verdict};
use tbi_api::history::{History, Spread, Step};
use tbi_api::isp::{Check, Isp, Router as Kind};
use tbi_bench::control::personas::{KeyKind, SiteCertificate};
use tbi_bench::control::practice_dut::{Behaviour, Counters, Identity, TcpPolicy};
use tbi_bench::preflight::{self, CheckName, Finding};
use tbi_bench::protocol::{Arm, Protocol};
use tbi_bench::record::ProofRow;
use tbi_daemon::ApiError;

use super::agent::Shared;
use super::hostile::shown;
use super::markup::well_made;
use super::{Browser, Stand};

/// What the agent says of the bench.
pub(super) struct Told {
    pub(super) examination: Examination,
    personas: Personas,
    dut: Dut,
    links: Links,
    evidence: Evidence,
    history: History,
    topology: String,
    config_boot: String,
    check: Check,
    /// A sentence that refuses the next change or check.
    refuse: Option<&'static str>,
    sent: Vec<String>,
}

fn persona(id: &str, country: &str) -> Persona {
    Persona {
        id: id.to_owned(),
        country: country.to_owned(),
        country_name: country.to_uppercase(),
        kind: "bank".to_owned(),
        server_name: format!("{id}.persona.tlsstress.art"),
        addresses: vec!["200.160.4.10".to_owned(), "2001:12ff::a".to_owned()],
        vlan: 101,
        certificate: Some(SiteCertificate {
            persona: id.to_owned(),
            subject: format!("CN={id}"),
            issuer: "CN=Persona CA".to_owned(),
            key: KeyKind::EcdsaP256,
            not_before: 1_700_000_000,
            not_after: 1_800_000_000,
            sha256: "ab".repeat(32),
        }),
    }
}

impl Default for Told {
    fn default() -> Self {
        let spread = |mean: f64| Some(Spread { mean, max: mean * 2.0 });
        let step = Step {
            samples: 15,
            run_minutes: 2,
            cpu_percent: spread(25.0),
            memory_bytes: spread(1e9),
            ..Step::default()
        };
        Self {
            examination: Examination::default(),
            personas: Personas {
                personas: vec![persona("br-bank", "br"), persona("us-video", "us")],
                ca: Some(Ca { sha256: "cd".repeat(32), not_after: 1_900_000_000 }),
                sentence: String::new(),
            },
            dut: Dut::Practice {
                identity: Some(Identity {
                    vendor: "TLSStress.Art".to_owned(),
                    model: "practice".to_owned(),
                    version: "1".to_owned(),
                    ca_sha256: "ef".repeat(32),
                    ca_not_after: 1_900_000_000,
                }),
                behaviour: Some(Behaviour { tcp: TcpPolicy::Decrypt, ..Behaviour::default() }),
                counters: Some(Counters { tcp_decrypted: 12_345, ..Counters::default() }),
                sentence: String::new(),
            },
            links: Links {
                links: vec![Link {
                    name: "ens3".to_owned(),
                    role: "management".to_owned(),
                    mac: "52:54:00:00:00:03".to_owned(),
                    carrier: true,
                    speed_mbps: Some(25_000),
                    received: Count { bytes: 1_500_000, packets: 2000, errors: 1, dropped: 2 },
                    sent: Count::default(),
                }],
                management_sentence: String::new(),
                trunk_sentence: None,
            },
            evidence: Evidence {
                run: Some("20260131T230000Z".to_owned()),
                ended: "2026-01-31T23:20:00Z".to_owned(),
                valid: true,
                proof: vec![ProofRow {
                    protocol: Protocol::H2,
                    arm: Arm::On,
                    intercepted: 9_876,
                    end_to_end: 0,
                    altered: 0,
                    unknown: 0,
                    as_expected: true,
                    issuer_dut_ca: 9_876,
                    issuer_persona_ca: 0,
                }],
                numbers: 21,
                limited: vec!["h2 1 kB throughput: bench-limited".to_owned()],
            },
            history: History {
                from: 1_700_000_000,
                step: 900,
                steps: vec![step.clone(), Step::default(), step],
                sentence: String::new(),
            },
            topology: "version: 1\n".to_owned(),
            config_boot: "interfaces {\n    lo\n}\n".to_owned(),
            check: Check { routes: vec!["set protocols static route 10.0.0.0/8".to_owned()], interfaces: Vec::new() },
            refuse: None,
            sent: Vec::new(),
        }
    }
}

fn with<T>(told: &Shared, look: impl FnOnce(&mut Told) -> T) -> T {
    look(&mut super::agent::locked(told).bench)
}

/// The agent's operations about the bench.
pub(super) fn routes() -> Router<Shared> {
    let refusal = |code, detail: &str| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail).into_response();
    Router::new()
        .route(
            "/v1/preflight",
            get(|State(told): State<Shared>| async move { Json(with(&told, |it| it.examination.clone())) })
                .post(|State(told): State<Shared>, body: String| async move {
                    with(&told, |it| {
                        it.sent.push(body);
                        match it.refuse {
                            Some(sentence) => {
                                ApiError::new(StatusCode::CONFLICT, "run-under-way", sentence).into_response()
                            }
                            None => (StatusCode::ACCEPTED, Json(it.examination.clone())).into_response(),
                        }
                    })
                })
                .delete(|State(told): State<Shared>| async move {
                    with(&told, |it| {
                        if it.examination.phase.is_going() {
                            it.examination.phase = Phase::Cancelled;
                            (StatusCode::ACCEPTED, Json(it.examination.clone())).into_response()
                        } else {
                            ApiError::new(StatusCode::CONFLICT, "no-checks-under-way", "none").into_response()
                        }
                    })
                }),
        )
        .route(
            "/v1/personas",
            get(|State(told): State<Shared>| async move { Json(with(&told, |it| it.personas.clone())) }),
        )
        .route("/v1/dut", get(|State(told): State<Shared>| async move { Json(with(&told, |it| it.dut.clone())) }))
        .route("/v1/links", get(|State(told): State<Shared>| async move { Json(with(&told, |it| it.links.clone())) }))
        .route(
            "/v1/evidence",
            get(|State(told): State<Shared>| async move { Json(with(&told, |it| it.evidence.clone())) }),
        )
        .route(
            "/v1/history",
            get(|State(told): State<Shared>| async move { Json(with(&told, |it| it.history.clone())) }),
        )
        .route("/v1/isp", get(|| async { Json(Isp { router: Kind::Frr, root: None }) }))
        .route(
            "/v1/isp/config.boot",
            get(|State(told): State<Shared>| async move { with(&told, |it| it.config_boot.clone()) }),
        )
        .route(
            "/v1/isp/config.boot/check",
            post(move |State(told): State<Shared>, body: String| async move {
                with(&told, |it| {
                    it.sent.push(body);
                    match it.refuse {
                        Some(sentence) => refusal("config-boot-refused", sentence),
                        None => Json(it.check.clone()).into_response(),
                    }
                })
            }),
        )
        .route(
            "/v1/topology",
            put(move |State(told): State<Shared>, body: String| async move {
                with(&told, |it| {
                    it.sent.push(body);
                    match it.refuse {
                        Some(sentence) => refusal("topology-refused", sentence),
                        None => Json(json!({"yaml": it.topology})).into_response(),
                    }
                })
            })
            .get(|State(told): State<Shared>| async move {
                Json(json!({"yaml": with(&told, |it| it.topology.clone())}))
            }),
        )
}

fn hardware() -> Hardware {
    Hardware {
        machine: "QEMU".to_owned(),
        virtualisation: None,
        cpu: Cpu { model: "Some CPU".to_owned(), threads: 16, aes_ni: true, avx2: true, avx512: false, vaes: false },
        memory_bytes: 64 << 30,
        nics: Vec::new(),
        disks: Vec::new(),
        tpm: None,
        verdict: Verdict {
            handshakes_per_second: 48_000,
            throughput_mbps: 20_000,
            sentences: vec!["The trunk gives out first.".to_owned()],
        },
    }
}

const PATHS: [&str; 11] = [
    "/preflight",
    "/personas",
    "/personas?country=br",
    "/personas?country=xx",
    "/agents",
    "/dut",
    "/network",
    "/network/topology",
    "/network/config-boot",
    "/history?span=week",
    "/observability",
];

#[tokio::test]
async fn every_page_of_the_bench_is_well_made_in_both_languages() {
    let stand = Stand::start().await;
    let clock = preflight::Check::new(CheckName::Clock, Finding::failed("it is 1970", "set it"), 840);
    for phase in [Phase::Never, Phase::Checking, Phase::Done, Phase::Cancelled] {
        stand.agent.change(|told| {
            let checks = vec![clock.clone()];
            told.bench.examination = Examination { phase, checks, open: Some(false), ..Examination::default() };
        });
        for language in ["en", "pt-BR"] {
            let mut anna = Browser::log_in(&stand, "anna").await;
            anna.language = language;
            for path in PATHS {
                let page = anna.get(&stand, path).await;
                well_made(path, &page);
                page.has(&format!("<html lang=\"{language}\""));
            }
        }
    }
    stand.stop().await;
}

#[tokio::test]
async fn pages_of_the_bench_say_what_there_is() {
    let stand = Stand::start().await;
    let mut vera = Browser::log_in(&stand, "vera").await;
    vera.get(&stand, "/preflight")
        .await
        .is(200)
        .has("were not made since the agent started")
        .has_not("Make the checks now<");
    let personas = vera.get(&stand, "/personas").await.is(200);
    personas.has("br-bank").has("us-video").has("ECDSA P-256").has("personas/ca.pem").has(&"cd".repeat(32));
    vera.get(&stand, "/personas?country=br").await.is(200).has("br-bank").has_not("us-video.persona");
    vera.get(&stand, "/personas?country=xx")
        .await
        .is(422)
        .has("There are no personas in this country")
        .has("us-video.persona");
    stand.agent.change(|told| told.rooms.hardware = hardware());
    let agents = vera.get(&stand, "/agents").await.is(200).has("16 × Some CPU").has("48,000 / s").has("20,000 Mbit/s");
    agents.has("The trunk gives out first.").has("bench-limited").has("1 / 21");
    vera.get(&stand, "/dut").await.is(200).has("12,345").has("decrypted and encrypted again").has("9,876");
    let network =
        vera.get(&stand, "/network").await.is(200).has("52:54:00:00:00:03").has("25,000 Mbit/s").has("1.5 MB");
    network.has("No trunk is chosen").has("version: 1").has_not("/network/topology");
    stand.agent.change(|told| {
        told.bench.dut =
            Dut::Trunk { mac: "52:54:00:00:00:04".to_owned(), sentence: "The trunk ens4 has no link.".to_owned() };
        told.bench.evidence = Evidence::default();
    });
    vera.get(&stand, "/dut")
        .await
        .is(200)
        .has("The trunk ens4 has no link.")
        .has("There is no record of a measurement yet");
    vera.get(&stand, "/agents").await.is(200).has("There is no record of a measurement yet");
    stand.stop().await;
}

#[tokio::test]
async fn time_without_samples_is_a_gap_in_the_history() {
    let stand = Stand::start().await;
    let mut vera = Browser::log_in(&stand, "vera").await;
    let page = vera.get(&stand, "/history").await.is(200).has("nothing was sampled").has("agent down: 15 min");
    assert_eq!(page.body.matches("<svg").count(), 4, "two charts and a key to each");
    assert!(page.body.contains("role=\"img\" aria-label=\"Processors (%). Highest minute: 50.0 %\""), "{}", page.body);
    vera.get(&stand, "/history?span=century").await.is(422).has("There is no such time");
    stand.agent.change(|told| told.bench.history.steps = vec![Step::default(); 3]);
    vera.get(&stand, "/history")
        .await
        .is(200)
        .has("Nothing was sampled in this time yet")
        .has_not("<svg viewBox=\"0 0 960");
    stand.stop().await;
}

#[tokio::test]
async fn checks_are_ordered_by_operators_and_a_busy_bench_says_why() {
    let stand = Stand::start().await;
    let mut olaf = Browser::log_in(&stand, "olaf").await;
    let token = olaf.get(&stand, "/preflight").await.is(200).token();
    let fields = [("csrf", token.as_str()), ("profile", "quick")];
    olaf.post(&stand, "/preflight/begin", &fields).await.leads_to("/preflight");
    stand.agent.change(|told| assert_eq!(told.bench.sent, ["{\"profile\":\"quick\"}"]));
    let wrong = [("csrf", token.as_str()), ("profile", "endless")];
    olaf.post(&stand, "/preflight/begin", &wrong).await.is(422).has("There is no such plan").has("profile-error");
    stand.agent.change(|told| told.bench.refuse = Some("run 7 is under way; wait"));
    olaf.post(&stand, "/preflight/begin", &fields)
        .await
        .is(422)
        .has("The checks were not begun")
        .has("run 7 is under way");
    let mut vera = Browser::log_in(&stand, "vera").await;
    let token = vera.get(&stand, "/").await.token();
    vera.post(&stand, "/preflight/begin", &[("csrf", token.as_str()), ("profile", "quick")]).await.is(403);
    stand.stop().await;
}

#[tokio::test]
async fn checks_under_way_say_how_long_and_are_cancelled() {
    let stand = Stand::start().await;
    stand.agent.change(|told| {
        told.bench.examination =
            Examination { phase: Phase::Preparing, elapsed_ms: 4_000, remaining_ms: Some(61_000), ..Default::default() }
    });
    let mut olaf = Browser::log_in(&stand, "olaf").await;
    let page = olaf.get(&stand, "/preflight").await.is(200).has("4.0 s").has("1 min").has("Cancel the checks");
    let token = page.token();
    stand.agent.change(|told| told.bench.examination.remaining_ms = None);
    olaf.get(&stand, "/preflight").await.is(200).has("not known before");
    let mut vera = Browser::log_in(&stand, "vera").await;
    let of_vera = vera.get(&stand, "/preflight").await.is(200).has_not("Cancel the checks");
    drop(of_vera);
    let token_of_vera = vera.get(&stand, "/").await.token();
    vera.post(&stand, "/preflight/cancel", &[("csrf", token_of_vera.as_str())]).await.is(403);
    let fields = [("csrf", token.as_str())];
    olaf.post(&stand, "/preflight/cancel", &fields).await.leads_to("/preflight");
    olaf.get(&stand, "/preflight").await.is(200).has("The checks were cancelled").has_not("Cancel the checks");
    // Pressed once more, or after they ended: nothing is wrong.
    olaf.post(&stand, "/preflight/cancel", &fields).await.leads_to("/preflight");
    stand.stop().await;
}

#[tokio::test]
async fn a_topology_that_cannot_be_built_comes_back_with_the_sentence_at_its_field() {
    let stand = Stand::start().await;
    let mut anna = Browser::log_in(&stand, "anna").await;
    let token = anna.get(&stand, "/network/topology").await.is(200).has("version: 1").token();
    let typed = "version: 9\r\nx: </textarea><script>alert(1)</script>\r\n";
    stand.agent.change(|told| told.bench.refuse = Some("version 9 is not known; write 1"));
    let page = anna.post(&stand, "/network/topology", &[("csrf", token.as_str()), ("yaml", typed)]).await.is(422);
    let page = page.has("id=\"yaml-error\"").has("version 9 is not known; write 1").has("aria-invalid=\"true\"");
    well_made("/network/topology", &page);
    shown(&page);
    page.has("version: 9\nx: &#60;/textarea&#62;&#60;script&#62;");
    anna.post(&stand, "/network/topology", &[("csrf", token.as_str()), ("yaml", " ")])
        .await
        .is(422)
        .has("This is empty");
    stand.agent.change(|told| (told.bench.refuse, told.bench.sent) = (None, Vec::new()));
    anna.post(&stand, "/network/topology", &[("csrf", token.as_str()), ("yaml", "version: 1\r\n")])
        .await
        .leads_to("/network");
    stand
        .agent
        .change(|told| assert_eq!(told.bench.sent, ["{\"yaml\":\"version: 1\\n\"}"], "lines end as files have them"));
    for (name, may) in [("olaf", false), ("aura", false)] {
        let mut browser = Browser::log_in(&stand, name).await;
        assert_eq!(browser.get(&stand, "/network/topology").await.status == StatusCode::OK, may, "{name}");
    }
    stand.stop().await;
}

#[tokio::test]
async fn a_config_boot_is_judged_and_compared_before_anybody_uses_it() {
    let stand = Stand::start().await;
    let mut olaf = Browser::log_in(&stand, "olaf").await;
    let token = olaf.get(&stand, "/network/config-boot").await.is(200).token();
    let own = "interfaces {\r\n    eth0\r\n}\r\n";
    let page = olaf.post(&stand, "/network/config-boot", &[("csrf", token.as_str()), ("text", own)]).await.is(200);
    well_made("/network/config-boot", &page);
    let page = page.has("set protocols static route 10.0.0.0/8").has("<span class=\"line-less\">-     lo</span>");
    page.has("<span class=\"line-more\">+     eth0</span>");
    // Larger than any other form may be.
    let large = "x {\n}\n".repeat(20_000);
    olaf.post(&stand, "/network/config-boot", &[("csrf", token.as_str()), ("text", large.as_str())]).await.is(200);
    stand.agent.change(|told| told.bench.refuse = Some("line 1: a brace is missing"));
    let page = olaf.post(&stand, "/network/config-boot", &[("csrf", token.as_str()), ("text", "x {")]).await.is(422);
    page.has("line 1: a brace is missing").has("id=\"text-error\"").has("x {</textarea>");
    olaf.post(&stand, "/network/config-boot", &[("csrf", token.as_str()), ("text", "")])
        .await
        .is(422)
        .has("This is empty");
    stand.stop().await;
}

#[tokio::test]
async fn hostile_words_of_the_bench_stay_words() {
    const HOSTILE: &str =
        "\"'></title></textarea></svg>--><script>alert(1)</script><img src=x onerror=alert(1)>\u{202e}";
    let stand = Stand::start().await;
    stand.agent.change(|told| {
        let bench = &mut told.bench;
        let check = preflight::Check::new(CheckName::DecryptMode, Finding::failed(HOSTILE, HOSTILE), 1);
        bench.examination = Examination {
            phase: Phase::Done,
            started: HOSTILE.to_owned(),
            checks: vec![check],
            ..Examination::default()
        };
        bench.personas.sentence = HOSTILE.to_owned();
        bench.personas.ca = None;
        let persona = &mut bench.personas.personas[0];
        (persona.id, persona.country_name, persona.server_name) = (HOSTILE.into(), HOSTILE.into(), HOSTILE.into());
        let certificate = persona.certificate.as_mut().unwrap();
        (certificate.subject, certificate.issuer) = (HOSTILE.to_owned(), HOSTILE.to_owned());
        bench.dut = Dut::Trunk { mac: HOSTILE.to_owned(), sentence: HOSTILE.to_owned() };
        bench.evidence.run = Some(HOSTILE.to_owned());
        bench.evidence.limited = vec![HOSTILE.to_owned()];
        bench.links.links[0].name = HOSTILE.to_owned();
        bench.links.trunk_sentence = Some(HOSTILE.to_owned());
        bench.topology = HOSTILE.to_owned();
        bench.config_boot = HOSTILE.to_owned();
        bench.history.sentence = HOSTILE.to_owned();
    });
    let mut anna = Browser::log_in(&stand, "anna").await;
    for path in ["/preflight", "/personas", "/agents", "/dut", "/network", "/network/topology", "/history"] {
        shown(&anna.get(&stand, path).await.is(200));
    }
    stand.stop().await;
}

#[tokio::test]
async fn pages_of_the_bench_stand_while_the_agent_is_down() {
    let mut stand = Stand::start().await;
    let mut anna = Browser::log_in(&stand, "anna").await;
    let token = anna.get(&stand, "/network/topology").await.token();
    stand.agent.stop().await;
    for path in PATHS {
        let page = anna.get(&stand, path).await.is(200).has("The agent of this box does not answer");
        assert_eq!(page.body.matches("class=\"banner\"").count(), 1, "{path}: it is said once");
    }
    let fields = [("csrf", token.as_str()), ("yaml", "typed: with care")];
    anna.post(&stand, "/network/topology", &fields).await.is(422).has("typed: with care").has("does not answer");
    stand.stop().await;
}
