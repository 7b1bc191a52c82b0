//! The machine itself, for the agents that a policy lets near it: init reports and acts. What changes
//! something is a `setting`, which no policy of a box lets through without a person
//! (`policies/system.yaml`). A proposal changes nothing: it is a `message` to operators, which pdp keeps.

use crate::declaration::{
    Declaration, Example, Failure, Parameter, Performer, Risk, Shape, Source, Template,
};
use contract::effect::{Field, Form, Kind};

/// Who performs all of it.
const INIT: Performer = Performer::Service("init");

const fn reports(fields: &'static [(Field, Source)]) -> Template {
    Template::new(Kind::Observe, Form::Exact, fields)
}

const fn sets(fields: &'static [(Field, Source)]) -> Template {
    Template::new(Kind::Setting, Form::Exact, fields)
}

pub(crate) static BOOT: Declaration = Declaration {
    name: "system.boot",
    version: 1,
    purpose: "Says how the box booted: each stage and how long it took.",
    when: "To see what makes a boot slow, or what was tried before the doors opened.",
    parameters: &[],
    answers: &[("stages", "name and microseconds of each")],
    effects: &[reports(&[(Field::Subject, Source::Text("box/boot"))])],
    performer: INIT,
    risk: Risk::R0,
    undo: None,
    failures: &[],
    examples: &[Example { title: "how did it boot", input: "{}", ends: "ok" }],
};

pub(crate) static LOGS: Declaration = Declaration {
    name: "system.logs",
    version: 1,
    purpose: "Gives the newest lines that the box's services said, at most 60 KB.",
    when: "To find out why a service restarted. What agents did is in the ledger, not here.",
    parameters: &[],
    answers: &[("lines", "oldest first")],
    effects: &[reports(&[(Field::Subject, Source::Text("box/logs"))])],
    performer: INIT,
    risk: Risk::R0,
    undo: None,
    failures: &[],
    examples: &[Example { title: "the newest lines", input: "{}", ends: "ok" }],
};

pub(crate) static PROPOSE_POLICY: Declaration = Declaration {
    name: "system.propose_policy",
    version: 1,
    purpose: "Proposes a text as the box's policy, whole. It changes nothing: the text is checked like one that \
              is applied, and kept; operators see who proposed it, why, and what it would change, and one of \
              them applies it or refuses it.",
    when: "When something is asked for or blocked again and again that a better policy would let through, or \
           the other way round. Operators have the text that is in force.",
    parameters: &[
        Parameter {
            name: "text",
            shape: Shape::Text { bytes_max: 1 << 20 },
            required: true,
            meaning: "the whole policy, as YAML",
        },
        Parameter {
            name: "why",
            shape: Shape::Text { bytes_max: 500 },
            required: true,
            meaning: "what it is to change, and why, for those who answer",
        },
    ],
    answers: &[
        ("status", "`proposed`"),
        ("digest", "SHA-256 of the text"),
        ("next", "what comes now"),
    ],
    effects: &[Template::new(
        Kind::Message,
        Form::Exact,
        &[(Field::To, Source::Text("operators/policy")), (Field::Bytes, Source::LengthOf("text"))],
    )],
    performer: Performer::Pdp,
    risk: Risk::R1,
    undo: Some("an operator, who refuses it"),
    failures: &[Failure {
        code: "bad_policy",
        when: "the box would not take the text: its form, its size, or an invariant that would not hold",
        next: "correct it where `line` and `column` say, or as the message says",
    }],
    examples: &[
        Example {
            title: "nothing but reading",
            input: r#"{"text":"policy: box\nversion: 1\nrules:\n  - { name: reads, agents: [any], effects: [read], where: { path: { under: /workspace } }, decision: autonomous }\n","why":"these agents only read"}"#,
            ends: "ok",
        },
        Example {
            title: "a word that is none",
            input: r#"{"text":"policy: box\nversion: 1\nrulez: []\n","why":"a mistake"}"#,
            ends: "bad_policy",
        },
    ],
};

pub(crate) static SERVICES: Declaration = Declaration {
    name: "system.services",
    version: 1,
    purpose: "Lists the box's services: the state of each, how often it was started, its memory.",
    when: "To see whether the box is well.",
    parameters: &[],
    answers: &[("services", "name, state, since_ms, starts, memory_bytes of each")],
    effects: &[reports(&[(Field::Subject, Source::Text("box/services"))])],
    performer: INIT,
    risk: Risk::R0,
    undo: None,
    failures: &[],
    examples: &[Example { title: "is it well", input: "{}", ends: "ok" }],
};

pub(crate) static RESTART_SERVICE: Declaration = Declaration {
    name: "system.restart_service",
    version: 1,
    purpose: "Ends a service of the box, which is started again at once; a person is asked first. Calls \
              that it had under way end as `unknown`.",
    when: "When a service does not do its work and its log says nothing better.",
    parameters: &[Parameter {
        name: "service",
        shape: Shape::OneOf(&[
            "agents",
            "audit",
            "console",
            "egress",
            "forker",
            "net",
            "operators",
            "pdp",
            "vault",
        ]),
        required: true,
        meaning: "which",
    }],
    answers: &[("restarted", "the service")],
    effects: &[sets(&[(Field::Name, Source::Beneath("service", "service"))])],
    performer: INIT,
    risk: Risk::R3,
    undo: None,
    failures: &[Failure {
        code: "not_found",
        when: "this image has no such service",
        next: "list them with system.services",
    }],
    examples: &[Example { title: "the network", input: "{\"service\":\"net\"}", ends: "ok" }],
};

pub(crate) static REBOOT: Declaration = Declaration {
    name: "system.reboot",
    version: 1,
    purpose: "Restarts the machine, a second after the answer; a person is asked first.",
    when: "When nothing smaller helps. What waits for a person then is over.",
    parameters: &[],
    answers: &[("ending", "what happens now")],
    effects: &[sets(&[(Field::Name, Source::Text("power/restart"))])],
    performer: INIT,
    risk: Risk::R3,
    undo: None,
    failures: &[],
    examples: &[Example { title: "again, from the start", input: "{}", ends: "ok" }],
};

pub(crate) static SHUTDOWN: Declaration = Declaration {
    name: "system.shutdown",
    version: 1,
    purpose: "Powers the machine off, a second after the answer; a person is asked first.",
    when: "Before somebody moves the machine. Nothing but a hand at the machine starts it again.",
    parameters: &[],
    answers: &[("ending", "what happens now")],
    effects: &[sets(&[(Field::Name, Source::Text("power/off"))])],
    performer: INIT,
    risk: Risk::R3,
    undo: None,
    failures: &[],
    examples: &[Example { title: "off", input: "{}", ends: "ok" }],
};
