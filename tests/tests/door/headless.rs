//! A box without a console: flashed with its first operator's key, it proves its authority to that
//! operator under the secret that was written beside the key, and takes nobody else first.

use anyhow::{Context, Result, ensure};
use serde_json::Value as Json;
use std::process::Command;
use tests::{Disk, Image, Operated, Options, root};

#[test]
fn a_flashed_box_pairs_with_the_operator_whose_key_it_holds() -> Result<()> {
    let folder = root().join("build/tests/headless");
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder)?;
    let keys = folder.join("keys");
    let whoami = tests::krux(&keys, &["whoami"])?.1;
    let key = whoami.first().and_then(|line| line.get("key")).and_then(Json::as_str);
    let (public, target) = (folder.join("operator.pub"), folder.join("box.raw"));
    std::fs::write(&public, key.context("key")?)?;
    std::fs::write(&target, "")?;
    let image = Image::release("x86_64")?.disk;
    let flash = Command::new(root().join("image/flash"))
        .args([&image, &target])
        .args(["--yes", "--operator"])
        .arg(&public)
        .output()?;
    ensure!(flash.status.success(), "{}", String::from_utf8_lossy(&flash.stderr));
    std::fs::File::options().write(true).open(&target)?.set_len(8 << 30)?;
    let secret = folder.join("operator.pub.first-pairing").display().to_string();
    let operated = Operated::boot(Some(Disk { path: target }), "headless", Options::new())?;
    let [operators, agents] = operated.addresses();
    // another secret, and another operator's key under the right one, are refused
    let wrong = folder.join("wrong");
    std::fs::write(&wrong, "00".repeat(32))?;
    let wrong = wrong.display().to_string();
    let pair = |secret: &str| {
        let words =
            ["pair", &operators, "--secret-file", secret, "--name", "ann", "--agents", &agents];
        operated.try_krux(&words)
    };
    ensure!(pair(&wrong)?.0 == 9, "a box that does not know the secret was taken");
    ensure!(pair(&secret)?.0 == 4, "another operator's key was taken");
    std::fs::remove_dir_all(&operated.config)?;
    tests::run(Command::new("cp").arg("-r").arg(&keys).arg(&operated.config))?;
    let (code, _, errors) = pair(&secret)?;
    ensure!(code == 0, "exit code {code}: {errors}");
    operated.krux(&["status"])?;
    ensure!(pair(&secret)?.0 != 0, "a second first operator was taken");
    Ok(())
}
