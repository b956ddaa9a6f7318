//! Where a step of the network plan happens: a namespace of the bench, or the machine's own.

use std::fmt;
use std::path::PathBuf;

use tbi_bench::netplan::Namespace;

/// Where `ip netns` keeps its namespaces.
pub(super) const DIRECTORY: &str = "/run/netns";

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// A namespace of the bench.
    Bench(Namespace),
    /// The namespace in which the machine's NICs are.
    Machine,
}

impl Place {
    /// The file that is the namespace.
    pub(super) fn path(self) -> PathBuf {
        match self {
            Self::Bench(namespace) => PathBuf::from(DIRECTORY).join(namespace.name()),
            // Process 1 never leaves it: the system's on the appliance, the sandbox's in the lab.
            Self::Machine => PathBuf::from("/proc/1/ns/net"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bench(namespace) => namespace.fmt(f),
            Self::Machine => f.write_str("of the machine"),
        }
    }
}
