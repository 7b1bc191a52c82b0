//! The console: plain lines on the first terminal and on the serial port. A key asks for the box's
//! state, and for a pairing code while the box has no operator. It drops to no shell; there is none.
#![forbid(unsafe_code)]

use channel::{ChannelError, Mailbox, Service, Wish, wait};
use contract::console::{FromConsole, ToConsole, VERSION};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

/// The first terminal, and the kernel's console, which is the first serial port where there is one.
const TERMINALS: [&str; 2] = ["/dev/tty1", "/dev/console"];
const PDP: &str = "console-pdp";
/// The kernel's routing trie holds the box's own IPv4 addresses (proc(5)).
const ADDRESSES: &str = "/proc/self/net/fib_trie";
const ALIVE_MS: u64 = 1_000;
const LINES_MAX: usize = 32;
const COLUMNS_MAX: usize = 120;

/// Why the console ends.
#[derive(Debug, thiserror::Error)]
enum ConsoleError {
    #[error("control socket: {0}")]
    Control(#[from] ChannelError),
    #[error("no terminal can be opened")]
    NoTerminal,
}

struct Console {
    service: Service,
    pdp: Option<Mailbox>,
    terminals: Vec<OwnedFd>,
    /// Which terminal asked last; it gets the answer.
    asked: usize,
}

fn main() -> ExitCode {
    let Ok(mut service) = Service::start() else { return ExitCode::from(2) };
    let terminals = TERMINALS.iter().filter_map(|path| {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        openat(CWD, *path, flags, Mode::empty()).ok()
    });
    let terminals: Vec<OwnedFd> = terminals.collect();
    let pdp = service.edge(PDP).map(Mailbox::new);
    let mut console = Console { service, pdp, terminals, asked: 0 };
    match console.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console.service.log(&error.to_string()).ok();
            ExitCode::FAILURE
        }
    }
}

impl Console {
    fn run(&mut self) -> Result<(), ConsoleError> {
        if self.terminals.is_empty() {
            return Err(ConsoleError::NoTerminal);
        }
        self.service.ready()?;
        self.say_all(
            "press Enter for the box's state and, while it has no operator, a pairing code",
        );
        let mut due_ms = 0;
        loop {
            let now = linux::clock::boot_ms();
            if now >= due_ms {
                self.service.alive()?;
                due_ms = now + ALIVE_MS;
            }
            let ready = {
                let pdp = self.pdp.as_ref().map(AsFd::as_fd);
                let mut files = vec![Some(self.service.as_fd()), pdp];
                files.extend(self.terminals.iter().map(|terminal| Some(terminal.as_fd())));
                wait(&files, &[], due_ms.saturating_sub(now))?
            };
            let of = |index: usize| ready.get(index).copied().unwrap_or(false);
            if of(0) {
                match self.service.wish()? {
                    Wish::Stop => return Ok(()),
                    Wish::NewEdge(name) => self.pdp = self.service.edge(&name).map(Mailbox::new),
                }
            }
            if of(1) {
                self.hear_pdp();
            }
            let asking = (0..self.terminals.len()).filter(|index| of(index + 2));
            for index in asking.collect::<Vec<_>>() {
                self.key(index);
            }
        }
    }

    /// A key: asks for the state and, which pdp refuses once there is an operator, for a code.
    fn key(&mut self, index: usize) {
        let mut keys = [0; 256];
        let read = self.terminals.get(index).map(|t| rustix::io::read(t, &mut keys));
        match read {
            Some(Ok(count)) if count > 0 => {}
            Some(Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR)) | None => return,
            Some(_) => {
                // a terminal that hung up is not asked again; a restart of the console opens it anew
                self.terminals.remove(index);
                return;
            }
        }
        self.asked = index;
        for ask in [FromConsole::State, FromConsole::Code] {
            let posted = self.pdp.as_mut().map(|pdp| pdp.post(&(VERSION, ask), Vec::new()));
            if !matches!(posted, Some(Ok(()))) {
                self.pdp = None;
                self.say(index, "the policy decision point is not there; try again in a second");
                return;
            }
        }
        let addresses = addresses();
        let addresses =
            if addresses.is_empty() { "none yet".to_owned() } else { addresses.join(" ") };
        self.say(index, &format!("addresses: {addresses}; agents 7700, operators 7800"));
    }

    fn hear_pdp(&mut self) {
        let Some(pdp) = &self.pdp else { return };
        match pdp.take().and_then(|frame| frame.open(|_: &(u16, ToConsole)| 0)) {
            Ok(((VERSION, ToConsole { lines }), _)) => {
                let asked = self.asked;
                lines.iter().take(LINES_MAX).for_each(|line| self.say(asked, line));
            }
            Err(ChannelError::WouldBlock) => {}
            Ok(_) | Err(_) => self.pdp = None,
        }
    }

    fn say_all(&self, line: &str) {
        (0..self.terminals.len()).for_each(|index| self.say(index, line));
    }

    /// One line; what a terminal does not take at once is lost, as on any terminal.
    fn say(&self, index: usize, line: &str) {
        let line: String = line.chars().filter(|c| !c.is_control()).take(COLUMNS_MAX).collect();
        if let Some(terminal) = self.terminals.get(index) {
            rustix::io::write(terminal, format!("console: {line}\r\n").as_bytes()).ok();
        }
    }
}

/// The box's own addresses but loopback's.
fn addresses() -> Vec<String> {
    let trie = std::fs::read_to_string(ADDRESSES).unwrap_or_default();
    let mut found: Vec<String> = Vec::new();
    let mut last = None;
    for line in trie.lines() {
        if let Some((_, address)) = line.split_once("|-- ") {
            last = address.trim().parse::<Ipv4Addr>().ok();
        } else if line.contains("/32 host LOCAL")
            && let Some(address) = last.filter(|address| !address.is_loopback())
        {
            found.push(address.to_string());
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}
