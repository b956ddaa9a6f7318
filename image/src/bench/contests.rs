//! What `bench` compares: each contest is one of our figures and the peers' figures for the same work.

use super::clients::Kind::{Engine, H2load, H3Crate, Wrk};
use super::clients::Protocol::{H1, H2, H3};
use super::clients::Reuse::{Fresh, Keep};
use super::clients::{self, Pattern, Protocol, Reuse};
use super::servers::Kind::{Caddy, Nginx, Personas};
use super::servers::{self};

/// Whose processor time is the figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Client,
    Server,
}

/// One client working on one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bout {
    pub(super) client: clients::Kind,
    pub(super) server: servers::Kind,
}

/// Our bout beside those of the peers.
#[derive(Debug, Clone)]
pub(super) struct Contest {
    pub(super) name: String,
    pub(super) pattern: Pattern,
    pub(super) whose: Whose,
    pub(super) ours: Bout,
    /// With the highest ratio ours / peer that is good enough, where we promise one.
    pub(super) peers: Vec<(Bout, Option<f64>)>,
}

impl Contest {
    /// Name of a peer: the program whose processor time is compared.
    pub(super) fn peer_name(&self, bout: Bout) -> &'static str {
        match self.whose {
            Whose::Client => bout.client.name(),
            Whose::Server => bout.server.name(),
        }
    }
}

const fn pattern(protocol: Protocol, connections: u32, streams: u32, reuse: Reuse) -> Pattern {
    Pattern { protocol, connections, streams, reuse }
}

fn name(who: &str, pattern: Pattern) -> String {
    let (protocol, connections, streams) = (pattern.protocol.name(), pattern.connections, pattern.streams);
    match pattern.reuse {
        Reuse::Keep => format!("{who} {protocol} request, {connections}x{streams}"),
        Reuse::Fresh => format!("{who} {protocol} handshake and request, {connections}x1"),
    }
}

/// Clients of our own against `server`.
fn client(pattern: Pattern, server: servers::Kind, peers: &[(clients::Kind, Option<f64>)]) -> Contest {
    Contest {
        name: name("engine", pattern),
        pattern,
        whose: Whose::Client,
        ours: Bout { client: Engine, server },
        peers: peers.iter().map(|&(client, bar)| (Bout { client, server }, bar)).collect(),
    }
}

/// Servers under the engine's load.
fn server(pattern: Pattern, peers: &[(servers::Kind, Option<f64>)]) -> Contest {
    Contest {
        name: name("personas", pattern),
        pattern,
        whose: Whose::Server,
        ours: Bout { client: Engine, server: Personas },
        peers: peers.iter().map(|&(server, bar)| (Bout { client: Engine, server }, bar)).collect(),
    }
}

/// Every contest. 50 connections, 10 streams and 1 KB are what h2load's and wrk's own examples use; the bars are promises of this
/// project (docs/figures.md).
pub(super) fn all() -> Vec<Contest> {
    vec![
        client(pattern(H1, 50, 1, Keep), Nginx, &[(Wrk, Some(0.8)), (H2load, None)]),
        client(pattern(H2, 50, 10, Keep), Nginx, &[(H2load, None)]),
        client(pattern(H3, 1, 50, Keep), Personas, &[(H3Crate, Some(0.7))]),
        client(pattern(H3, 50, 10, Keep), Personas, &[(H3Crate, Some(0.7))]),
        client(pattern(H1, 50, 1, Fresh), Nginx, &[(Wrk, None)]),
        client(pattern(H3, 20, 1, Fresh), Personas, &[(H3Crate, None)]),
        server(pattern(H1, 50, 1, Keep), &[(Nginx, None), (Caddy, None)]),
        server(pattern(H2, 50, 10, Keep), &[(Nginx, None), (Caddy, None)]),
        server(pattern(H3, 50, 10, Keep), &[(Nginx, None), (Caddy, None)]),
        server(pattern(H1, 50, 1, Fresh), &[(Nginx, Some(0.65)), (Caddy, None)]),
        server(pattern(H3, 20, 1, Fresh), &[(Nginx, None), (Caddy, None)]),
    ]
}

/// Protocols whose schedule lag is looked at.
pub(super) const LAG_PROTOCOLS: [Protocol; 3] = [H1, H2, H3];
/// Highest 99th percentile of the schedule lag at half load that is good enough, µs.
pub(super) const LAG_BAR_US: f64 = 200.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = all().into_iter().map(|contest| contest.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
