//! Which behaviours make sense. Pure; applied by [`crate::gateway`].

use tbi_bench::control::practice_dut::{AltSvcPolicy, Behaviour, Mirror, Scope, TcpPolicy};
use tbi_bench::units::Span;

/// Longest delay that can be asked for: anything longer outlasts the handshake timers of every client.
pub const MAX_DELAY: Span = Span::from_secs(1);

/// Why a behaviour is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BehaviourError {
    /// Only decrypted responses can be edited.
    #[error(
        "alt_svc is 'strip' but tcp is 'route': a header can only be removed from decrypted traffic; set tcp to 'decrypt'"
    )]
    StripNeedsDecrypt,
    /// Only a terminated handshake can be downgraded.
    #[error(
        "mirror is 'downgrade' but tcp is 'route': only a terminated handshake can be downgraded; set tcp to 'decrypt'"
    )]
    DowngradeNeedsDecrypt,
    /// More than everything.
    #[error("drop_per_mille is {0}; use 0 (nothing) to 1000 (every packet)")]
    Drop(u16),
    /// Too long a delay.
    #[error("delay is {0}; use at most {MAX_DELAY}")]
    Delay(Span),
}

/// Checks that a behaviour can be carried out.
///
/// # Errors
/// The first thing that makes no sense.
pub fn check(behaviour: &Behaviour) -> Result<(), BehaviourError> {
    if behaviour.tcp == TcpPolicy::Route {
        if behaviour.alt_svc == AltSvcPolicy::Strip {
            return Err(BehaviourError::StripNeedsDecrypt);
        }
        if behaviour.mirror == Mirror::Downgrade {
            return Err(BehaviourError::DowngradeNeedsDecrypt);
        }
    }
    if behaviour.drop_per_mille > 1000 {
        return Err(BehaviourError::Drop(behaviour.drop_per_mille));
    }
    if behaviour.delay > MAX_DELAY {
        return Err(BehaviourError::Delay(behaviour.delay));
    }
    Ok(())
}

/// Whether a scope covers TCP.
#[must_use]
pub fn covers_tcp(scope: Scope) -> bool {
    matches!(scope, Scope::All | Scope::Tcp)
}

/// Whether a scope covers QUIC.
#[must_use]
pub fn covers_quic(scope: Scope) -> bool {
    matches!(scope, Scope::All | Scope::Quic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_done_is_refused() {
        let decrypt = Behaviour { tcp: TcpPolicy::Decrypt, ..Behaviour::default() };
        assert_eq!(check(&Behaviour::default()), Ok(()));
        assert_eq!(check(&Behaviour { alt_svc: AltSvcPolicy::Strip, mirror: Mirror::Downgrade, ..decrypt }), Ok(()));
        let strip = Behaviour { alt_svc: AltSvcPolicy::Strip, ..Behaviour::default() };
        assert_eq!(check(&strip), Err(BehaviourError::StripNeedsDecrypt));
        let downgrade = Behaviour { mirror: Mirror::Downgrade, ..Behaviour::default() };
        assert_eq!(check(&downgrade), Err(BehaviourError::DowngradeNeedsDecrypt));
        let edge = Behaviour { drop_per_mille: 1000, delay: MAX_DELAY, ..Behaviour::default() };
        assert_eq!(check(&edge), Ok(()));
        assert_eq!(check(&Behaviour { drop_per_mille: 1001, ..edge }), Err(BehaviourError::Drop(1001)));
        let late = Span::from_micros(MAX_DELAY.as_micros() + 1);
        assert_eq!(check(&Behaviour { delay: late, ..edge }), Err(BehaviourError::Delay(late)));
    }
}
