//! Reports about the box.

use crate::declaration::{Class, Declaration, Example, Performer, Risk, Source, Template};
use contract::effect::{Field, Form, Kind};

const fn observe(fields: &'static [(Field, Source)]) -> Template {
    Template::new(Kind::Observe, Form::Exact, fields)
}

pub(crate) static INFO: Declaration = Declaration {
    name: "system.info",
    version: 1,
    purpose: "Says what the box is: the version of its image and kernel, its architecture, how much \
              memory a call may use.",
    when: "To adapt work to the box. For the caller's own name use agent.whoami.",
    parameters: &[],
    answers: &[("version", "of the image"), ("kernel", "its release"), ("architecture", "")],
    effects: &[observe(&[(Field::Subject, Source::Text("system"))])],
    performer: Performer::Cage(Class::Pure),
    risk: Risk::R0,
    undo: None,
    failures: &[],
    examples: &[Example { title: "what is this box", input: "{}", ends: "ok" }],
};

pub(crate) static TIME: Declaration = Declaration {
    name: "system.time",
    version: 1,
    purpose: "Says the box's wall time and the time since it booted.",
    when: "To date something. Wall time may be wrong where the box could not synchronise it.",
    parameters: &[],
    answers: &[("wall_us", "microseconds since 1970"), ("boot_us", "microseconds since boot")],
    effects: &[observe(&[(Field::Subject, Source::Text("time"))])],
    performer: Performer::Cage(Class::Pure),
    risk: Risk::R0,
    undo: None,
    failures: &[],
    examples: &[Example { title: "what time is it", input: "{}", ends: "ok" }],
};
