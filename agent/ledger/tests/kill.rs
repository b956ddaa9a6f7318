//! `kill -9` at random points of spending, appending, draining and backing up: what was confirmed is there, nothing is there twice, and the
//! chain proves. The test runs itself again as the process that is killed. `TBI_KILLS` sets how often.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use common::{Issuer, Node, envelope, note, now, open};
use jiff::{SignedDuration, Timestamp};
use tbi_ledger::spool::{Limits, NewTick, Spool};
use tbi_ledger::{Hash, Ledger, Policy, Request, Signer as _, restore};

const ROLE: &str = "TBI_LEDGER_CHILD";
const DIR: &str = "TBI_LEDGER_CHILD_DIR";
const GRANTED: u64 = 1_000_000_000;
const LIMITS: Limits = Limits { segment: 2000, total: 1 << 30 };

/// Tells the parent what is confirmed; a line that is not complete does not count.
fn confirm(words: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("@ {words}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Not a test of its own: the process that is killed.
#[test]
fn child_that_is_killed() {
    let (Ok(role), Some(dir)) = (std::env::var(ROLE), std::env::var_os(DIR).map(PathBuf::from)) else { return };
    let node = Node::of(&fs::read(dir.join("key")).unwrap());
    // The line that the test harness began ends here.
    std::io::stdout().write_all(b"\n").unwrap();
    let me = std::process::id();
    match role.as_str() {
        "spend" => spend(&dir, &node, me),
        "append" => append(&dir, &node, me),
        "drain" => drain(&dir, me),
        "backup" => back_up(&dir, &node),
        _ => panic!("{role}"),
    }
}

fn spend(dir: &Path, node: &Node, me: u32) {
    let mut ledger = open(dir);
    let policy = Policy { enforce: true, issuers: known(dir) };
    for n in 0.. {
        let run = format!("run-{me}-{n}");
        let request = Request {
            run: &run,
            plan_sha256: Hash::of(b"plan"),
            features: &[],
            tsu: 1 + n % 7,
            actor: "ada",
            role: "operator",
            source: "local",
            correlation: "c",
            runs_under_way: 0,
        };
        let receipt = ledger.authorize(&request, &policy, node, now()).unwrap();
        receipt.verify(node.public_key()).unwrap();
        confirm(&format!("run {run} {} {}", receipt.audit_seq, receipt.tsu));
    }
}

fn append(dir: &Path, node: &Node, me: u32) {
    let mut ledger = open(dir);
    for n in 0.. {
        let entry = note(&mut ledger, node, &format!("thing {me} {n}"), now());
        confirm(&format!("entry {} {}", entry.seq, entry.hash));
        if n % 20 == 19 {
            ledger.checkpoint(node, now()).unwrap();
        }
    }
}

fn drain(dir: &Path, me: u32) {
    let mut spool = Spool::open(&dir.join("spool"), LIMITS).unwrap();
    for n in 0.. {
        let unit = format!("unit-{me}-{n}");
        let tick = NewTick { when: now(), kind: "block".into(), run: "r".into(), unit: unit.clone(), quantity: 1 };
        confirm(&format!("tick {} {unit}", spool.append(tick).unwrap()));
        if n % 3 == 2 {
            let batch = spool.pending(2).unwrap();
            for tick in &batch {
                confirm(&format!("sent {} {}", tick.client_seq, tick.tick.unit));
            }
            let through = batch.last().unwrap().client_seq;
            spool.acknowledge(through).unwrap();
            confirm(&format!("acknowledged {through}"));
        }
    }
}

fn back_up(dir: &Path, node: &Node) {
    let mut ledger = open(dir);
    for n in 0.. {
        let entry = note(&mut ledger, node, "something", now());
        let made = ledger.backup(&dir.join("backups"), day(n % 5), 3).unwrap();
        confirm(&format!("backup {} {}", made.name, entry.seq));
    }
}

fn day(n: i64) -> Timestamp {
    now() + SignedDuration::from_hours(24 * n)
}

/// The issuers of the box, through the file its test wrote.
fn known(dir: &Path) -> tbi_ledger::licence::Issuers {
    tbi_ledger::licence::Issuers::new(vec![fs::read(dir.join("issuer")).unwrap().try_into().unwrap()])
}

/// The same numbers each time; where the process is then is chance enough.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Lines with their line feeds, as far as they have one, until the child is gone.
fn read_lines(mut out: impl BufRead, to: &SyncSender<String>) {
    loop {
        let mut line = String::new();
        if out.read_line(&mut line).unwrap() == 0 || to.send(line).is_err() {
            return;
        }
    }
}

/// Starts the child, lets it confirm some things and go on for a moment, kills it, and gives everything it confirmed.
fn run_and_kill(dir: &Path, role: &str, dice: &mut Dice) -> Vec<Vec<String>> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_is_killed", "--nocapture"])
        .env(ROLE, role)
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    // A thread reads, so that a child that hangs is found by a deadline; it ends with the child.
    let (sender, lines) = std::sync::mpsc::sync_channel::<String>(64);
    let reader = std::thread::spawn(move || read_lines(out, &sender));
    let mut text = String::new();
    let (wanted, mut met) = (dice.below(8), 0);
    while met < wanted {
        match lines.recv_timeout(Duration::from_secs(60)) {
            Ok(line) => {
                met += u64::from(line.starts_with("@ "));
                text.push_str(&line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                child.kill().unwrap();
                panic!("the child hangs: {text}");
            }
        }
    }
    // Without a confirmation to wait for, it is killed while it starts: somewhere in loading, opening, repairing.
    let moment = Duration::from_micros(if wanted == 0 { dice.below(40_000) } else { dice.below(4000) });
    let started = Instant::now();
    while started.elapsed() < moment {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    let ended = child.wait().unwrap();
    text.extend(lines.iter());
    reader.join().unwrap();
    if ended.code().is_some() {
        let mut why = String::new();
        child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
        panic!("the child ended by itself: {text}\n{why}");
    }
    let complete = text.split_inclusive('\n').filter_map(|line| line.strip_prefix("@ ")?.strip_suffix('\n'));
    complete.map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

fn kills() -> usize {
    let set = std::env::var("TBI_KILLS").ok();
    // Of the four activities together.
    set.map_or(200, |it| it.parse().expect("TBI_KILLS is a number")) / 4
}

fn number(word: &str) -> u64 {
    word.parse().unwrap()
}

/// A box with a key and a licence.
fn case() -> (tempfile::TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let key = Node::pkcs8();
    let issuer = Issuer::new();
    fs::write(dir.path().join("key"), &key).unwrap();
    fs::write(dir.path().join("issuer"), issuer.key()).unwrap();
    let mut licence = envelope("L-1");
    licence.tsu = GRANTED;
    open(dir.path()).install_licence(&issuer.sign(&licence), &issuer.known(), now()).unwrap();
    (dir, Node::of(&key))
}

#[test]
fn kill_9_during_spend_loses_nothing_confirmed_and_the_chain_verifies() {
    let ((dir, node), mut dice) = (case(), Dice(0x5eed));
    let mut confirmed = BTreeMap::new();
    for _ in 0..kills() {
        for words in run_and_kill(dir.path(), "spend", &mut dice) {
            confirmed.insert(words[1].clone(), (number(&words[2]), number(&words[3])));
        }
        let ledger = open(dir.path());
        ledger.verify_chain().unwrap();
        // Each entry of the chain is a run that has paid and has its receipt; one that was not confirmed may be among them.
        let runs = ledger.audit_head().unwrap().0;
        assert!(runs >= confirmed.len() as u64);
    }
    let ledger = open(dir.path());
    let mut paid = 0;
    let mut burned = BTreeSet::new();
    for entry in all_entries(&ledger) {
        let receipt = ledger.receipt(&entry.target).unwrap().expect("a sealed run has a receipt");
        receipt.verify(node.public_key()).unwrap();
        assert_eq!((receipt.audit_seq, receipt.sealed_hash), (entry.seq, entry.hash));
        assert_eq!(ledger.spent_by(&receipt.run).unwrap().unwrap().burned, receipt.burned);
        assert!(receipt.burned.iter().all(|serial| burned.insert(serial.clone())), "a serial was burned twice");
        paid += receipt.tsu;
        if let Some(told) = confirmed.remove(&receipt.run) {
            assert_eq!(told, (receipt.audit_seq, receipt.tsu));
        }
    }
    assert_eq!(confirmed, BTreeMap::new(), "confirmed and lost");
    assert!(burned.len() >= kills(), "the runs were killed before they did anything");
    assert_eq!(ledger.balance().unwrap() + paid, GRANTED, "the sum is conserved");
}

fn all_entries(ledger: &Ledger) -> Vec<tbi_ledger::audit::Entry> {
    let mut all = Vec::new();
    let mut before = None;
    loop {
        let filter = tbi_ledger::audit::AuditFilter { before, limit: 1000, ..Default::default() };
        let page = ledger.audit_entries(&filter).unwrap();
        let Some(last) = page.last() else { return all };
        before = Some(last.seq);
        all.extend(page);
    }
}

#[test]
fn kill_9_during_append_loses_nothing_confirmed_and_the_chain_verifies() {
    let ((dir, node), mut dice) = (case(), Dice(0xabcdef));
    let mut confirmed = BTreeMap::new();
    for _ in 0..kills() {
        for words in run_and_kill(dir.path(), "append", &mut dice) {
            let before = confirmed.insert(number(&words[1]), words[2].clone());
            assert_eq!(before, None, "a number was given twice");
        }
        let ledger = open(dir.path());
        let proven = ledger.verify_chain().unwrap();
        assert!(proven.last >= confirmed.keys().last().copied().unwrap_or(0));
    }
    let ledger = open(dir.path());
    assert!(confirmed.len() >= kills(), "the child was killed before it did anything");
    for entry in all_entries(&ledger) {
        if let Some(hash) = confirmed.remove(&entry.seq) {
            assert_eq!(entry.hash.to_string(), hash);
        }
    }
    assert_eq!(confirmed, BTreeMap::new(), "confirmed and lost");
    let mut bytes = Vec::new();
    ledger.export("box-1", &node, now(), &mut bytes).unwrap();
    tbi_ledger::audit::verify(bytes.as_slice(), Some(node.public_key())).unwrap();
}

#[test]
fn kill_9_during_drain_loses_nothing_and_counts_nothing_twice() {
    let ((dir, _node), mut dice) = (case(), Dice(0x717273));
    let (mut confirmed, mut received) = (BTreeMap::new(), BTreeMap::new());
    let mut acknowledged = 0;
    // The other side: a number that came before is rejected, and must name the same unit.
    let receive = |received: &mut BTreeMap<u64, String>, seq: u64, unit: &str| {
        let before = received.insert(seq, unit.to_owned());
        assert!(before.is_none_or(|before| before == unit), "number {seq} was used for two units");
    };
    for _ in 0..kills() {
        for words in run_and_kill(dir.path(), "drain", &mut dice) {
            match words[0].as_str() {
                "tick" => assert_eq!(confirmed.insert(number(&words[1]), words[2].clone()), None),
                "sent" => receive(&mut received, number(&words[1]), &words[2]),
                _ => acknowledged = number(&words[1]),
            }
        }
        let spool = Spool::open(&dir.path().join("spool"), LIMITS).unwrap();
        assert!(spool.acknowledged() >= acknowledged && spool.last() >= confirmed.len() as u64);
        assert_eq!((spool.lost(), spool.set_aside()), (0, 0));
    }
    let mut spool = Spool::open(&dir.path().join("spool"), LIMITS).unwrap();
    loop {
        let batch = spool.pending(50).unwrap();
        let Some(last) = batch.last() else { break };
        for tick in &batch {
            receive(&mut received, tick.client_seq, &tick.tick.unit);
        }
        spool.acknowledge(last.client_seq).unwrap();
    }
    assert!(confirmed.len() >= kills() && acknowledged > 0, "the child was killed before it did anything");
    for (seq, unit) in &confirmed {
        assert_eq!(received.get(seq), Some(unit), "tick {seq} was confirmed and lost");
    }
    assert_eq!(received.keys().copied().collect::<Vec<_>>(), (1..=spool.last()).collect::<Vec<_>>());
    assert_eq!(received.values().collect::<BTreeSet<_>>().len(), received.len(), "a unit was counted twice");
}

#[test]
fn kill_9_during_backup_leaves_only_whole_backups() {
    let ((dir, _node), mut dice) = (case(), Dice(0x919293));
    let copies = dir.path().join("backups");
    // Large enough that the copying itself is met.
    open(dir.path()).store_topology(0, &"x".repeat(4_000_000), now()).unwrap();
    let mut confirmed = BTreeMap::new();
    for _ in 0..kills() {
        for words in run_and_kill(dir.path(), "backup", &mut dice) {
            confirmed.insert(words[1].clone(), number(&words[2]));
        }
        for backup in tbi_ledger::backups(&copies).unwrap() {
            let elsewhere = tempfile::tempdir().unwrap();
            restore(elsewhere.path(), &copies, &backup.name, now()).unwrap();
            let restored = open(elsewhere.path()).verify_chain().unwrap();
            // A newer one of the same day may have taken its place before it was confirmed.
            assert!(restored.last >= confirmed.get(&backup.name).copied().unwrap_or(0), "{}", backup.name);
        }
        let last = open(dir.path()).verify_chain().unwrap().last;
        assert!(last >= confirmed.values().max().copied().unwrap_or(0));
    }
    assert!(!confirmed.is_empty() && !tbi_ledger::backups(&copies).unwrap().is_empty());
}
