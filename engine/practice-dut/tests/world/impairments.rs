//! Loss and delay, measured from the agents' side.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use tbi_bench::control::practice_dut::{Behaviour, Scope};
use tbi_bench::units::Span;

use crate::persona::SHOP;
use crate::{H1, World, address_v4, decrypt, story};

#[test]
fn lab_loses_what_it_is_told_to() {
    story("impairments::lab_loses_what_it_is_told_to", || async {
        let world = World::new().await;
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect((address_v4(20), 443)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        world.dut.behave(Behaviour { drop_per_mille: 200, drop_scope: Scope::Quic, ..Behaviour::default() }).await;
        const SENT: u32 = 5000;
        let mut answered = 0;
        for _ in 0..SENT / 50 {
            for _ in 0..50 {
                socket.send(b"ping").unwrap();
            }
            let quiet = loop {
                match socket.recv(&mut [0; 8]) {
                    Ok(_) => answered += 1,
                    Err(error) => break error,
                }
                if answered % 50 == 49 {
                    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                }
            };
            assert_eq!(quiet.kind(), std::io::ErrorKind::WouldBlock);
        }
        // Each way loses 20 %, so 64 % come back: mean 3200, standard deviation 34; five of them either side.
        assert!((3030..=3370).contains(&answered), "{answered} of {SENT} answered");
        let dropped = world.dut.counters().await.packets_dropped;
        assert_eq!(dropped, u64::from(SENT - answered), "every loss is counted, and nothing else is lost");
        assert!(world.client.tcp(address_v4(10), SHOP, H1, "/1000").await.is_ok());
        assert_eq!(world.dut.counters().await.packets_dropped, dropped, "TCP is outside the scope");

        // Intercepted connections lose packets on both legs and survive.
        world.dut.behave(Behaviour { drop_per_mille: 50, ..decrypt() }).await;
        assert_eq!(world.client.tcp(address_v4(10), SHOP, H1, "/200000").await.unwrap().body, 200_000);
        assert_eq!(world.client.h3(address_v4(10), SHOP, "/200000").await.unwrap().body, 200_000);
        assert!(world.dut.counters().await.packets_dropped > dropped);
    });
}

/// Packets the delay line released, and their lateness together, µs.
async fn line(world: &World) -> (f64, f64) {
    let metrics = world.dut.client.get_text("/metrics").await.unwrap();
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse::<f64>().unwrap()
    };
    (value("tbi_dut_packets_delayed_total "), value("tbi_dut_delay_lateness_microseconds_total "))
}

/// Lower quartile of the time of a small request on an open connection, milliseconds. A wrong delay shows in every quantile; neighbours
/// that take processor time away show in the upper ones. Before every request the world rests for `rest_ms`: programs and processors that have
/// slept for as long as the delay lasts take a while to wake, 0.3 ms after 20 ms on some hosts, and the reference has to pay that as well.
async fn quartile_ms(world: &World, rest_ms: u64) -> f64 {
    let mut connection = world.client.connect(address_v4(10), SHOP, H1).await.unwrap();
    let mut times = Vec::new();
    for _ in 0..101 {
        tokio::time::sleep(Duration::from_millis(rest_ms)).await;
        let start = Instant::now();
        connection.get("/100").await.unwrap();
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    times[25]
}

#[test]
#[expect(clippy::print_stderr, reason = "the numbers are worth seeing in every run")]
fn lab_delays_by_what_it_is_told_to() {
    story("impairments::lab_delays_by_what_it_is_told_to", || async {
        let world = World::new().await;
        for base in [Behaviour::default(), decrypt()] {
            for delay_ms in [1, 5, 20] {
                // The reference brackets the measurement, so that a slow drift of a shared machine cancels.
                world.dut.behave(base).await;
                let before = quartile_ms(&world, delay_ms).await;
                world.dut.behave(Behaviour { delay: Span::from_millis(delay_ms), ..base }).await;
                let before_line = line(&world).await;
                let delayed = quartile_ms(&world, delay_ms).await;
                let after_line = line(&world).await;
                let late_us = (after_line.1 - before_line.1) / (after_line.0 - before_line.0);
                world.dut.behave(base).await;
                let reference = (before + quartile_ms(&world, delay_ms).await) / 2.0;
                let added = delayed - reference;
                eprintln!(
                    "{:?}: wanted {delay_ms} ms, reference {reference:.3} ms, added {added:.3} ms, released {late_us:.0} us late on average",
                    base.tcp
                );
                assert!((added - delay_ms as f64).abs() <= 0.3, "wanted {delay_ms} ms, added {added:.3} ms");
            }
        }
        assert!(world.dut.client.get_text("/metrics").await.unwrap().contains("tbi_dut_delay_overrun_total 0"));
        let delayed = world.dut.counters().await.packets_delayed;
        assert!(delayed >= 600, "{delayed}");

        // Scope: TCP only delays TCP.
        world
            .dut
            .behave(Behaviour { delay: Span::from_millis(50), delay_scope: Scope::Tcp, ..Behaviour::default() })
            .await;
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect((address_v4(20), 443)).unwrap();
        let start = Instant::now();
        socket.send(b"ping").unwrap();
        socket.recv(&mut [0; 8]).unwrap();
        assert!(start.elapsed() < Duration::from_millis(40), "{:?}", start.elapsed());
        assert!(world.client.h3(address_v4(10), SHOP, "/1000").await.is_ok());
    });
}
