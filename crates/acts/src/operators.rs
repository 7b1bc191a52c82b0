//! Who is an operator, since when, and in which groups.

use std::collections::{BTreeMap, BTreeSet};

/// Most groups.
pub const GROUPS_MAX: usize = 64;

/// One operator.
#[derive(Debug, Clone)]
struct Operator {
    /// Ed25519.
    key: [u8; 32],
    /// The record that signed them in.
    since: u64,
}

/// The operators that the records so far made and left.
#[derive(Debug, Default)]
pub struct Operators {
    all: BTreeMap<String, Operator>,
    /// Of each group its members, and the record by which each joined.
    groups: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Operators {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// The key of an operator.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&[u8; 32]> {
        self.all.get(name).map(|operator| &operator.key)
    }

    /// Every group with its members.
    pub fn groups(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        let groups = self.groups.iter();
        groups.map(|(name, of)| (name.as_str(), of.keys().map(String::as_str).collect()))
    }

    /// Whether an operator is in a group.
    #[must_use]
    pub fn is_in(&self, group: &str, name: &str) -> bool {
        self.groups.get(group).is_some_and(|of| of.contains_key(name))
    }

    /// Everybody, or everybody in a group, who came before a record.
    pub(crate) fn before(&self, group: Option<&str>, record: u64) -> BTreeSet<&str> {
        let came = |(name, since)| (since < record).then_some(name);
        match group {
            None => {
                let all = self.all.iter().map(|(name, one)| (name.as_str(), one.since));
                all.filter_map(came).collect()
            }
            Some(group) => {
                let of = self.groups.get(group).into_iter().flatten();
                of.map(|(name, since)| (name.as_str(), *since)).filter_map(came).collect()
            }
        }
    }

    pub(crate) fn add(&mut self, name: &str, key: [u8; 32], since: u64) {
        self.remove(name);
        self.all.insert(name.to_owned(), Operator { key, since });
    }

    /// Takes one out, of every group too.
    pub(crate) fn remove(&mut self, name: &str) {
        self.all.remove(name);
        for members in self.groups.values_mut() {
            members.remove(name);
        }
        self.groups.retain(|_, members| !members.is_empty());
    }

    /// Puts one into a group; who is in it stays since when they were.
    pub(crate) fn join(&mut self, group: &str, name: &str, since: u64) {
        let members = self.groups.entry(group.to_owned()).or_default();
        members.entry(name.to_owned()).or_insert(since);
    }

    /// Takes one out of a group; one without members is none.
    pub(crate) fn leave(&mut self, group: &str, name: &str) {
        if let Some(members) = self.groups.get_mut(group) {
            members.remove(name);
        }
        self.groups.retain(|_, members| !members.is_empty());
    }
}
