//! The operator's hand: pairs with a box, supervises its agents, answers what waits for a person, reads
//! and verifies the ledger; and, without a box, checks policies and shows the catalogue.
#![forbid(unsafe_code)]

mod agents;
mod approve;
mod audit;
mod cage;
mod capability;
mod dev;
mod ended;
mod keep;
mod machine;
mod network;
mod operators;
mod pair;
mod policy;
mod remote;
mod render;
mod sealing;
mod secret;
mod vault;
mod webhook;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use contract::statement::Act;
use ended::{Ended, Failed};
use keep::Keep;
use remote::Desk;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "krux", version, about = "The operator's hand of KruxOS")]
#[command(after_help = concat!("Examples:
  krux pair 192.0.2.7 CODE --name ann          pair with the box whose console shows CODE
  krux agent add build-1                       a new agent, its token shown once
  krux call filesystem.list '{\"path\":\".\"}' --agent build-1
  krux approve list; krux approve accept CALL
  krux operator group add release-managers ann
  krux vault unlock; krux secret add ci --host api.example.com --path '/v1/**' --agent build-1 < token.txt
  krux network trust corp --host git.corp.example < authority.pem
  krux audit export ledger.bin; krux audit verify ledger.bin
  krux policy explain policies/team.yaml --agent build-1 --capability filesystem.read --input '{\"path\":\"a.key\"}'
  krux policy shadow start mine.yaml; krux policy shadow show
  krux completions bash > ~/.local/share/bash-completion/completions/krux

Exit codes: 0 done; 1 the answer is no, or it failed; 2 wrong words or an unreadable file; 3 nothing of
this name; 4 no key or token that the box takes; 5 denied by policy; 6 waits for a person; 8 decided
already or changed meanwhile; 9 the ledger does not verify; 10 the box does not answer"))]
struct Words {
    /// One JSON object a line on standard output, for programs.
    #[arg(long, global = true)]
    json: bool,
    /// Which box, where more than one is known.
    #[arg(long = "box", global = true, value_name = "NAME")]
    of_box: Option<String>,
    /// Where keys, boxes and tokens are kept, instead of ~/.config/krux.
    #[arg(long, global = true, value_name = "DIR")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// First contact with a box.
    Pair(pair::Words),
    /// How the box is.
    Status,
    /// How long each stage of its boot took.
    Boot,
    /// Agents: who may call.
    #[command(subcommand)]
    Agent(agents::Command),
    /// Refuses every agent's calls, at once, until `krux start`.
    Stop,
    /// Ends a stop.
    Start,
    /// A call, made by hand as an agent.
    Call(agents::Call),
    /// A bridge for MCP clients that speak over standard input and output.
    Mcp {
        /// As this agent.
        #[arg(long)]
        agent: String,
        /// The token, when it is not kept here.
        #[arg(long)]
        token_file: Option<PathBuf>,
    },
    /// Files of an agent's workspace.
    #[command(subcommand)]
    File(agents::Files),
    /// What waits for a person.
    #[command(subcommand)]
    Approve(approve::Command),
    /// What happened that a person is to know.
    Notices {
        /// It is known now: the call's number.
        #[arg(long, value_name = "CALL")]
        acknowledge: Option<String>,
    },
    /// The ledger: read, exported, verified.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Policies: checked, tested, explained here; applied to a box.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Secrets: sealed here, kept by the vault, listed without a value.
    #[command(subcommand)]
    Secret(secret::Command),
    /// The vault: made, unlocked, locked, given other keys.
    #[command(subcommand)]
    Vault(vault::Command),
    /// The network for calls: name servers, private authorities.
    #[command(subcommand)]
    Network(network::Command),
    /// Webhooks: services that the box tells what happens, signed.
    #[command(subcommand)]
    Webhook(webhook::Command),
    /// Cages: whether they hold.
    #[command(subcommand)]
    Cage(cage::Cages),
    /// Services of the box.
    #[command(subcommand)]
    Service(machine::Services),
    /// The box's own log.
    Logs,
    /// Powers the box off.
    Shutdown,
    /// Restarts the box.
    Reboot,
    /// Operators: who supervises the box, and in which groups.
    #[command(subcommand)]
    Operator(operators::Command),
    /// This operator's public keys.
    Whoami,
    /// The same services on this Linux host, at native speed, for writing capabilities and policies.
    Dev(dev::Words),
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
    match run(&words) {
        Ok(ended) => ended.into(),
        Err(error) => {
            if words.json {
                render::object(&serde_json::json!({ "error": format!("{error:#}") }));
            }
            render::complain(&format!("error: {error:#}"));
            error.downcast_ref::<Failed>().map_or(Ended::Usage, |failed| failed.ended).into()
        }
    }
}

fn yes(answer: bool) -> Ended {
    if answer { Ended::Done } else { Ended::No }
}

/// Commands that need no box, then those that do.
fn run(words: &Words) -> Result<Ended> {
    let json = words.json;
    let keep = || Keep::open(words.config.as_deref());
    match &words.command {
        Command::Policy(command) if command.is_local() => policy::run(command, json).map(yes),
        Command::Capability(command) => capability::run(command, json).map(yes),
        Command::Completions { shell } => {
            let mut command = Words::command();
            clap_complete::generate(*shell, &mut command, "krux", &mut std::io::stdout());
            Ok(Ended::Done)
        }
        Command::Pair(words) => pair::run(words, &keep()?, json),
        Command::Dev(words) => dev::run(words, &keep()?),
        Command::Whoami => {
            let keep = keep()?;
            let key = contract::digits::hex(keep.signing_key()?.verifying_key().as_bytes());
            let recipient = keep.recipient()?;
            if json {
                render::object(&serde_json::json!({ "key": key, "recipient": recipient }));
            } else {
                render::line(&format!("key       {key}\nrecipient {recipient}"));
            }
            Ok(Ended::Done)
        }
        Command::Audit(audit::Command::Verify { file, authority }) => {
            let known = keep()?.find_box(words.of_box.as_deref()).ok();
            audit::verify(file, authority.as_deref(), known.as_ref().map(|(_, known)| known), json)
        }
        command => at_desk(&Desk::open(keep()?, words.of_box.as_deref())?, command, json),
    }
}

fn at_desk(desk: &Desk, command: &Command, json: bool) -> Result<Ended> {
    match command {
        Command::Status => machine::status(desk, json),
        Command::Boot => machine::boot(desk, json),
        Command::Agent(command) => agents::run(desk, command, json),
        Command::Stop => plain(desk, Act::Stop, "every agent is stopped", json),
        Command::Start => plain(desk, Act::Start, "agents may call again", json),
        Command::Call(call) => agents::call(desk, call, json),
        Command::Mcp { agent, token_file } => agents::bridge(desk, agent, token_file.as_deref()),
        Command::File(command) => agents::files(desk, command, json),
        Command::Approve(command) => approve::run(desk, command, json),
        Command::Notices { acknowledge } => approve::notices(desk, acknowledge.as_deref(), json),
        Command::Audit(command) => audit::run(desk, command, json),
        Command::Policy(command) => policy::at_desk(desk, command, json),
        Command::Secret(command) => secret::run(desk, command, json),
        Command::Vault(command) => vault::run(desk, command, json),
        Command::Webhook(command) => webhook::run(desk, command, json),
        Command::Network(command) => network::run(desk, command, json),
        Command::Cage(command) => cage::run(desk, command, json),
        Command::Service(command) => machine::services(desk, command, json),
        Command::Logs => machine::logs(desk, json),
        Command::Shutdown => machine::end(desk, "box.shutdown", json),
        Command::Reboot => machine::end(desk, "box.reboot", json),
        Command::Operator(command) => operators::run(desk, command, json),
        Command::Pair(_)
        | Command::Dev(_)
        | Command::Whoami
        | Command::Capability(_)
        | Command::Completions { .. } => Ok(Ended::Usage),
    }
}

fn plain(desk: &Desk, act: Act, said: &str, json: bool) -> Result<Ended> {
    let answer = desk.act(act)?;
    if json {
        render::object(&answer);
    } else {
        render::line(said);
    }
    Ok(Ended::Done)
}
