//! What the box tells of its bench: personas with their certificates, the device, cards with their counters, checks, history. Asks the daemons
//! themselves, with patience; one that does not answer is a sentence beside what is known without it.

use std::path::Path;
use std::sync::PoisonError;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use tbi_api::bench::{Ca, Count, Dut, Evidence, Link, Links, Persona, Personas};
use tbi_api::history::{Asked, History};
use tbi_bench::catalogue::{AddressFamily, Catalogue};
use tbi_bench::control::personas::{PersonasStatus, SiteCertificate};
use tbi_bench::control::practice_dut::{Behaviour, Counters, Identity};
use tbi_bench::record::{ProofRow, ResultRow};
use tbi_daemon::{ClientError, UnixClient};

use super::super::checks::Checks;
use super::super::history::{self, HistoryError};
use super::super::nic::FoundNic;
use super::super::sysfs::Root;
use super::Appliance;

/// A daemon on the same machine that needs longer is not well.
const WITHIN: Duration = Duration::from_secs(3);
/// Records that are looked at for one that proves something; each has tens of megabytes.
const RECORDS: usize = 3;

impl Appliance {
    pub(crate) fn checks(&self) -> &dyn Checks {
        self.seams.checks.as_ref()
    }

    pub(crate) fn root(&self) -> Root {
        self.place.root.clone()
    }

    /// A daemon of the bench.
    pub(crate) fn daemon(&self, name: &str) -> UnixClient {
        UnixClient::new(self.place.run.join(format!("{name}.sock"))).with_timeout(WITHIN)
    }

    /// All personas, with what their daemon says of their certificates.
    pub(crate) async fn personas(&self) -> Personas {
        let daemon = self.daemon("personas");
        let said = tokio::try_join!(
            daemon.get_json::<Vec<SiteCertificate>>("/v1/certificates"),
            daemon.get_json::<PersonasStatus>("/v1/status"),
        );
        personas(&Catalogue::builtin(), said)
    }

    /// What stands as device.
    pub(crate) async fn dut(&self) -> Dut {
        if let Some(mac) = self.in_force().checked.wanted.trunk {
            let health = self.health().await;
            let trunk = health.components.into_iter().find(|part| part.name == "trunk");
            return Dut::Trunk { mac: mac.to_string(), sentence: trunk.map(|part| part.sentence).unwrap_or_default() };
        }
        let daemon = self.daemon("practice-dut");
        let (identity, behaviour, counters) = tokio::join!(
            daemon.get_json::<Identity>("/v1/identity"),
            daemon.get_json::<Behaviour>("/v1/behaviour"),
            daemon.get_json::<Counters>("/v1/counters"),
        );
        let sentences = [identity.as_ref().err(), behaviour.as_ref().err(), counters.as_ref().err()];
        let sentence = sentences.into_iter().flatten().next().map(ToString::to_string).unwrap_or_default();
        Dut::Practice { identity: identity.ok(), behaviour: behaviour.ok(), counters: counters.ok(), sentence }
    }

    /// What the newest record that can be read says about the bench itself.
    pub(crate) async fn evidence(&self) -> Evidence {
        let runs = self.runs();
        let over: Vec<_> = runs.list().into_iter().filter(|run| run.state.is_over()).take(RECORDS).collect();
        let Some(newest) = over.first().map(|run| run.id.clone()) else { return Evidence::default() };
        let kept = || self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        // A record never changes, and reading one takes the processors that the next run may be measuring with.
        if let Some((of, evidence)) = kept().as_ref()
            && *of == newest
        {
            return evidence.clone();
        }
        for folder in over.iter().filter_map(|run| runs.folder(&run.id)) {
            let reading = tokio::task::spawn_blocking(move || record(&folder));
            if let Ok(Some(evidence)) = reading.await {
                *kept() = Some((newest, evidence.clone()));
                return evidence;
            }
        }
        Evidence::default()
    }

    /// Cards with their counters.
    pub(crate) async fn links(&self) -> Links {
        let seen = self.look().await;
        let health = self.judged(&seen);
        let sentence = |name: &str| {
            let part = health.components.iter().find(|part| part.name == name);
            part.map(|part| part.sentence.clone())
        };
        let link = |nic: &FoundNic| link(&self.place.root, nic, seen.roles.role_of(nic));
        Links {
            links: seen.nics.iter().map(link).collect(),
            management_sentence: sentence("management").unwrap_or_default(),
            trunk_sentence: sentence("trunk"),
        }
    }

    /// How the box was.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub(crate) async fn history(&self, asked: Asked) -> Result<History, HistoryError> {
        let path = history::file(&self.place.state);
        let reading = tokio::task::spawn_blocking(move || history::read(&path, &asked, Timestamp::now()));
        match reading.await {
            Ok(read) => read,
            // The thread panicked, which is in the journal.
            Err(_panicked) => Err(HistoryError::Lost),
        }
    }
}

/// The words of a record that are needed; the rest is skipped unread.
#[derive(Deserialize)]
struct Words {
    id: String,
    ended: String,
    valid: bool,
    results: Vec<ResultRow>,
    proof: Vec<ProofRow>,
}

fn record(folder: &Path) -> Option<Evidence> {
    let file = std::io::BufReader::new(std::fs::File::open(folder.join("run.json")).ok()?);
    let words: Words = serde_json::from_reader(file).ok()?;
    // A run that was interrupted before its first block proves nothing; an earlier one may.
    if words.proof.is_empty() {
        return None;
    }
    let limited = words.results.iter().filter(|row| row.bench_limited);
    let limited = limited.map(|row| {
        let note = row.note.as_deref().unwrap_or("bench-limited");
        format!("{} {} {}: {note}", row.protocol, row.object, row.kpi)
    });
    Some(Evidence {
        run: Some(words.id),
        ended: words.ended,
        valid: words.valid,
        proof: words.proof,
        numbers: words.results.len() as u64,
        limited: limited.collect(),
    })
}

fn personas(catalogue: &Catalogue, said: Result<(Vec<SiteCertificate>, PersonasStatus), ClientError>) -> Personas {
    let (mut certificates, ca, sentence) = match said {
        Ok((certificates, status)) => {
            (certificates, Some(Ca { sha256: status.ca_sha256, not_after: status.ca_not_after }), String::new())
        }
        Err(error) => (Vec::new(), None, format!("The personas do not say which certificates they show: {error}.")),
    };
    let mut personas = Vec::new();
    for country in catalogue.countries() {
        for persona in catalogue.personas_of(country) {
            let place = certificates.iter().position(|certificate| certificate.persona == persona.id());
            personas.push(Persona {
                id: persona.id().to_owned(),
                country: country.code().to_owned(),
                country_name: country.name().to_owned(),
                kind: serde_json::to_value(persona.kind())
                    .ok()
                    .and_then(|kind| kind.as_str().map(str::to_owned))
                    .unwrap_or_default(),
                server_name: persona.server_name(),
                addresses: [AddressFamily::Ipv4, AddressFamily::Ipv6]
                    .map(|family| persona.address(family).to_string())
                    .into(),
                vlan: country.vlan().number(),
                certificate: place.map(|place| certificates.swap_remove(place)),
            });
        }
    }
    Personas { personas, ca, sentence }
}

fn link(root: &Root, nic: &FoundNic, role: &str) -> Link {
    let count = |direction: &str| {
        let of = |what: &str| root.number(&format!("sys/class/net/{}/statistics/{direction}_{what}", nic.name));
        Count {
            bytes: of("bytes").unwrap_or(0),
            packets: of("packets").unwrap_or(0),
            errors: of("errors").unwrap_or(0),
            dropped: of("dropped").unwrap_or(0),
        }
    };
    Link {
        name: nic.name.clone(),
        role: role.to_owned(),
        mac: nic.mac.to_string(),
        carrier: nic.carrier,
        speed_mbps: nic.speed_mbps,
        received: count("rx"),
        sent: count("tx"),
    }
}
