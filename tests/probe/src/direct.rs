//! The direct tier: code that connects, to a machine that stands in a network of the test's own at the
//! other end of a cable out of the box.

use crate::cage::{ALICE, LIMITS, Stand, ended};
use channel::ChannelError;
use contract::perform::{FromAudit, ToAudit};
use linux::KernelError;
use linux::cable;
use linux::cage::Namespace;
use rustix::io::Errno;
use rustix::thread::LinkNameSpaceType;
use serde_json::{Value as Json, json};
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};
use std::os::fd::AsFd;

const WORKSPACE: &str = "/data/agents/alice/workspace";
/// What the machine outside listens on, of both families, and a second port.
pub(crate) const PLACES: [&str; 3] =
    ["203.0.113.2:2007", "[2001:db8:7::2]:2007", "203.0.113.2:2009"];
/// What it listens on by its second address, of which no call is decided.
const BESIDE: [&str; 2] = ["203.0.113.3:2007", "203.0.113.3:2009"];
/// Tries each place of its arguments: what it answers, or why it cannot be reached.
const TRY: &str = r#"
import socket, sys, time
for place in sys.argv[1:]:
    if place == "wait": time.sleep(60); continue
    address, port = place.rsplit(":", 1)
    address = address.strip("[]")
    one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    one.settimeout(2)
    try:
        one.connect((address, int(port)))
        one.sendall(b"x"); print(one.recv(1).decode(), end=" ")
    except TimeoutError: print("timeout", end=" ")
    except OSError as error: print(error.errno, end=" ")
    one.close()
"#;

/// The machine outside: a namespace with listeners that answer what they are sent. It lasts as long as
/// the test.
pub(crate) fn machine() -> Result<(), KernelError> {
    let home = Namespace::of(None, LinkNameSpaceType::Network)?;
    let outside = Namespace::new_network(&home)?;
    cable::make("outside", "machine", outside.as_fd())?;
    let box_side = [("203.0.113.1", 24), ("2001:db8:7::1", 64)];
    let its_side = [("203.0.113.2", 24), ("203.0.113.3", 24), ("2001:db8:7::2", 64)];
    let address = |link: &str, list: &[(&str, u8)]| {
        list.iter().try_for_each(|(address, prefix)| {
            let address: IpAddr = address
                .parse()
                .map_err(|_bad| KernelError::new("address", *address, Errno::INVAL))?;
            cable::address(link, address, *prefix)
        })
    };
    address("outside", &box_side)?;
    cable::up("outside")?;
    let listeners = outside.inside(&home, || {
        address("machine", &its_side)?;
        cable::up("machine")?;
        let listen = |place: &&str| {
            let failed = |error: std::io::Error| {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::INVAL);
                KernelError::new("listen", *place, errno)
            };
            TcpListener::bind(*place).map_err(failed)
        };
        PLACES.iter().chain(&BESIDE).map(listen).collect::<Result<Vec<TcpListener>, KernelError>>()
    })?;
    for listener in listeners {
        std::thread::spawn(move || {
            for mut one in listener.incoming().flatten() {
                let mut byte = [0];
                if one.read_exact(&mut byte).is_ok() {
                    one.write_all(&byte).ok();
                }
            }
        });
    }
    Ok(())
}

impl Stand<'_> {
    /// What code reaches that was decided to connect, and what it does not.
    pub(crate) fn direct(&mut self) -> Result<(), ChannelError> {
        let made = machine();
        self.say("a machine outside", made.is_ok(), &format!("{made:?}"))?;
        std::fs::write(format!("{WORKSPACE}/try.py"), TRY).ok();
        let [v4, v6, other] = PLACES;
        let (beside, at_box) = (BESIDE[0], "198.18.0.1:7700");
        for (name, connect, tries, wanted) in [
            ("code connects to what was decided", vec![v4, v6], vec![v4, v6], "x x "),
            // ring four knows ports, ring five machines
            ("and to no other port", vec![v4], vec![other, v4], "13 x "),
            ("and to no other machine", vec![v4], vec![beside, v4], "timeout x "),
            ("nor to the box itself", vec![at_box, v4], vec![at_box, v4], "timeout x "),
            ("nor to what another call was", vec![other], vec![v4], "13 "),
            (
                "and without a place it has no socket",
                vec![],
                vec![v4],
                "PermissionError: [Errno 13] Permission denied",
            ),
        ] {
            let (stdout, dropped) = self.tries(&connect, &tries)?;
            let counted = dropped > 0 || !wanted.contains("timeout") || tries.contains(&at_box);
            let holds = stdout == wanted && counted;
            self.say(name, holds, &format!("`{stdout}`, {dropped} packets dropped"))?;
        }
        self.beside_another_call()
    }

    /// Two calls of one agent at once: each reaches its own places alone, though they share a network.
    fn beside_another_call(&mut self) -> Result<(), ChannelError> {
        let [v4, _, other] = PLACES;
        let (input, effects) = self.code(&[v4, other], &["wait"])?;
        let (ticket, answer) = self.spec(ALICE, "process.run_code", &input, effects, LIMITS)?;
        let first = ticket.call;
        self.send(&FromAudit::Ticket(ticket))?;
        let started = self.hear()?;
        let begun = matches!(started, ToAudit::Started { call } if call == first);
        self.say("a call that may, and waits", begun, &format!("{started:?}"))?;
        // its ports are the other's as well: what is between them is the filter of their network
        let (stdout, _) = self.tries(&BESIDE, &[v4, other])?;
        self.say("another call beside it may not", stdout == "timeout timeout ", &stdout)?;
        drop(answer);
        // ends the first
        self.begin()?;
        while !matches!(self.hear()?, ToAudit::Settled { .. }) {}
        Ok(())
    }

    /// The input and effects of a run of `try.py` that is decided to connect to these places.
    fn code(
        &mut self,
        connect: &[&str],
        arguments: &[&str],
    ) -> Result<(Json, Vec<contract::effect::Effect>), ChannelError> {
        let command: Vec<&str> = ["python3", "try.py"].iter().chain(arguments).copied().collect();
        let input = json!({ "command": command, "expect": "", "connect": connect });
        let input = self.expecting(&input)?;
        let effects = self.effects("process.run_code", &input);
        Ok((input, effects))
    }

    /// What it printed, and how many packets were dropped.
    fn tries(&mut self, connect: &[&str], places: &[&str]) -> Result<(String, u64), ChannelError> {
        let (input, effects) = self.code(connect, places)?;
        let came = self.perform(ALICE, "process.run_code", &input, effects, LIMITS)?;
        let dropped = came.as_ref().map_or(0, |(outcome, _)| outcome.used.dropped_packets);
        let of = |name| ended(&came).1.get(name).and_then(Json::as_str).unwrap_or_default();
        // what Python says of errors is shown only where nothing was to be printed
        let last = of("stderr").lines().last().unwrap_or_default();
        let shown = if of("stdout").is_empty() { last } else { of("stdout") };
        Ok((shown.to_owned(), dropped))
    }
}
