//! A map with room for so many keys. When it is full, the key that was idle longest makes room; when nobody was idle for long enough to be
//! forgotten without harm, newcomers get one place that they share. So nobody is let through unseen and nothing grows.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub(crate) struct Bounded<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// Keys by the second of their last use: the first is the one that was idle longest.
    by_use: BTreeSet<(u64, K)>,
    room: usize,
    forgotten_after: Duration,
    shared: V,
}

#[derive(Debug)]
struct Entry<V> {
    used: u64,
    value: V,
}

impl<K: Hash + Eq + Ord + Clone, V: Default> Bounded<K, V> {
    /// Room for `room` keys; a value that was not used for `forgotten_after` says nothing any more.
    pub(crate) fn new(room: usize, forgotten_after: Duration) -> Self {
        Self { entries: HashMap::new(), by_use: BTreeSet::new(), room, forgotten_after, shared: V::default() }
    }

    /// The value of `key`, made when there is none, or the shared one when there is no room.
    pub(crate) fn at(&mut self, key: &K, now: Duration) -> &mut V {
        let second = now.as_secs();
        if !self.entries.contains_key(key) {
            if self.entries.len() >= self.room && !self.forget_one(now) {
                return &mut self.shared;
            }
            self.by_use.insert((second, key.clone()));
            self.entries.insert(key.clone(), Entry { used: second, value: V::default() });
        }
        // Keys are cloned when something moves only, at most once a second for each.
        match self.entries.get_mut(key) {
            Some(entry) => {
                if entry.used != second {
                    self.by_use.remove(&(entry.used, key.clone()));
                    self.by_use.insert((second, key.clone()));
                    entry.used = second;
                }
                &mut entry.value
            }
            None => &mut self.shared,
        }
    }

    /// How many keys have a place of their own.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn forget_one(&mut self, now: Duration) -> bool {
        // One second more, because the time of use is kept in whole seconds.
        let keep = self.forgotten_after + Duration::from_secs(1);
        match self.by_use.first() {
            Some((used, _key)) if now.saturating_sub(Duration::from_secs(*used)) >= keep => {
                if let Some((_used, key)) = self.by_use.pop_first() {
                    self.entries.remove(&key);
                }
                true
            }
            Some(_) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_idle_key_makes_room_and_active_ones_stay() {
        let seconds = Duration::from_secs;
        let mut map = Bounded::<u32, u32>::new(2, seconds(10));
        *map.at(&1, seconds(0)) = 11;
        *map.at(&2, seconds(5)) = 22;
        // Both are active: the newcomers share.
        *map.at(&3, seconds(9)) += 1;
        *map.at(&4, seconds(9)) += 1;
        assert_eq!((*map.at(&5, seconds(9)), map.len()), (2, 2));
        // 1 is idle for long enough, 2 is not.
        assert_eq!(*map.at(&6, seconds(11)), 0);
        assert_eq!((*map.at(&2, seconds(11)), map.len()), (22, 2));
        assert_eq!(*map.at(&1, seconds(12)), 2, "1 was forgotten and finds only the shared place");
    }

    #[test]
    fn at_the_end_of_time_nothing_breaks_and_nobody_is_forgotten() {
        let mut map = Bounded::<u32, u32>::new(1, Duration::from_secs(10));
        *map.at(&1, Duration::MAX) = 11;
        *map.at(&2, Duration::MAX) = 22;
        assert_eq!((*map.at(&1, Duration::MAX), *map.at(&3, Duration::MAX), map.len()), (11, 22, 1));
    }

    #[test]
    fn a_million_keys_take_no_more_room_than_there_is() {
        let mut map = Bounded::<u32, u8>::new(1000, Duration::from_secs(300));
        for key in 0..1_000_000_u32 {
            map.at(&key, Duration::from_millis(u64::from(key)));
        }
        assert_eq!((map.len(), map.by_use.len()), (1000, 1000));
    }
}
