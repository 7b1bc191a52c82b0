//! `krux dev`: the services of a box on this host, built from a checkout, in namespaces of their own.

use crate::ended::{Ended, failed};
use crate::keep::{Keep, random};
use crate::{pair, render};
use anyhow::{Context, Result, bail};
use clap::Args;
use contract::digits::hex;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Packages of the services, and what marks them as no box's.
const PACKAGES: [&str; 9] =
    ["audit", "console", "egress", "gateway", "init", "net", "pdp", "sandbox", "vault"];
const FEATURES: &str = "audit/development,init/development,sandbox/development";
/// The box's name here.
const NAME: &str = "dev";

/// `krux dev`.
#[derive(Debug, Args)]
pub(crate) struct Words {
    /// The checkout.
    #[arg(long, default_value = ".", value_name = "DIR")]
    tree: PathBuf,
    /// Where ledger, state and agents' files are kept; of an earlier run they are used again.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The operators' port on this host's loopback.
    #[arg(long, default_value_t = 7800)]
    operators: u16,
    /// The agents' port on this host's loopback.
    #[arg(long, default_value_t = 7700)]
    agents: u16,
    /// The toolbox, as `image/toolbox` prints it; without one `process.run` finds no program.
    #[arg(long, value_name = "DIR")]
    toolbox: Option<PathBuf>,
    /// Programs that are built already, instead of building them.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// Builds, starts, pairs, and stays until it is interrupted.
pub(crate) fn run(words: &Words, keep: &Keep) -> Result<Ended> {
    if !rustix::process::geteuid().is_root() {
        return Err(failed(Ended::Usage, "namespaces and users need root: sudo -E krux dev …"));
    }
    let tree = words.tree.canonicalize().context("--tree")?;
    std::fs::create_dir_all(&words.data).context("--data")?;
    let data = words.data.canonicalize().context("--data")?;
    let programs = match &words.programs {
        Some(programs) => programs.canonicalize().context("--programs")?,
        None => build(&tree)?,
    };
    let toolbox = match &words.toolbox {
        Some(toolbox) => toolbox.canonicalize().context("--toolbox")?,
        None => PathBuf::new(),
    };
    let secret = hex(&random::<32>()?);
    let key = hex(keep.signing_key()?.verifying_key().as_bytes());
    let first = !data.join("ledger/records").exists();
    let mut child = Command::new(programs.join("init-dev"))
        .args([&programs, &tree, &data, &toolbox])
        .args([&key, &secret, &words.operators.to_string(), &words.agents.to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .context("init-dev")?;
    let outcome = wait_ready(&mut child).and_then(|()| {
        if first {
            pair_with(words, keep, &data, &secret)?;
        }
        render::line(&format!("ready; `krux --box {NAME} …` is its operator; Ctrl-C ends it"));
        let status = child.wait()?;
        if status.success() { Ok(Ended::Done) } else { bail!("the services ended: {status}") }
    });
    if outcome.is_err() {
        child.kill().ok();
        child.wait().ok();
    }
    outcome
}

fn build(tree: &Path) -> Result<PathBuf> {
    render::complain("building the services (minutes at first, then seconds)");
    let mut cargo = Command::new("cargo");
    // static, as on a box: their root holds no library. The C of ring is compiled by this host's gcc.
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    cargo.env(format!("CC_{}", target.replace('-', "_")), "gcc");
    cargo.args(["build", "--release", "--locked", "--target", &target, "--features", FEATURES]);
    cargo.current_dir(tree);
    for package in PACKAGES {
        cargo.args(["--package", package]);
    }
    cargo.args(["--message-format", "json"]);
    let output = cargo.stderr(Stdio::inherit()).output().context("cargo")?;
    if !output.status.success() {
        bail!("the services do not build");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let made = text.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(line.get("executable")?.as_str()?))
    });
    let made = made.into_iter().find(|path| path.ends_with("init-dev")).context("init-dev")?;
    Ok(made.parent().context("target folder")?.to_path_buf())
}

/// Repeats what the services say; returns once they are ready and goes on repeating.
fn wait_ready(child: &mut Child) -> Result<()> {
    let mut lines = BufReader::new(child.stderr.take().context("no pipe")?).lines();
    let mut ready = false;
    for line in lines.by_ref().map_while(Result::ok) {
        render::complain(&line);
        if line == "dev: ready" {
            ready = true;
            break;
        }
    }
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            render::complain(&line);
        }
    });
    if ready { Ok(()) } else { bail!("the services did not come up") }
}

fn pair_with(words: &Words, keep: &Keep, data: &Path, secret: &str) -> Result<()> {
    let secret_file = data.join("secret");
    std::fs::write(&secret_file, secret)?;
    let pairing = pair::Words {
        address: format!("127.0.0.1:{}", words.operators),
        code: None,
        secret_file: Some(secret_file.clone()),
        name: "dev".to_owned(),
        as_box: NAME.to_owned(),
        agents: Some(format!("127.0.0.1:{}", words.agents)),
    };
    pair::run(&pairing, keep, false)?;
    Ok(std::fs::remove_file(secret_file)?)
}
