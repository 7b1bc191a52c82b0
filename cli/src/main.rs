//! The operator's hand. Today it holds the commands that need no box: policies are checked, tested and
//! explained, capabilities listed and shown, from files on the operator's machine.
//!
//! Exit codes: 0 done, 1 the answer is no (a policy is wrong, a case fails, a call is blocked), 2 wrong
//! words or a file that cannot be read.
#![forbid(unsafe_code)]

mod capability;
mod policy;
mod render;

use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "krux", version, about = "The operator's hand of KruxOS")]
#[command(after_help = "Examples:
  krux policy check policies/*.yaml
  krux policy test policies/team.yaml --limits policies/system.yaml --cases policies/team.cases.yaml
  krux policy explain policies/team.yaml --agent build-1 --capability filesystem.read --input '{\"path\":\"a.key\"}'
  krux capability show filesystem.move
  krux completions bash > ~/.local/share/bash-completion/completions/krux")]
struct Words {
    /// One JSON object on standard output, for programs.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Texts of policy: are they right, and what do they answer?
    #[command(subcommand)]
    Policy(policy::Command),
    /// The catalogue: what an agent can call.
    #[command(subcommand)]
    Capability(capability::Command),
    /// A shell's completions, on standard output.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let words = Words::parse();
    let outcome = match &words.command {
        Command::Policy(command) => policy::run(command, words.json),
        Command::Capability(command) => capability::run(command, words.json),
        Command::Completions { shell } => {
            let mut command = Words::command();
            clap_complete::generate(*shell, &mut command, "krux", &mut std::io::stdout());
            Ok(true)
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            render::complain(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}
