//! The second factor: time-based one-time passwords (RFC 6238 with SHA-1, six digits, thirty seconds, as every authenticator app knows them)
//! and recovery codes. Pure; that a step is used once is decided by the agent, in one transaction.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use data_encoding::BASE32_NOPAD;
use tbi_api::access::{Digest, Hidden, Totp};

use crate::digest::sha256;

/// Seconds of a step.
const STEP: u64 = 30;
/// Name that the app shows.
const ISSUER: &str = "TLSStress.Art%20TBI";
/// Recovery codes of a set.
pub(crate) const RECOVERY_CODES: usize = 10;

/// What somebody gave as second factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Code {
    /// Six digits.
    Totp(Hidden),
    /// SHA-256 of a recovery code.
    Recovery(Digest),
}

impl Code {
    /// Reads either form; blanks and dashes are for the eye only.
    pub(crate) fn parse(text: &Hidden) -> Option<Self> {
        let text = text.reveal();
        if text.len() > 64 {
            return None;
        }
        let plain: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect::<String>().to_ascii_lowercase();
        let digits = plain.bytes().all(|byte| byte.is_ascii_digit());
        match plain.len() {
            6 if digits => Some(Self::Totp(Hidden::new(plain))),
            16 if plain.is_ascii() => Some(Self::Recovery(hash(&plain))),
            _ => None,
        }
    }
}

/// A new secret, base32.
pub(crate) fn new_secret() -> Result<Hidden, Unspecified> {
    // As long as the digest, RFC 4226 section 4.
    let mut secret = [0; 20];
    aws_lc_rs::rand::fill(&mut secret)?;
    Ok(Hidden::new(BASE32_NOPAD.encode(&secret)))
}

/// What the app reads from a QR code.
pub(crate) fn uri(account: &str, secret: &Hidden) -> Hidden {
    Hidden::new(format!(
        "otpauth://totp/{ISSUER}:{account}?secret={}&issuer={ISSUER}&algorithm=SHA1&digits=6&period=30",
        secret.reveal()
    ))
}

/// Step of a six-digit code that is right now, one before or one after, and later than the last one used. Compares all three always.
pub(crate) fn step_of(code: &Hidden, totp: &Totp, now_seconds: i64) -> Option<u64> {
    let secret = BASE32_NOPAD.decode(totp.secret.reveal().as_bytes()).ok()?;
    let now = u64::try_from(now_seconds).ok()? / STEP;
    let mut right = None;
    for step in now.saturating_sub(1)..=now + 1 {
        let same = verify_slices_are_equal(at(&secret, step).as_bytes(), code.reveal().as_bytes()).is_ok();
        if same && totp.last_step.is_none_or(|last| step > last) && right.is_none() {
            right = Some(step);
        }
    }
    right
}

/// The code of a step, RFC 4226 section 5.3.
fn at(secret: &[u8], step: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag.last().copied().unwrap_or(0) & 0x0f);
    let word = tag.iter().skip(offset).take(4).fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
    format!("{:06}", (word & 0x7fff_ffff) % 1_000_000)
}

/// New recovery codes, and what is stored of them. Eighty random bits each, so that a plain hash is enough.
pub(crate) fn recovery_codes() -> Result<Vec<(Hidden, Hidden)>, Unspecified> {
    let one = |_number| {
        let mut bits = [0; 10];
        aws_lc_rs::rand::fill(&mut bits)?;
        let plain = BASE32_NOPAD.encode(&bits).to_ascii_lowercase();
        let parts: Vec<&str> = plain.as_bytes().chunks(4).filter_map(|part| std::str::from_utf8(part).ok()).collect();
        Ok((Hidden::new(parts.join("-")), Hidden::new(hash(&plain).as_str())))
    };
    (0..RECOVERY_CODES).map(one).collect()
}

fn hash(plain: &str) -> Digest {
    sha256(plain.as_bytes())
}

#[cfg(test)]
pub(crate) fn code_at(secret: &Hidden, now_seconds: i64) -> Hidden {
    #![expect(clippy::unwrap_used, reason = "tests")]
    Hidden::new(at(
        &BASE32_NOPAD.decode(secret.reveal().as_bytes()).unwrap(),
        u64::try_from(now_seconds).unwrap() / STEP,
    ))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn totp(last_step: Option<u64>) -> Totp {
        Totp { secret: Hidden::new(BASE32_NOPAD.encode(b"12345678901234567890")), last_step }
    }

    #[test]
    fn codes_are_those_of_rfc_6238_appendix_b() {
        // The appendix prints eight digits; six are the last six of them.
        for (time, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code_at(&totp(None).secret, time).reveal(), code);
            assert_eq!(step_of(&Hidden::new(code), &totp(None), time), Some(u64::try_from(time).unwrap() / 30));
        }
    }

    #[test]
    fn one_step_of_skew_is_taken_and_two_are_not() {
        let code = Hidden::new("287082");
        for (time, step) in [(29, Some(1)), (30, Some(1)), (89, Some(1)), (90, None), (-1, None)] {
            assert_eq!(step_of(&code, &totp(None), time), step, "{time}");
        }
        assert_eq!(step_of(&code, &totp(None), 0), Some(1));
    }

    #[test]
    fn a_used_step_and_those_before_it_are_not_taken() {
        let code = Hidden::new("287082");
        assert_eq!(step_of(&code, &totp(Some(0)), 59), Some(1));
        assert_eq!(step_of(&code, &totp(Some(1)), 59), None);
        assert_eq!(step_of(&code, &totp(Some(7)), 59), None);
    }

    #[test]
    fn recovery_codes_are_read_as_they_are_written_however_that_is_done() {
        let codes = recovery_codes().unwrap();
        assert_eq!(codes.len(), RECOVERY_CODES);
        for (shown, stored) in &codes {
            assert_eq!(shown.reveal().len(), 19);
            for written in [shown.reveal().to_owned(), shown.reveal().replace('-', " "), shown.reveal().to_uppercase()]
            {
                let read = Code::parse(&Hidden::new(written)).unwrap();
                assert_eq!(read, Code::Recovery(stored.reveal().parse().unwrap()));
            }
        }
        assert_eq!(Code::parse(&Hidden::new("123 456")), Some(Code::Totp(Hidden::new("123456"))));
        for no_code in ["", "12345", "1234567", "abcdef", "é".repeat(8).as_str(), &"1".repeat(100)] {
            assert_eq!(Code::parse(&Hidden::new(no_code)), None, "{no_code}");
        }
    }

    #[test]
    fn the_uri_is_what_an_app_reads() {
        let uri = uri("j.doe", &Hidden::new("ABC"));
        assert_eq!(
            uri.reveal(),
            "otpauth://totp/TLSStress.Art%20TBI:j.doe?secret=ABC&issuer=TLSStress.Art%20TBI&algorithm=SHA1&digits=6&period=30"
        );
        assert_eq!(new_secret().unwrap().reveal().len(), 32);
    }
}
