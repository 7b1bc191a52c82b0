//! What a declaration says.

use contract::effect::{Effect, Field, Form, Kind};

/// One capability.
#[derive(Debug)]
pub struct Declaration {
    /// `category.verb`.
    pub name: &'static str,
    /// From 1; another meaning is another version.
    pub version: u32,
    /// One paragraph.
    pub purpose: &'static str,
    /// When to use it, and when something else.
    pub when: &'static str,
    /// What it takes.
    pub parameters: &'static [Parameter],
    /// What it answers, as names and what they mean.
    pub answers: &'static [(&'static str, &'static str)],
    /// What it does, as templates over its parameters.
    pub effects: &'static [Template],
    /// Who performs it.
    pub performer: Performer,
    /// How much can go wrong.
    pub risk: Risk,
    /// How it is undone; `None` when it cannot be.
    pub undo: Option<&'static str>,
    /// How it fails, besides the failures of every call.
    pub failures: &'static [Failure],
    /// Examples, which the tests run.
    pub examples: &'static [Example],
}

/// One parameter.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What values it takes.
    pub shape: Shape,
    /// Whether a call must give it.
    pub required: bool,
    /// What it means.
    pub meaning: &'static str,
}

/// One that a call must give.
pub(crate) const fn required(name: &'static str, shape: Shape, meaning: &'static str) -> Parameter {
    Parameter { name, shape, required: true, meaning }
}

/// One that a call may leave out.
pub(crate) const fn optional(name: &'static str, shape: Shape, meaning: &'static str) -> Parameter {
    Parameter { name, shape, required: false, meaning }
}

/// What values a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A path; a relative one starts from the workspace.
    Path,
    /// Text of at most so many bytes.
    Text {
        /// The bound.
        bytes_max: usize,
    },
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A whole number up to this one.
    Number {
        /// The bound.
        max: u64,
    },
    /// Yes or no.
    Flag,
    /// A call's number: 32 hexadecimal digits.
    Call,
    /// A closed program of the toolbox and arguments that its grammar admits, as an array of texts.
    Command,
    /// The same of an open program.
    OpenCommand,
    /// A SHA-256 digest: 64 hexadecimal digits.
    Digest,
    /// Places to connect to, an array of `ADDRESS:PORT`, at most [`PLACES_MAX`].
    Places,
    /// A URL of HTTP ([`contract::url`]).
    Url,
    /// A machine: a name or an address.
    Host,
    /// Headers of a request, in whose values a secret's placeholder may stand ([`contract::headers`]).
    Headers,
}

/// Most places that a call connects to.
pub const PLACES_MAX: usize = 8;

/// One effect of a call.
#[derive(Debug, Clone, Copy)]
pub struct Template {
    /// Its kind.
    pub kind: Kind,
    /// Its form.
    pub form: Form,
    /// Where each field comes from.
    pub fields: &'static [(Field, Source)],
    /// Whether a person who is asked is shown what is at its path, which must be there still when the
    /// call is performed.
    pub expects: bool,
}

impl Template {
    /// An effect that nothing is looked at for.
    #[must_use]
    pub const fn new(kind: Kind, form: Form, fields: &'static [(Field, Source)]) -> Self {
        Self { kind, form, fields, expects: false }
    }

    /// The same, where a person is shown what is at its path.
    #[must_use]
    pub const fn expecting(self) -> Self {
        Self { expects: true, ..self }
    }
}

/// An exact effect that nothing is looked at for.
pub(crate) const fn does(kind: Kind, fields: &'static [(Field, Source)]) -> Template {
    Template::new(kind, Form::Exact, fields)
}

/// Where the value of a field comes from. There is no other way: lowering reads no file, no name
/// service and no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The parameter of this name.
    Parameter(&'static str),
    /// The name in the directory that the path parameter of this name is.
    Within(&'static str, &'static str),
    /// The length in bytes of the text parameter of this name; 0 where the call does not give it.
    LengthOf(&'static str),
    /// Always this text.
    Text(&'static str),
    /// Always this number.
    Number(u64),
    /// The number parameter of this name, or this number where the call does not give it.
    NumberOr(&'static str, u64),
    /// Always these words.
    Words(&'static [&'static str]),
    /// This text and, after a slash, the text parameter of this name.
    Beneath(&'static str, &'static str),
    /// The program of the command of this name.
    ProgramOf(&'static str),
    /// The arguments of the command of this name.
    ArgumentsOf(&'static str),
    /// Each file that the command of this name reads: one effect a file.
    ReadsOf(&'static str),
    /// Each file that it writes: one effect a file.
    WritesOf(&'static str),
    /// The address of each place of the parameter of this name: one effect a place.
    AddressesOf(&'static str),
    /// Its port.
    PortsOf(&'static str),
    /// The text parameter of this name, or this text where the call does not give it.
    TextOr(&'static str, &'static str),
    /// The host of the URL or host of this name, as text.
    HostOf(&'static str),
    /// The same where it is an address; no field where it is a name.
    AddressOf(&'static str),
    /// The port of the URL of this name.
    PortOf(&'static str),
    /// Its path and query.
    UrlPathOf(&'static str),
    /// Each secret that the headers of this name hold the placeholder of: one effect a secret.
    SecretsOf(&'static str),
}

impl Source {
    /// The parameter that it speaks of, if it does of one.
    #[must_use]
    pub const fn parameter(self) -> Option<&'static str> {
        match self {
            Self::Parameter(name)
            | Self::Beneath(_, name)
            | Self::Within(name, _)
            | Self::LengthOf(name)
            | Self::NumberOr(name, _)
            | Self::ProgramOf(name)
            | Self::ArgumentsOf(name)
            | Self::ReadsOf(name)
            | Self::WritesOf(name)
            | Self::AddressesOf(name)
            | Self::PortsOf(name)
            | Self::TextOr(name, _)
            | Self::HostOf(name)
            | Self::AddressOf(name)
            | Self::PortOf(name)
            | Self::UrlPathOf(name)
            | Self::SecretsOf(name) => Some(name),
            Self::Text(_) | Self::Number(_) | Self::Words(_) => None,
        }
    }
}

/// Who performs a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Performer {
    /// A worker in a fresh cage of this class.
    Cage(Class),
    /// The service of this name.
    Service(&'static str),
    /// The policy decision point itself, from its own state.
    Pdp,
}

impl Performer {
    /// The service that gets the specs of its calls; none of those that pdp answers.
    #[must_use]
    pub const fn service(self) -> Option<&'static str> {
        match self {
            Self::Cage(_) => Some("forker"),
            Self::Service(name) => Some(name),
            Self::Pdp => None,
        }
    }
}

/// What a cage's system-call filter admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// No file at all.
    Pure,
    /// Files beneath the workspace.
    Files,
    /// A closed program of the toolbox, and what files its command names.
    Program,
    /// An open program of the toolbox: it runs what the workspace holds, and has all of it.
    Code,
    /// The same with sockets, in its agent's own network: what a call of class `code` gets that was
    /// decided to connect.
    Direct,
    /// Sockets of the internet family, in a network of its own whose loopback is up; what they reach is
    /// the packet filter's to say.
    Network,
}

/// How much can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    /// It only looks.
    R0,
    /// It changes what is the agent's own, and can be undone.
    R1,
    /// It leaves the box.
    R2,
    /// It cannot be undone, or needs a privilege.
    R3,
}

/// One way to fail.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// The code that the caller gets.
    pub code: &'static str,
    /// When.
    pub when: &'static str,
    /// What the caller does next.
    pub next: &'static str,
}

/// One example: an input as JSON, run by the real performer.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// What it shows.
    pub title: &'static str,
    /// The input.
    pub input: &'static str,
    /// The code that it ends with: `ok` or a failure's.
    pub ends: &'static str,
}

impl Declaration {
    /// Which effects of a call of it a person is shown with what is at their paths.
    #[must_use]
    pub fn expects(&self, effects: &[Effect]) -> Vec<usize> {
        let of = |effect: &Effect| {
            let mut templates = self.effects.iter().filter(|template| template.expects);
            templates.any(|it| it.kind == effect.kind && it.form == effect.form)
        };
        effects.iter().enumerate().filter(|(_, effect)| of(effect)).map(|(at, _)| at).collect()
    }

    /// `category.verb@version`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

impl Risk {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::R0 => "R0",
            Self::R1 => "R1",
            Self::R2 => "R2",
            Self::R3 => "R3",
        }
    }
}
