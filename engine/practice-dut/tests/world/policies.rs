//! Route, decrypt, forge, mirror, strip, block.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use tbi_bench::control::practice_dut::{AltSvcPolicy, Behaviour, Forge, Identity, Mirror, QuicPolicy, TcpPolicy};
use tbi_bench::proof::Interception;
use tbi_bench::wire::ALT_SVC;

use crate::client::Seen;
use crate::persona::{CA_NAME, SHOP};
use crate::{DUT_CA, H1, H2, World, address_v4, address_v6, decrypt, story};

fn assert_seen(seen: &Seen, class: Interception, alpn: &str, body: usize) {
    let issuer = if class == Interception::Intercepted { DUT_CA } else { CA_NAME };
    assert_eq!((seen.class, seen.issuer.as_str(), seen.alpn.as_str(), seen.body), (class, issuer, alpn, body));
}

async fn all_protocols(world: &World, class: Interception, h3: Interception) {
    for ip in [address_v4(10), address_v6(10)] {
        for (alpn, name) in [(H1, "http/1.1"), (H2, "h2"), (&["h2", "http/1.1"][..], "h2")] {
            let seen = world.client.tcp(ip, SHOP, alpn, "/300000").await.unwrap();
            assert_seen(&seen, class, name, 300_000);
            assert_eq!((seen.alt_svc.as_deref(), seen.tls.as_str()), (Some(ALT_SVC), "TLSv1_3"));
        }
        assert_seen(&world.client.h3(ip, SHOP, "/300000").await.unwrap(), h3, "h3", 300_000);
    }
}

#[test]
fn lab_routes_and_decrypts_every_protocol_over_both_families() {
    story("policies::lab_routes_and_decrypts_every_protocol_over_both_families", || async {
        let world = World::new().await;
        use Interception::{EndToEnd, Intercepted};
        all_protocols(&world, EndToEnd, EndToEnd).await;
        assert_eq!(world.dut.counters().await.leaves_forged, 0);

        world.dut.behave(Behaviour { tcp: TcpPolicy::Decrypt, ..Behaviour::default() }).await;
        all_protocols(&world, Intercepted, EndToEnd).await;
        world.dut.behave(decrypt()).await;
        all_protocols(&world, Intercepted, Intercepted).await;
        let counters = world.dut.counters().await;
        assert_eq!((counters.tcp_decrypted, counters.quic_decrypted, counters.failed), (12, 2, 0));
        // Warm: one copy of each of the two TCP leaves, one leaf per QUIC name and address.
        assert_eq!(counters.leaves_forged, 4);

        world.dut.behave(Behaviour { forge: Forge::Cold, ..decrypt() }).await;
        all_protocols(&world, Intercepted, Intercepted).await;
        assert_eq!(world.dut.counters().await.leaves_forged, 4 + 8);

        world.dut.behave(Behaviour::default()).await;
        all_protocols(&world, EndToEnd, EndToEnd).await;
        let identity: Identity = world.dut.client.get_json("/v1/identity").await.unwrap();
        assert_eq!(identity.ca_sha256.len(), 64);
        let metrics = world.dut.client.get_text("/metrics").await.unwrap();
        assert!(metrics.contains("tbi_dut_decrypted_total{protocol=\"quic\"} 4"));
        let document = include_str!("../../../../docs/metrics.md");
        let found = tbi_daemon::exposition::differences(document, &["practice-dut", "every"], &metrics, &[]);
        assert!(found.is_empty(), "{found:#?}");
    });
}

#[test]
fn lab_strips_alt_svc_and_downgrades() {
    story("policies::lab_strips_alt_svc_and_downgrades", || async {
        let world = World::new().await;
        let strip = Behaviour { alt_svc: AltSvcPolicy::Strip, quic: QuicPolicy::BlockSilent, ..decrypt() };
        world.dut.behave(strip).await;
        for (alpn, name) in [(H1, "http/1.1"), (H2, "h2")] {
            let mut connection = world.client.connect(address_v4(10), SHOP, alpn).await.unwrap();
            for _ in 0..5 {
                let seen = connection.get("/300000").await.unwrap();
                assert_seen(&seen, Interception::Intercepted, name, 300_000);
                assert_eq!(seen.alt_svc, None);
            }
            // A server that breaks off inside a body is passed on as such.
            assert!(connection.get("/die").await.is_err());
        }
        world.dut.behave(Behaviour { mirror: Mirror::Downgrade, ..decrypt() }).await;
        let seen = world.client.tcp(address_v6(10), SHOP, &["h2", "http/1.1"], "/10").await.unwrap();
        assert_seen(&seen, Interception::Intercepted, "http/1.1", 10);
        assert_eq!(seen.tls, "TLSv1_2");
    });
}

#[test]
fn lab_blocks_quic_silently_and_actively() {
    story("policies::lab_blocks_quic_silently_and_actively", || async {
        let world = World::new().await;
        let probe = || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect((address_v4(20), 443)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            socket.send(b"ping").unwrap();
            socket.recv(&mut [0; 8]).map_err(|error| error.kind())
        };
        assert_eq!(probe(), Ok(4));
        world.dut.behave(Behaviour { quic: QuicPolicy::BlockSilent, ..Behaviour::default() }).await;
        assert_eq!(probe(), Err(ErrorKind::WouldBlock));
        assert_eq!(world.dut.counters().await.packets_dropped, 1);
        world.dut.behave(Behaviour { quic: QuicPolicy::BlockActive, ..Behaviour::default() }).await;
        assert_eq!(probe(), Err(ErrorKind::ConnectionRefused));
        // TCP is not concerned, and says where HTTP/3 would be.
        let seen = world.client.tcp(address_v4(10), SHOP, H2, "/1").await.unwrap();
        assert_eq!((seen.class, seen.alt_svc.as_deref()), (Interception::EndToEnd, Some(ALT_SVC)));
        let six = UdpSocket::bind("[::]:0").unwrap();
        six.connect((address_v6(10), 443)).unwrap();
        six.send(b"ping").unwrap();
        six.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        assert_eq!(six.recv(&mut [0; 8]).map_err(|error| error.kind()), Err(ErrorKind::ConnectionRefused));
    });
}
