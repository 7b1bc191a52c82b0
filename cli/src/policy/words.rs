//! `krux policy fmt` and `krux policy schema`: the one form of texts, and their grammar for editors.

use super::read;
use crate::keep;
use crate::render;
use anyhow::{Context, Result};
use clap::Args;
use policy::FormatError;
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

/// What is formatted.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  krux policy fmt mine.yaml              writes it in its one form
  krux policy fmt --check policies/*.yaml

Comments stay. A text in which the place of one is not certain is refused with its line, and nothing is written,
neither this file nor another.

Exit codes: 0 every text is in its form now; 1 one is not (`--check`), or is no policy; 2 a file cannot be read or
written.")]
pub(crate) struct Format {
    /// Texts of policy.
    #[arg(required = true)]
    files: Vec<String>,
    /// Writes nothing; exit code 1 if a text would change.
    #[arg(long)]
    check: bool,
}

/// A text as it is and as it will be.
struct Text<'a> {
    file: &'a str,
    place: PathBuf,
    formatted: String,
    changes: bool,
}

/// True if every text is in its form in the end.
pub(crate) fn format(words: &Format, as_json: bool) -> Result<bool> {
    let (mut texts, mut wrong) = (Vec::new(), Vec::new());
    for file in &words.files {
        let text = read(file)?;
        match policy::format(&text) {
            Ok(formatted) => {
                // through a link to what it names: the link stays
                let place =
                    std::fs::canonicalize(file).with_context(|| format!("cannot find `{file}`"))?;
                texts.push(Text { file, place, changes: formatted != text, formatted });
            }
            Err(error) => {
                if !as_json {
                    render::complain(&mistake(file, &text, &error));
                }
                wrong.push(mistake_json(file, &error));
            }
        }
    }
    let changed: Vec<&Text<'_>> = texts.iter().filter(|text| text.changes).collect();
    let writes = !words.check && wrong.is_empty();
    if writes {
        for Text { file, place, formatted, .. } in &changed {
            write(place, formatted).with_context(|| format!("cannot write `{file}`"))?;
        }
    }
    if as_json {
        let changed: Vec<&str> = changed.iter().map(|text| text.file).collect();
        render::object(&json!({
            "files": words.files.len(), "changed": changed, "written": writes, "mistakes": wrong,
        }));
    } else {
        for Text { file, .. } in &changed {
            let would = if writes { "formatted" } else { "would change" };
            render::line(&format!("{file}: {would}"));
        }
    }
    Ok(wrong.is_empty() && (writes || changed.is_empty()))
}

/// Writes a file whole, or leaves it as it was.
fn write(place: &Path, text: &str) -> Result<()> {
    let name = place.file_name().context("it has no name")?.to_string_lossy();
    let new = place.with_file_name(format!(".{name}.{}", std::process::id()));
    let permissions = std::fs::metadata(place)?.permissions();
    keep::replace_by(place, &new, text.as_bytes(), permissions)
}

fn mistake(file: &str, text: &str, error: &FormatError) -> String {
    match error {
        FormatError::Mistake(error) => render::mistake(file, text, error),
        FormatError::Refused { line, message } => format!("{file}:{line}: {message}"),
        FormatError::Defect(_) => format!("{file}: {error}"),
    }
}

fn mistake_json(file: &str, error: &FormatError) -> Json {
    match error {
        FormatError::Mistake(error) => render::mistake_json(file, error),
        FormatError::Refused { line, message } => {
            json!({ "file": file, "line": line, "message": message })
        }
        FormatError::Defect(_) => json!({ "file": file, "message": error.to_string() }),
    }
}

/// Prints the schema.
pub(crate) fn schema(as_json: bool) -> Result<bool> {
    let schema = policy::schema();
    if as_json {
        render::object(&schema);
    } else {
        render::line(&serde_json::to_string_pretty(&schema)?);
    }
    Ok(true)
}
