//! A map that keeps no more than its newest entries.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

pub struct Newest<K, V> {
    entries: HashMap<K, V>,
    /// Oldest first, also those that were removed.
    order: VecDeque<K>,
    most: usize,
}

impl<K: Copy + Eq + Hash, V> Newest<K, V> {
    pub fn new(most: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), most }
    }

    /// What was there before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let before = self.entries.insert(key, value);
        if before.is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
        before
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key)
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_place_also_for_what_was_removed() {
        let mut newest = Newest::new(2);
        newest.insert(1, "a");
        newest.insert(2, "b");
        assert_eq!(newest.remove(&2), Some("b"));
        newest.insert(3, "b");
        newest.insert(3, "c");
        assert_eq!((newest.remove(&1), newest.get_mut(&3)), (None, Some(&mut "c")));
        newest.clear();
        assert_eq!(newest.remove(&3), None);
    }
}
