//! Malformed TLS and QUIC against the real binary: whatever arrives, the next good request is answered and no task panicked.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;

use common::{BANK, BOTH, Client, SOON, daemon, metric};
use rustls::pki_types::ServerName;
use tbi_bench::control::personas::PersonasStatus;
use tbi_bench::protocol::Protocol;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

/// Spoiled copies per good message; with a fixed seed, so a failure comes back.
const SPOILED: usize = 200;

/// xorshift64, reproducible.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

/// Truncations, bit flips, doubled and random messages made of a good one.
fn spoiled(good: &[u8], dice: &mut Dice) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new(), good.repeat(2), vec![0; 1200], vec![0xff; 1200]];
    for i in 0..SPOILED {
        let mut message = good.to_vec();
        match i % 4 {
            0 => message.truncate(dice.roll(good.len())),
            1 => {
                for _ in 0..=dice.roll(8) {
                    let at = dice.roll(message.len());
                    message[at] ^= 1 << dice.roll(8);
                }
            }
            // The head decides which parser is reached, so it is hit more often.
            2 => {
                let at = dice.roll(message.len().min(64));
                message[at] = dice.roll(256) as u8;
            }
            _ => message = (0..dice.roll(1500)).map(|_| dice.roll(256) as u8).collect(),
        }
        all.push(message);
    }
    all
}

fn client_hello(client: &Client) -> Vec<u8> {
    let config = Arc::new(client.config(BOTH, Protocol::H2));
    let mut session = rustls::ClientConnection::new(config, ServerName::try_from(BANK).unwrap()).unwrap();
    let mut hello = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut hello).unwrap();
    }
    hello
}

/// The first datagram of a real QUIC client, sent to a socket that never answers.
async fn initial(client: &Client) -> Vec<u8> {
    let sink = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let _connecting = endpoint.connect_with(client.quic_config(), sink.local_addr().unwrap(), BANK).unwrap();
    let mut datagram = vec![0; 2000];
    let n = tokio::time::timeout(SOON, sink.recv(&mut datagram)).await.unwrap().unwrap();
    datagram.truncate(n);
    datagram
}

#[tokio::test]
async fn malformed_tls_and_quic_never_end_it() {
    let mut daemon = daemon().await;
    let mut dice = Dice(0x7ab1_e5ee_d001_u64);
    let hello = client_hello(&daemon.client);
    let address = SocketAddr::from(([127, 0, 0, 1], daemon.client.port));
    let mut attempts = 0;
    for message in spoiled(&hello, &mut dice) {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        // The persona may have closed already; that is its right.
        let _sent = tcp.write_all(&message).await;
        let _closed = tcp.shutdown().await;
        attempts += 1;
    }
    let initial = initial(&daemon.client).await;
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for message in spoiled(&initial, &mut dice) {
        let _sent = udp.send_to(&message, address).await;
    }
    // Bytes that are no HTTP inside a good TLS session, on all three.
    for protocol in [Protocol::H1, Protocol::H2] {
        let config = Arc::new(daemon.client.config(BOTH, protocol));
        for message in spoiled(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", &mut dice).into_iter().take(60)
        {
            let tcp = TcpStream::connect(address).await.unwrap();
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(&config));
            let mut tls = connector.connect(ServerName::try_from(BANK).unwrap(), tcp).await.unwrap();
            let _sent = tls.write_all(&message).await;
            let _closed = tls.shutdown().await;
        }
    }
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    for message in spoiled(&[1, 6, 0, 0, 0xd1, 0xd7, 0xc1, 0x50], &mut dice).into_iter().take(60) {
        let quic = endpoint.connect_with(daemon.client.quic_config(), address, BANK).unwrap().await.unwrap();
        let (mut send, _receive) = quic.open_bi().await.unwrap();
        let _sent = send.write_all(&message).await;
        let _finished = send.finish();
        let mut control = quic.open_uni().await.unwrap();
        let _sent = control.write_all(&message).await;
        quic.close(0_u32.into(), b"");
    }

    for protocol in Protocol::ALL {
        let reply = daemon.client.get(protocol, "127.0.0.1", BANK, "/o/1KB").await.unwrap();
        assert_eq!((reply.body.len(), reply.echo()), (1024, Some(reply.own_echo)));
    }
    daemon.control.wait_ready(SOON).await.unwrap();
    assert_eq!(daemon.child.try_wait().unwrap(), None, "the process lives");
    assert_eq!(metric(&daemon.control, "tbi_personas_panics_total").await, 0);
    // Connections are counted when their task ends, which may be a moment after we let go of them.
    tokio::time::timeout(SOON, async {
        loop {
            let status: PersonasStatus = daemon.control.get_json("/v1/status").await.unwrap();
            if status.handshake_failures + status.sni_mismatches > attempts / 2 {
                break;
            }
        }
    })
    .await
    .unwrap();
}
