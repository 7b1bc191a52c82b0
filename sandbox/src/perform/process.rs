//! Runs a program of the toolbox. Its folder is mounted at `/usr`, Landlock lets nothing else be
//! executed, and everything that it starts ends with the cage.

use super::Performed;
use capabilities::program::Command as Decided;
use capabilities::{Accepted, Argument};
use contract::base64;
use contract::path::WORKSPACE;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

/// What is kept of what a program writes; the rest is counted.
const STDOUT_BYTES_MAX: usize = 4 << 20;
const STDERR_BYTES_MAX: usize = 64 << 10;
const CHUNK_BYTES: usize = 64 << 10;

/// Runs an open program, if the workspace is what was decided.
pub(super) fn run_code(input: &Accepted) -> Performed {
    let Some(Argument::Text(expected)) = input.get("expect") else { return Err("bad_input") };
    if super::digest::of_workspace()?.digest() != *expected {
        return Err("changed");
    }
    // without one Python asks who its user is
    perform(input, Some(("HOME", WORKSPACE)))
}

/// Runs a closed program.
pub(super) fn run(input: &Accepted) -> Performed {
    perform(input, None)
}

fn perform(input: &Accepted, home: Option<(&str, &str)>) -> Performed {
    let Some(Argument::Command(command)) = input.get("command") else { return Err("bad_input") };
    let stdin = match input.get("stdin") {
        Some(Argument::Text(text)) => Some(text.as_bytes()),
        _ => None,
    };
    let mut child = spawn(command, stdin.is_some(), home)?;
    let (stdout, stderr) =
        attend(&mut child, stdin.unwrap_or_default()).map_err(|_errno| "failed")?;
    let status = child.wait().map_err(|_error| "failed")?;
    let (text, encoded) = match std::str::from_utf8(&stdout.kept) {
        Ok(text) => (text.to_owned(), false),
        Err(_no_text) => (base64::write(&stdout.kept), true),
    };
    Ok(json!({
        "exit": status.code(),
        "signal": status.signal(),
        "stdout": text,
        "stdout_base64": encoded,
        "stdout_bytes": stdout.bytes,
        "stderr": String::from_utf8_lossy(&stderr.kept),
        "stderr_bytes": stderr.bytes,
    }))
}

fn spawn(
    command: &Decided,
    has_stdin: bool,
    home: Option<(&str, &str)>,
) -> Result<Child, &'static str> {
    let place = if rustix::fs::access(WORKSPACE, rustix::fs::Access::EXISTS).is_ok() {
        WORKSPACE
    } else {
        "/"
    };
    let spawned = Command::new(format!("/usr/bin/{}", command.program))
        .args(&command.arguments)
        .env_clear()
        .envs([("LC_ALL", "C.UTF-8"), ("PATH", "/usr/bin")])
        .envs(home)
        .current_dir(place)
        // 0 is the box's /dev/null, which has no name here
        .stdin(if has_stdin { Stdio::piped() } else { Stdio::inherit() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    spawned.map_err(|error| match error.kind() {
        ErrorKind::NotFound => "no_program",
        _ => "failed",
    })
}

/// What a program wrote, as far as it is kept.
#[derive(Default)]
struct Written {
    kept: Vec<u8>,
    bytes: usize,
}

impl Written {
    fn take(&mut self, chunk: &[u8], most: usize) {
        self.bytes = self.bytes.saturating_add(chunk.len());
        let room = most.saturating_sub(self.kept.len()).min(chunk.len());
        self.kept.extend_from_slice(chunk.get(..room).unwrap_or_default());
    }
}

/// Gives it its input and takes its output until it has closed both, waiting for whichever is ready: a
/// program that reads nothing, or writes before it reads, holds nobody up.
fn attend(child: &mut Child, mut input: &[u8]) -> Result<(Written, Written), Errno> {
    let (mut stdin, mut stdout, mut stderr) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Written::default(), Written::default());
    let mut chunk = vec![0; CHUNK_BYTES];
    stdin.as_ref().map_or(Ok(()), |pipe| do_not_wait(pipe.as_fd()))?;
    while stdout.is_some() || stderr.is_some() {
        if input.is_empty() {
            stdin = None; // the end of its input
        }
        let [writes, reads, warns] = ready(
            stdin.as_ref().map(AsFd::as_fd),
            stdout.as_ref().map(AsFd::as_fd),
            stderr.as_ref().map(AsFd::as_fd),
        )?;
        if let Some(pipe) = stdin.as_mut().filter(|_| writes) {
            match pipe.write(input) {
                Ok(count) => input = input.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_it_reads_no_more) => input = &[],
            }
        }
        if reads {
            read(&mut stdout, &mut chunk, &mut out, STDOUT_BYTES_MAX);
        }
        if warns {
            read(&mut stderr, &mut chunk, &mut err, STDERR_BYTES_MAX);
        }
    }
    Ok((out, err))
}

fn read<P: Read>(pipe: &mut Option<P>, chunk: &mut [u8], written: &mut Written, most: usize) {
    let count = pipe.as_mut().map_or(Ok(0), |pipe| pipe.read(chunk)).unwrap_or(0);
    match chunk.get(..count) {
        Some(part) if count > 0 => written.take(part, most),
        _ => *pipe = None,
    }
}

/// Which of the three can be written or read without waiting, once one can.
fn ready(
    stdin: Option<BorrowedFd<'_>>,
    stdout: Option<BorrowedFd<'_>>,
    stderr: Option<BorrowedFd<'_>>,
) -> Result<[bool; 3], Errno> {
    let pipes = [(stdin, PollFlags::OUT), (stdout, PollFlags::IN), (stderr, PollFlags::IN)];
    let open = pipes.iter().filter_map(|(pipe, events)| pipe.map(|pipe| (pipe, *events)));
    let mut watched: Vec<PollFd<'_>> =
        open.map(|(pipe, events)| PollFd::from_borrowed_fd(pipe, events)).collect();
    poll(&mut watched, None)?;
    let mut seen = watched.iter().map(|one| !one.revents().is_empty());
    Ok(pipes.map(|(pipe, _)| pipe.is_some() && seen.next().unwrap_or(false)))
}

fn do_not_wait(pipe: BorrowedFd<'_>) -> Result<(), Errno> {
    fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attended(script: &str, input: &[u8]) -> (Written, Written) {
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let seen = attend(&mut child, input).unwrap();
        child.wait().unwrap();
        seen
    }

    #[test]
    fn input_and_output_of_any_length_pass_and_the_rest_is_counted() {
        let input = vec![b'x'; 5 << 20];
        let (out, err) = attended("cat; echo done >&2", &input);
        assert_eq!((out.bytes, out.kept.len()), (5 << 20, STDOUT_BYTES_MAX));
        assert_eq!(err.kept, b"done\n");
    }

    #[test]
    fn a_program_that_reads_nothing_holds_nobody_up() {
        let (out, _) = attended("exec 0<&-; echo early", &vec![b'x'; 1 << 20]);
        assert_eq!(out.kept, b"early\n");
        let (out, _) = attended("head -c 1", &vec![b'x'; 1 << 20]);
        assert_eq!(out.kept, b"x");
    }
}
