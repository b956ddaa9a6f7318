//! Exact screens, and what hostile strings make of them: nothing.

use proptest::prelude::*;
use tbi_api::access::{Digest, DoorCertificate, Origin};
use tbi_api::runs::Progress;
use tbi_api::status::{BootKind, BootReason, Slot};

use super::*;

const SIZE: Size = Size { width: 80, height: 24 };

/// A box that is well and has measured.
pub(crate) fn status() -> Status {
    Status {
        version: "0.1.0".to_owned(),
        commit: Some("6473c3f0a1b2".to_owned()),
        variant: "debug".to_owned(),
        slot: Slot {
            label: "tbi_0.1.0".to_owned(),
            root_hash: Some("0123456789abcdef0123456789abcdef".to_owned()),
            entry: None,
            secure_boot: false,
        },
        host_name: "tbi-0a1b2c".to_owned(),
        addresses: vec!["10.0.2.15/24".to_owned(), "fec0::5054:ff:fe12:3456/64".to_owned(), "fe80::1/64".to_owned()],
        management_interface: Some("enp0s2".to_owned()),
        certificate_sha256: String::new(),
        door_certificate: Some(DoorCertificate {
            leaf_sha256: Digest::of_bytes(&std::array::from_fn(|place| u8::try_from(place).unwrap_or(0))),
            ca_sha256: Digest::of_bytes(&[0xca; 32]),
            names: vec!["tbi.local".to_owned()],
            not_after: "2027-05-01T00:00:00Z".parse().unwrap_or_default(),
            origin: Origin::Own,
            trouble: None,
        }),
        health: State::Healthy,
        problems: Vec::new(),
        last_boot: BootReason { kind: BootKind::Unclean, sentence: "The power was cut.".to_owned() },
        uptime_seconds: 3 * 3600 + 120,
        time: "2026-01-31T12:34:56.789Z".to_owned(),
        time_synchronised: true,
        claim_code: None,
        run: Some(Run {
            id: "20260131T120000Z".to_owned(),
            name: "quick".to_owned(),
            state: RunState::Passed,
            started: "2026-01-31T12:00:00Z".to_owned(),
            ended: Some("2026-01-31T12:01:00Z".to_owned()),
            progress: None,
            sentence: "Decryption costs 1.4 ms per handshake.".to_owned(),
            actor: None,
            source: None,
        }),
    }
}

fn shown(status: &Status) -> Vec<String> {
    frame(&View::Answered(Box::new(status.clone().into())), SIZE)
}

#[test]
fn a_box_that_nobody_claimed_shows_its_code() {
    let mut status = status();
    status.claim_code = Some("23456-789AB-CDEFG-HJKLM".to_owned());
    let rows = shown(&status);
    assert!(
        rows.contains(&" Claim code    23456-789AB-CDEFG-HJKLM  (makes the first administrator)".to_owned()),
        "{rows:#?}"
    );
}

#[test]
fn a_box_that_is_well() {
    let expected = " TLSStress.Art TBI 0.1.0 (debug, 6473c3f0a1b2)          2026-01-31 12:34:56 UTC
-------------------------------------------------------------------------------
 Host          tbi-0a1b2c
 Open          https://10.0.2.15/  https://[fec0::5054:ff:fe12:3456]/
 Addresses     10.0.2.15/24, fec0::5054:ff:fe12:3456/64, fe80::1/64 on enp0s2
 Certificate   SHA-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F
                       10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F
 Its CA        SHA-256 CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA
                       CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA
 System        slot tbi_0.1.0, root hash 0123456789abcdef, Secure Boot off
 Last start    The power was cut.
 Up            3 h 2 min, clock synchronised
-------------------------------------------------------------------------------
 Health        healthy





-------------------------------------------------------------------------------
 Last run      20260131T120000Z quick, passed
               Decryption costs 1.4 ms per handshake.
-------------------------------------------------------------------------------
 This screen only shows. To change something, open the address above.";
    assert_eq!(shown(&status()).join("\n"), expected);
}

#[test]
fn a_certificate_that_was_brought_has_no_ca_of_this_box_and_one_that_is_not_known_is_not_shown() {
    let mut status = status();
    if let Some(door) = &mut status.door_certificate {
        door.origin = Origin::Brought;
    }
    let rows = shown(&status);
    assert!(rows[5].starts_with(" Certificate   SHA-256 00:01:"), "{rows:#?}");
    assert_eq!(rows[7], " Its CA        not this box's; it was brought, and ends on 2027-05-01");
    status.door_certificate = None;
    let rows = shown(&status);
    assert_eq!(rows[5], " Certificate   not known: the front door has not said yet which one it shows");
    assert!(rows[6].starts_with(" System"), "{rows:#?}");
}

#[test]
fn a_run_under_way_and_things_that_are_wrong() {
    let mut status = status();
    status.health = State::Failed;
    status.time_synchronised = false;
    status.addresses.clear();
    status.slot.root_hash = None;
    status.problems = vec![
        "The ISP router does not run: the unit tbi-isp.service failed with exit code 1; look at its log with the support bundle."
            .to_owned(),
        "No trunk.".to_owned(),
        "The clock is not synchronised; name a time server in the settings.".to_owned(),
    ];
    status.run = Some(Run {
        state: RunState::Running,
        progress: Some(Progress {
            blocks_done: 3,
            blocks: 12,
            elapsed_seconds: 20,
            remaining_seconds: 61,
            last_block: "ON h2 1KB: 180 connections, all intercepted".to_owned(),
            ..Progress::default()
        }),
        ..status.run.unwrap_or_else(|| unreachable!("the fixture has a run"))
    });
    let expected = " Addresses     none on enp0s2
 Certificate   SHA-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F
                       10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F
 Its CA        SHA-256 CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA
                       CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA
 System        slot tbi_0.1.0, root hash none (not verified), Secure Boot off
 Last start    The power was cut.
 Up            3 h 2 min, clock NOT synchronised
-------------------------------------------------------------------------------
 Health        FAILED
   * The ISP router does not run: the unit tbi-isp.service failed with exit
     code 1; look at its log with the support bundle.
   * No trunk.
   * The clock is not synchronised; name a time server in the settings.
-------------------------------------------------------------------------------
 Run           20260131T120000Z quick, running
               [##........] 3 of 12 blocks, 20 s gone, 1 min left
               ON h2 1KB: 180 connections, all intercepted
-------------------------------------------------------------------------------
 This screen only shows. To change something, open the address above.";
    let rows = shown(&status);
    assert_eq!(rows[3], " Open          no address on the management network");
    assert_eq!(rows[4..].join("\n"), expected);
}

#[test]
fn a_box_with_little_room_and_a_lost_key_says_what_to_do_and_why() {
    let mut status = status();
    status.health = State::Degraded;
    status.claim_code = Some("23456-789AB-CDEFG-HJKLM".to_owned());
    status.last_boot.sentence =
        "The machine went down without shutting down: power was cut, it was reset, or it crashed.".to_owned();
    status.run = None;
    status.problems = vec![
        "The box has a new key: compare the new certificate fingerprint where the old one was trusted. The old key \
         could not be used (this machine's TPM works but cannot open it: the disk comes from another machine, or the \
         TPM was cleared; systemd-creds (exit status: 1): Failed to decrypt: io.systemd.System; it was kept as a \
         file)."
            .to_owned(),
    ];
    let rows = shown(&status);
    for said in ["compare the new certificate fingerprint", "the disk comes from another machine"] {
        assert!(rows.iter().any(|row| row.contains(said)), "{said} is not in\n{}", rows.join("\n"));
    }
}

#[test]
fn too_many_problems_are_cut_with_a_count_and_the_worst_stays() {
    let mut status = status();
    status.problems = (1..=40).map(|number| format!("Problem {number}.")).collect();
    let rows = shown(&status);
    assert_eq!(rows[14], "   * Problem 1.");
    assert_eq!((rows[17].as_str(), rows[18].as_str()), ("   * Problem 4.", "     and 36 more"));
    // A first sentence without end leaves room for the count.
    status.problems[0] = "long ".repeat(400);
    let rows = shown(&status);
    assert!(rows[17].ends_with("..."), "{}", rows[17]);
    assert_eq!(rows[18], "     and 39 more");
    // The last sentence may take the row of the count.
    status.problems = (1..=5).map(|number| format!("Problem {number}.")).collect();
    assert_eq!(shown(&status)[18], "   * Problem 5.");
}

#[test]
fn a_silent_agent_has_a_screen_of_its_own() {
    let silence = |seconds, last| {
        let reason = "nobody answers on /run/tlsstress/agent.sock: Connection refused (os error 111); check that the daemon runs";
        View::Silent(Box::new(Silence { lasts: Duration::from_secs(seconds), reason: reason.to_owned(), last }))
    };
    let starting = frame(&silence(12, None), SIZE);
    assert_eq!(starting[3], " The agent is starting; it has not answered yet (for 12 s).");
    let rows = frame(&silence(75, Some(status())), SIZE);
    let expected = " TLSStress.Art TBI
-------------------------------------------------------------------------------

 The agent does not answer since 1 min; it is started again by itself.

 If this stays for more than five minutes, restart the box with its power
 button. Runs that were measured are kept.

 Reason        nobody answers on /run/tlsstress/agent.sock: Connection refused
               (os error 111); check that the daemon runs

 What it said last:
 Version       0.1.0 (debug)
 Host          tbi-0a1b2c
 Addresses     10.0.2.15/24, fec0::5054:ff:fe12:3456/64, fe80::1/64 on enp0s2
 Certificate   SHA-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F
                       10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F
 Its CA        SHA-256 CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA
                       CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA:CA
 Health        healthy



";
    assert_eq!(rows.join("\n"), expected);
}

#[test]
fn views_that_differ_in_time_only_say_the_same() {
    let mut later = status();
    later.time = "2026-01-31T12:35:56Z".to_owned();
    later.uptime_seconds += 60;
    let view = |status: &Status| View::Answered(Box::new(status.clone().into()));
    assert_eq!(steady(&view(&status())), steady(&view(&later)));
    later.host_name = "other".to_owned();
    assert_ne!(steady(&view(&status())), steady(&view(&later)));
}

proptest! {
    #[test]
    fn hostile_strings_change_neither_size_nor_terminal(
        texts in proptest::collection::vec("(?s).{0,200}|[\\x00-\\x1f\\x7f-\\x9f]{0,80}|\u{1b}\\[2J\u{1b}\\]0;x\u{7}|[a-z]{300}", 12),
        problems in proptest::collection::vec("(?s).{0,300}", 0..30),
        running in any::<bool>(), numbers in any::<[u32; 4]>(), silent in any::<bool>(), width in 40_usize..120,
    ) {
        let mut texts = texts.into_iter().cycle();
        let mut next = || texts.next().unwrap_or_default();
        let mut status = status();
        (status.version, status.variant, status.host_name, status.time) = (next(), next(), next(), next());
        (status.commit, status.slot.label, status.slot.root_hash) = (Some(next()), next(), Some(next()));
        (status.addresses, status.management_interface) = (vec![next(), next()], Some(next()));
        (status.certificate_sha256, status.last_boot.sentence) = (next(), next());
        if let Some(door) = &mut status.door_certificate {
            (door.names, door.trouble) = (vec![next()], Some(next()));
            door.origin = if running { Origin::Own } else { Origin::Brought };
        }
        status.problems = problems;
        status.run = Some(Run {
            id: next(), name: next(), started: next(), ended: None, sentence: next(), actor: None, source: None,
            state: if running { RunState::Running } else { RunState::Interrupted },
            progress: running.then(|| Progress {
                blocks_done: numbers[0], blocks: numbers[1], elapsed_seconds: numbers[2].into(),
                remaining_seconds: u64::MAX - u64::from(numbers[3]), last_block: next(), ..Progress::default()
            }),
        });
        let view = if silent {
            View::Silent(Box::new(Silence { lasts: Duration::from_secs(numbers[0].into()), reason: next(), last: Some(status) }))
        } else {
            let setup = numbers[0].is_multiple_of(2).then(|| setup::tests::setup(&next(), &[&next(), &next()], 3));
            View::Answered(Box::new(Known { status, setup }))
        };
        let size = Size { width, ..SIZE };
        let rows = frame(&view, size);
        prop_assert_eq!(rows.len(), size.height);
        for row in rows {
            prop_assert!(row.len() < width, "{row:?}");
            prop_assert!(row.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{row:?}");
        }
    }
}
