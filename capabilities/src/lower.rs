//! Lowering: from an accepted input to effects, by the declaration's templates alone.

use crate::declaration::{Declaration, Source, Template};
use crate::input::{Accepted, Argument};
use crate::program::Command;
use contract::effect::{Effect, Field, Value};
use contract::path::CanonicalPath;
use contract::url::{Host, Url};
use std::net::SocketAddr;

impl Declaration {
    /// The effects of a call with this input. Pure, and total over accepted inputs: a template whose
    /// optional parameter the call left out gives an effect without that field, and one over the files
    /// of a command gives as many effects as there are files.
    ///
    /// `None` when a template asks for what its kind or parameter cannot give, which
    /// `every_declaration_is_sound` shows of no shipped one, or for a path that would be too long; such a
    /// call is blocked.
    #[must_use]
    pub fn lower(&self, input: &Accepted) -> Option<Vec<Effect>> {
        let mut effects = Vec::new();
        for template in self.effects {
            match parts(template, input)? {
                None => effects.push(lower(template, input, None)?),
                Some(parts) => {
                    for part in parts {
                        effects.push(lower(template, input, Some(part))?);
                    }
                }
            }
        }
        Some(effects)
    }
}

/// One of several of which each has an effect of its own.
#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    File(&'a CanonicalPath),
    Place(SocketAddr),
    Secret(&'a str),
}

/// The parts that a template is for, each by itself; `Some(None)` for one that is for none.
fn parts<'a>(template: &Template, input: &'a Accepted) -> Option<Option<Vec<Part<'a>>>> {
    let of = |name| command(input, name);
    let files = |files: &'a [CanonicalPath]| Some(Some(files.iter().map(Part::File).collect()));
    for (_, source) in template.fields {
        match source {
            Source::ReadsOf(name) => return files(&of(name)?.reads),
            Source::WritesOf(name) => return files(&of(name)?.writes),
            Source::AddressesOf(name) => {
                return match input.get(name) {
                    Some(Argument::Places(places)) => {
                        Some(Some(places.iter().copied().map(Part::Place).collect()))
                    }
                    Some(_) => None,
                    None => Some(Some(Vec::new())),
                };
            }
            Source::SecretsOf(name) => {
                return match input.get(name) {
                    Some(Argument::Headers(headers)) => {
                        let names = headers.secrets().iter();
                        Some(Some(names.map(|name| Part::Secret(name)).collect()))
                    }
                    Some(_) => None,
                    None => Some(Some(Vec::new())),
                };
            }
            _ => {}
        }
    }
    Some(None)
}

fn command<'a>(input: &'a Accepted, name: &str) -> Option<&'a Command> {
    match input.get(name)? {
        Argument::Command(command) => Some(command),
        _ => None,
    }
}

fn url<'a>(input: &'a Accepted, name: &str) -> Option<&'a Url> {
    match input.get(name)? {
        Argument::Url(url) => Some(url),
        _ => None,
    }
}

fn host<'a>(input: &'a Accepted, name: &str) -> Option<&'a Host> {
    match input.get(name)? {
        Argument::Url(url) => Some(&url.host),
        Argument::Host(host) => Some(host),
        _ => None,
    }
}

fn lower(template: &Template, input: &Accepted, part: Option<Part<'_>>) -> Option<Effect> {
    let mut fields: Vec<(Field, Value)> = Vec::new();
    for (field, source) in template.fields {
        let value = match source {
            Source::Text(text) => Some(Value::Text((*text).to_owned())),
            Source::Number(number) => Some(Value::Number(*number)),
            Source::NumberOr(name, otherwise) => match input.get(name) {
                Some(Argument::Number(number)) => Some(Value::Number(*number)),
                Some(_) => return None,
                None => Some(Value::Number(*otherwise)),
            },
            Source::Words(words) => {
                Some(Value::List(words.iter().map(|word| (*word).to_owned()).collect()))
            }
            Source::Parameter(name) => match input.get(name) {
                Some(argument) => Some(value_of(argument)?),
                None => None,
            },
            Source::Beneath(above, name) => match input.get(name) {
                Some(Argument::Text(text)) => Some(Value::Text(format!("{above}/{text}"))),
                Some(_) => return None,
                None => None,
            },
            Source::Within(name, entry) => match input.get(name) {
                Some(Argument::Path(path)) => Some(Value::Path(path.join(entry)?)),
                Some(_) => return None,
                None => None,
            },
            Source::LengthOf(name) => match input.get(name) {
                Some(Argument::Text(text)) => Some(Value::Number(u64::try_from(text.len()).ok()?)),
                Some(_) => return None,
                None => Some(Value::Number(0)),
            },
            Source::TextOr(name, otherwise) => match input.get(name) {
                Some(Argument::Text(text)) => Some(Value::Text(text.clone())),
                Some(_) => return None,
                None => Some(Value::Text((*otherwise).to_owned())),
            },
            Source::HostOf(name) => Some(Value::Text(host(input, name)?.to_string())),
            Source::AddressOf(name) => {
                host(input, name)?.address().map(|address| Value::Text(address.to_string()))
            }
            Source::PortOf(name) => Some(Value::Number(u64::from(url(input, name)?.port))),
            Source::UrlPathOf(name) => Some(Value::Text(url(input, name)?.target.clone())),
            Source::SecretsOf(_) => match part? {
                Part::Secret(name) => Some(Value::Text(name.to_owned())),
                Part::File(_) | Part::Place(_) => return None,
            },
            Source::ProgramOf(name) => Some(Value::Text(command(input, name)?.program.to_owned())),
            Source::ArgumentsOf(name) => Some(Value::List(command(input, name)?.arguments.clone())),
            Source::ReadsOf(_) | Source::WritesOf(_) => match part? {
                Part::File(file) => Some(Value::Path(file.clone())),
                Part::Place(_) | Part::Secret(_) => return None,
            },
            Source::AddressesOf(_) | Source::PortsOf(_) => match (part?, source) {
                (Part::Place(place), Source::PortsOf(_)) => {
                    Some(Value::Number(u64::from(place.port())))
                }
                (Part::Place(place), _) => Some(Value::Text(place.ip().to_string())),
                (Part::File(_) | Part::Secret(_), _) => return None,
            },
        };
        fields.extend(value.map(|value| (*field, value)));
    }
    Effect::new(template.kind, template.form, fields).ok()
}

fn value_of(argument: &Argument) -> Option<Value> {
    match argument {
        Argument::Path(path) => Some(Value::Path(path.clone())),
        Argument::Text(text) => Some(Value::Text(text.clone())),
        Argument::Number(number) => Some(Value::Number(*number)),
        Argument::Flag(_)
        | Argument::Call(_)
        | Argument::Command(_)
        | Argument::Places(_)
        | Argument::Url(_)
        | Argument::Host(_)
        | Argument::Headers(_) => None,
    }
}
