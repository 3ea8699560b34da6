//! A map by name that forgets its oldest entry when it is full.

use std::collections::{HashMap, VecDeque};

/// See the module.
#[derive(Debug)]
pub(super) struct Bounded<V> {
    entries: HashMap<String, V>,
    order: VecDeque<String>,
    most: usize,
}

impl<V: Default> Bounded<V> {
    pub(super) fn new(most: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), most: most.max(1) }
    }

    pub(super) fn get(&self, name: &str) -> Option<&V> {
        self.entries.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        self.entries.get_mut(name)
    }

    /// The entry of this name, made where there is none. Nearly always there is one, and then no
    /// string is made.
    pub(super) fn entry(&mut self, name: &str) -> &mut V {
        if !self.entries.contains_key(name) {
            while self.entries.len() >= self.most
                && let Some(oldest) = self.order.pop_front()
            {
                self.entries.remove(&oldest);
            }
            self.order.push_back(name.to_owned());
            self.entries.insert(name.to_owned(), V::default());
        }
        self.entries.get_mut(name).expect("it was there, or was just put there")
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<V> {
        let removed = self.entries.remove(name)?;
        self.order.retain(|known| known != name);
        Some(removed)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value))
    }
}
