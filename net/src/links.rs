//! The wired links of the machine: found, brought up, and each given a lease of its own.

use crate::lease::{self, Report};
use crate::link::{Link, ethernet};
use futures_util::stream::TryStreamExt;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::{Error, Handle, LinkUnspec};
use std::collections::BTreeMap;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinHandle;

/// All links that have been found, each with the task that keeps its lease.
#[derive(Debug)]
pub(crate) struct Links {
    route: Handle,
    report: Sender<Report>,
    kept: BTreeMap<u32, JoinHandle<()>>,
}

impl Links {
    pub(crate) const fn new(route: Handle, report: Sender<Report>) -> Self {
        Self { route, report, kept: BTreeMap::new() }
    }

    /// Brings the loopback interface up; services speak through it under no circumstances, but
    /// the kernel answers itself through it.
    pub(crate) async fn raise_loopback(&self) -> Result<(), Error> {
        self.raise(1).await
    }

    /// Starts a lease on each Ethernet link that has none; one that vanished loses its task.
    pub(crate) async fn look(&mut self) -> Result<(), Error> {
        let messages: Vec<LinkMessage> = self.route.link().get().execute().try_collect().await?;
        let links: Vec<Link> = messages.iter().filter_map(ethernet).collect();
        self.kept.retain(|index, task| {
            let stays = links.iter().any(|link| link.index == *index) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        for link in links {
            if !self.kept.contains_key(&link.index) {
                self.raise(link.index).await?;
                let task = lease::keep(link.clone(), self.route.clone(), self.report.clone());
                self.kept.insert(link.index, tokio::spawn(task));
            }
        }
        Ok(())
    }

    /// Whether the link of this index is one that a lease is kept on.
    pub(crate) fn has(&self, index: u32) -> bool {
        self.kept.contains_key(&index)
    }

    async fn raise(&self, index: u32) -> Result<(), Error> {
        self.route.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await
    }
}
