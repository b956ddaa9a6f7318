//! Words for the personas: what they are told to serve and what they tell of themselves.
//!
//! | method and path | answer |
//! |---|---|
//! | `GET /v1/status` | [`PersonasStatus`] |
//! | `GET /v1/certificates` | list of [`SiteCertificate`], one for each site |
//! | `GET /v1/ca.pem` | persona CA certificate |
//!
//! They start with `tbi-personas --config FILE --socket PATH`, FILE being a [`PersonasConfig`] in JSON.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::CpuTime;

/// Key type of the persona CA and its leaves (RFC 9411 §4.3.1.4 lists these four).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// ECDSA P-256, the default: what most sites use today.
    #[default]
    EcdsaP256,
    /// ECDSA P-384.
    EcdsaP384,
    /// RSA 2048.
    Rsa2048,
    /// RSA 4096.
    Rsa4096,
}

/// What the persona process serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonasConfig {
    /// The sites.
    pub sites: Vec<Site>,
    /// Key type of CA and leaves.
    pub key: KeyKind,
    /// Directory with `ca.pem` and `ca.key`; made with a new CA when empty.
    pub ca_dir: String,
    /// Worker threads; each has its own runtime and sockets.
    pub workers: u32,
    /// Port for TCP and UDP.
    pub port: u16,
}

/// One persona.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Persona id, as in the catalogue.
    pub persona: String,
    /// Host name, `<persona>.<country>.persona.tlsstress.art`.
    pub server_name: String,
    /// Its addresses, IPv4 and IPv6.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
}

/// State of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct PersonasStatus {
    /// Sites that listen.
    pub sites: u32,
    /// SHA-256 of the CA certificate's DER, lower-case hex.
    pub ca_sha256: String,
    /// End of the CA certificate's validity, Unix seconds.
    pub ca_not_after: i64,
    /// When every site's certificate is valid: from and until, Unix seconds.
    pub leaves_valid: (i64, i64),
    /// CPU used since start.
    pub cpu: CpuTime,
    /// TLS and QUIC handshakes completed since start.
    pub handshakes: u64,
    /// Handshakes that failed since start.
    pub handshake_failures: u64,
    /// Connections refused because SNI did not match the address.
    pub sni_mismatches: u64,
    /// Requests answered since start.
    pub requests: u64,
}

/// Certificate that one site shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct SiteCertificate {
    /// Persona id.
    pub persona: String,
    /// Subject, as in the certificate (RFC 4514).
    pub subject: String,
    /// Issuer, as in the certificate.
    pub issuer: String,
    /// Key type.
    pub key: KeyKind,
    /// Valid from, Unix seconds.
    pub not_before: i64,
    /// Valid until, Unix seconds.
    pub not_after: i64,
    /// SHA-256 of its DER, lower-case hex.
    pub sha256: String,
}

/// What a persona saw of one connection; answer to `GET /saw` on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Saw {
    /// Persona that answered.
    pub persona: String,
    /// Address and port the connection came from.
    pub peer: String,
    /// `TLS 1.3` or `TLS 1.2`.
    pub tls_version: String,
    /// Cipher suite, IANA name.
    pub cipher_suite: String,
    /// ALPN negotiated.
    pub alpn: String,
    /// Fingerprint of the ClientHello that arrived.
    pub client_hello: String,
    /// SNI that arrived.
    pub server_name: String,
    /// Requests served on this connection before this one.
    pub requests_before: u64,
}
