//! Programs nobody here wrote, as peers: certificates for them, and nginx on loopback.

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tbi_bench::object::Object;

use crate::child::{Running, until};
use crate::stand::{free_port, write};

/// Name the peers answer to.
pub const PEER_NAME: &str = "peer.test";

/// Writes `ca.pem` and `ca.key`, `leaf.pem` and `leaf.key` (for [`PEER_NAME`] and 127.0.0.1) under `home`, all ECDSA P-256.
pub fn certificates(home: &Path) {
    let made: Result<(), rcgen::Error> = (|| {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "tests of TLSStress.Art TBI");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let names = vec![PEER_NAME.to_owned(), Ipv4Addr::LOCALHOST.to_string()];
        let leaf = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        write(&home.join("ca.pem"), &issuer.pem());
        write(&home.join("ca.key"), &issuer.key().serialize_pem());
        write(&home.join("leaf.pem"), &leaf.pem());
        write(&home.join("leaf.key"), &key.serialize_pem());
        Ok(())
    })();
    if let Err(error) = made {
        panic!("no certificates: {error}");
    }
}

/// nginx with one worker, serving every object class over HTTP/1.1 and HTTP/2.
#[derive(Debug)]
pub struct Nginx {
    /// TCP port on 127.0.0.1.
    pub port: u16,
    /// CA to trust.
    pub ca: PathBuf,
    _running: Running,
}

impl Nginx {
    /// Starts it with its files under `home`.
    #[must_use]
    pub fn start(home: &Path) -> Self {
        certificates(home);
        let port = free_port();
        for object in Object::ALL {
            for n in 0..10 {
                let (path, bytes) = object.request(n);
                let file = home.join(path.trim_start_matches('/'));
                if let Some(Err(error)) = file.parent().map(std::fs::create_dir_all) {
                    panic!("cannot make the directory of {}: {error}", file.display());
                }
                write(&file, &"x".repeat(bytes as usize));
            }
        }
        let conf = home.join("nginx.conf");
        write(
            &conf,
            &format!(
                "daemon off; master_process off; pid {home}/nginx.pid; error_log stderr;
                events {{}}
                http {{
                  access_log off;
                  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
                  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
                  server {{
                    listen 127.0.0.1:{port} ssl http2; server_name {PEER_NAME}; root {home};
                    ssl_certificate {home}/leaf.pem; ssl_certificate_key {home}/leaf.key;
                    ssl_protocols TLSv1.2 TLSv1.3;
                  }}
                }}",
                home = home.display()
            ),
        );
        let mut command = Command::new("nginx");
        command.arg("-p").arg(home).arg("-c").arg(&conf).env("PATH", with_system_places());
        let running = Running::start(&mut command);
        until("nginx to listen", Duration::from_secs(20), || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        Self { port, ca: home.join("ca.pem"), _running: running }
    }
}

/// The path with the directories in which Debian keeps servers and network tools.
#[must_use]
pub fn with_system_places() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}
