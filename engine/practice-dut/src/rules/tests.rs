//! One snapshot per behaviour: what a change of a rule means for packets is reviewed as text.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use tbi_bench::control::personas::KeyKind;
use tbi_bench::control::practice_dut::{AltSvcPolicy, Scope};

use super::*;

fn place() -> Place {
    let names = |names: &[&str]| names.iter().map(|name| Interface::parse(name).unwrap()).collect();
    Place {
        inside: names(&["in20", "in30"]),
        outside: names(&["out0"]),
        persona_ca_file: PathBuf::new(),
        ca_dir: PathBuf::new(),
        key: KeyKind::EcdsaP256,
        workers: 1,
    }
}

fn rules(behaviour: Behaviour) -> String {
    nftables(&place(), &behaviour, Hold::Iptables)
}

#[test]
fn route_only_intercepts_nothing() {
    insta::assert_snapshot!(rules(Behaviour::default()));
}

#[test]
fn decrypt_tcp() {
    insta::assert_snapshot!(rules(Behaviour { tcp: TcpPolicy::Decrypt, ..Behaviour::default() }));
}

#[test]
fn decrypt_both() {
    let behaviour = Behaviour { tcp: TcpPolicy::Decrypt, quic: QuicPolicy::Decrypt, ..Behaviour::default() };
    insta::assert_snapshot!(rules(behaviour));
}

#[test]
fn strip_changes_no_rule() {
    let decrypt = Behaviour { tcp: TcpPolicy::Decrypt, ..Behaviour::default() };
    assert_eq!(rules(Behaviour { alt_svc: AltSvcPolicy::Strip, ..decrypt }), rules(decrypt));
}

#[test]
fn block_silent() {
    insta::assert_snapshot!(rules(Behaviour { quic: QuicPolicy::BlockSilent, ..Behaviour::default() }));
}

#[test]
fn block_active() {
    insta::assert_snapshot!(rules(Behaviour { quic: QuicPolicy::BlockActive, ..Behaviour::default() }));
}

#[test]
fn drop_everywhere() {
    insta::assert_snapshot!(rules(Behaviour { drop_per_mille: 25, ..Behaviour::default() }));
}

#[test]
fn drop_quic() {
    insta::assert_snapshot!(rules(Behaviour { drop_per_mille: 25, drop_scope: Scope::Quic, ..Behaviour::default() }));
}

#[test]
fn delay_by_nftables() {
    let behaviour = Behaviour { delay: Span::from_millis(5), ..Behaviour::default() };
    insta::assert_snapshot!(nftables(&place(), &behaviour, Hold::Nftables));
    assert_eq!(rules(behaviour), rules(Behaviour::default()));
}

#[test]
fn delay_by_iptables() {
    let behaviour = Behaviour { delay: Span::from_millis(5), ..Behaviour::default() };
    insta::assert_snapshot!(hold_restore(&place(), &behaviour));
    insta::assert_snapshot!(hold_restore(&place(), &Behaviour { delay_scope: Scope::Tcp, ..behaviour }));
    insta::assert_snapshot!(hold_restore(&place(), &Behaviour::default()));
}
