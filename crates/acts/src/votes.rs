//! Whose yes a call waits for, and whose it has. A rule asks for a number of operators, or of operators of
//! one group; where several rules ask, all of it must be there: the most of those without a group, and the
//! most for each group. Of a call that asks for more than one person, a yes counts of who was an operator,
//! or in the group, before it was asked and still is.

use crate::operators::Operators;
use ledger::Envelope;
use std::collections::{BTreeMap, BTreeSet};

/// What a call asks for, and which of it there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Votes {
    /// How many operators, whichever they are.
    any: u32,
    /// How many of each group.
    of: BTreeMap<String, u32>,
    /// The record that asked.
    asked: u64,
    voted: BTreeSet<String>,
}

/// One part of what a call asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<'a> {
    /// The group; without one, any operators.
    pub group: Option<&'a str>,
    /// How many.
    pub votes: usize,
    /// Who said yes and counts.
    pub have: BTreeSet<&'a str>,
    /// Who may say yes yet.
    pub may: BTreeSet<&'a str>,
}

impl Part<'_> {
    /// Whether all of it is there.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.have.len() >= self.votes
    }
}

impl Votes {
    /// Adds what one rule asks for.
    pub fn ask(&mut self, votes: u32, group: Option<&str>) {
        let most = match group {
            None => &mut self.any,
            Some(group) => self.of.entry(group.to_owned()).or_default(),
        };
        *most = votes.max(1).max(*most);
    }

    /// Whether one yes of anybody is all: also where no rule said anything.
    #[must_use]
    pub fn is_one(&self) -> bool {
        self.any <= 1 && self.of.is_empty()
    }

    /// The facts by which a record says it.
    #[must_use]
    pub fn facts(&self) -> [(&'static str, String); 2] {
        let any = if self.is_one() { 1 } else { self.any };
        let of: Vec<String> = self.of.iter().map(|(group, n)| format!("{group}={n}")).collect();
        [("votes", any.to_string()), ("votes_of", of.join(" "))]
    }

    /// What a record that asks says. What cannot be read asks for more than there are operators.
    pub(crate) fn read(record: &Envelope) -> Self {
        let fact = |name: &str| record.facts.get(name).map(String::as_str).unwrap_or_default();
        let number = |text: &str| text.parse().unwrap_or(u32::MAX);
        let parts = fact("votes_of").split(' ').filter(|part| !part.is_empty());
        let of = parts.map(|part| {
            let (group, votes) = part.split_once('=').unwrap_or((part, ""));
            (group.to_owned(), number(votes))
        });
        let of: BTreeMap<String, u32> = of.collect();
        let any = if fact("votes").is_empty() { 1 } else { number(fact("votes")) };
        let any = if of.is_empty() { any.max(1) } else { any };
        Self { any, of, asked: record.sequence, voted: BTreeSet::new() }
    }

    /// What `now` asks for, with the yeses to this: another policy may ask for more.
    #[must_use]
    pub fn under(&self, now: Self) -> Self {
        Self { asked: self.asked, voted: self.voted.clone(), ..now }
    }

    pub(crate) fn voted(&mut self, operator: &str) {
        self.voted.insert(operator.to_owned());
    }

    /// Whether this operator said yes already.
    #[must_use]
    pub fn has(&self, operator: &str) -> bool {
        self.voted.contains(operator)
    }

    /// What it asks for, part by part, with `more` as one more who says yes.
    #[must_use]
    pub fn parts<'a>(&'a self, operators: &'a Operators, more: Option<&'a str>) -> Vec<Part<'a>> {
        let before = if self.is_one() { u64::MAX } else { self.asked };
        let any = Some((None, self.any)).filter(|_| self.any > 0 || self.of.is_empty());
        let of = self.of.iter().map(|(group, votes)| (Some(group.as_str()), *votes));
        let part = |(group, votes): (Option<&'a str>, u32)| {
            let who = operators.before(group, before);
            let said = |name: &&str| self.has(name) || more == Some(*name);
            let (have, may) = who.into_iter().partition(said);
            Part { group, votes: usize::try_from(votes.max(1)).unwrap_or(usize::MAX), have, may }
        };
        any.into_iter().chain(of).map(part).collect()
    }

    /// Whether a yes of this operator brings it nearer to what it asks for.
    #[must_use]
    pub fn counts(&self, operators: &Operators, operator: &str) -> bool {
        let parts = self.parts(operators, None);
        parts.iter().any(|part| !part.is_there() && part.may.contains(operator))
    }

    /// Whether everything is there, with the yes of `more`.
    #[must_use]
    pub fn suffice(&self, operators: &Operators, more: &str) -> bool {
        self.parts(operators, Some(more)).iter().all(Part::is_there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::Kind;
    use ledger::writer::Draft;

    /// Ann, bob and cyd; bob and cyd are release managers.
    fn operators() -> Operators {
        let mut operators = Operators::default();
        for (since, name) in ["ann", "bob", "cyd"].into_iter().enumerate() {
            operators.add(name, [0; 32], u64::try_from(since).unwrap());
        }
        operators.join("managers", "bob", 3);
        operators.join("managers", "cyd", 4);
        operators
    }

    /// What rules ask for, as the record 10 says it.
    fn asked(rules: &[(u32, Option<&str>)]) -> Votes {
        let mut votes = Votes::default();
        rules.iter().for_each(|(count, group)| votes.ask(*count, *group));
        let mut draft = Draft::new(Kind::Decision, &[]);
        draft.facts.extend(votes.facts().map(|(name, value)| (name.to_owned(), value)));
        let mut envelope = draft.into_envelope([0; 16], 0, 0, BTreeMap::new());
        envelope.sequence = 10;
        Votes::read(&envelope)
    }

    /// Who of these, one after the other, completes it.
    fn completes(votes: &Votes, operators: &Operators, names: &[&str]) -> Option<String> {
        let mut votes = votes.clone();
        for name in names {
            if votes.suffice(operators, name) {
                return Some((*name).to_owned());
            }
            votes.voted(name);
        }
        None
    }

    #[test]
    fn two_of_a_group_are_two_different_ones_of_it() {
        let (operators, two) = (operators(), asked(&[(2, Some("managers"))]));
        let completes = |names: &[&str]| completes(&two, &operators, names);
        assert_eq!(completes(&["bob", "cyd"]).as_deref(), Some("cyd"));
        assert_eq!(completes(&["bob", "bob"]), None, "one of them twice");
        assert_eq!(completes(&["bob", "ann"]), None, "another is not of the group");
        assert_eq!(completes(&["ann", "bob", "cyd"]).as_deref(), Some("cyd"));
        assert!(two.counts(&operators, "bob") && !two.counts(&operators, "ann"));
        let any = asked(&[(2, None)]);
        assert_eq!(self::completes(&any, &operators, &["ann", "bob"]).as_deref(), Some("bob"));
        assert_eq!(self::completes(&any, &operators, &["ann", "eve"]), None, "a stranger");
        let one = asked(&[]);
        assert!(one.is_one() && one.suffice(&operators, "ann"));
    }

    #[test]
    fn of_rules_that_ask_all_must_be_satisfied() {
        let mut operators = operators();
        operators.join("security", "ann", 5);
        let who = |rules: &[(u32, Option<&str>)], names: &[&str]| {
            completes(&asked(rules), &operators, names)
        };
        assert_eq!(who(&[(1, None), (3, None)], &["ann", "bob"]), None, "more votes hold");
        assert!(who(&[(1, None), (3, None)], &["ann", "bob", "cyd"]).is_some());
        let both = [(1, Some("managers")), (1, Some("security"))];
        assert_eq!(who(&both, &["bob", "cyd"]), None, "both groups");
        assert_eq!(who(&both, &["bob", "ann"]).as_deref(), Some("ann"));
        let group = [(2, Some("managers")), (1, Some("managers"))];
        assert_eq!(who(&group, &["bob"]), None, "the most of one group");
        let mixed = [(2, Some("managers")), (3, None)];
        assert_eq!(who(&mixed, &["bob", "cyd"]), None, "a number and a group");
        assert!(who(&mixed, &["bob", "cyd", "ann"]).is_some());
        operators.join("security", "bob", 6);
        let in_both = completes(&asked(&both), &operators, &["bob"]);
        assert_eq!(in_both.as_deref(), Some("bob"), "who is in both counts in both");
    }

    #[test]
    fn who_left_or_came_later_does_not_count() {
        let two = asked(&[(2, Some("managers"))]);
        let of = |change: fn(&mut Operators)| {
            let mut operators = operators();
            change(&mut operators);
            completes(&two, &operators, &["bob", "cyd", "dan"])
        };
        assert!(of(|_| ()).is_some());
        assert_eq!(of(|operators| operators.leave("managers", "bob")), None, "left");
        assert_eq!(of(|operators| operators.remove("bob")), None, "removed");
        let back = |operators: &mut Operators| {
            operators.leave("managers", "bob");
            operators.join("managers", "bob", 11);
        };
        assert_eq!(of(back), None, "came back after it was asked");
        let puppet = |operators: &mut Operators| {
            operators.remove("bob");
            operators.add("dan", [0; 32], 11);
            operators.join("managers", "dan", 12);
        };
        assert_eq!(of(puppet), None, "came after it was asked");
        assert_eq!(of(|operators| operators.join("managers", "bob", 11)).as_deref(), Some("cyd"));
        // where one yes is all, it may be anybody's who is there
        let mut operators = operators();
        operators.add("dan", [0; 32], 11);
        assert!(asked(&[(1, None)]).suffice(&operators, "dan"));
        assert!(!asked(&[(2, None)]).counts(&operators, "dan"));
    }

    #[test]
    fn another_policy_may_ask_for_more() {
        let operators = operators();
        let mut one = asked(&[(1, None)]);
        let under = |one: &Votes, rules: &[(u32, Option<&str>)]| {
            let mut now = Votes::default();
            rules.iter().for_each(|(count, group)| now.ask(*count, *group));
            one.under(now).suffice(&operators, "ann")
        };
        assert!(under(&one, &[]) && under(&one, &[(1, None)]));
        assert!(!under(&one, &[(2, None)]) && !under(&one, &[(1, Some("managers"))]));
        one.voted("bob");
        assert!(under(&one, &[(2, None)]) && under(&one, &[(1, Some("managers"))]));
        assert!(!under(&one, &[(2, Some("managers"))]));
    }

    #[test]
    fn what_cannot_be_read_is_never_there() {
        for facts in
            [[("votes", "x"), ("votes_of", "")], [("votes", "0"), ("votes_of", "managers")]]
        {
            let record = Draft::new(Kind::Decision, &facts);
            let votes = Votes::read(&record.into_envelope([0; 16], 0, 0, BTreeMap::new()));
            assert!(!votes.is_one());
            assert_eq!(completes(&votes, &operators(), &["ann", "bob", "cyd"]), None);
        }
        let zero = Draft::new(Kind::Decision, &[("votes", "0")]);
        let votes = Votes::read(&zero.into_envelope([0; 16], 0, 0, BTreeMap::new()));
        assert!(!votes.suffice(&operators(), "eve") && votes.suffice(&operators(), "ann"));
    }
}
