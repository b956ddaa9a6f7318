//! QUIC endpoints of one worker: a bounded set of sockets per address family, each bound to one source address and reused by many
//! connections.
//!
//! Transport parameters follow RFC 9411 §4.3.1.2: UDP payload 1252 (IPv4) or 1232 (IPv6) bytes, no MTU discovery, flow control on,
//! immediate close. Segmentation offload stays on where the kernel has it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use quinn::{ClientConfig, Endpoint, EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use tbi_bench::control::engine::Cause;

use crate::failure::Failure;
use crate::order::Setup;
use crate::sources::{self, Family, Sources};
use crate::tls::profile;

/// Sockets per worker and family: enough source addresses to spread over a server's SO_REUSEPORT group, few enough that receives
/// still come in batches.
const ENDPOINTS: u128 = 8;
/// Sockets per worker and family when the kernel chooses the address.
const ENDPOINTS_ANY: u128 = 2;
/// UDP payload (RFC 9411 §4.3.1.2), bytes.
const PAYLOAD_V4: u16 = 1252;
/// See [`PAYLOAD_V4`].
const PAYLOAD_V6: u16 = 1232;
/// Unidirectional streams the server may open: control, two for QPACK, and room for grease.
const PEER_UNI_STREAMS: u32 = 8;

/// Endpoints of one worker.
#[derive(Debug)]
pub struct Endpoints {
    v4: Vec<Endpoint>,
    v6: Vec<Endpoint>,
    next: Cell<usize>,
    config_v4: ClientConfig,
    config_v6: ClientConfig,
    gso: bool,
}

impl Endpoints {
    /// Binds sockets for the families the targets need. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Failure`] with [`tbi_bench::control::engine::Fault::Local`].
    pub fn bind(setup: &Setup, sources: &mut Sources, patience: Duration) -> Result<Self, Failure> {
        let mut gso = false;
        let mut endpoints = |family| -> Result<Vec<Endpoint>, Failure> {
            if !setup.targets.iter().any(|target| Family::of(target.address) == family) {
                return Ok(Vec::new());
            }
            let wanted = if sources.has(family) { sources.count(family).min(ENDPOINTS) } else { ENDPOINTS_ANY };
            (0..wanted)
                .map(|_| {
                    let socket = sources::udp_socket(sources.next(family)?)?;
                    let (endpoint, segments) = endpoint(socket)?;
                    gso |= segments > 1;
                    Ok(endpoint)
                })
                .collect()
        };
        Ok(Self {
            v4: endpoints(Family::V4)?,
            v6: endpoints(Family::V6)?,
            next: Cell::new(0),
            config_v4: client_config(setup, Family::V4, patience)?,
            config_v6: client_config(setup, Family::V6, patience)?,
            gso,
        })
    }

    /// Endpoint and configuration for the next connection of a family.
    #[must_use]
    pub fn next(&self, family: Family) -> Option<(&Endpoint, ClientConfig)> {
        let (endpoints, config) = match family {
            Family::V4 => (&self.v4, &self.config_v4),
            Family::V6 => (&self.v6, &self.config_v6),
        };
        let index = self.next.get();
        self.next.set(index.wrapping_add(1));
        let endpoint = endpoints.get(index.checked_rem(endpoints.len())?)?;
        Some((endpoint, config.clone()))
    }

    /// Whether segmentation offload is available on any socket.
    #[must_use]
    pub fn gso(&self) -> bool {
        self.gso
    }

    /// Closes every endpoint, so that peers hear of it, waiting at most `patience`.
    pub async fn close(&self, patience: Duration) {
        let idle = futures_util::future::join_all(self.v4.iter().chain(&self.v6).map(|endpoint| {
            endpoint.close(super::h3::H3_NO_ERROR, b"");
            endpoint.wait_idle()
        }));
        // What did not drain in time is dropped: peers then time out, which is their own business by now.
        let _drained = tokio::time::timeout(patience, idle).await;
    }
}

/// An endpoint on a socket, and how many datagrams one send may carry.
fn endpoint(socket: std::net::UdpSocket) -> Result<(Endpoint, usize), Failure> {
    let runtime: Arc<dyn quinn::Runtime> = Arc::new(quinn::TokioRuntime);
    let open = || {
        let socket = runtime.wrap_udp_socket(socket)?;
        let segments = socket.max_transmit_segments();
        let endpoint =
            Endpoint::new_with_abstract_socket(EndpointConfig::default(), None, socket, Arc::clone(&runtime))?;
        Ok((endpoint, segments))
    };
    open().map_err(|error: std::io::Error| Failure::bind(&error, "QUIC socket"))
}

/// Client configuration for one family; `patience` is the longest wait of a handshake or request, which must not be cut short by
/// QUIC's idle timeout.
///
/// # Errors
/// A local [`Failure`] if the order's TLS configuration cannot be used for QUIC, which the order check excludes.
pub fn client_config(setup: &Setup, family: Family, patience: Duration) -> Result<ClientConfig, Failure> {
    let refused = |reason: String| Failure::local(Cause::LocalResource, reason);
    if !setup.protocol.is_quic() {
        return Err(refused("QUIC was not ordered".to_owned()));
    }
    let crypto = profile::quic_config(Arc::clone(&setup.tls)).map_err(|error| refused(error.to_string()))?;
    let idle = IdleTimeout::try_from(patience.saturating_add(Duration::from_secs(5)).min(MAX_IDLE))
        .map_err(|error| refused(error.to_string()))?;
    let mut transport = TransportConfig::default();
    transport
        .initial_mtu(if family == Family::V4 { PAYLOAD_V4 } else { PAYLOAD_V6 })
        .mtu_discovery_config(None)
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(PEER_UNI_STREAMS))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(idle));
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Longest idle timeout announced.
const MAX_IDLE: Duration = Duration::from_secs(600);
