//! Layers put together: one that grants, and any number that only tighten.

use crate::answer::{Answer, Because, Decision, LayerKind};
use crate::rule::Rule;
use std::collections::BTreeSet;

/// One layer, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Which one.
    pub kind: LayerKind,
    /// Version of this text, one more at each change.
    pub version: u64,
    /// For effects that no rule speaks of: blocked or approval in the granting layer. In a layer of
    /// limits there is none, and no match is no opinion.
    pub otherwise: Option<Answer>,
    /// Its rules; their order means nothing.
    pub rules: Vec<Rule>,
}

impl Layer {
    /// The name of a rule of this layer, as records of decisions have it.
    #[must_use]
    pub fn rule_name(&self, rule: &str) -> String {
        format!("{}/{rule}", self.kind)
    }
}

/// One granting layer and the limits on it.
#[derive(Debug, Clone)]
pub struct Set {
    granting: Layer,
    limits: Vec<Layer>,
}

/// Why layers are no set.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SetError {
    /// The first layer does not grant.
    #[error("the granting layer must be `policy: box`")]
    NotGranting,
    /// Another layer grants.
    #[error("only one layer grants; the others say `limits:`")]
    SecondGranting,
    /// The same layer twice.
    #[error("the same layer of limits is there twice")]
    Twice,
}

impl Set {
    /// Puts layers together.
    ///
    /// # Errors
    /// [`SetError`].
    pub fn new(granting: Layer, limits: Vec<Layer>) -> Result<Self, SetError> {
        if granting.kind != LayerKind::Box {
            return Err(SetError::NotGranting);
        }
        let mut seen = BTreeSet::new();
        for layer in &limits {
            if layer.kind == LayerKind::Box {
                return Err(SetError::SecondGranting);
            }
            if !seen.insert(layer.kind.clone()) {
                return Err(SetError::Twice);
            }
        }
        Ok(Self { granting, limits })
    }

    /// The layer that grants.
    #[must_use]
    pub const fn granting(&self) -> &Layer {
        &self.granting
    }

    /// Every layer, the granting one first.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        std::iter::once(&self.granting).chain(&self.limits)
    }

    /// The rules that spoke for a decision's answer, each once.
    #[must_use]
    pub fn speaking<'a>(
        &'a self,
        agent: &'a str,
        decision: &Decision,
    ) -> Vec<(&'a Layer, &'a Rule)> {
        let spoke = |layer: &Layer, rule: &Rule| {
            let worst = decision.effects.iter().filter(|d| d.answer == decision.answer);
            worst.flat_map(|decided| &decided.because).any(|because| {
                matches!(because, Because::Rule { layer: kind, name, .. }
                    if *kind == layer.kind && *name == rule.name)
            })
        };
        let rules = |layer: &'a Layer| layer.rules.iter().map(move |rule| (layer, rule));
        let rules = self.layers_for(agent).flat_map(rules);
        rules.filter(|(layer, rule)| spoke(layer, rule)).collect()
    }

    /// The rules whose names, as [`Layer::rule_name`] gives them, are in `names`, separated by blanks.
    #[must_use]
    pub fn rules_named(&self, names: &str) -> BTreeSet<(LayerKind, String)> {
        let names: BTreeSet<&str> = names.split(' ').filter(|name| !name.is_empty()).collect();
        let rules =
            self.layers().flat_map(|layer| layer.rules.iter().map(move |rule| (layer, rule)));
        let named =
            rules.filter(|(layer, rule)| names.contains(layer.rule_name(&rule.name).as_str()));
        named.map(|(layer, rule)| (layer.kind.clone(), rule.name.clone())).collect()
    }

    /// The layers that speak about `agent`, the granting one first.
    pub fn layers_for<'a>(&'a self, agent: &'a str) -> impl Iterator<Item = &'a Layer> {
        let limits = self.limits.iter().filter(move |layer| match &layer.kind {
            LayerKind::Agent(name) => name == agent,
            LayerKind::Box | LayerKind::System | LayerKind::Organisation(_) => true,
        });
        std::iter::once(&self.granting).chain(limits)
    }
}
