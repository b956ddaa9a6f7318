//! Bad input and faults: untrusted servers, servers that die, malformed bytes, changes under load, start and stop.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use tbi_bench::control::practice_dut::{AltSvcPolicy, Behaviour, Mirror};
use tbi_bench::proof::Interception;
use tbi_daemon::ClientError;

use crate::client::h3_on;
use crate::net::{Dut, gateway_command, sh, sh_output};
use crate::persona::{ROGUE, SHOP};
use crate::{H1, H2, World, address_v4, address_v6, decrypt, story};

#[test]
fn lab_refuses_servers_it_does_not_trust() {
    story("robustness::lab_refuses_servers_it_does_not_trust", || async {
        let world = World::new().await;
        assert!(world.client.tcp(address_v4(66), ROGUE, H1, "/1").await.is_ok(), "the client itself trusts it");
        world.dut.behave(decrypt()).await;
        for ip in [address_v4(66), address_v6(66)] {
            let error = world.client.tcp(ip, ROGUE, H1, "/1").await.unwrap_err();
            assert!(error.to_string().contains("UnknownCA"), "{error}");
            assert!(world.client.h3(ip, ROGUE, "/1").await.is_err());
        }
        // The right CA but the wrong name is no better.
        assert!(world.client.tcp(address_v4(10), ROGUE, H1, "/1").await.is_err());
        // An address where nobody listens.
        assert!(world.client.tcp(address_v4(20), SHOP, H1, "/1").await.is_err());
        let counters = world.dut.counters().await;
        assert_eq!(
            (counters.upstream_untrusted, counters.failed, counters.tcp_decrypted, counters.quic_decrypted),
            (5, 6, 0, 0)
        );
        assert_eq!(world.client.tcp(address_v4(10), SHOP, H2, "/1").await.unwrap().class, Interception::Intercepted);
    });
}

#[test]
fn lab_survives_dying_servers_and_malformed_bytes() {
    story("robustness::lab_survives_dying_servers_and_malformed_bytes", || async {
        let mut world = World::new().await;
        world.dut.behave(decrypt()).await;
        for alpn in [H1, H2] {
            assert!(world.client.tcp(address_v4(10), SHOP, alpn, "/die").await.is_err());
        }
        let connection = world.client.quic(address_v4(10), SHOP).await.unwrap();
        assert!(h3_on(connection.clone(), SHOP, "/die", 0).await.is_err());
        assert!(
            matches!(connection.closed().await, quinn::ConnectionError::ApplicationClosed(close) if close.error_code == 7u32.into())
        );
        // A large upload, so that backpressure goes the other way too.
        let connection = world.client.quic(address_v6(10), SHOP).await.unwrap();
        assert_eq!(h3_on(connection, SHOP, "/1000", 20_000_000).await.unwrap().body, 1000);

        let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
        udp.connect((address_v4(10), 443)).unwrap();
        let mut seed: u32 = 1;
        for round in 0..300_usize {
            let mut bytes = vec![0; 1 + round * 5];
            for byte in &mut bytes {
                // Numerical Recipes' generator: any bytes will do, as long as they are the same each time.
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = (seed >> 24) as u8;
            }
            match round % 3 {
                // A long header of QUIC version 1, so that parsing goes further than the first byte.
                1 if bytes.len() > 5 => bytes[..5].copy_from_slice(&[0xc3, 0, 0, 0, 1]),
                // A TLS handshake record that says ClientHello.
                2 if bytes.len() > 9 => bytes[..6].copy_from_slice(&[0x16, 3, 1, 0x04, 0x00, 1]),
                _ => {}
            }
            let _refused = udp.send(&bytes);
            let mut tcp = TcpStream::connect((address_v4(10), 443)).unwrap();
            let _reset = tcp.write_all(&bytes);
            let _reset = tcp.shutdown(std::net::Shutdown::Write);
            tcp.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let _reset = tcp.read_to_end(&mut Vec::new());
        }
        assert!(world.dut.is_alive());
        assert_eq!(world.client.tcp(address_v4(10), SHOP, H2, "/1").await.unwrap().class, Interception::Intercepted);
        assert_eq!(world.client.h3(address_v4(10), SHOP, "/1").await.unwrap().class, Interception::Intercepted);
        assert!(world.dut.client.get_text("/health/ready").await.is_ok());
        // Nobody reaches the listeners directly, and so nobody makes the gateway connect to itself.
        assert!(world.client.tcp("172.16.0.1".parse().unwrap(), SHOP, H1, "/1").await.is_err());
    });
}

#[test]
fn lab_changes_are_refused_idempotent_and_end_old_connections() {
    story("robustness::lab_changes_are_refused_idempotent_and_end_old_connections", || async {
        let world = World::new().await;
        for nonsense in [
            Behaviour { alt_svc: AltSvcPolicy::Strip, ..Behaviour::default() },
            Behaviour { mirror: Mirror::Downgrade, ..Behaviour::default() },
            Behaviour { drop_per_mille: 1001, ..Behaviour::default() },
        ] {
            let refused = world.dut.client.put_json::<_, Behaviour>("/v1/behaviour", &nonsense).await.unwrap_err();
            assert!(
                matches!(&refused, ClientError::Problem(problem) if problem.status == 422 && problem.code == "behaviour-refused"),
                "{refused}"
            );
        }
        world.dut.behave(decrypt()).await;
        let mut tcp = world.client.connect(address_v4(10), SHOP, H2).await.unwrap();
        let quic = world.client.quic(address_v4(10), SHOP).await.unwrap();
        tcp.get("/1").await.unwrap();
        world.dut.behave(decrypt()).await;
        tcp.get("/1").await.unwrap();
        assert!(quic.close_reason().is_none());
        world.dut.behave(Behaviour { forge: tbi_bench::control::practice_dut::Forge::Cold, ..decrypt() }).await;
        tokio::time::timeout(Duration::from_secs(2), quic.closed()).await.expect("closed by the change");
        assert!(tcp.get("/1").await.is_err());

        // SIGTERM takes every rule away; packets are simply forwarded again.
        world.dut.behave(Behaviour { delay: tbi_bench::units::Span::from_millis(1), ..decrypt() }).await;
        let rules = "ip netns exec dut sh -c 'nft list ruleset; ip rule; ip -6 rule; ip route show table 443; iptables -t mangle -S; ip6tables -t mangle -S' 2>/dev/null";
        let in_force = sh_output(rules);
        assert!(in_force.contains("tbi_dut") && in_force.contains("0x7b1") && in_force.contains("queue"), "{in_force}");
        assert_eq!(world.dut.terminate(), Some(0));
        let left = sh_output(rules);
        assert!(
            !left.contains("tbi_dut")
                && !left.contains("0x7b1")
                && !left.contains("TBI_DUT")
                && !left.contains("queue"),
            "{left}"
        );
        assert_eq!(world.client.tcp(address_v4(10), SHOP, H1, "/1").await.unwrap().class, Interception::EndToEnd);
        assert_eq!(world.client.h3(address_v4(10), SHOP, "/1").await.unwrap().class, Interception::EndToEnd);

        // What it cannot start with, it names, with exit code 2.
        let complaint = |breaking: &str| {
            sh(breaking);
            let output = gateway_command().stderr(std::process::Stdio::piped()).output().unwrap();
            assert_eq!(output.status.code(), Some(2));
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        let missing = complaint("mv /run/dut/persona-ca.pem /run/dut/away");
        assert!(missing.contains("persona-ca.pem") && missing.contains("start the personas first"), "{missing}");
        let half = complaint("mv /run/dut/away /run/dut/persona-ca.pem; rm /run/dut/ca/ca.key");
        assert!(half.contains("ca.key is missing"), "{half}");
    });
}

#[test]
fn lab_classifies_every_one_of_many_connections() {
    story("robustness::lab_classifies_every_one_of_many_connections", || async {
        let world = World::new().await;
        for (behaviour, class) in
            [(decrypt(), Interception::Intercepted), (Behaviour::default(), Interception::EndToEnd)]
        {
            world.dut.behave(behaviour).await;
            let mut wave = tokio::task::JoinSet::new();
            for index in 0..600 {
                let client = world.client.clone();
                let ip = if index % 2 == 0 { address_v4(10) } else { address_v6(10) };
                let one = async move {
                    match index % 3 {
                        0 => client.tcp(ip, SHOP, H1, "/5000").await,
                        1 => client.tcp(ip, SHOP, H2, "/5000").await,
                        _ => client.h3(ip, SHOP, "/5000").await,
                    }
                };
                wave.spawn(one);
                if wave.len() >= 40 {
                    assert_eq!(wave.join_next().await.unwrap().unwrap().unwrap().class, class);
                }
            }
            while let Some(seen) = wave.join_next().await {
                assert_eq!(seen.unwrap().unwrap().class, class);
            }
        }
        let counters = world.dut.counters().await;
        assert_eq!((counters.tcp_decrypted, counters.quic_decrypted, counters.failed), (400, 200, 0));
    });
}

#[test]
fn lab_starts_clean_after_being_killed() {
    story("robustness::lab_starts_clean_after_being_killed", || async {
        let world = World::new().await;
        let late = Behaviour { delay: tbi_bench::units::Span::from_millis(2), ..decrypt() };
        world.dut.behave(late).await;
        world.client.tcp(address_v4(10), SHOP, H1, "/1").await.unwrap();
        world.dut.kill();
        // A device that is down lets nothing through.
        let closed = std::net::TcpStream::connect_timeout(&(address_v4(10), 443).into(), Duration::from_millis(300));
        assert!(closed.is_err());
        let dut = Dut::start(&world.persona_ca_pem).await;
        for ip in [address_v4(10), address_v6(10)] {
            assert_eq!(world.client.tcp(ip, SHOP, H2, "/1").await.unwrap().class, Interception::EndToEnd);
            assert_eq!(world.client.h3(ip, SHOP, "/1").await.unwrap().class, Interception::EndToEnd);
        }
        dut.behave(late).await;
        // The same CA as before, so clients that trusted it still do.
        assert_eq!(world.client.h3(address_v4(10), SHOP, "/1").await.unwrap().class, Interception::Intercepted);
    });
}
