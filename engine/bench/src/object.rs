//! The objects personas serve: RFC 9411 sizes (§7.2–7.9) and the ten-object mix of its table 5.
//!
//! "KB" in RFC 9411 is not defined to the byte; here 1 KB is 1024 bytes, and every record carries the size in bytes.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Sizes in bytes of the RFC 9411 table 5 mix, weight 1 each (0.2, 6, 8, 9, 10, 25, 26, 35, 59 and 347 KB).
pub const MIX_BYTES: [u32; 10] = [205, 6144, 8192, 9216, 10240, 25600, 26624, 35840, 60416, 355_328];

/// An object class a trial asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
pub enum Object {
    /// 1024 bytes.
    #[serde(rename = "1KB")]
    Kb1,
    /// 2048 bytes.
    #[serde(rename = "2KB")]
    Kb2,
    /// 4096 bytes.
    #[serde(rename = "4KB")]
    Kb4,
    /// 16384 bytes.
    #[serde(rename = "16KB")]
    Kb16,
    /// 65536 bytes.
    #[serde(rename = "64KB")]
    Kb64,
    /// 262144 bytes.
    #[serde(rename = "256KB")]
    Kb256,
    /// The ten objects of [`MIX_BYTES`], in rotation.
    #[serde(rename = "mix")]
    Mix,
}

impl Object {
    /// Every class, smallest first, mix last.
    pub const ALL: [Object; 7] =
        [Object::Kb1, Object::Kb2, Object::Kb4, Object::Kb16, Object::Kb64, Object::Kb256, Object::Mix];

    /// Body size in bytes; for the mix the mean of its ten objects, rounded down.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Object::Kb1 => 1024,
            Object::Kb2 => 2048,
            Object::Kb4 => 4096,
            Object::Kb16 => 16_384,
            Object::Kb64 => 65_536,
            Object::Kb256 => 262_144,
            Object::Mix => MIX_BYTES.iter().map(|&bytes| u64::from(bytes)).sum::<u64>() / MIX_BYTES.len() as u64,
        }
    }

    /// Name as written in plans and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Object::Kb1 => "1KB",
            Object::Kb2 => "2KB",
            Object::Kb4 => "4KB",
            Object::Kb16 => "16KB",
            Object::Kb64 => "64KB",
            Object::Kb256 => "256KB",
            Object::Mix => "mix",
        }
    }

    /// Path and exact body size of the `n`-th request for this class: constant, but for the mix, which rotates.
    #[must_use]
    pub fn request(self, n: u64) -> (&'static str, u32) {
        const MIX_PATHS: [&str; 10] = [
            "/o/mix/0", "/o/mix/1", "/o/mix/2", "/o/mix/3", "/o/mix/4", "/o/mix/5", "/o/mix/6", "/o/mix/7", "/o/mix/8",
            "/o/mix/9",
        ];
        match self {
            Object::Kb1 => ("/o/1KB", 1024),
            Object::Kb2 => ("/o/2KB", 2048),
            Object::Kb4 => ("/o/4KB", 4096),
            Object::Kb16 => ("/o/16KB", 16_384),
            Object::Kb64 => ("/o/64KB", 65_536),
            Object::Kb256 => ("/o/256KB", 262_144),
            Object::Mix => {
                let index = (n % MIX_PATHS.len() as u64) as usize;
                (MIX_PATHS[index], MIX_BYTES[index])
            }
        }
    }

    /// Body size a path stands for, as the persona reads it. `None` means 404.
    #[must_use]
    pub fn size_of_path(path: &str) -> Option<u32> {
        let name = path.strip_prefix("/o/")?;
        if let Some(index) = name.strip_prefix("mix/") {
            // One digit, as `request` writes it: a number parser would also take "+3" and "003".
            let [digit @ b'0'..=b'9'] = index.as_bytes() else { return None };
            return MIX_BYTES.get(usize::from(digit - b'0')).copied();
        }
        Object::ALL
            .into_iter()
            .filter(|object| *object != Object::Mix)
            .find(|object| object.as_str() == name)
            .map(|object| object.request(0).1)
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name is none of the object classes.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is no object class; use one of 1KB, 2KB, 4KB, 16KB, 64KB, 256KB, mix")]
pub struct UnknownObject(String);

impl FromStr for Object {
    type Err = UnknownObject;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Object::ALL
            .into_iter()
            .find(|object| object.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownObject(text.chars().take(32).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_sizes_agree() {
        for object in Object::ALL {
            for n in 0..20 {
                let (path, bytes) = object.request(n);
                assert_eq!(Object::size_of_path(path), Some(bytes), "{path}");
            }
        }
        for path in ["/o/3KB", "/o/mix", "/o/mix/10", "/o/", "/", "/o/mix/-1", "/o/mix/+1", "/o/mix/01"] {
            assert_eq!(Object::size_of_path(path), None, "{path}");
        }
    }
}
