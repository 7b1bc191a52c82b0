//! The cage itself, tried.

use crate::declaration::{
    Class, Declaration, Example, Failure, Parameter, Performer, Risk, Shape, Source, Template,
};
use contract::effect::{Field, Form, Kind};
use contract::rings;

pub(crate) static TRY: Declaration = Declaration {
    name: "cage.try",
    version: 1,
    purpose: "Tries one of the five rings of a cage: does, in a fresh one, what that ring is to stop, and \
              succeeds if it was stopped. The box does it for each ring before its doors open.",
    when: "To see that a box still holds what runs on it. `krux cage diagnose` tries all five.",
    parameters: &[Parameter {
        name: "ring",
        shape: Shape::OneOf(&rings::NAMES),
        required: true,
        meaning: "which ring",
    }],
    answers: &[],
    effects: &[Template::new(
        Kind::Observe,
        Form::Exact,
        &[(Field::Subject, Source::Parameter("ring"))],
    )],
    performer: Performer::Cage(Class::Network),
    risk: Risk::R0,
    undo: None,
    failures: &[Failure {
        code: "not_stopped",
        when: "what the ring is to stop went through",
        next: "take the box out of service, and export its ledger",
    }],
    examples: &[
        Example {
            title: "the filter of system calls",
            input: "{\"ring\":\"seccomp\"}",
            ends: "ok",
        },
        Example { title: "the packet filter", input: "{\"ring\":\"nftables\"}", ends: "ok" },
    ],
};
