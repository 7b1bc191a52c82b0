//! Secrets. A value is sealed here, together with the binding that says for what it may be lent, to a recipient that
//! the box's authority stands for; no door sees one.

mod import;
mod words;

use crate::ended::{Ended, failed};
use crate::remote::Desk;
use crate::render;
use crate::sealing::{self, For};
use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use contract::digits::hex;
use contract::secret::{Binding, Sealed, Value};
use serde_json::{Value as Json, json};
use std::path::PathBuf;
use words::Bound;

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  krux secret add ci-token --host api.example.com --path '/v1/**' --agent 'build-*' < token.txt
  krux secret add wiki --kind basic --user bot --host wiki.example.com --method GET,POST \\
      --path '/rest/**' --agent writer --uses 100/hour --expires 30d < password.txt
  krux secret rotate ci-token < new-token.txt
  krux secret import service.env --host api.example.com --path '/**' --agent build-1
  krux secret list; krux secret revoke ci-token

An agent uses one as ${secret:NAME} and never sees it. To change a binding, revoke and add.")]
pub(crate) enum Command {
    /// A secret, its value from standard input.
    Add {
        /// Lower-case letters, digits, `-` and `_`.
        name: String,
        #[command(flatten)]
        made: Made,
        #[command(flatten)]
        bound: Box<Bound>,
    },
    /// Another value for a secret, from standard input; its binding stays, and so does the value before.
    Rotate {
        /// Which.
        name: String,
        #[command(flatten)]
        made: Made,
    },
    /// It is lent no more, and all its values are removed.
    Revoke {
        /// Which.
        name: String,
    },
    /// Names, bindings and versions; never a value.
    List,
    /// Each line `NAME=VALUE` of a file becomes a secret `name`, all with one binding.
    Import {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        bound: Box<Bound>,
    },
}

/// What a secret is made of.
#[derive(Debug, clap::Args)]
pub(crate) struct Made {
    /// `token`: the value as it is. `basic`: base 64 of `user:value`, for `Authorization: Basic`. `webhook`: a key
    /// (`whsec_…`) that signs what network.webhook sends.
    #[arg(long, value_enum, default_value_t = Kind::Token)]
    kind: Kind,
    /// The user of a `basic` one.
    #[arg(long, required_if_eq("kind", "basic"))]
    user: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Token,
    Basic,
    Webhook,
}

impl Made {
    /// A value of standard input.
    fn value(&self) -> Result<Value> {
        let text = sealing::input()?;
        match (self.kind, &self.user) {
            (Kind::Token, None) => Ok(Value::Token(text)),
            (Kind::Webhook, None) => Ok(Value::Webhook(text)),
            (Kind::Basic, Some(user)) => Ok(Value::Basic { user: user.clone(), password: text }),
            _ => Err(failed(Ended::Usage, "--user is for --kind basic, which needs it")),
        }
    }
}

pub(crate) fn run(desk: &Desk, command: &Command, as_json: bool) -> Result<Ended> {
    match command {
        Command::List => list(desk, as_json),
        Command::Import { file, bound } => import::run(desk, file, bound, as_json),
        Command::Add { name, made, bound } => {
            let sealed = Sealed {
                name: name.clone(),
                value: made.value()?,
                binding: Some(bound.binding()?),
            };
            let answer = put(desk, &recipient(desk)?, "vault.add", &sealed)?;
            said(&answer, &format!("the vault has {name}"), as_json)
        }
        Command::Rotate { name, made } => {
            let sealed = Sealed { name: name.clone(), value: made.value()?, binding: None };
            let answer = put(desk, &recipient(desk)?, "vault.rotate", &sealed)?;
            let version = answer.get("version").map(render::text).unwrap_or_default();
            said(&answer, &format!("{name} is version {version} now"), as_json)
        }
        Command::Revoke { name } => {
            let answer = desk.perform("vault.revoke", &json!({ "name": name }).to_string())?;
            said(&answer, &format!("{name} is revoked"), as_json)
        }
    }
}

/// The recipient of the secrets.
pub(crate) fn recipient(desk: &Desk) -> Result<String> {
    let status = desk.perform("vault.status", "{}")?;
    if status.get("state").and_then(Json::as_str) == Some("empty") {
        return Err(failed(
            Ended::Conflict,
            "the vault is empty; make it first: krux vault unlock",
        ));
    }
    sealing::recipient(desk, For::Secrets, &status)
}

/// Seals a secret and sends it.
pub(crate) fn put(desk: &Desk, recipient: &str, act: &str, sealed: &Sealed) -> Result<Json> {
    sealed.check().map_err(|error| failed(Ended::Usage, error.to_string()))?;
    let ciphertext = sealing::seal(recipient, &serde_json::to_vec(sealed)?)?;
    let input = json!({
        "name": sealed.name,
        "kind": sealed.value.kind(),
        "binding": sealed.binding,
        "ciphertext": hex(&ciphertext),
    });
    desk.perform_with(act, &input.to_string())
}

fn said(answer: &Json, line: &str, as_json: bool) -> Result<Ended> {
    if as_json {
        render::object(answer);
    } else {
        render::line(line);
    }
    Ok(Ended::Done)
}

fn list(desk: &Desk, as_json: bool) -> Result<Ended> {
    let answer = desk.perform("vault.list", "{}")?;
    if as_json {
        render::object(&answer);
        return Ok(Ended::Done);
    }
    for secret in answer.get("secrets").and_then(Json::as_array).into_iter().flatten() {
        let text = |name: &str| secret.get(name).map(render::text).unwrap_or_default();
        let newest = secret.pointer("/versions/0/number").map(render::text).unwrap_or_default();
        render::line(&format!("{:32} {:6} version {newest}", text("name"), text("kind")));
        let binding = secret.get("binding").cloned().unwrap_or_default();
        match serde_json::from_value::<Binding>(binding) {
            Ok(binding) => words::lines(&binding).iter().for_each(|line| render::line(line)),
            Err(_none) => render::line("    its file cannot be read; revoke and add it"),
        }
    }
    if answer.get("state").and_then(Json::as_str) == Some("locked") {
        render::line("the vault is locked: this is a copy that nothing is lent by");
    }
    Ok(Ended::Done)
}
