//! The gateway as its neighbours see it: three namespaces, real servers and clients, every behaviour.
//!
//! Each test is one story in a world of its own. Needs `unshare`, `ip`, `nft` and `iptables`, no privileges.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod client;
mod impairments;
mod net;
mod persona;
mod policies;
mod robustness;

use std::future::Future;

use client::Client;
use net::{Dut, in_a_world};
use persona::{Ca, address_v4, address_v6};
use tbi_bench::control::practice_dut::{Behaviour, QuicPolicy, TcpPolicy};

/// A world with personas and a gateway in it.
struct World {
    dut: Dut,
    client: Client,
    persona_ca_pem: String,
}

impl World {
    async fn new() -> Self {
        net::build();
        let (trusted, rogue) = (Ca::new(), Ca::new());
        let (trusted_pem, rogue_pem) = (trusted.pem.clone(), rogue.pem.clone());
        persona::start(trusted, rogue);
        let dut = Dut::start(&trusted_pem).await;
        // The client trusts the rogue CA too: if the gateway passed its server on, the client would not be the one to notice.
        let client = Client::new(&[&trusted_pem, &rogue_pem, &dut.ca_pem]);
        Self { dut, client, persona_ca_pem: trusted_pem }
    }
}

/// Tells one story.
fn story<F: Future<Output = ()>>(test: &str, tell: impl FnOnce() -> F) {
    in_a_world(test, || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(tell()));
}

fn decrypt() -> Behaviour {
    Behaviour { tcp: TcpPolicy::Decrypt, quic: QuicPolicy::Decrypt, ..Behaviour::default() }
}

const H1: &[&str] = &["http/1.1"];
const H2: &[&str] = &["h2"];
const DUT_CA: &str = tbi_practice_dut::tls::ca::COMMON_NAME;
