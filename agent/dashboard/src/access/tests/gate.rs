//! The gate: its order, its limits, ambiguity and CSRF.

use super::*;
use crate::limits::rate::Window;

fn tight(requests: u32) -> Limits {
    let window = |length| Window { requests, length: Duration::from_secs(length) };
    Limits { short: window(10), long: window(300) }
}

#[tokio::test]
async fn at_exactly_the_limit_of_the_address_nobody_is_refused_and_one_above_is() {
    let this = TestBox::with_limits(tight(5), tight(1000)).await;
    let public = Claims { public: true, roles: Vec::new(), step_up: false };
    for left in [4, 3, 2, 1, 0] {
        let caller = this.admit(&public, &ask("GET", "/x")).await.unwrap();
        assert_eq!(caller.account, None);
        let mut headers = HeaderMap::new();
        caller.standing.put_into(&mut headers);
        assert_eq!(
            (&headers["x-ratelimit-limit"], &headers["x-ratelimit-remaining"]),
            (&"5".parse().unwrap(), &left.into())
        );
    }
    let refused = this.admit(&public, &ask("GET", "/x")).await.unwrap_err();
    assert_eq!((refused.status.as_u16(), refused.code), (429, "rate-limited"));
    assert_eq!(refused.headers["retry-after"], refused.headers["x-ratelimit-reset"]);
    assert!(this.admit(&public, &ask("GET", "/x").from("192.0.2.2")).await.is_ok());
}

#[tokio::test]
async fn the_limit_comes_before_everything_and_the_account_has_one_of_its_own() {
    let this = TestBox::with_limits(tight(100), tight(10)).await;
    this.people().await;
    let browser = Browser::log_in(&this, "olaf").await;
    let claims = anybody_known();
    for request in 0..10 {
        let asked = browser.dress(ask("GET", "/x")).from(&format!("192.0.2.{request}"));
        assert!(this.admit(&claims, &asked).await.is_ok());
    }
    let refused = this.admit(&claims, &browser.dress(ask("GET", "/x")).from("192.0.2.77")).await.unwrap_err();
    assert_eq!(
        (refused.code, &refused.headers["x-ratelimit-limit"]),
        ("rate-limited", &HeaderValue::from_static("10"))
    );
    // Refused by the address' limit without a question to anybody.
    let this = TestBox::with_limits(tight(1), tight(10)).await;
    let asked = ask("GET", "/x").bearer(&format!("tbi_aaaaaaaa_{}", "a".repeat(52)));
    assert_eq!(this.admit(&claims, &asked).await.unwrap_err().code, "not-authenticated");
    let before = this.questions();
    assert_eq!(this.admit(&claims, &asked).await.unwrap_err().code, "rate-limited");
    assert_eq!(this.questions(), before);
}

#[tokio::test]
async fn two_proofs_in_one_request_are_refused() {
    let this = TestBox::new().await;
    let browser = Browser::log_in(&this, "olaf").await;
    let cookie = format!("__Host-tbi-session={}", browser.session());
    let whoami = || ask("GET", "/whoami");
    for asked in [
        browser.dress(whoami()).basic("olaf", PASSWORD),
        browser.dress(whoami()).bearer("tbi_x"),
        whoami().basic("olaf", PASSWORD).basic("olaf", PASSWORD),
        whoami().with("cookie", &cookie).with("cookie", &cookie),
        whoami().with("cookie", &format!("{cookie}; __Host-tbi-session=x")),
    ] {
        this.ask(asked).await.is(400, "ambiguous-credentials");
    }
}

#[tokio::test]
async fn a_change_by_cookie_needs_origin_and_token_and_one_by_program_does_not() {
    let this = TestBox::new().await;
    let browser = Browser::log_in(&this, "olaf").await;
    let other = Browser::log_in(&this, "vera").await;
    let claims = anybody_known();
    let cookie = format!("__Host-tbi-session={}", browser.session());
    let token = browser.csrf.clone().unwrap();
    let own = ("origin", "https://tbi.local");
    let fetched = ("sec-fetch-site", "same-origin");
    let csrf = ("x-tbi-csrf", token.as_str());
    for (method, headers, admitted) in [
        ("POST", &[own, csrf][..], true),
        ("DELETE", &[fetched, csrf], true),
        ("GET", &[], true),
        ("HEAD", &[("origin", "https://evil.example")], true),
        ("POST", &[csrf], false),
        ("POST", &[own], false),
        ("POST", &[own, fetched], false),
        ("POST", &[own, ("x-tbi-csrf", other.csrf.as_deref().unwrap())], false),
        ("POST", &[own, ("x-tbi-csrf", "")], false),
        ("POST", &[own, csrf, csrf], false),
        ("PUT", &[("origin", "https://evil.example"), csrf], false),
        ("PATCH", &[("origin", "null"), csrf], false),
        ("POST", &[own, ("sec-fetch-site", "cross-site"), csrf], false),
        ("POST", &[("sec-fetch-site", "none"), csrf], false),
    ] {
        let asked = headers
            .iter()
            .fold(ask(method, "/x").with("cookie", &cookie), |asked, (name, value)| asked.with(name, value));
        let answer = this.admit(&claims, &asked).await;
        assert_eq!(
            answer.as_ref().err().map(|refusal| refusal.code),
            (!admitted).then_some("csrf"),
            "{method} {headers:?}"
        );
    }
    assert!(this.admit(&claims, &ask("POST", "/x").basic("olaf", PASSWORD)).await.is_ok());
    // A browser that remembers a password or holds a certificate sends it for other sites' pages, too.
    let remembered = ask("POST", "/x").basic("olaf", PASSWORD).with("origin", "https://evil.example");
    assert_eq!(this.admit(&claims, &remembered).await.unwrap_err().code, "csrf");
    // A page elsewhere must not log a browser in either.
    this.ask(login("olaf", PASSWORD).with("origin", "https://evil.example")).await.is(403, "csrf");
    this.ask(login("olaf", PASSWORD).with("sec-fetch-site", "cross-site")).await.is(403, "csrf");
}

#[tokio::test]
async fn who_is_not_known_is_told_how_to_be() {
    let this = TestBox::new().await;
    let program = this.ask(ask("GET", "/whoami")).await.is(401, "not-authenticated");
    let offers = program.headers["www-authenticate"].to_str().unwrap();
    assert!(offers.contains("Bearer") && offers.contains("Basic"), "{offers}");
    assert!(program.headers.contains_key("x-ratelimit-remaining"));
    let browser =
        this.ask(ask("GET", "/whoami").with("sec-fetch-site", "same-origin")).await.is(401, "not-authenticated");
    assert_eq!(browser.headers["www-authenticate"], "Bearer realm=\"tbi\"");
}

#[tokio::test]
async fn a_route_without_the_gate_is_closed() {
    let this = TestBox::new().await;
    let browser = Browser::log_in(&this, "anna").await;
    let asked = browser.dress(ask("GET", "/users"));
    let mut request = Request::builder().uri(asked.path).body(Body::empty()).unwrap();
    *request.headers_mut() = asked.headers;
    let response = TowerToHyperService::new(this.router.clone()).call(request).await.unwrap();
    assert_eq!(response.status(), 500);
}

#[tokio::test]
async fn what_was_refused_is_told_for_the_audit_chain_and_told_again_after_a_failure() {
    let this = TestBox::new().await;
    let browser = Browser::log_in(&this, "olaf").await;
    let administrators = Claims { public: false, roles: vec![Role::Administrator], step_up: false };
    for _twice in 0..2 {
        let refused = this.admit(&administrators, &browser.dress(ask("GET", "/x"))).await.unwrap_err();
        assert_eq!(refused.code, "not-permitted");
    }
    let mut strange = browser.clone();
    strange.csrf = Some("x".to_owned());
    assert_eq!(this.admit(&anybody_known(), &strange.dress(ask("POST", "/x"))).await.unwrap_err().code, "csrf");
    let mut forged = browser.clone();
    forged.cookies.insert("__Host-tbi-session".to_owned(), "A".repeat(87));
    let invented = ask("GET", "/x").bearer(&format!("tbi_aaaaaaaa_{}", "a".repeat(52)));
    for forgery in [forged.dress(ask("GET", "/x")), invented] {
        assert_eq!(this.admit(&anybody_known(), &forgery).await.unwrap_err().code, "not-authenticated");
    }
    let mut stranger = ask("GET", "/x");
    stranger.peer.certificate = Some(Arc::from(&b"a certificate of our client CA, and of nobody here"[..]));
    assert_eq!(this.admit(&anybody_known(), &stranger).await.unwrap_err().code, "not-authenticated");
    this.clock.pass(Duration::from_secs(13 * 3600));
    let ended = this.admit(&anybody_known(), &browser.dress(ask("GET", "/x"))).await.unwrap_err();
    assert_eq!(ended.code, "not-authenticated");
    // Nobody who merely is not logged in is reported.
    assert_eq!(this.admit(&anybody_known(), &ask("GET", "/x")).await.unwrap_err().code, "not-authenticated");

    this.down(true);
    this.access.tell_refusals().await;
    this.down(false);
    assert!(lock(&this.memory.rows).refusals.is_empty());
    this.access.tell_refusals().await;
    let mut told: Vec<_> = lock(&this.memory.rows)
        .refusals
        .drain(..)
        .map(|refusal| (refusal.kind.as_str(), refusal.account, refusal.source, refusal.count))
        .collect();
    told.sort();
    let of = |kind, account: &str, count| (kind, account.to_owned(), "192.0.2.1".to_owned(), count);
    assert_eq!(
        told,
        [
            of("csrf", "olaf", 1),
            of("expired_credentials", "anonymous", 1),
            of("forged_credentials", "anonymous", 3),
            of("not_permitted", "olaf", 2),
        ]
    );
    this.access.tell_refusals().await;
    assert!(lock(&this.memory.rows).refusals.is_empty(), "once");
}
