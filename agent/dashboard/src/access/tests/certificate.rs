//! The certificate that the door shows: what is refused and why, what is taken, and what the audit chain says about both.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
};
use tbi_api::access::Outcome;

use super::*;

/// A CA that is not the box's.
struct Authority {
    pem: String,
    params: CertificateParams,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let (key, mut params) = (KeyPair::generate().unwrap(), CertificateParams::default());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "somebody's CA");
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, params, key }
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    /// A leaf and its key, PEM; `years` from when to when.
    fn leaf(&self, years: (i32, i32)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["bench.test".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
        params.distinguished_name.push(DnType::CommonName, "bench.test");
        (params.signed_by(&key, &self.issuer()).unwrap().pem(), key.serialize_pem())
    }
}

fn put(chain: &str, key: Option<&str>) -> Ask {
    ask("PUT", "/certificate").json(&json!({ "chain": chain, "key": key }))
}

async fn administrator(this: &TestBox) -> Browser {
    let mut anna = Browser::log_in(this, "anna").await;
    anna.step_up(this).await;
    lock(&this.memory.rows).notes.clear();
    anna
}

/// Notes about the certificate: action, outcome, detail. No key is in any of them.
fn notes(this: &TestBox) -> Vec<(String, Outcome, Value)> {
    let rows = lock(&this.memory.rows);
    let notes = rows.notes.iter().filter(|note| note.action.starts_with("door.certificate."));
    let notes: Vec<_> = notes.map(|note| (note.action.clone(), note.outcome, note.detail.clone())).collect();
    assert!(rows.notes.iter().all(|note| !note.detail.to_string().contains("PRIVATE")), "{notes:?}");
    notes
}

#[tokio::test]
async fn a_certificate_that_is_not_fit_is_refused_with_its_reason_and_changes_nothing() {
    let this = TestBox::new().await;
    let mut anna = administrator(&this).await;
    let ca = Authority::new();
    let (leaf, key) = ca.leaf((2020, 2200));
    let (old, old_key) = ca.leaf((2020, 2021));
    let (early, early_key) = ca.leaf((2199, 2200));
    let (_, other_key) = ca.leaf((2020, 2200));
    let sealed = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let own = anna.send(&this, ask("GET", "/certificate")).await.is(200, "").body;
    assert_eq!((&own["shown"]["origin"], &own["request_pending"]), (&json!("own"), &json!(false)));
    for (fault, chain, key, code) in [
        ("expired", &old, Some(&old_key), "certificate-expired"),
        ("not yet valid", &early, Some(&early_key), "certificate-not-yet-valid"),
        ("other key", &leaf, Some(&other_key), "key-of-another"),
        ("chain out of order", &format!("{}{leaf}", ca.pem), Some(&key), "chain-out-of-order"),
        ("garbage", &"\u{0}\u{fffd} garbage".to_owned(), Some(&key), "no-certificate"),
        ("garbage in a section", &leaf.replace("MII", "!!!"), Some(&key), "certificate-damaged"),
        ("garbage as key", &leaf, Some(&"garbage".to_owned()), "no-key"),
        ("encrypted key", &leaf, Some(&sealed), "key-encrypted"),
        ("long chain", &leaf.repeat(11), Some(&key), "chain-too-long"),
        ("no key anywhere", &leaf, None, "no-request"),
    ] {
        let refused = anna.send(&this, put(chain, key.map(String::as_str))).await.is(422, code);
        let sentence = refused.body["detail"].as_str().unwrap().to_owned();
        assert!(sentence.contains(';') && !sentence.contains("PRIVATE"), "{fault}: {sentence}");
        let (action, outcome, detail) = notes(&this).pop().unwrap();
        assert_eq!((action.as_str(), outcome), ("door.certificate.change", Outcome::Refused), "{fault}");
        assert_eq!(detail["why"], sentence);
        assert_eq!(anna.send(&this, ask("GET", "/certificate")).await.is(200, "").body, own, "{fault}");
    }
    let huge = anna.send(&this, put(&"A".repeat(65 << 10), Some(&key))).await;
    assert_eq!(huge.status, StatusCode::PAYLOAD_TOO_LARGE);
    anna.send(&this, ask("PUT", "/certificate").json(&json!({ "chain": leaf, "pin": "1" })))
        .await
        .is(422, "unprocessable");
}

#[tokio::test]
async fn a_certificate_is_brought_shown_and_given_back_and_the_chain_has_the_fingerprints() {
    let this = TestBox::new().await;
    let mut anna = administrator(&this).await;
    let ca = Authority::new();
    let (leaf, key) = ca.leaf((2020, 2200));
    let own = this.certificates.said();
    let brought = anna.send(&this, put(&format!("{leaf}{}", ca.pem), Some(&key))).await.is(200, "").body;
    assert_eq!((&brought["shown"]["origin"], &brought["shown"]["names"]), (&json!("brought"), &json!(["bench.test"])));
    assert_eq!(brought["shown"]["not_after"], "2200-01-01T00:00:00Z");
    assert_eq!(brought["shown"]["ca_sha256"], own.ca_sha256.as_str());
    let mut vera = Browser::log_in(&this, "vera").await;
    assert_eq!(
        vera.send(&this, ask("GET", "/certificate")).await.is(200, "").body,
        brought,
        "anybody who is in may see"
    );
    let given_back = anna.send(&this, ask("DELETE", "/certificate")).await.is(200, "").body;
    assert_eq!(given_back["shown"]["leaf_sha256"], own.leaf_sha256.as_str());
    let own = json!({ "leaf_sha256": own.leaf_sha256, "origin": "own" });
    let other = json!({ "leaf_sha256": brought["shown"]["leaf_sha256"], "origin": "brought" });
    assert_eq!(
        notes(&this),
        [
            ("door.certificate.change".to_owned(), Outcome::Done, json!({ "before": own, "after": other })),
            ("door.certificate.remove".to_owned(), Outcome::Done, json!({ "before": other, "after": own })),
        ]
    );
}

#[tokio::test]
async fn a_request_is_signed_elsewhere_and_its_answer_needs_no_key() {
    let this = TestBox::new().await;
    let mut anna = administrator(&this).await;
    let order = |names: Value| ask("POST", "/certificate/request").json(&json!({ "names": names }));
    for bad in [json!([]), json!(["a b"]), json!(["https://a"]), json!(vec!["a"; 65])] {
        anna.send(&this, order(bad)).await.is(422, "names-not-taken");
    }
    let of_the_box = anna.send(&this, ask("POST", "/certificate/request").json(&json!({}))).await.is(201, "").body;
    assert_eq!(of_the_box["names"], json!([HOST]));
    let made = anna.send(&this, order(json!(["bench.test", "192.0.2.7"]))).await.is(201, "").body;
    assert!(!made.to_string().contains("PRIVATE"));
    assert_eq!(anna.send(&this, ask("GET", "/certificate")).await.body["request_pending"], true);
    let request = CertificateSigningRequestParams::from_pem(made["request_pem"].as_str().unwrap()).unwrap();
    let ca = Authority::new();
    let signed = request.signed_by(&ca.issuer()).unwrap().pem();
    let brought = anna.send(&this, put(&signed, None)).await.is(200, "").body;
    assert_eq!(brought["shown"]["names"], json!(["bench.test", "192.0.2.7"]));
    assert_eq!(brought["request_pending"], false);
    assert_eq!(notes(&this)[1].2, json!({ "names": ["bench.test", "192.0.2.7"] }));
}

#[tokio::test]
async fn what_cannot_be_audited_is_not_changed() {
    let this = TestBox::new().await;
    let mut anna = administrator(&this).await;
    let (leaf, key) = Authority::new().leaf((2020, 2200));
    let own = this.certificates.said();
    // The gate answers from memory for some seconds; the chain cannot be reached.
    this.down(true);
    anna.send(&this, put(&leaf, Some(&key))).await.is(503, "accounts-unavailable");
    anna.send(&this, ask("POST", "/certificate/request").json(&json!({}))).await.is(503, "accounts-unavailable");
    assert_eq!(this.certificates.said(), own);
    assert!(!this.certificates.has_request());
}

#[tokio::test]
async fn a_disk_that_takes_nothing_is_said_and_the_old_certificate_stays() {
    let this = TestBox::new().await;
    let mut anna = administrator(&this).await;
    let (leaf, key) = Authority::new().leaf((2020, 2200));
    let own = this.certificates.said();
    // A directory where the file should be: root, too, cannot replace it.
    std::fs::create_dir(this.state.path().join("door/brought.json")).unwrap();
    anna.send(&this, put(&leaf, Some(&key))).await.is(507, "state-not-writable");
    assert_eq!(this.certificates.said(), own);
    let outcomes: Vec<Outcome> = notes(&this).into_iter().map(|(_, outcome, _)| outcome).collect();
    assert_eq!(outcomes, [Outcome::Done, Outcome::Refused], "the chain takes its word back");
}
