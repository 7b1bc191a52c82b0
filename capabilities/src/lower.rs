//! Lowering: from an accepted input to effects, by the declaration's templates alone.

use crate::declaration::{Declaration, Source, Template};
use crate::input::{Accepted, Argument};
use contract::effect::{Effect, Field, Value};

impl Declaration {
    /// The effects of a call with this input. Pure, and total over accepted inputs: a template whose
    /// optional parameter the call left out gives an effect without that field.
    ///
    /// `None` when a template asks for what its kind or parameter cannot give, which
    /// `every_declaration_is_sound` shows of no shipped one; such a call is blocked.
    #[must_use]
    pub fn lower(&self, input: &Accepted) -> Option<Vec<Effect>> {
        self.effects.iter().map(|template| lower(template, input)).collect()
    }
}

fn lower(template: &Template, input: &Accepted) -> Option<Effect> {
    let mut fields: Vec<(Field, Value)> = Vec::new();
    for (field, source) in template.fields {
        let value = match source {
            Source::Text(text) => Some(Value::Text((*text).to_owned())),
            Source::Number(number) => Some(Value::Number(*number)),
            Source::Parameter(name) => input.get(name).map(value_of).transpose_value()?,
            Source::LengthOf(name) => match input.get(name) {
                Some(Argument::Text(text)) => Some(Value::Number(u64::try_from(text.len()).ok()?)),
                Some(_) => return None,
                None => None,
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
        Argument::Flag(_) | Argument::Call(_) => None,
    }
}

/// `Option<Option<T>>` turned inside out: a parameter that is there must have a value.
trait TransposeValue {
    fn transpose_value(self) -> Option<Option<Value>>;
}

impl TransposeValue for Option<Option<Value>> {
    fn transpose_value(self) -> Option<Option<Value>> {
        match self {
            None => Some(None),
            Some(None) => None,
            Some(value) => Some(value),
        }
    }
}
