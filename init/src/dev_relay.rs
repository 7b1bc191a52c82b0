//! The way from the host to the doors, which live in a network namespace of their own: this process
//! listens on the host's loopback, because it opened those sockets before it left, and connects within.

use crate::error::{BootError, While};
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};

/// The doors' own ports, operators first.
const DOORS: [u16; 2] = [7800, 7700];

/// Listens on the host's loopback.
pub(crate) fn listen(ports: [u16; 2]) -> Result<[TcpListener; 2], BootError> {
    let [operators, agents] = ports;
    let bind = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).during("listen", port);
    Ok([bind(operators)?, bind(agents)?])
}

/// Starts the process that relays.
pub(crate) fn start(doors: [TcpListener; 2]) -> Result<(), BootError> {
    let relay = move || -> Result<Infallible, BootError> {
        crate::dev_root::die_with_parent()?;
        let threads: Vec<_> = doors
            .into_iter()
            .zip(DOORS)
            .map(|(listener, port)| std::thread::spawn(move || serve(&listener, port)))
            .collect();
        for thread in threads {
            thread.join().ok();
        }
        Err(BootError::new("relay", "the doors", "no listener is left"))
    };
    linux::process::spawn(relay, |_error| {})?;
    Ok(())
}

fn serve(listener: &TcpListener, port: u16) {
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            if let Ok(door) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                join(&stream, &door);
            }
        });
    }
}

/// Copies both ways until either side ends.
fn join(one: &TcpStream, other: &TcpStream) {
    one.set_nodelay(true).ok();
    other.set_nodelay(true).ok();
    std::thread::scope(|scope| {
        scope.spawn(|| copy(one, other));
        copy(other, one);
    });
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let mut chunk = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        if to.write_all(chunk.get(..count).unwrap_or_default()).is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Write).ok();
}
