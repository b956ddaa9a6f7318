//! Client certificates, and operations of this process, which find who asks among the request's extensions.

use std::fs;

use axum::Extension;
use axum::routing::{get, post};
use http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use serde_json::json;

use super::{AS, Stand, code, text};
use crate::caps::Most;
use crate::certs::fingerprint;
use crate::gate::{Caller, Peer};
use crate::local::{Local, Mount};

const MOST: Most = Most { all: 100, per_address: 100 };

/// A CA, and a client certificate of it.
fn client(of: &str) -> (String, CertificateDer<'static>, PrivateKeyDer<'static>) {
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, of);
    let pem = ca.self_signed(&ca_key).unwrap().pem();
    let mut leaf = CertificateParams::new(vec!["client".to_owned()]).unwrap();
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = leaf.signed_by(&key, &Issuer::from_params(&ca, &ca_key)).unwrap();
    (pem, leaf.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
}

fn with(stand: &Stand, leaf: &CertificateDer<'static>, key: &PrivateKeyDer<'static>) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(stand.ca.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(crate::tls::provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![leaf.clone()], key.clone_key())
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

async fn ask(stand: &Stand, config: ClientConfig) -> Result<http::Response<hyper::body::Incoming>, hyper::Error> {
    let io = TokioIo::new(stand.connect_with(config).await);
    let (mut sender, driver) = hyper::client::conn::http1::handshake::<_, Full<bytes::Bytes>>(io).await?;
    tokio::spawn(driver);
    let request = Request::get("/api/v1/access/peer").header(header::HOST, "a").body(Full::default()).unwrap();
    sender.send_request(request).await
}

#[tokio::test]
async fn a_client_certificate_is_asked_for_and_not_demanded() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, leaf, key) = client("ours");
    fs::write(dir.path().join("ca.pem"), ca).unwrap();
    let say = |Extension(peer): Extension<Peer>| async move {
        peer.certificate.map_or("none".to_owned(), |leaf| fingerprint(&leaf))
    };
    let local = Local {
        name: "access",
        place: Mount::Api,
        document: json!({"paths": {"/api/v1/access/peer": {
            "get": {"security": [], "responses": {"200": {"description": "Done"}}},
        }}}),
        router: axum::Router::new().route("/api/v1/access/peer", get(say)),
    };
    let stand = Stand::started(MOST, Some(dir.path().join("ca.pem")), Some(local)).await;
    let answer = ask(&stand, with(&stand, &leaf, &key)).await.unwrap();
    assert_eq!(text(answer).await, fingerprint(&leaf));
    assert_eq!(text(stand.get("/api/v1/access/peer", None).await).await, "none");
    let (_, strange, key) = client("somebody else's");
    assert!(ask(&stand, with(&stand, &strange, &key)).await.is_err(), "a certificate of another CA is no certificate");
}

#[tokio::test]
async fn operations_of_this_process_know_who_asks_and_keep_their_cookies() {
    let say = |Extension(caller): Extension<Caller>,
               Extension(peer): Extension<Peer>,
               headers: http::HeaderMap,
               body: String| {
        let cookie = headers.get(header::COOKIE).map(|cookie| cookie.to_str().unwrap().to_owned());
        async move { format!("{:?} {} {cookie:?} {body}", caller.account, peer.address) }
    };
    let responses = json!({"200": {"description": "Done"}});
    let local = Local {
        name: "access",
        place: Mount::Api,
        document: json!({"paths": {"/api/v1/access/say/{what}": {
            "post": {"security": [{"session": ["operator"]}], "responses": responses},
        }}}),
        router: axum::Router::new().route("/api/v1/access/say/{what}", post(say)),
    };
    let stand = Stand::started(MOST, None, Some(local)).await;
    let ask = |role: &str, body: &'static str| {
        let request = Request::post("/api/v1/access/say/it").header(header::HOST, "a").header(AS, role);
        stand.send(request.header(header::COOKIE, "c=1").body(Full::from(body)).unwrap())
    };
    let said = text(ask("operator", "hello").await).await;
    assert_eq!(said, "Some((AccountName(\"tester\"), Operator)) 127.0.0.1 Some(\"c=1\") hello");
    assert_eq!(code(ask("viewer", "hello").await).await, (403, "not-permitted".to_owned()));
    assert_eq!(stand.get("/api/v1/access/say/it", Some("operator")).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(stand.get("/api/v1/access/none", Some("operator")).await.status(), StatusCode::NOT_FOUND);
    let whole = text(stand.get("/openapi.json", Some("viewer")).await).await;
    assert!(whole.contains("/api/v1/access/say/{what}"));
}
