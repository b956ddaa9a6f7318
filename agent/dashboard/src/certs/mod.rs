//! The certificate the door shows: its own, signed by the CA of this device and kept in `--state`, or one that was brought. What is shown is
//! a function of what is kept, of the time, and of the names that were learned; it is judged at every [`Certificates::reload`] and replaced
//! for new connections without a restart.
//!
//! | module | job |
//! |---|---|
//! | [`authority`] | the CA of this device, its leaf, a request to another CA |
//! | [`brought`] | judges what an operator brings |
//! | [`kept`] | the files |
//! | [`keeper`] | the task that learns names from the agent, judges again and tells the agent what is shown |
//! | [`names`] | what a leaf is for |
//!
//! Invariants: what was brought and is not usable never replaces what is in use; one that was brought through the API and can no longer be
//! used gives way to the door's own, with a sentence, so that a box always opens; no key leaves the box.

mod authority;
mod brought;
mod keeper;
mod kept;
mod names;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aws_lc_rs::digest;
use jiff::Timestamp;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tbi_api::access::{Digest, DoorCertificate, Hidden, Origin};
use tbi_daemon::ReplaceError;
use tokio::sync::{MutexGuard, Notify};
use x509_parser::parse_x509_certificate;

pub(crate) use self::brought::{Brought, Unfit, judge};
pub(crate) use self::keeper::{Agent, keep};
use self::kept::{Kept, Stored};
pub(crate) use self::names::Names;
use crate::digest::sha256;

/// Why there is no certificate, or not another one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertError {
    #[error("no certificate can be made for the door: {0}; check the host name")]
    Make(#[from] rcgen::Error),
    #[error("the door's certificate cannot be kept: {0}")]
    Keep(#[from] ReplaceError),
    #[error("cannot read {}: {reason}; check the path and that the door's user may read it", path.display())]
    Read { path: PathBuf, reason: io::Error },
    #[error("cannot remove {}: {reason}; check that its directory is writable", path.display())]
    Remove { path: PathBuf, reason: io::Error },
    #[error("{} cannot be used: {reason}; remove it, and it is made again", path.display())]
    Broken { path: PathBuf, reason: String },
    #[error("the certificate in {} with the key in {} is not used: {unfit}", chain.display(), key.display())]
    Brought { chain: PathBuf, key: PathBuf, unfit: Unfit },
    #[error("the certificate is not taken: {0}")]
    Unfit(#[from] Unfit),
    #[error("there is no key for it in this box; send the key along, or make a request first and have that signed")]
    NoRequest,
    #[error("the door was started with --certificate, which goes before what is brought here; start it without")]
    ByFlags,
}

/// Names a leaf should have: those of the flags, and what was learned since the start.
#[derive(Debug, Clone, Copy)]
struct Wanted<'a> {
    fixed: &'a Names,
    learned: Option<&'a Names>,
}

impl Wanted<'_> {
    fn all(&self) -> Names {
        self.learned.map_or_else(|| self.fixed.clone(), |learned| self.fixed.and(learned))
    }

    /// Before anything was learned the names of the last time are as good as any: the box probably has them still.
    fn fits(&self, found: &Names) -> bool {
        match self.learned {
            None => found.cover(self.fixed),
            Some(_) => *found == self.all(),
        }
    }
}

/// The certificate in use. Shared by every TLS and QUIC connection.
#[derive(Debug)]
pub(crate) struct Certificates {
    kept: Kept,
    fixed: Names,
    flags: Option<Brought>,
    provider: Arc<CryptoProvider>,
    /// Whoever looks holds it until what was seen is shown, so that the last look is what stays.
    learned: Mutex<Option<Names>>,
    shown: RwLock<Arc<Shown>>,
    changed: Notify,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Shown {
    leaf: Arc<CertifiedKey>,
    own: Digest,
    ca_pem: String,
    ca_der: Vec<u8>,
    said: DoorCertificate,
}

/// A certificate that was judged and may be taken.
#[derive(Debug)]
pub(crate) struct Candidate {
    stored: Stored,
    /// Fingerprint of its leaf.
    pub(crate) leaf: Digest,
}

impl Certificates {
    /// Loads what there is, makes what is missing. Blocks on the disk.
    ///
    /// # Errors
    /// [`CertError`].
    pub(crate) fn load(
        state: &Path,
        fixed: Names,
        flags: Option<Brought>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<Self>, CertError> {
        let kept = Kept::new(state)?;
        let shown = look(&kept, Wanted { fixed: &fixed, learned: None }, flags.as_ref(), &provider, Timestamp::now())?;
        warn(None, &shown.said);
        Ok(Arc::new(Self {
            kept,
            fixed,
            flags,
            provider,
            learned: Mutex::default(),
            shown: RwLock::new(Arc::new(shown)),
            changed: Notify::new(),
            turn: tokio::sync::Mutex::default(),
        }))
    }

    /// Looks again: a brought certificate may have been replaced, names may be others, an own one may end soon. Blocks on the disk.
    ///
    /// # Errors
    /// [`CertError`]; the certificate in use stays.
    pub(crate) fn reload(&self) -> Result<(), CertError> {
        let learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = Wanted { fixed: &self.fixed, learned: learned.as_ref() };
        let shown = Arc::new(look(&self.kept, wanted, self.flags.as_ref(), &self.provider, Timestamp::now())?);
        // A writer does nothing but this assignment, so even after a panic elsewhere the value is whole.
        let before =
            std::mem::replace(&mut *self.shown.write().unwrap_or_else(PoisonError::into_inner), Arc::clone(&shown));
        if before.said != shown.said {
            warn(Some(&before.said), &shown.said);
            self.changed.notify_one();
        }
        Ok(())
    }

    /// What the box is called and where it is reached; counts with the next [`Self::reload`].
    pub(crate) fn learn(&self, names: Names) {
        *self.learned.lock().unwrap_or_else(PoisonError::into_inner) = Some(names);
    }

    /// What is shown.
    pub(crate) fn said(&self) -> DoorCertificate {
        self.shown().said.clone()
    }

    /// Fingerprint of the door's own leaf, also while another one is shown.
    pub(crate) fn own_leaf(&self) -> Digest {
        self.shown().own.clone()
    }

    /// Waits until something else is shown.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// One change at a time, with what is written down about it.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Judges a chain (PEM) and its key; without one, a key that is in the box: that of the last request, or of what was brought before.
    ///
    /// # Errors
    /// [`CertError`]; nothing changes.
    pub(crate) fn judge(&self, chain: &str, key: Option<Hidden>) -> Result<Candidate, CertError> {
        self.may_change()?;
        let keys: Vec<Hidden> = match key {
            Some(key) => vec![key],
            None => {
                [self.kept.request()?, self.kept.brought()?.map(|stored| stored.key)].into_iter().flatten().collect()
            }
        };
        let mut refused = CertError::NoRequest;
        for key in keys {
            let judged = judge(chain.as_bytes(), key.reveal().as_bytes(), &self.provider, Timestamp::now());
            match judged {
                Ok(certified) => {
                    let leaf = certified.cert.first().map(|leaf| sha256(leaf)).ok_or(Unfit::NoCertificate)?;
                    return Ok(Candidate { stored: Stored { chain: chain.to_owned(), key }, leaf });
                }
                Err(unfit) => refused = unfit.into(),
            }
        }
        Err(refused)
    }

    /// Keeps it and shows it. Blocks on the disk.
    ///
    /// # Errors
    /// [`CertError`] of the disk.
    pub(crate) fn take(&self, candidate: &Candidate) -> Result<(), CertError> {
        self.kept.keep_brought(&candidate.stored)?;
        if self.kept.request()?.as_ref() == Some(&candidate.stored.key) {
            self.kept.forget_request()?;
        }
        self.reload()
    }

    /// Forgets what was brought and shows the door's own. Blocks on the disk.
    ///
    /// # Errors
    /// [`CertError`] of the disk.
    pub(crate) fn forget_brought(&self) -> Result<(), CertError> {
        self.may_change()?;
        self.kept.forget_brought()?;
        self.reload()
    }

    /// The names of the box, as far as they are known.
    pub(crate) fn names(&self) -> Names {
        let learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        Wanted { fixed: &self.fixed, learned: learned.as_ref() }.all()
    }

    /// Makes a key, keeps it, and gives the request for it (PEM). An earlier request is void. Blocks on the disk.
    ///
    /// # Errors
    /// [`CertError`].
    pub(crate) fn request(&self, names: &Names) -> Result<String, CertError> {
        self.may_change()?;
        let (request, key) = authority::make_request(names)?;
        self.kept.keep_request(&key)?;
        Ok(request)
    }

    /// Whether a request waits for its answer. Blocks on the disk.
    pub(crate) fn has_request(&self) -> bool {
        self.kept.request().is_ok_and(|key| key.is_some())
    }

    /// Whether what is shown can be changed here.
    ///
    /// # Errors
    /// [`CertError::ByFlags`].
    pub(crate) fn may_change(&self) -> Result<(), CertError> {
        if self.flags.is_some() { Err(CertError::ByFlags) } else { Ok(()) }
    }

    /// The device's CA, PEM.
    pub(crate) fn ca_pem(&self) -> String {
        self.shown().ca_pem.clone()
    }

    /// The device's CA, DER.
    pub(crate) fn ca_der(&self) -> Vec<u8> {
        self.shown().ca_der.clone()
    }

    /// SHA-256 of the leaf that is shown, as browsers print it.
    pub(crate) fn leaf_fingerprint(&self) -> String {
        self.shown().leaf.cert.first().map(|leaf| fingerprint(leaf)).unwrap_or_default()
    }

    fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown().leaf))
    }
}

/// SHA-256 in upper case hexadecimal with colons, as browsers print it.
pub(crate) fn fingerprint(der: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, der);
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

fn warn(before: Option<&DoorCertificate>, now: &DoorCertificate) {
    if let Some(trouble) = &now.trouble
        && before.and_then(|before| before.trouble.as_ref()) != Some(trouble)
    {
        tracing::error!("the certificate that was brought is not shown, but the door's own: {trouble}");
    }
}

fn look(
    kept: &Kept,
    wanted: Wanted<'_>,
    flags: Option<&Brought>,
    provider: &CryptoProvider,
    now: Timestamp,
) -> Result<Shown, CertError> {
    let ca = match kept.ca()?.filter(|ca| authority::ca_is_usable(ca, now)) {
        Some(ca) => ca,
        None => kept.keep_ca(authority::make_ca(now)?)?,
    };
    let ca_der = CertificateDer::from_pem_slice(ca.certificate.as_bytes())
        .map_err(|error| kept.broken_ca(error.to_string()))?
        .to_vec();
    let own = match kept.leaf()?.filter(|leaf| authority::leaf_is_usable(leaf, &ca, &wanted, now)) {
        Some(leaf) => leaf,
        None => kept.keep_leaf(authority::make_leaf(&ca, &wanted.all(), now)?)?,
    };
    let broken = |reason: String| kept.broken_leaf(reason);
    let certificate =
        CertificateDer::from_pem_slice(own.certificate.as_bytes()).map_err(|error| broken(error.to_string()))?;
    let own_leaf = sha256(&certificate);
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).map_err(|error| broken(error.to_string()))?;
    let own = CertifiedKey::from_der(vec![certificate], key, provider).map_err(|error| broken(error.to_string()))?;
    let (leaf, origin, trouble) = match flags {
        Some(files) => (files.check(provider, now)?, Origin::Brought, None),
        None => match kept.brought() {
            Ok(None) => (own, Origin::Own, None),
            Ok(Some(stored)) => {
                let key = stored.key.reveal().as_bytes();
                match judge(stored.chain.as_bytes(), key, provider, now) {
                    Ok(brought) => (brought, Origin::Brought, None),
                    Err(unfit) => (own, Origin::Own, Some(unfit.to_string())),
                }
            }
            // A box that cannot be reached cannot be mended.
            Err(error) => (own, Origin::Own, Some(error.to_string())),
        },
    };
    let said = describe(&leaf, &ca_der, origin, trouble).map_err(broken)?;
    Ok(Shown { leaf: Arc::new(leaf), own: own_leaf, ca_pem: ca.certificate, ca_der, said })
}

fn describe(
    certified: &CertifiedKey,
    ca: &[u8],
    origin: Origin,
    trouble: Option<String>,
) -> Result<DoorCertificate, String> {
    let leaf = certified.cert.first().ok_or("it has no leaf")?;
    let (_, certificate) = parse_x509_certificate(leaf).map_err(|error| error.to_string())?;
    let ends = certificate.validity().not_after.timestamp();
    Ok(DoorCertificate {
        leaf_sha256: sha256(leaf),
        ca_sha256: sha256(ca),
        names: names::words_of(&certificate),
        not_after: Timestamp::from_second(ends).unwrap_or(Timestamp::MAX),
        origin,
        trouble,
    })
}

#[cfg(test)]
mod tests;
