//! The vault: made, unlocked, locked, given other keys. What opens it goes under the key of one attempt.

use crate::ended::{Ended, failed};
use crate::keep::random;
use crate::remote::Desk;
use crate::render;
use crate::sealing::{self, For};
use age::x25519::Identity;
use anyhow::{Context, Result};
use clap::Subcommand;
use contract::digits::{hex, unhex};
use contract::secret::Opening;
use serde_json::{Value as Json, json};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Groups of a recovery code that are asked for.
const ASKED: usize = 3;

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  krux vault unlock                      the passphrase from standard input; the first one makes the vault
  krux vault unlock --recovery-file code.txt < passphrase.txt
  krux vault passphrase                  the one in force, then the new one, a line each
  krux vault recover                     the recovery code, then a new passphrase, a line each
  krux vault rekey; krux vault lock; krux vault status

Whoever has the recovery code and the box's disk has every secret: keep it on paper, elsewhere.")]
pub(crate) enum Command {
    /// Whether it is empty, locked or unlocked, and its recipient.
    Status,
    /// Unlocks it with the passphrase, a line of standard input. The first one makes it: then its recovery code is
    /// shown, once, and three groups of it are asked for.
    Unlock {
        /// Write the recovery code of a new vault to this new file, and ask for nothing.
        #[arg(long, value_name = "FILE")]
        recovery_file: Option<PathBuf>,
    },
    /// Forgets what opens it, until somebody unlocks it again.
    Lock,
    /// Seals every secret for other keys; the passphrase, a line of standard input, and the recovery code stay.
    Rekey,
    /// Another passphrase: the one in force, then the new one, a line each.
    Passphrase,
    /// A new passphrase by the recovery code: the code, then the passphrase, a line each.
    Recover,
}

pub(crate) fn run(desk: &Desk, command: &Command, as_json: bool) -> Result<Ended> {
    let answer = match command {
        Command::Status => desk.perform("vault.status", "{}")?,
        Command::Lock => desk.perform("vault.lock", "{}")?,
        Command::Unlock { recovery_file } => {
            return unlock(desk, recovery_file.as_deref(), as_json);
        }
        Command::Rekey => {
            let (passphrase, key) = (Some(sealing::line()?), Attempt::begin(desk)?);
            key.open(desk, "vault.rekey", &Opening { passphrase, ..Opening::default() })?
        }
        Command::Passphrase => {
            let passphrase = Some(sealing::line()?);
            let new_passphrase = Some(sealing::line()?);
            let opening = Opening { passphrase, new_passphrase, ..Opening::default() };
            Attempt::begin(desk)?.open(desk, "vault.passphrase", &opening)?
        }
        Command::Recover => {
            let recovery = Some(sealing::line()?);
            let new_passphrase = Some(sealing::line()?);
            let opening = Opening { recovery, new_passphrase, ..Opening::default() };
            Attempt::begin(desk)?.open(desk, "vault.recover", &opening)?
        }
    };
    show(&answer, as_json);
    Ok(Ended::Done)
}

fn show(answer: &Json, as_json: bool) {
    if as_json {
        return render::object(answer);
    }
    let text = |name: &str| answer.get(name).map(render::text).unwrap_or_default();
    render::line(&format!("{} {}", text("state"), text("recipient")));
    for name in answer.get("unreadable").and_then(Json::as_array).into_iter().flatten() {
        render::complain(&format!(
            "{}: its file cannot be read; revoke and add it",
            render::text(name)
        ));
    }
}

/// One attempt to open the vault.
struct Attempt {
    recipient: String,
    is_first: bool,
}

impl Attempt {
    fn begin(desk: &Desk) -> Result<Self> {
        let answer = desk.perform("vault.attempt", "{}")?;
        let is_first = answer.get("first").and_then(Json::as_bool).unwrap_or(false);
        Ok(Self { recipient: sealing::recipient(desk, For::Attempt, &answer)?, is_first })
    }

    fn open(&self, desk: &Desk, act: &str, opening: &Opening) -> Result<Json> {
        let sealed = sealing::seal(&self.recipient, &serde_json::to_vec(opening)?)?;
        desk.perform_with(act, &json!({ "ciphertext": hex(&sealed) }).to_string())
    }
}

fn unlock(desk: &Desk, file: Option<&Path>, as_json: bool) -> Result<Ended> {
    let passphrase = Some(sealing::line()?);
    let attempt = Attempt::begin(desk)?;
    if !attempt.is_first {
        let opening = Opening { passphrase, ..Opening::default() };
        show(&attempt.open(desk, "vault.unlock", &opening)?, as_json);
        return Ok(Ended::Done);
    }
    // a file that cannot be made is noticed while there is no vault whose code would be lost
    let mut file = file.map(create).transpose()?;
    let identity = Identity::generate();
    let recipient = Some(identity.to_public().to_string());
    let opening = Opening { passphrase, recipient, ..Opening::default() };
    let mut answer = attempt.open(desk, "vault.unlock", &opening)?;
    let sealed = answer.as_object_mut().and_then(|answer| answer.remove("recovery"));
    let sealed = sealed.as_ref().and_then(Json::as_str).and_then(unhex);
    let code = sealed.and_then(|sealed| age::decrypt(&identity, &sealed).ok());
    let code = code.and_then(|code| String::from_utf8(code).ok());
    let code = code.context("the vault is made and unlocked, and its recovery code did not arrive: nothing but the passphrase opens it")?;
    match &mut file {
        Some(file) => {
            writeln!(file, "{code}")?;
            file.sync_all()?;
            show(&answer, as_json);
            Ok(Ended::Done)
        }
        None => confirm(&answer, &code, as_json),
    }
}

fn create(path: &Path) -> Result<File> {
    let made = File::options().write(true).create_new(true).mode(0o600).open(path);
    made.with_context(|| format!("cannot make {}", path.display()))
}

/// Shows the code, and asks for some of it back.
fn confirm(answer: &Json, code: &str, as_json: bool) -> Result<Ended> {
    render::complain(
        "The vault is made. Its recovery code opens it without the passphrase. Write it on paper now;",
    );
    render::complain(&format!("it is not shown again:\n\n    {code}\n"));
    for place in places(code)? {
        render::complain(&format!("Type group {}:", place + 1));
        if !is_group(code, place, &sealing::line().unwrap_or_default()) {
            show(answer, as_json);
            let message = "that is not the group. The vault is made and unlocked, and nobody has shown to have its code";
            return Err(failed(Ended::No, message));
        }
    }
    show(answer, as_json);
    Ok(Ended::Done)
}

/// Which groups are asked for: three different ones, in order.
fn places(code: &str) -> Result<Vec<usize>> {
    let mut places: Vec<usize> = (0..code.split('-').count()).collect();
    while places.len() > ASKED {
        let [byte] = random::<1>()?;
        let at = usize::from(byte) % places.len();
        places.remove(at);
    }
    Ok(places)
}

fn is_group(code: &str, place: usize, typed: &str) -> bool {
    let typed = typed.trim().to_ascii_uppercase();
    code.split('-').nth(place).is_some_and(|group| group == typed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_groups_of_a_code_are_asked_for() {
        let code = "AAAA-BBBB-CCCC-DDDD-EEEE-FFFF-GGGG-HHHH";
        let places = places(code).unwrap();
        assert!(places.len() == 3 && places.is_sorted() && places.iter().all(|place| *place < 8));
        assert!(is_group(code, 1, "bbbb\n") && !is_group(code, 1, "CCCC"));
        assert!(!is_group(code, 8, "") && !is_group(code, 0, ""));
    }
}
