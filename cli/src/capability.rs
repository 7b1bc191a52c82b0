//! `krux capability`: the catalogue of this version.

use crate::render;
use anyhow::{Context, Result};
use capabilities::{CATALOGUE, Declaration, document, find};
use clap::Subcommand;
use serde_json::{Value as Json, json};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// One line each: name, risk, purpose.
    List,
    /// All that is known of one.
    Show {
        /// `category.verb`, or with `@version`.
        name: String,
    },
    /// The JSON Schema of its input.
    Schema {
        /// `category.verb`, or with `@version`.
        name: String,
    },
}

/// Always yes, or an error.
pub(crate) fn run(command: &Command, as_json: bool) -> Result<bool> {
    match command {
        Command::List if as_json => {
            let all: Vec<Json> = CATALOGUE.iter().map(|one| summary(one)).collect();
            render::object(&json!({ "capabilities": all }));
        }
        Command::List => {
            for one in CATALOGUE {
                let first = one.purpose.split(". ").next().unwrap_or(one.purpose);
                render::line(&format!(
                    "{:24} {}  {}",
                    one.id(),
                    one.risk.name(),
                    first.trim_end_matches('.')
                ));
            }
        }
        Command::Show { name } if as_json => {
            let one = known(name)?;
            let mut shown = summary(one);
            if let Some(members) = shown.as_object_mut() {
                members.insert("input".to_owned(), document::schema(one));
            }
            render::object(&shown);
        }
        Command::Show { name } => render::line(document::markdown(&[known(name)?]).trim()),
        Command::Schema { name } => render::object(&document::schema(known(name)?)),
    }
    Ok(true)
}

fn summary(one: &Declaration) -> Json {
    json!({ "name": one.name, "version": one.version, "risk": one.risk.name(), "purpose": one.purpose })
}

fn known(name: &str) -> Result<&'static Declaration> {
    find(name)
        .with_context(|| format!("no capability `{name}`; `krux capability list` has them all"))
}
