//! Links, addresses, and the box's own packet filter, which stands before any link is up.
//!
//! [`filter`] is what may pass, [`links`] finds the wired links, [`lease`] keeps a DHCP lease on
//! each, [`told`] is what egress hears of them. No other service waits for this one to have an address. It
//! carries no call's traffic.
#![forbid(unsafe_code)]

mod filter;
mod lease;
mod link;
mod links;
#[cfg(test)]
mod networks;
mod told;

use channel::{Service, Wish};
use futures_util::{FutureExt, StreamExt};
use lease::Report;
use rtnetlink::MulticastGroup;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use told::Told;

/// How often init hears that this service is alive.
const ALIVE: Duration = Duration::from_secs(2);
/// How often new links are looked for, and addresses of which the kernel's word was lost.
const LINKS: Duration = Duration::from_secs(5);

/// Why this service ends.
#[derive(Debug, thiserror::Error)]
enum NetError {
    #[error("control socket: {0}")]
    Control(#[from] channel::ChannelError),
    #[error(transparent)]
    Kernel(#[from] linux::KernelError),
    #[error("rtnetlink: {0}")]
    Route(#[from] rtnetlink::Error),
    #[error("event loop: {0}")]
    Loop(#[from] std::io::Error),
}

fn main() -> ExitCode {
    let Ok(service) = Service::start() else { return ExitCode::from(2) };
    match serve(service) {
        Ok(()) => ExitCode::SUCCESS,
        Err((service, error)) => {
            service.log(&error.to_string()).ok();
            ExitCode::FAILURE
        }
    }
}

fn serve(service: Service) -> Result<(), (Service, NetError)> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Err((service, error.into())),
    };
    let mut service = service;
    match runtime.block_on(run(&mut service)) {
        Ok(()) => Ok(()),
        Err(error) => Err((service, error)),
    }
}

async fn run(service: &mut Service) -> Result<(), NetError> {
    filter::install()?;
    let groups = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
    let (connection, route, mut changes) = rtnetlink::new_multicast_connection(&groups)?;
    tokio::spawn(connection);
    let (report, mut reports) = tokio::sync::mpsc::channel(16);
    let mut links = links::Links::new(route.clone(), report);
    let mut told = Told::new(route, service.edge(told::EDGE));
    links.raise_loopback().await?;
    told.look().await?;
    service.ready()?;
    let control = rustix::io::dup(&*service).map_err(std::io::Error::from)?;
    let control = watched(control, Interest::READABLE)?;
    let mut alive = tokio::time::interval(ALIVE);
    let mut look = tokio::time::interval(LINKS);
    loop {
        tokio::select! {
            _ = alive.tick() => {
                service.alive()?;
                told.tell();
            }
            _ = look.tick() => {
                links.look().await?;
                told.forget_unless(|link| links.has(link));
                told.look().await?;
            }
            Some(report) = reports.recv() => match report {
                Report::Line(line) => service.log(&line)?,
                Report::Servers(link, servers) => told.leased(link, servers).await?,
            },
            Some(_) = changes.next() => {
                // whatever else changed at once is seen by the same look
                while changes.next().now_or_never().flatten().is_some() {}
                told.look().await?;
            }
            ready = control.readable() => {
                ready?.clear_ready();
                while let Some(wish) = service.wish_now()? {
                    match wish {
                        Wish::Stop => return Ok(()),
                        Wish::NewEdge(name) => {
                            if let Some(edge) = service.edge(&name).filter(|_| name == told::EDGE) {
                                told.replace(edge);
                            }
                        }
                    }
                }
            }
        }
        if let Some(line) = told.trouble() {
            service.log(&line)?;
        }
    }
}

/// Lets the event loop watch a descriptor.
#[expect(
    deprecated,
    reason = "its replacement is unsafe; the hole is for types whose raw descriptor may change or \
              close while watched, which an OwnedFd's cannot"
)]
fn watched(fd: OwnedFd, interest: Interest) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}
