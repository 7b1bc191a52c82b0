//! Programs of the toolbox.

use crate::declaration::{
    Class, Declaration, Example, Failure, Parameter, Performer, Risk, Shape, Source, Template,
};
use contract::effect::{Field, Form, Kind};
use contract::perform::FILE_BYTES_MAX;

const fn does(kind: Kind, fields: &'static [(Field, Source)]) -> Template {
    Template { kind, form: Form::Exact, fields }
}

pub(crate) static RUN: Declaration = Declaration {
    name: "process.run",
    version: 1,
    purpose: "Runs a closed program of the toolbox: one that runs no code of the workspace. Its \
              arguments are taken apart by its grammar, so that they say which files it reads and writes; \
              it sees those and no others.",
    when: "To count, find, sort, compare or reshape what is in files, or what stdin gives. For a file as \
           it is use filesystem.read. An exit code other than 0 is no failure of the call.",
    parameters: &[
        Parameter {
            name: "command",
            shape: Shape::Command,
            required: true,
            meaning: "the program and its arguments, as [\"wc\", \"-l\", \"a.txt\"]",
        },
        Parameter {
            name: "stdin",
            shape: Shape::Text { bytes_max: 16 << 20 },
            required: false,
            meaning: "what it reads as its standard input; nothing without it",
        },
    ],
    answers: &[
        ("exit", "the exit code; null where a signal ended it"),
        ("signal", "the number of the signal that ended it, or null"),
        ("stdout", "the first 4 MiB of what it wrote, as text"),
        ("stdout_base64", "whether stdout is base64, for bytes that are no UTF-8"),
        ("stdout_bytes", "how much that was in all"),
        ("stderr", "the first 64 KiB of what it said of errors"),
        ("stderr_bytes", "how much that was in all"),
    ],
    effects: &[
        does(
            Kind::Run,
            &[
                (Field::Program, Source::ProgramOf("command")),
                (Field::Argv, Source::ArgumentsOf("command")),
            ],
        ),
        does(Kind::Read, &[(Field::Path, Source::ReadsOf("command"))]),
        does(
            Kind::Write,
            &[
                (Field::Path, Source::WritesOf("command")),
                (Field::Bytes, Source::Number(FILE_BYTES_MAX)),
            ],
        ),
    ],
    performer: Performer::Cage(Class::Program),
    risk: Risk::R1,
    undo: None,
    failures: &[Failure {
        code: "no_program",
        when: "the toolbox of this box does not hold the program",
        next: "use another, or ask an operator to update the box",
    }],
    examples: &[
        Example {
            title: "count lines",
            input: "{\"command\":[\"wc\",\"-l\",\"hello.txt\"]}",
            ends: "ok",
        },
        Example {
            title: "ask JSON",
            input: "{\"command\":[\"jq\",\"-c\",\".a\"],\"stdin\":\"{\\\"a\\\":[1,2]}\"}",
            ends: "ok",
        },
    ],
};
