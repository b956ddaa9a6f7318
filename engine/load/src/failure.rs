//! Why something failed and whose fault that is: one place that turns the errors of kernel, rustls and quinn into
//! [`Cause`] and [`Fault`].
//!
//! Does not decide what a failure means for a trial. Every mapping is total: an error nobody thought of still gets a cause.

use std::io;

use quinn::ConnectionError;
use tbi_bench::control::engine::{Cause, Fault};

/// A failed connection or transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// Why.
    pub cause: Cause,
    /// Whose fault.
    pub fault: Fault,
    /// Whether the path or the peer told us so (RST, ICMP, alert, CONNECTION_CLOSE) rather than being silent.
    pub active: bool,
    /// One sentence without the target's name, which the recorder adds.
    pub detail: String,
}

impl Failure {
    /// The server did something wrong.
    pub fn peer(cause: Cause, detail: impl Into<String>) -> Self {
        Self { cause, fault: Fault::Peer, active: true, detail: detail.into() }
    }

    /// Something between us and the server, told actively.
    pub fn path(cause: Cause, detail: impl Into<String>) -> Self {
        Self { cause, fault: Fault::Path, active: true, detail: detail.into() }
    }

    /// The bench itself.
    pub fn local(cause: Cause, detail: impl Into<String>) -> Self {
        Self { cause, fault: Fault::Local, active: false, detail: detail.into() }
    }

    /// Silence during the handshake.
    #[must_use]
    pub fn handshake_timeout() -> Self {
        let detail = "no end of the handshake within the handshake timeout".to_owned();
        Self { cause: Cause::HandshakeTimeout, fault: Fault::Path, active: false, detail }
    }

    /// Silence after a request.
    #[must_use]
    pub fn request_timeout() -> Self {
        let detail = "no complete response within the request timeout".to_owned();
        Self { cause: Cause::RequestTimeout, fault: Fault::Path, active: false, detail }
    }

    /// An error of `bind` or `socket`.
    #[must_use]
    pub fn bind(error: &io::Error, what: &str) -> Self {
        match error.kind() {
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => Self::local(
                Cause::SourceExhausted,
                format!(
                    "cannot bind {what}: {error}; add source addresses, or route the source prefix to this namespace"
                ),
            ),
            _ => Self::local(Cause::LocalResource, format!("cannot open or bind {what}: {error}")),
        }
    }

    /// An error of `connect`, or of a UDP socket that learnt of an ICMP message.
    #[must_use]
    pub fn connect(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset | io::ErrorKind::PermissionDenied => {
                Self::path(Cause::ConnectRefused, format!("refused while connecting: {error}"))
            }
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Self::path(Cause::Unreachable, format!("no way to the target: {error}"))
            }
            io::ErrorKind::TimedOut => Self::handshake_timeout(),
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => Self::local(
                Cause::SourceExhausted,
                format!("no source port left: {error}; add source addresses or lower the connection rate"),
            ),
            _ => Self::local(Cause::LocalResource, format!("cannot connect: {error}")),
        }
    }

    /// An error while reading or writing an established TCP connection; `handshaken` tells TLS failure from a later reset.
    #[must_use]
    pub fn stream(error: &io::Error, handshaken: bool) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted
                if handshaken =>
            {
                Self::path(Cause::Reset, format!("connection reset: {error}"))
            }
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
                Self::path(Cause::ConnectRefused, format!("connection reset during the handshake: {error}"))
            }
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Self::path(Cause::Unreachable, format!("no way to the target any more: {error}"))
            }
            io::ErrorKind::TimedOut if handshaken => Self { active: false, ..Self::request_timeout() },
            io::ErrorKind::TimedOut => Self::handshake_timeout(),
            _ => Self::local(Cause::LocalResource, format!("reading or writing failed: {error}")),
        }
    }

    /// End of file before the response was whole.
    #[must_use]
    pub fn truncated(handshaken: bool) -> Self {
        if handshaken {
            Self::path(Cause::Truncated, "the connection was closed before the response was whole")
        } else {
            Self::path(Cause::TlsFailure, "the connection was closed during the TLS handshake")
        }
    }

    /// An error of rustls.
    #[must_use]
    pub fn tls(error: &rustls::Error, handshaken: bool) -> Self {
        use rustls::{AlertDescription, Error};
        match error {
            Error::InvalidCertificate(reason) => untrusted(&format!("{reason:?}")),
            Error::NoApplicationProtocol | Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
                Self::peer(Cause::AlpnMismatch, "the peer did not agree to the protocol asked for")
            }
            _ if handshaken => Self::peer(Cause::ProtocolViolation, format!("TLS failed after the handshake: {error}")),
            _ => Self::path(Cause::TlsFailure, format!("TLS handshake failed: {error}")),
        }
    }

    /// End of a QUIC connection; `handshaken` as in [`Self::stream`].
    #[must_use]
    pub fn quic(error: &ConnectionError, handshaken: bool) -> Self {
        match error {
            ConnectionError::TimedOut if handshaken => Self { active: false, ..Self::request_timeout() },
            ConnectionError::TimedOut => Self::handshake_timeout(),
            ConnectionError::TransportError(error) => match alert_of(error.code.into()) {
                // The verifier is ours, so these alerts are our own words about the peer's chain.
                Some(42..=46 | 48) => untrusted(&error.reason),
                Some(120) => Self::peer(Cause::AlpnMismatch, "the peer did not agree to h3"),
                Some(_) => Self::path(Cause::TlsFailure, format!("TLS in QUIC failed: {error}")),
                None => Self::peer(Cause::ProtocolViolation, format!("the peer broke QUIC: {error}")),
            },
            ConnectionError::ConnectionClosed(close) => match alert_of(close.error_code.into()) {
                Some(120) => Self::peer(Cause::AlpnMismatch, "the peer did not agree to h3"),
                Some(_) => Self::path(Cause::TlsFailure, format!("the peer sent a TLS alert: {close}")),
                None => Self::path(Cause::QuicClosed, format!("closed by the peer's QUIC: {close}")),
            },
            ConnectionError::ApplicationClosed(close) => {
                Self::path(Cause::QuicClosed, format!("closed by the peer's HTTP/3: {close}"))
            }
            ConnectionError::Reset => Self::path(Cause::QuicClosed, "stateless reset"),
            ConnectionError::VersionMismatch => {
                Self::peer(Cause::ProtocolViolation, "the peer speaks no QUIC version of ours")
            }
            ConnectionError::LocallyClosed | ConnectionError::CidsExhausted => {
                Self::local(Cause::LocalResource, format!("QUIC ended here: {error}"))
            }
        }
    }
}

/// The chain fits none of the authorities of the order, is not valid now, or is for another name.
fn untrusted(reason: &str) -> Failure {
    Failure::path(
        Cause::CertificateUntrusted,
        format!(
            "the certificate is refused ({reason}): it must chain to the persona CA or the device's CA, be valid now and name the persona; \
             give the CA the device signs with, or correct what it signs"
        ),
    )
}

/// TLS alert within a QUIC transport error code (RFC 9001 §4.8).
fn alert_of(code: u64) -> Option<u8> {
    (0x100..0x200).contains(&code).then_some((code & 0xff) as u8)
}
