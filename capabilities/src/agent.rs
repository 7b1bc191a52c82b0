//! What an agent may know of itself.

use crate::declaration::{Declaration, Example, Performer, Risk, Source, Template};
use contract::effect::{Field, Form, Kind};

pub(crate) static WHOAMI: Declaration = Declaration {
    name: "agent.whoami",
    version: 1,
    purpose: "Says who the caller is to this box: its name, its workspace, and when it was added.",
    when: "At the start of work, to learn where files are.",
    parameters: &[],
    answers: &[("name", "the agent's name"), ("workspace", "the path of its files")],
    effects: &[Template::new(
        Kind::Observe,
        Form::Exact,
        &[(Field::Subject, Source::Text("agent"))],
    )],
    performer: Performer::Pdp,
    risk: Risk::R0,
    undo: None,
    failures: &[],
    examples: &[Example { title: "who am I", input: "{}", ends: "ok" }],
};
