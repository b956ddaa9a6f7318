//! `tbi-agent audit verify FILE`: proves an exported audit chain on any machine, without a box and without a network.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use x509_parser::pem::parse_x509_pem;

/// Exit code for a chain that is not what a box wrote.
const DAMAGED: u8 = 1;

/// The audit chain.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Proves an exported chain: every edit, gap, reordering and cut is found. Exit code 0: intact; 1: not; 2: the file cannot be read.
    ///
    /// Example: tbi-agent audit verify audit.jsonl --certificate box.crt
    Verify(VerifyArgs),
}

/// See [`AuditCommand::Verify`].
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The file, as `GET /v1/audit/export` gave it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Certificate of the box that it must come from (PEM, `certificate_pem` of `GET /v1/identity`); without it the file proves only that
    /// whoever has the key it names wrote it
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl AuditCommand {
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Verify(verify) => verify.run(),
        }
    }
}

impl VerifyArgs {
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "the result of the command")]
    fn run(self) -> anyhow::Result<ExitCode> {
        let key = self.certificate.as_ref().map(|path| key_of(path)).transpose()?;
        let file = File::open(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
        match tbi_ledger::audit::verify(BufReader::new(file), key.as_deref()) {
            Ok(proven) if self.json => {
                let entries = proven.entries;
                println!("{}", serde_json::json!({ "intact": true, "entries": entries, "key_id": proven.key_id }));
                Ok(ExitCode::SUCCESS)
            }
            Ok(proven) => {
                let whose = if key.is_some() { "that certificate's" } else { "not compared with a certificate" };
                println!("intact: {} entries, signed by key {} ({whose})", proven.entries, proven.key_id);
                Ok(ExitCode::SUCCESS)
            }
            Err(finding) if self.json => {
                let (line, why) = (finding.line, finding.to_string());
                println!("{}", serde_json::json!({ "intact": false, "line": line, "why": why }));
                Ok(ExitCode::from(DAMAGED))
            }
            Err(finding) => {
                eprintln!("not intact: {finding}");
                Ok(ExitCode::from(DAMAGED))
            }
        }
    }
}

/// SubjectPublicKeyInfo of a certificate.
fn key_of(path: &std::path::Path) -> anyhow::Result<Vec<u8>> {
    let name = path.display();
    let text = std::fs::read(path).with_context(|| format!("cannot read {name}"))?;
    let (_, pem) = parse_x509_pem(&text).with_context(|| format!("{name} is no PEM certificate"))?;
    let certificate = pem.parse_x509().with_context(|| format!("{name} is no certificate"))?;
    Ok(certificate.public_key().raw.to_vec())
}
