//! How many connections there may be: in all, and from one address. Pure counting; who is over a cap is not accepted. IPv6 counts by /64,
//! which is what one host is given.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Most connections at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Most {
    pub(crate) all: usize,
    pub(crate) per_address: usize,
}

/// Open connections.
#[derive(Debug)]
pub(crate) struct Caps {
    most: Most,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One open connection; counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    caps: Arc<Caps>,
    key: IpAddr,
}

impl Caps {
    pub(crate) fn new(most: Most) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default() })
    }

    /// A place for a connection from `address`; `None` when a cap is reached.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let key = key(address);
        // Each critical section leaves the counts whole, so a poisoned lock is as good as any.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let from_there = open.by_address.get(&key).copied().unwrap_or(0);
        if open.all >= self.most.all || from_there >= self.most.per_address {
            return None;
        }
        open.all += 1;
        open.by_address.insert(key, from_there + 1);
        Some(Place { caps: Arc::clone(self), key })
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.caps.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all = open.all.saturating_sub(1);
        let left = open.by_address.get(&self.key).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            open.by_address.remove(&self.key);
        } else {
            open.by_address.insert(self.key, left);
        }
    }
}

fn key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn both_caps_hold_and_places_come_back() {
        let caps = Caps::new(Most { all: 3, per_address: 2 });
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = caps.take(at("2001:db8::1")).unwrap();
        let _second = caps.take(at("2001:db8::2")).unwrap();
        assert!(caps.take(at("2001:db8::3")).is_none(), "one /64 is one host");
        let _third = caps.take(at("192.0.2.1")).unwrap();
        assert!(caps.take(at("192.0.2.2")).is_none(), "all are taken");
        drop(first);
        assert!(caps.take(at("::ffff:192.0.2.1")).is_some());
        assert_eq!(caps.open(), 2);
    }
}
