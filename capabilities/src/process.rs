//! Programs of the toolbox.

use crate::declaration::{
    Class, Declaration, Example, Failure, Parameter, Performer, Risk, Shape, Source, Template, does,
};
use contract::effect::{Field, Form, Kind};
use contract::path::WORKSPACE;
use contract::perform::FILE_BYTES_MAX;

const STDIN: Parameter = Parameter {
    name: "stdin",
    shape: Shape::Text { bytes_max: 16 << 20 },
    required: false,
    meaning: "what it reads as its standard input; nothing without it",
};
const ANSWERS: &[(&str, &str)] = &[
    ("exit", "the exit code; null where a signal ended it"),
    ("signal", "the number of the signal that ended it, or null"),
    ("stdout", "the first 4 MiB of what it wrote, as text"),
    ("stdout_base64", "whether stdout is base64, for bytes that are no UTF-8"),
    ("stdout_bytes", "how much that was in all"),
    ("stderr", "the first 64 KiB of what it said of errors"),
    ("stderr_bytes", "how much that was in all"),
];
const NO_PROGRAM: Failure = Failure {
    code: "no_program",
    when: "the toolbox of this box does not hold the program",
    next: "use another, or ask an operator to update the box",
};

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
        STDIN,
    ],
    answers: ANSWERS,
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
    failures: &[NO_PROGRAM],
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

pub(crate) static RUN_CODE: Declaration = Declaration {
    name: "process.run_code",
    version: 1,
    purpose: "Runs an open program of the toolbox: one that runs what the workspace holds. It may do \
              anything within the workspace and its limits, has no other file, reaches over TCP only what \
              `connect` names, and begins only while the workspace is what `expect` says.",
    when: "Where no other capability does it. Call filesystem.digest of /workspace first and give what it \
           says as `expect`: who is asked for this is asked for exactly that content.",
    parameters: &[
        Parameter {
            name: "command",
            shape: Shape::OpenCommand,
            required: true,
            meaning: "the program, its script and the script's arguments, as [\"python3\", \"a.py\", \"-v\"]",
        },
        Parameter {
            name: "expect",
            shape: Shape::Digest,
            required: true,
            meaning: "what filesystem.digest says of /workspace",
        },
        Parameter {
            name: "connect",
            shape: Shape::Places,
            required: false,
            meaning: "what it may connect to over TCP, as [\"192.0.2.1:443\"]; names are not resolved there",
        },
        STDIN,
    ],
    answers: ANSWERS,
    effects: &[
        Template::new(
            Kind::Code,
            Form::Code,
            &[
                (Field::Program, Source::ProgramOf("command")),
                (Field::Argv, Source::ArgumentsOf("command")),
                (Field::Roots, Source::Words(&[WORKSPACE])),
                (Field::Digest, Source::Parameter("expect")),
            ],
        ),
        does(
            Kind::Connect,
            &[
                (Field::Address, Source::AddressesOf("connect")),
                (Field::Port, Source::PortsOf("connect")),
            ],
        ),
    ],
    performer: Performer::Cage(Class::Code),
    risk: Risk::R3,
    undo: None,
    failures: &[
        NO_PROGRAM,
        Failure {
            code: "changed",
            when: "the workspace is not what `expect` says",
            next: "call filesystem.digest again and ask with what it says now",
        },
        Failure {
            code: "too_large",
            when: "more than 10,000 names or 256 MiB are in the workspace, or more than 16 levels",
            next: "delete what is not needed",
        },
    ],
    examples: &[Example {
        title: "content that is not there",
        input: "{\"command\":[\"python3\",\"a.py\"],\"expect\":\"0000000000000000000000000000000000000000000000000000000000000000\"}",
        ends: "changed",
    }],
};
