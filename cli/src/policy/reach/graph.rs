//! Agents, the places that they have in common, and which way from one agent leads where.

use super::Witness;
use capabilities::Place;
use policy::AgentsAlike;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;

/// What an agent tells a place, or is told by it.
#[derive(Debug)]
pub(super) struct Edge {
    pub(super) agent: usize,
    pub(super) place: String,
    /// Whether the place is told; else it tells.
    pub(super) is_told: bool,
    pub(super) by: Witness,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) agents: Vec<AgentsAlike>,
    pub(super) edges: Vec<Edge>,
}

/// A shortest way from an agent to another, or outside.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) from: usize,
    /// The places that it goes by, with the agents between them.
    pub(super) by: Vec<(String, Option<usize>)>,
    /// Nothing where it ends outside: at a machine, or at the operators.
    pub(super) to: Option<usize>,
}

impl Graph {
    /// The places that an agent tells something.
    fn told_by(&self, agent: usize) -> impl Iterator<Item = &str> {
        let edges = self.edges.iter().filter(move |edge| edge.is_told && edge.agent == agent);
        edges.map(|edge| edge.place.as_str())
    }

    /// The agents that a place tells something.
    fn told_at<'a>(&'a self, place: &'a str) -> impl Iterator<Item = usize> + 'a {
        let edges = self.edges.iter().filter(move |edge| !edge.is_told && edge.place == place);
        edges.map(|edge| edge.agent)
    }

    /// Whether a place is outside: what it does with what it got is not the box's to know.
    fn is_outside(place: &str) -> bool {
        place.starts_with("machines ") || place == Place::Operators.name()
    }

    /// From each agent a shortest way to everything that it reaches.
    pub(super) fn ways(&self) -> Vec<Way> {
        (0..self.agents.len()).flat_map(|from| self.ways_from(from)).collect()
    }

    fn ways_from(&self, from: usize) -> Vec<Way> {
        let mut ways = Vec::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        // by which places each agent was reached
        let mut reached: BTreeMap<usize, Vec<(String, Option<usize>)>> = BTreeMap::new();
        let mut next = VecDeque::from([(from, Vec::new())]);
        while let Some((agent, way)) = next.pop_front() {
            for place in self.told_by(agent) {
                if !seen.insert(place) {
                    continue;
                }
                let step = |to: Option<usize>| {
                    let mut by: Vec<(String, Option<usize>)> = way.clone();
                    by.push((place.to_owned(), to));
                    by
                };
                if Self::is_outside(place) {
                    ways.push(Way { from, by: step(None), to: None });
                }
                for other in self.told_at(place) {
                    // the one that it came from is reached only where there are more like it
                    let is_same = other == from && self.agents.get(other).is_none_or(|a| a.is_one);
                    if !is_same && !reached.contains_key(&other) {
                        reached.insert(other, step(Some(other)));
                        next.push_back((other, step(Some(other))));
                    }
                }
            }
        }
        ways.extend(reached.into_iter().map(|(to, by)| Way { from, by, to: Some(to) }));
        ways
    }

    fn agent(&self, number: usize) -> &str {
        self.agents.get(number).map_or("?", |agent| agent.name.as_str())
    }

    /// An agent with whom it stands for.
    fn label(&self, number: usize) -> String {
        match self.agents.get(number) {
            Some(agent) if !agent.is_one => format!("{} ({})", agent.name, agent.said),
            Some(agent) => agent.name.clone(),
            None => "?".to_owned(),
        }
    }

    /// From where to where an edge goes.
    pub(super) fn ends<'a>(&'a self, edge: &'a Edge) -> (&'a str, &'a str) {
        let (agent, place) = (self.agent(edge.agent), edge.place.as_str());
        if edge.is_told { (agent, place) } else { (place, agent) }
    }

    /// Whether an edge is a step of a way.
    pub(super) fn uses(&self, way: &Way, edge: &Edge) -> bool {
        let mut agent = way.from;
        way.by.iter().any(|(place, to)| {
            let told = edge.is_told && edge.agent == agent && edge.place == *place;
            let tells = !edge.is_told && Some(edge.agent) == *to && edge.place == *place;
            agent = to.unwrap_or(agent);
            told || tells
        })
    }

    /// From where, to where, and by what a way goes.
    pub(super) fn names(&self, way: &Way) -> (String, String, Vec<String>) {
        let mut by = Vec::new();
        for (number, (place, to)) in way.by.iter().enumerate() {
            by.push(place.clone());
            let is_between = number + 1 < way.by.len();
            by.extend(to.filter(|_| is_between).map(|to| self.agent(to).to_owned()));
        }
        let to = match way.to {
            Some(to) => self.agent(to).to_owned(),
            None => by.pop().unwrap_or_default(),
        };
        (self.agent(way.from).to_owned(), to, by)
    }

    /// A way in words.
    pub(super) fn told(&self, way: &Way) -> String {
        let (_, to, by) = self.names(way);
        let to = match way.to {
            Some(to) if to == way.from => format!("another of {}", self.label(to)),
            Some(to) => self.label(to),
            None => to,
        };
        let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(", ")) };
        format!("{} reaches {to}{by}", self.label(way.from))
    }

    /// A picture (Graphviz).
    pub(super) fn dot(&self) -> String {
        let quoted =
            |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let mut out = "digraph reach {\n  rankdir=LR;\n".to_owned();
        for (number, _) in self.agents.iter().enumerate() {
            let (name, label) = (quoted(self.agent(number)), quoted(&self.label(number)));
            writeln!(out, "  {name} [shape=box, label={label}];").ok();
        }
        for edge in &self.edges {
            let (from, to) = self.ends(edge);
            let label = format!("{} by {}", edge.by.answer, edge.by.rules.join(", "));
            writeln!(out, "  {} -> {} [label={}];", quoted(from), quoted(to), quoted(&label)).ok();
        }
        out.push('}');
        out
    }
}
