//! Runs a program of the toolbox. Its folder is mounted at `/usr`, Landlock lets nothing else be
//! executed, and everything that it starts ends with the cage.

use super::Performed;
use super::pieces::Pieces;
use capabilities::program::Command as Decided;
use capabilities::{Accepted, Argument};
use contract::base64;
use contract::path::WORKSPACE;
use contract::piece::Output;
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
pub(super) fn run_code(input: &Accepted, pieces: Pieces<'_>) -> Performed {
    let Some(Argument::Text(expected)) = input.get("expect") else { return Err("bad_input") };
    if super::digest::of_workspace()?.digest() != *expected {
        return Err("changed");
    }
    // without one Python asks who its user is
    perform(input, Some(("HOME", WORKSPACE)), pieces)
}

/// Runs a closed program.
pub(super) fn run(input: &Accepted, pieces: Pieces<'_>) -> Performed {
    perform(input, None, pieces)
}

fn perform(input: &Accepted, home: Option<(&str, &str)>, pieces: Pieces<'_>) -> Performed {
    let Some(Argument::Command(command)) = input.get("command") else { return Err("bad_input") };
    let stdin = match input.get("stdin") {
        Some(Argument::Text(text)) => Some(text.as_bytes()),
        _ => None,
    };
    let mut child = spawn(command, stdin.is_some(), home)?;
    let (stdout, stderr) = attend(&mut child, stdin.unwrap_or_default(), pieces)?;
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
    /// Takes a chunk; what of it is kept.
    fn take<'a>(&mut self, chunk: &'a [u8], most: usize) -> &'a [u8] {
        self.bytes = self.bytes.saturating_add(chunk.len());
        let room = most.saturating_sub(self.kept.len()).min(chunk.len());
        let kept = chunk.get(..room).unwrap_or_default();
        self.kept.extend_from_slice(kept);
        kept
    }
}

/// Gives it its input and takes its output until it has closed both, waiting for whichever is ready: a
/// program that reads nothing, or writes before it reads, holds nobody up. Once the reader of its pieces
/// is gone nothing is waited for any more, and the end of the call ends the program.
fn attend(
    child: &mut Child,
    mut input: &[u8],
    mut pieces: Pieces<'_>,
) -> Result<(Written, Written), &'static str> {
    let (mut stdin, mut stdout, mut stderr) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Written::default(), Written::default());
    let mut chunk = vec![0; CHUNK_BYTES];
    let failed = |_errno| "failed";
    stdin.as_ref().map_or(Ok(()), |pipe| do_not_wait(pipe.as_fd())).map_err(failed)?;
    while stdout.is_some() || stderr.is_some() {
        if input.is_empty() {
            stdin = None; // the end of its input
        }
        let files = (stdin.as_ref(), stdout.as_ref(), stderr.as_ref());
        let [writes, reads, warns, unread] = ready([
            (files.0.map(AsFd::as_fd), PollFlags::OUT),
            (files.1.map(AsFd::as_fd), PollFlags::IN),
            (files.2.map(AsFd::as_fd), PollFlags::IN),
            (pieces.reader(), PollFlags::empty()),
        ])
        .map_err(failed)?;
        if unread {
            return Err("unread");
        }
        if let Some(pipe) = stdin.as_mut().filter(|_| writes) {
            match pipe.write(input) {
                Ok(count) => input = input.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_it_reads_no_more) => input = &[],
            }
        }
        if reads {
            let part = read(&mut stdout, &mut chunk);
            pieces.give(Output::Stdout, out.take(part, STDOUT_BYTES_MAX))?;
        }
        if warns {
            let part = read(&mut stderr, &mut chunk);
            pieces.give(Output::Stderr, err.take(part, STDERR_BYTES_MAX))?;
        }
    }
    Ok((out, err))
}

/// What it wrote next; nothing at its end, after which there is no pipe.
fn read<'a, P: Read>(pipe: &mut Option<P>, chunk: &'a mut [u8]) -> &'a [u8] {
    let count = pipe.as_mut().map_or(Ok(0), |pipe| pipe.read(chunk)).unwrap_or(0);
    if count == 0 {
        *pipe = None;
    }
    chunk.get(..count).unwrap_or_default()
}

/// Which of these has what is waited for, or an error, once one has.
fn ready(files: [(Option<BorrowedFd<'_>>, PollFlags); 4]) -> Result<[bool; 4], Errno> {
    let open = files.iter().filter_map(|(file, events)| file.map(|file| (file, *events)));
    let mut watched: Vec<PollFd<'_>> =
        open.map(|(file, events)| PollFd::from_borrowed_fd(file, events)).collect();
    poll(&mut watched, None)?;
    let mut seen = watched.iter().map(|one| !one.revents().is_empty());
    Ok(files.map(|(file, _)| file.is_some() && seen.next().unwrap_or(false)))
}

fn do_not_wait(pipe: BorrowedFd<'_>) -> Result<(), Errno> {
    fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::Duration;

    type Attended = Result<(Written, Written), &'static str>;

    /// Runs a script; pieces of what it writes go into `pipe`.
    fn attended(script: &str, input: &[u8], pipe: Option<&File>) -> Attended {
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let null = File::open("/dev/null").unwrap();
        let pieces = Pieces::new(pipe.unwrap_or(&null), pipe.is_some());
        let seen = attend(&mut child, input, pieces);
        if seen.is_err() {
            child.kill().unwrap(); // what the end of the cage does
        }
        child.wait().unwrap();
        seen
    }

    fn pipe() -> (File, File) {
        let flags = rustix::pipe::PipeFlags::CLOEXEC; // a program that holds its own reader has one
        let (read, write) = rustix::pipe::pipe_with(flags).unwrap();
        (read.into(), write.into())
    }

    /// Waits until `pipe` can be read, or where `full` has no room.
    fn wait_for(pipe: &File, full: bool) {
        let events = if full { PollFlags::OUT } else { PollFlags::IN };
        let until = std::time::Instant::now() + Duration::from_secs(30);
        loop {
            let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
            let ready = poll(&mut [PollFd::new(pipe, events)], Some(&now)).unwrap() > 0;
            if ready != full {
                return;
            }
            assert!(std::time::Instant::now() < until, "nothing came of it");
        }
    }

    #[test]
    fn input_and_output_of_any_length_pass_and_the_rest_is_counted() {
        let input = vec![b'x'; 5 << 20];
        let (out, err) = attended("cat; echo done >&2", &input, None).unwrap();
        assert_eq!((out.bytes, out.kept.len()), (5 << 20, STDOUT_BYTES_MAX));
        assert_eq!(err.kept, b"done\n");
    }

    #[test]
    fn a_program_that_reads_nothing_holds_nobody_up() {
        let early = attended("exec 0<&-; echo early", &vec![b'x'; 1 << 20], None);
        assert_eq!(early.unwrap().0.kept, b"early\n");
        let (out, _) = attended("head -c 1", &vec![b'x'; 1 << 20], None).unwrap();
        assert_eq!(out.kept, b"x");
    }

    #[test]
    fn pieces_come_while_the_program_runs_and_outputs_are_told_apart() {
        let go = std::env::temp_dir().join(format!("go-{}", std::process::id()));
        let script = format!(
            "echo first; while ! [ -e {0} ]; do sleep 0.01; done; rm {0}; echo oops >&2",
            go.display()
        );
        let (mut read, write) = pipe();
        let runs = std::thread::spawn(move || attended(&script, b"", Some(&write)));
        wait_for(&read, false);
        let mut first = [0; 256];
        let count = read.read(&mut first).unwrap();
        let text = "\x1e{\"output\":\"stdout\",\"content\":\"first\\n\",\"base64\":false}\n";
        assert_eq!(std::str::from_utf8(&first[..count]).unwrap(), text);
        assert!(!runs.is_finished());
        File::create(&go).unwrap();
        let mut rest = String::new();
        read.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, text.replace("stdout", "stderr").replace("first", "oops"));
        assert_eq!(runs.join().unwrap().unwrap().0.kept, b"first\n");
    }

    #[test]
    fn a_slow_reader_holds_the_program_up_and_one_that_is_gone_ends_the_call() {
        let (mut read, write) = pipe();
        let full = write.try_clone().unwrap();
        let script = "head -c 1048576 /dev/zero | tr '\\0' x";
        let runs = std::thread::spawn(move || attended(script, b"", Some(&write)));
        wait_for(&full, true);
        assert!(!runs.is_finished());
        drop(full);
        let mut given = String::new();
        read.read_to_string(&mut given).unwrap();
        assert_eq!(given.matches('x').count(), 1 << 20, "nothing of it is lost");
        assert_eq!(runs.join().unwrap().unwrap().0.bytes, 1 << 20);
        // one that is silent, and one that waits for its reader
        for (script, waits) in [("exec sleep 60", false), ("exec yes", true)] {
            let (read, write) = pipe();
            let full = write.try_clone().unwrap();
            let runs = std::thread::spawn(move || attended(script, b"", Some(&write)));
            if waits {
                wait_for(&full, true);
            }
            drop(read);
            assert_eq!(runs.join().unwrap().err(), Some("unread"), "{script}");
        }
    }
}
