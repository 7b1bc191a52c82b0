//! Egress: the only process that opens connections for calls. It acts on tickets alone; it looks names up itself,
//! connects to addresses that were decided and to no other, verifies every server, and puts a secret's value on the
//! wire, where the vault lends it for this call, and nowhere else. It follows no redirect and stores no reply.
#![forbid(unsafe_code)]

mod connection;
mod hidden;
mod lend;
mod names;
mod perform;
mod reach;
mod request;
mod settings;
mod shared;
mod watched;
mod webhook;
#[cfg(test)]
mod world;

use channel::performer::{Heard, Performer};
use channel::tickets::Released;
use channel::{Channel, ChannelError, Service, Wish};
use contract::links::{Links, VERSION as LINKS_VERSION};
use contract::perform::{CallId, Outcome, Refusal};
use lend::Vault;
use linux::clock::boot_ms;
use settings::Settings;
use shared::Shared;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, LocalSet};

const FOLDER: &str = "/state/egress";
const FROM_PDP: &str = "pdp-egress";
const TO_AUDIT: &str = "audit-egress";
const TO_VAULT: &str = "egress-vault";
const FROM_NET: &str = "net-egress";
const ALIVE: Duration = Duration::from_secs(1);
/// Most calls under way.
const CALLS_MAX: usize = 256;

/// Why egress ends.
#[derive(Debug, thiserror::Error)]
enum Fatal {
    #[error("control socket: {0}")]
    Control(#[from] ChannelError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// An edge that is waited for, and the descriptor by which it is.
type Watched = Option<AsyncFd<OwnedFd>>;

struct Egress {
    service: Service,
    performer: Performer,
    net: Option<Channel>,
    shared: Rc<Shared>,
    under_way: BTreeMap<CallId, AbortHandle>,
    ended: mpsc::UnboundedSender<(CallId, Outcome)>,
    /// pdp's, audit's and net's edges.
    watched: [Watched; 3],
}

fn main() -> ExitCode {
    let Ok(service) = Service::start() else { return ExitCode::from(2) };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let served = match builder.enable_all().build() {
        Ok(runtime) => LocalSet::new().block_on(&runtime, run(service)),
        Err(error) => Err((None, Fatal::Io(error))),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err((service, error)) => {
            if let Some(service) = service {
                service.log(&error.to_string()).ok();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(mut service: Service) -> Result<(), (Option<Service>, Fatal)> {
    let settings = match Settings::open(Path::new(FOLDER)) {
        Ok(settings) => RefCell::new(settings),
        Err(error) => return Err((Some(service), error.into())),
    };
    let performer = Performer::new(service.edge(FROM_PDP), service.edge(TO_AUDIT));
    let (net, vault) = (service.edge(FROM_NET), service.edge(TO_VAULT));
    let (idle, links) = (connection::Idle::default(), RefCell::new(Links::default()));
    let shared = Rc::new(Shared { vault: Vault::default(), idle, settings, links });
    let (ended, finished) = mpsc::unbounded_channel();
    let (under_way, watched) = (BTreeMap::new(), [None, None, None]);
    let mut egress = Egress { service, performer, net, shared, under_way, ended, watched };
    match egress.serve(vault, finished).await {
        Ok(()) => Ok(()),
        Err(error) => Err((Some(egress.service), error)),
    }
}

/// Waits for something to read; for ever where nothing is watched.
async fn readable(watched: &Watched) -> std::io::Result<()> {
    match watched {
        Some(watched) => {
            watched.readable().await?.clear_ready();
            Ok(())
        }
        None => std::future::pending().await,
    }
}

fn watch(edge: Option<BorrowedFd<'_>>) -> std::io::Result<Watched> {
    edge.map(|edge| watched::watch(edge.try_clone_to_owned()?)).transpose()
}

/// Whether a frame, or the end, waits on this edge.
fn has_more(edge: Option<BorrowedFd<'_>>) -> bool {
    edge.is_some() && channel::wait(&[edge], &[], 0).is_ok_and(|ready| ready.contains(&true))
}

impl Egress {
    async fn serve(
        &mut self,
        vault: Option<Channel>,
        mut finished: mpsc::UnboundedReceiver<(CallId, Outcome)>,
    ) -> Result<(), Fatal> {
        if let Some(edge) = vault {
            self.shared.vault.connect(edge)?;
        }
        let [pdp, audit] = self.performer.edges();
        self.watched = [watch(pdp)?, watch(audit)?, watch(self.net.as_ref().map(AsFd::as_fd))?];
        let control =
            watched::watch(rustix::io::dup(&self.service).map_err(std::io::Error::from)?)?;
        let mut alive = tokio::time::interval(ALIVE);
        self.service.ready()?;
        loop {
            let [pdp, audit, net] = &self.watched;
            tokio::select! {
                _ = alive.tick() => self.service.alive()?,
                ready = control.readable() => {
                    ready?.clear_ready();
                    // all of them, and no waiting: readiness is told once for several, or twice for one
                    while let Some(wish) = self.service.wish_now()? {
                        let Wish::NewEdge(name) = wish else { return Ok(()) };
                        self.replace(&name)?;
                    }
                }
                ready = readable(pdp) => { ready?; self.hear_pdp(); }
                ready = readable(audit) => { ready?; self.hear_audit(); }
                ready = readable(net) => { ready?; self.hear_net(); }
                Some((call, outcome)) = finished.recv() => {
                    if self.under_way.remove(&call).is_some() {
                        self.performer.ended(call, outcome);
                    }
                }
            }
        }
    }

    fn replace(&mut self, name: &str) -> Result<(), Fatal> {
        let edge = self.service.edge(name);
        match name {
            FROM_PDP => self.performer.replace_pdp(edge),
            TO_AUDIT => self.performer.replace_audit(edge),
            FROM_NET => self.net = edge,
            TO_VAULT => {
                if let Some(edge) = edge {
                    self.shared.vault.connect(edge)?;
                }
                return Ok(());
            }
            _ => return Ok(()),
        }
        let [pdp, audit] = self.performer.edges();
        self.watched = [watch(pdp)?, watch(audit)?, watch(self.net.as_ref().map(AsFd::as_fd))?];
        // what came before it was watched
        self.hear_pdp();
        self.hear_audit();
        self.hear_net();
        Ok(())
    }

    fn hear_pdp(&mut self) {
        while has_more(self.performer.edges()[0]) {
            self.performer.hear_pdp();
        }
        if self.performer.edges()[0].is_none() {
            self.watched[0] = None;
        }
    }

    fn hear_audit(&mut self) {
        while has_more(self.performer.edges()[1]) {
            match self.performer.hear_audit(boot_ms()) {
                Heard::Nothing => {}
                Heard::Perform(released) => self.begin(released),
                Heard::Epoch(epoch) => {
                    // what an earlier audit released is over, and it is not known how
                    for (_, call) in std::mem::take(&mut self.under_way) {
                        call.abort();
                    }
                    self.performer.settled(epoch);
                }
            }
        }
        if self.performer.edges()[1].is_none() {
            self.watched[1] = None;
        }
    }

    fn begin(&mut self, released: Released) {
        let call = released.call();
        if self.under_way.len() >= CALLS_MAX {
            self.performer.refused(call, Refusal::Busy);
            return;
        }
        self.performer.started(call);
        let (shared, ended) = (Rc::clone(&self.shared), self.ended.clone());
        let work = tokio::task::spawn_local(async move {
            let outcome = perform::perform(&shared, released).await;
            // who hears it is gone only when all ends
            ended.send((call, outcome)).ok();
        });
        self.under_way.insert(call, work.abort_handle());
    }

    fn hear_net(&mut self) {
        while has_more(self.net.as_ref().map(AsFd::as_fd)) {
            let Some(net) = &self.net else { return };
            match net.receive_now().and_then(|frame| frame.open(|_: &(u16, Links)| 0)) {
                Ok(((LINKS_VERSION, links), _)) => *self.shared.links.borrow_mut() = links,
                Err(ChannelError::WouldBlock) => return,
                Ok(_) | Err(_) => {
                    self.net = None;
                    self.watched[2] = None;
                }
            }
        }
    }
}
