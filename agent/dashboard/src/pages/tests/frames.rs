//! What is around every page: language, colours and zone, the navigation each role has, refusals, headers, budgets.

use http::header::{self, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::Full;

use super::{Browser, Page, Stand};

/// Whether the navigation of a page leads to a path.
fn leads_to(page: &Page, path: &str) -> bool {
    let navigation = page.body.split_once("<nav class=\"side\"").and_then(|(_, rest)| rest.split_once("</nav>"));
    navigation.is_some_and(|(navigation, _)| navigation.contains(&format!("<a href=\"{path}\"")))
}

#[tokio::test]
async fn language_colours_and_zone_are_the_readers() {
    let stand = Stand::start().await;
    let mut browser = Browser { language: "pt-BR,pt;q=0.9", ..Browser::default() };
    browser.get(&stand, "/login").await.is(200).has("<html lang=\"pt-BR\">").has("Entrar");
    let fields = [("language", "en"), ("theme", "dark"), ("zone", "America/Sao_Paulo"), ("next", "/login")];
    browser.post(&stand, "/preferences", &fields).await.leads_to("/login");
    let page = browser.get(&stand, "/login").await.is(200);
    page.has("<html lang=\"en\" data-theme=\"dark\">").has("America/Sao_Paulo\" selected").has("content=\"dark\"");
    let fields = [("language", "tlh"), ("theme", "<script>"), ("zone", "Mars/Olympus"), ("next", "/login")];
    browser.post(&stand, "/preferences", &fields).await.leads_to("/login");
    browser.get(&stand, "/login").await.has("<html lang=\"en\" data-theme=\"dark\">");
    browser.get(&stand, "/preferences").await.is(200).has("value=\"Pacific/Chatham\"");
    stand.stop().await;
}

#[tokio::test]
async fn each_role_has_the_pages_it_may_see_and_a_page_says_which_role_it_takes() {
    let stand = Stand::start().await;
    for (name, may) in [("anna", true), ("olaf", false), ("vera", false), ("aura", true)] {
        let mut browser = Browser::log_in(&stand, name).await;
        let page = browser.get(&stand, "/").await.is(200);
        for path in ["/audit", "/users"] {
            assert_eq!(leads_to(&page, path), may, "{name} {path}");
            let there = browser.get(&stand, path).await;
            if may {
                there.is(200);
            } else {
                let there = there.is(403).has("This page takes the role administrator or auditor").has(name);
                assert!(leads_to(&there, "/runs"), "{name} {path}");
                there.has("<code>not-permitted</code>");
            }
        }
    }
    let mut browser = Browser::log_in(&stand, "vera").await;
    browser.language = "pt";
    browser.get(&stand, "/audit").await.is(403).has("exige o papel administrador ou auditor");
    stand.stop().await;
}

#[tokio::test]
async fn where_one_is_is_marked() {
    let stand = Stand::start().await;
    let mut vera = Browser::log_in(&stand, "vera").await;
    let marked = |page: &Page| page.body.matches("aria-current=\"page\"").count();
    for (path, entry) in [("/", "/"), ("/runs", "/runs"), ("/runs?name=x", "/runs"), ("/sessions", "/sessions")] {
        let page = vera.get(&stand, path).await.is(200);
        assert!(page.body.contains(&format!("<a href=\"{entry}\" aria-current=\"page\">")), "{path}");
        assert_eq!(marked(&page), 1, "{path}");
    }
    stand.stop().await;
}

#[tokio::test]
async fn people_get_refusals_as_pages_and_programs_as_problems() {
    let stand = Stand::start().await;
    let mut vera = Browser::log_in(&stand, "vera").await;
    let page = vera.get(&stand, "/nowhere").await.is(404).has("There is no page at this address").has("vera");
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.body.contains(page.header("x-correlation-id")), "the request is named on the page");
    vera.get(&stand, "/runs/none").await.is(404).has("There is no run with this id");
    vera.get(&stand, "/logout").await.is(405).has("<code>method-not-allowed</code>");
    vera.get(&stand, "/runs?name=a&name=b").await.is(400);
    Browser::default().get(&stand, "/nowhere").await.is(404).has_not("<nav");
    for (path, status, code) in [("/nowhere", 404, "not-found"), ("/runs", 401, "not-authenticated")] {
        let request = Request::get(path).header(header::HOST, "localhost").header(header::ACCEPT, "*/*");
        let page = stand.send(request.body(Full::default()).unwrap()).await.is(status).has(code);
        assert_eq!(page.header("content-type"), "application/problem+json");
    }
    stand.stop().await;
}

#[tokio::test]
async fn pages_run_nothing_of_others_and_are_kept_by_nobody() {
    let stand = Stand::start().await;
    let mut vera = Browser::log_in(&stand, "vera").await;
    for path in ["/", "/runs", "/sessions", "/preferences", "/nowhere"] {
        let page = vera.get(&stand, path).await;
        let policy = page.header("content-security-policy");
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("cache-control"), "no-store", "{path}");
        // With `no-referrer` a browser sends `Origin: null` with a form, and every form of the box would be refused.
        assert_eq!(page.header("referrer-policy"), "same-origin", "{path}");
        assert_eq!(page.headers.get_all("referrer-policy").iter().count(), 1);
    }
    stand.stop().await;
}

#[tokio::test]
async fn assets_are_kept_for_good_and_a_page_of_another_version_is_told() {
    let stand = Stand::start().await;
    let mut browser = Browser::default();
    let login = browser.get(&stand, "/login").await.is(200);
    let mut whole = login.body.len();
    for asset in super::super::assets::ASSETS {
        let path = super::super::assets::path(asset.name);
        let everywhere = ["style.css", "mark.svg", "app.js"].contains(&asset.name);
        assert_eq!(login.body.contains(&path), everywhere, "{path}");
        let page = browser.get(&stand, &path).await.is(200);
        assert_eq!(page.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(page.header("content-type"), asset.kind);
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert_eq!(page.body.as_bytes(), asset.body);
        whole += if everywhere { page.body.len() } else { 0 };
    }
    assert!(whole <= 300_000, "the first page has {whole} bytes");
    for path in ["/assets/0000000000000000/style.css", "/assets/x/..%2fstyle.css", "/assets/style.css"] {
        assert_ne!(browser.get(&stand, path).await.status, StatusCode::OK, "{path}");
    }
    stand.stop().await;
}

#[tokio::test]
async fn an_agent_that_is_down_is_named_and_the_page_stands() {
    let mut stand = Stand::start().await;
    let mut anna = Browser::log_in(&stand, "anna").await;
    stand.agent.stop().await;
    let page = anna.get(&stand, "/").await.is(200).has("The agent of this box does not answer").has("agent.sock");
    assert_eq!(page.body.matches("class=\"banner\"").count(), 1, "it is said once");
    assert!(leads_to(&page, "/runs"));
    page.has("Not known: the agent did not say.").has("anna");
    for path in ["/runs", "/audit", "/users", "/sessions"] {
        anna.get(&stand, path).await.is(200).has("The agent of this box does not answer");
    }
    // Users and sessions are asked of access, which answers here.
    anna.get(&stand, "/users").await.has("olaf");
    anna.get(&stand, "/runs/20260131T230000Z").await.is(503).has("does not answer");
    // And when it cannot be known who reads, nobody is let in, and the page says why.
    stand.on_box.down(true);
    let mut other = Browser::default();
    other.cookies.insert("__Host-tbi-session".to_owned(), "A".repeat(43) + "." + &"A".repeat(43));
    other.get(&stand, "/").await.is(503).has("nobody is let in without it");
    let fields = [("account", "vera"), ("password", crate::access::tests::PASSWORD), ("code", "")];
    let page = other.post(&stand, "/login", &fields).await.is(503).has("nobody is let in without it");
    assert_eq!(page.headers.get("retry-after"), Some(&HeaderValue::from_static("2")));
    stand.stop().await;
}
