//! A door. The same program serves agents on port 7700 and operators on 7800, as two services of two
//! users; which one it is it learns from the edge that init gave it. It authenticates nobody and
//! decides nothing: credentials and statements go to pdp, answers come back.
#![forbid(unsafe_code)]

mod agents;
mod answer;
mod body;
mod certificate;
mod mcp;
mod operators;
mod pdp;
mod serve;
mod stream;
mod watched;

use certificate::Certificates;
use channel::{ChannelError, Service, Wish};
use pdp::Pdp;
use rustls::ServerConfig;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

const ALIVE: Duration = Duration::from_secs(1);

/// Which door this is.
#[derive(Debug, Clone, Copy)]
struct Door {
    pdp: &'static str,
    certifier: &'static str,
    port: u16,
}

const AGENTS: Door = Door { pdp: "agents-pdp", certifier: "agents-certifier", port: 7700 };
const OPERATORS: Door = Door { pdp: "operators-pdp", certifier: "operators-certifier", port: 7800 };

/// Why a door ends.
#[derive(Debug, thiserror::Error)]
enum DoorError {
    #[error("control socket: {0}")]
    Control(#[from] ChannelError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("no edge says which door this is")]
    NoEdge,
    #[error("no key: {0}")]
    Key(&'static str),
}

fn main() -> ExitCode {
    let Ok(mut service) = Service::start() else { return ExitCode::from(2) };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let served = match builder.enable_all().build() {
        Ok(runtime) => runtime.block_on(run(&mut service)),
        Err(error) => Err(error.into()),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            service.log(&error.to_string()).ok();
            ExitCode::FAILURE
        }
    }
}

async fn run(service: &mut Service) -> Result<(), DoorError> {
    let (door, edge) = match (service.edge(AGENTS.pdp), service.edge(OPERATORS.pdp)) {
        (Some(edge), None) => (AGENTS, edge),
        (None, Some(edge)) => (OPERATORS, edge),
        _ => return Err(DoorError::NoEdge),
    };
    let pdp = Pdp::new();
    pdp.connect(edge)?;
    let certificates = Certificates::new()?;
    if let Some(edge) = service.edge(door.certifier) {
        certificates.connect(edge)?;
    }
    let mut config = ServerConfig::builder_with_provider(certificates.provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificates.resolver());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let listener = serve::listen(door.port)?;
    let app = if door.port == AGENTS.port {
        agents::routes(pdp.clone())
    } else {
        operators::routes(pdp.clone())
    };
    tokio::spawn(serve::serve(listener, Arc::new(config), app, certificates.clone()));
    tokio::spawn(pdp::report_refused(pdp.clone()));
    let control = watched::watch(rustix::io::dup(&*service).map_err(std::io::Error::from)?)?;
    let mut alive = tokio::time::interval(ALIVE);
    let mut ready = false;
    loop {
        if !ready && certificates.is_certified() {
            service.ready()?;
            ready = true;
        }
        tokio::select! {
            _ = alive.tick(), if ready => service.alive()?,
            () = certificates.changed() => {}
            readable = control.readable() => {
                readable?.clear_ready();
                // all of them, and no waiting: readiness is told once for several, or twice for one
                while let Some(wish) = service.wish_now()? {
                    let Wish::NewEdge(name) = wish else { return Ok(()) };
                    match service.edge(&name) {
                        Some(edge) if name == door.pdp => pdp.connect(edge)?,
                        Some(edge) if name == door.certifier => certificates.connect(edge)?,
                        _ => {}
                    }
                }
            }
        }
    }
}
