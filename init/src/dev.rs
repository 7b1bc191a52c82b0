//! The second program of init: the same services with the same table of edges, on a Linux host, in a
//! mount and a network namespace of their own. For writing capabilities and policies, and for
//! measuring at native speed. It is in no image; what the host cannot enforce it names.
//!
//!     init-dev PROGRAMS TREE DATA OPERATOR_KEY SECRET OPERATORS_PORT AGENTS_PORT
#![forbid(unsafe_code)]

#[expect(dead_code, reason = "the words of PID 1's last moments are its own")]
mod console;
mod dev_relay;
mod dev_root;
mod error;
#[expect(dead_code, reason = "no power is cut here, and no button is looked for")]
mod power;
mod service;
#[expect(dead_code, reason = "the boot's stages are PID 1's")]
mod timeline;
#[expect(dead_code, reason = "a host keeps its own watchdog")]
mod watchdog;

use contract::digits::unhex_array;
use contract::meta::FirstOperator;
use error::{BootError, While};
use service::Supervisor;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use watchdog::Watchdog;

/// What it is started with.
pub(crate) struct Words {
    pub(crate) programs: PathBuf,
    pub(crate) tree: PathBuf,
    pub(crate) data: PathBuf,
    /// Empty without one.
    pub(crate) toolbox: PathBuf,
    operator: FirstOperator,
    ports: [u16; 2],
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = read(&arguments).and_then(|words| run(&words));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// A line for whoever started this.
fn say(line: &str) {
    // in one piece: the process that repeats the services' lines writes there too
    std::io::stderr().write_all(format!("dev: {line}\n").as_bytes()).ok();
}

fn read(arguments: &[String]) -> Result<Words, BootError> {
    let wrong = |cause: &str| BootError::new("read", "the arguments", cause);
    let [programs, tree, data, toolbox, key, secret, operators, agents] = arguments else {
        return Err(wrong("this program is started by `krux dev`"));
    };
    let port = |text: &String| text.parse().map_err(|_error| wrong("a port is a number"));
    let digits = || wrong("a key has 64 hexadecimal digits");
    let operator = FirstOperator {
        key: unhex_array(key).ok_or_else(digits)?,
        secret: unhex_array(secret).ok_or_else(digits)?,
    };
    let ports = [port(operators)?, port(agents)?];
    let [programs, tree, data, toolbox] = [programs, tree, data, toolbox].map(PathBuf::from);
    Ok(Words { programs, tree, data, toolbox, operator, ports })
}

fn run(words: &Words) -> Result<(), BootError> {
    if std::process::id() == 1 {
        return Err(BootError::new("start", "init-dev", "it never is PID 1"));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(BootError::new("start", "init-dev", "namespaces and users need root"));
    }
    // krux started this; without it the services end in order
    let signal = Some(rustix::process::Signal::TERM);
    rustix::process::set_parent_process_death_signal(signal).during("prctl", "PR_SET_PDEATHSIG")?;
    let doors = dev_relay::listen(words.ports)?;
    let missing = dev_root::enter(words)?;
    for ring in &missing {
        say(&format!("this host does not enforce: {ring}"));
    }
    dev_relay::start(doors)?;
    dev_root::start_log()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .during("prctl", "PR_SET_CHILD_SUBREAPER")?;
    let plan = service::load()?;
    let watchdog = Watchdog(None);
    let mut supervisor = Supervisor::start(plan, watchdog, Some(words.operator.clone()))?;
    supervisor.prove()?;
    say("ready");
    supervisor.run()?;
    say("stopping");
    supervisor.stop_all()
}

/// Where the private root's own files lie, beside its data.
pub(crate) fn root_of(data: &Path) -> PathBuf {
    data.join("root")
}
