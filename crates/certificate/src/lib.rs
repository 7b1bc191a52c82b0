//! Checks that a certificate shows what it says: that a property holds of a policy. It shares no code with the crate
//! `policy`, which makes certificates, and searches for nothing: it reads a labelling and checks that it is closed.
//!
//! **What is claimed** is a *theorem*: the set of policy and the property, in a plain form of bytes. Who checks a
//! certificate has the theorem made anew from the texts that they mean; the certificate is bound to it by a digest.
//!
//! **What is checked**, for each kind of effect that the property speaks of (and for `code`, where it speaks of
//! what code may do within its roots), is induction over values and over rules:
//!
//! 1. Of each text that rules ask about, the certificate lists *nodes*: a set of positions in the rules' patterns,
//!    and a place in the form of the text (a canonical path, a host, an agent's name, UTF-8) with the bytes so far.
//!    The beginning is a node, and from every node every byte that the form admits leads to a node, or to one that
//!    was reached with fewer bytes. So the positions of every canonical value are listed.
//! 2. Numbers, addresses and capabilities are cut at everything that a rule names. With 1. that gives, for each thing
//!    that rules ask about, every set of rules that can hold of one value; of an absent field none does.
//! 3. The certificate lists, behind each thing that rules ask about, the sets of rules that can still hold. From all
//!    rules on every step leads to a set of the next list.
//! 4. In no last set the property's region holds (and `within` does not) together with rules that can give an answer
//!    which the property forbids, whatever limits are used up.
//!
//! Nothing may be listed that no step leads to, and every number has one spelling, so that a certificate says
//! nothing that is not checked.
#![forbid(unsafe_code)]

mod diagram;
mod form;
mod pattern;
mod read;
mod theorem;
mod values;

use read::Reader;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use theorem::{Query, Theorem};

const MAGIC: &[u8] = b"kruxos certificate 1\n";
/// Bytes of a digest.
const DIGEST_BYTES: usize = 32;

/// Why a certificate does not show what the theorem claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It ends early, goes on, or spells something in another way than the one.
    #[error("it is no certificate: its form is wrong")]
    Form,
    /// A byte is not what it was.
    #[error("it was altered: its digest is another")]
    Altered,
    /// It is about something else.
    #[error("it is about another policy or property")]
    AnotherTheorem,
    /// The theorem is none.
    #[error("the theorem has a wrong form")]
    Theorem,
    /// It speaks of other kinds of effect, or of other things that rules ask about.
    #[error("it leaves out what the property speaks of, or says more")]
    Coverage,
    /// A value of a text comes to positions that are not listed.
    #[error("its values are not all that there are")]
    Values,
    /// Rules can hold together that it does not list.
    #[error("its sets of rules are not all that there are")]
    Rules,
    /// It lists what nothing leads to.
    #[error("it lists what nothing leads to")]
    Surplus,
    /// A forbidden answer can be given.
    #[error("the property does not hold")]
    DoesNotHold,
}

/// What a certificate shows of a theorem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The property's name.
    pub property: String,
    /// SHA-256 of the theorem.
    pub theorem: [u8; DIGEST_BYTES],
    /// How many sets of rules were looked at in the end.
    pub cases: usize,
}

/// Checks a certificate.
///
/// # Errors
/// [`Refused`], the first reason.
pub fn check(certificate: &[u8], theorem: &[u8]) -> Result<Shown, Refused> {
    let (body, digest) = certificate
        .len()
        .checked_sub(DIGEST_BYTES)
        .and_then(|at| certificate.split_at_checked(at))
        .ok_or(Refused::Form)?;
    if Sha256::digest(body).as_slice() != digest {
        return Err(Refused::Altered);
    }
    let body = body.strip_prefix(MAGIC).ok_or(Refused::Form)?;
    let (about, proof) = body.split_at_checked(DIGEST_BYTES).ok_or(Refused::Form)?;
    let of_theorem: [u8; DIGEST_BYTES] = Sha256::digest(theorem).into();
    if about != of_theorem {
        return Err(Refused::AnotherTheorem);
    }
    let claimed = Theorem::read(theorem).ok_or(Refused::Theorem)?;
    let mut proof = Reader::new(proof);
    let queries = claimed.queries();
    if proof.count().ok_or(Refused::Form)? != queries.len() {
        return Err(Refused::Coverage);
    }
    let mut cases = 0;
    for query in queries {
        cases += check_query(&claimed, query, &mut proof)?;
    }
    if !proof.is_empty() {
        return Err(Refused::Form);
    }
    Ok(Shown { property: claimed.name.clone(), theorem: of_theorem, cases })
}

fn check_query(claimed: &Theorem, query: Query, proof: &mut Reader<'_>) -> Result<usize, Refused> {
    let kind = proof.text().ok_or(Refused::Form)?;
    let is_envelope = proof.count().ok_or(Refused::Form)?;
    if kind != query.kind || is_envelope != usize::from(query.is_envelope) {
        return Err(Refused::Coverage);
    }
    let rules = claimed.rules_of(query);
    let mut asked: BTreeSet<&str> = rules.iter().flat_map(|rule| rule.subjects()).collect();
    let mut dimensions = Vec::new();
    for _ in 0..proof.count().ok_or(Refused::Form)? {
        let subject = proof.text().ok_or(Refused::Form)?;
        if !asked.remove(subject) {
            return Err(Refused::Coverage);
        }
        dimensions.push(values::classes(subject, query.kind, &rules, proof)?);
    }
    if !asked.is_empty() {
        return Err(Refused::Coverage);
    }
    let last = diagram::check(rules.len(), &dimensions, proof)?;
    for rules in &last {
        if claimed.is_against(query, rules) {
            return Err(Refused::DoesNotHold);
        }
    }
    Ok(last.len())
}
