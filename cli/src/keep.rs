//! What `krux` keeps on the operator's machine: their keys, the boxes that they are paired with, the
//! tokens of agents that they added. Files of theirs alone, replaced whole.

use crate::ended::{Ended, failed};
use anyhow::{Context, Result, bail};
use contract::digits::{hex, unhex_array};
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A box that this operator is paired with.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KnownBox {
    /// Host and the operators' port, `192.0.2.7:7800`.
    pub(crate) address: String,
    /// The same for agents.
    pub(crate) agents: String,
    /// The operator's name there.
    pub(crate) operator: String,
    /// SHA-256 of the authority's key, hexadecimal.
    pub(crate) key_digest: String,
    /// The authority's certificate, hexadecimal.
    pub(crate) authority: String,
}

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct Keep {
    folder: PathBuf,
}

impl Keep {
    pub(crate) fn open(folder: Option<&Path>) -> Result<Self> {
        let folder = match folder {
            Some(folder) => folder.to_path_buf(),
            None => std::env::home_dir()
                .context("no home directory; give --config")?
                .join(".config/krux"),
        };
        Ok(Self { folder })
    }

    /// The operator's signing key, made at first use.
    pub(crate) fn signing_key(&self) -> Result<SigningKey> {
        let path = self.folder.join("operator.key");
        if let Some(text) = read(&path)? {
            let seed = unhex_array(text.trim());
            return Ok(SigningKey::from_bytes(
                &seed.with_context(|| format!("{} is no key", path.display()))?,
            ));
        }
        let seed: [u8; 32] = random()?;
        replace(&path, hex(&seed).as_bytes())?;
        Ok(SigningKey::from_bytes(&seed))
    }

    /// The operator's age identity, to which the box encrypts what only they may read.
    pub(crate) fn recipient(&self) -> Result<String> {
        use age::secrecy::ExposeSecret;
        let path = self.folder.join("operator.age");
        let identity = match read(&path)? {
            Some(text) => text.trim().parse::<age::x25519::Identity>(),
            None => {
                let identity = age::x25519::Identity::generate();
                replace(&path, identity.to_string().expose_secret().as_bytes())?;
                Ok(identity)
            }
        };
        match identity {
            Ok(identity) => Ok(identity.to_public().to_string()),
            Err(_error) => bail!("{} is no age identity", path.display()),
        }
    }

    fn box_path(&self, name: &str) -> PathBuf {
        self.folder.join("boxes").join(format!("{name}.json"))
    }

    pub(crate) fn save_box(&self, name: &str, known: &KnownBox) -> Result<()> {
        replace(&self.box_path(name), serde_json::to_string_pretty(known)?.as_bytes())
    }

    /// The box of this name, or the only one there is.
    pub(crate) fn find_box(&self, name: Option<&str>) -> Result<(String, KnownBox)> {
        let name = match name {
            Some(name) => name.to_owned(),
            None => {
                let entries = std::fs::read_dir(self.folder.join("boxes")).into_iter().flatten();
                let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
                let names: Vec<String> = names
                    .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
                    .collect();
                match names.as_slice() {
                    [only] => only.clone(),
                    [] => {
                        let next =
                            "no box is known; pair with one: krux pair ADDRESS CODE --name YOU";
                        return Err(failed(Ended::SignIn, next));
                    }
                    many => bail!("more than one box is known ({}); give --box", many.join(", ")),
                }
            }
        };
        let text = read(&self.box_path(&name))?;
        let text =
            text.ok_or_else(|| failed(Ended::NotFound, format!("no box `{name}` is known")))?;
        let known = serde_json::from_str(&text);
        let known =
            known.with_context(|| format!("{} is damaged", self.box_path(&name).display()))?;
        Ok((name, known))
    }

    fn token_path(&self, of_box: &str, agent: &str) -> PathBuf {
        self.folder.join("tokens").join(of_box).join(agent)
    }

    pub(crate) fn save_token(&self, of_box: &str, agent: &str, token: &str) -> Result<()> {
        replace(&self.token_path(of_box, agent), token.as_bytes())
    }

    pub(crate) fn token(&self, of_box: &str, agent: &str) -> Result<String> {
        let token = read(&self.token_path(of_box, agent))?;
        let missing = format!("no token of agent `{agent}` is kept here; give --token-file");
        Ok(token.ok_or_else(|| failed(Ended::SignIn, missing))?.trim().to_owned())
    }
}

fn read(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().context("no folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    replace_by(path, &path.with_extension("new"), content, Permissions::from_mode(0o600))
}

/// Replaces a file whole by way of another one beside it, which is gone in the end.
pub(crate) fn replace_by(
    path: &Path,
    new: &Path,
    content: &[u8],
    permissions: Permissions,
) -> Result<()> {
    std::fs::remove_file(new).ok();
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(new)?;
    let written = file
        .write_all(content)
        .and_then(|()| file.set_permissions(permissions))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(new, path));
    if written.is_err() {
        std::fs::remove_file(new).ok();
    }
    Ok(written?)
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes)
}
