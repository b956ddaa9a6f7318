//! What load agent and persona say to each other inside HTTP: paths, header names, and the Server-Timing value.
//!
//! A request that carries [`TOKEN_HEADER`] is answered with [`ECHO_HEADER`] (proof of decryption, see [`crate::proof`]) and with
//! [`SERVER_TIMING_HEADER`], from which DUT-added time follows without clock synchronisation:
//! `added = (T4 - T1) - (T3 - T2)`, each difference on one clock.

/// Request header: 16 random bytes in lower-case hex, fresh for each connection.
pub const TOKEN_HEADER: &str = "x-tlsstress-token";
/// Response header: the persona's echo for the token, 16 bytes in lower-case hex.
pub const ECHO_HEADER: &str = "x-tlsstress-echo";
/// Response header with the persona's own timing (W3C Server Timing): `hs;dur=…, app;dur=…`, milliseconds.
pub const SERVER_TIMING_HEADER: &str = "server-timing";
/// Path under which a persona reports what it saw of this very connection, as JSON [`crate::control::personas::Saw`].
pub const SAW_PATH: &str = "/saw";
/// Every persona offers HTTP/3 with this Alt-Svc value (RFC 7838) on HTTP/1.1 and HTTP/2 responses.
pub const ALT_SVC: &str = "h3=\":443\"; ma=86400";
/// Port of every persona.
pub const PORT: u16 = 443;

/// The persona's share of the time the agent saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServerTiming {
    /// From accepting the connection (first packet of it) to the end of the handshake, µs.
    pub handshake_us: u64,
    /// From reading the complete request to handing the first response byte to the stack, µs.
    pub app_us: u64,
}

impl ServerTiming {
    /// Header value, milliseconds with three decimals as the W3C draft has it.
    #[must_use]
    pub fn to_header(self) -> String {
        format!(
            "hs;dur={}.{:03}, app;dur={}.{:03}",
            self.handshake_us / 1000,
            self.handshake_us % 1000,
            self.app_us / 1000,
            self.app_us % 1000
        )
    }

    /// Parses [`Self::to_header`]; tolerant of order, spaces and further entries; `None` when one of the two is missing or not a
    /// non-negative number below a day.
    #[must_use]
    pub fn parse(header: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(header).ok()?;
        let (mut handshake_us, mut app_us) = (None, None);
        for entry in text.split(',') {
            let mut parts = entry.split(';').map(str::trim);
            let slot = match parts.next() {
                Some("hs") => &mut handshake_us,
                Some("app") => &mut app_us,
                _ => continue,
            };
            *slot = parts.find_map(|part| part.strip_prefix("dur=")).and_then(milliseconds_to_us);
        }
        Some(Self { handshake_us: handshake_us?, app_us: app_us? })
    }
}

fn milliseconds_to_us(text: &str) -> Option<u64> {
    const DAY_US: f64 = 86_400e6;
    let us = text.parse::<f64>().ok()? * 1000.0;
    // Rounded before the comparison too: just below a day must not become a day, which would not be read back.
    ((0.0..DAY_US).contains(&us) && us.round() < DAY_US).then_some(us.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_timing_round_trips() {
        for (handshake_us, app_us) in [(0, 0), (1, 999), (1000, 12_345_678), (999, 1)] {
            let timing = ServerTiming { handshake_us, app_us };
            assert_eq!(ServerTiming::parse(timing.to_header().as_bytes()), Some(timing));
        }
    }

    #[test]
    fn server_timing_refuses_what_is_not_a_duration() {
        for bad in ["", "hs;dur=1", "hs;dur=-1, app;dur=1", "hs;dur=NaN, app;dur=1", "hs;dur=1e99, app;dur=1", "\u{fe}"]
        {
            assert_eq!(ServerTiming::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(
            ServerTiming::parse(b"x, app;desc=\"a\";dur=2 ,hs;dur=1.0005").map(|timing| timing.app_us),
            Some(2000)
        );
    }
}
