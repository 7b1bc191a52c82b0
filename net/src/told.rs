//! What egress is told of the links: the name servers of all leases and every address of the box, at once
//! when it is there, and again after each change. Of changes that it does not take in time it hears the last.

use channel::{Channel, Mailbox};
use contract::links::{ADDRESSES_MAX, Links, SERVERS_MAX, VERSION};
use futures_util::stream::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::{Error, Handle};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// The edge on which egress hears it.
pub(crate) const EDGE: &str = "net-egress";

/// What is known, and what of it was said.
#[derive(Debug)]
pub(crate) struct Told {
    route: Handle,
    edge: Option<Mailbox>,
    /// Of each link, what its lease names.
    servers: BTreeMap<u32, Vec<Ipv4Addr>>,
    addresses: BTreeSet<IpAddr>,
    /// What this egress was told last.
    said: Option<Links>,
    trouble: Option<String>,
}

impl Told {
    pub(crate) fn new(route: Handle, edge: Option<Channel>) -> Self {
        Self {
            route,
            edge: edge.map(Mailbox::new),
            servers: BTreeMap::new(),
            addresses: BTreeSet::new(),
            said: None,
            trouble: None,
        }
    }

    /// A new egress, which knows nothing.
    pub(crate) fn replace(&mut self, edge: Channel) {
        self.edge = Some(Mailbox::new(edge));
        self.said = None;
        self.tell();
    }

    /// The lease of this link names these servers; none, when it is over. Its address is looked for: of what
    /// this process changes itself the kernel sends it no word.
    pub(crate) async fn leased(&mut self, link: u32, servers: Vec<Ipv4Addr>) -> Result<(), Error> {
        self.servers.insert(link, servers);
        self.look().await
    }

    /// Forgets what the leases of links named that are gone; the next look says so.
    pub(crate) fn forget_unless(&mut self, is_there: impl Fn(u32) -> bool) {
        self.servers.retain(|link, _| is_there(*link));
    }

    /// Asks the kernel for all addresses of all links, and says what changed.
    pub(crate) async fn look(&mut self) -> Result<(), Error> {
        let messages: Vec<AddressMessage> =
            self.route.address().get().execute().try_collect().await?;
        let found: BTreeSet<IpAddr> = messages.iter().filter_map(own).collect();
        if found.len() > ADDRESSES_MAX && self.addresses.len() <= ADDRESSES_MAX {
            let line = format!(
                "the box has {} addresses, and egress can be told of {ADDRESSES_MAX}: it connects nowhere",
                found.len()
            );
            self.trouble = Some(line);
        }
        self.addresses = found;
        self.tell();
        Ok(())
    }

    /// What somebody is to know, once.
    pub(crate) const fn trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }

    /// Says what holds, if it is not what was said last.
    pub(crate) fn tell(&mut self) {
        let Some(edge) = &mut self.edge else { return };
        if edge.push().is_err() {
            self.edge = None; // it is gone; init gives an end to the next one
            return;
        }
        let links = links(&self.servers, &self.addresses);
        // while something waits for room, nothing is put behind it: it would be old before it is read
        if edge.is_full() || self.said.as_ref() == Some(&links) {
            return;
        }
        if edge.post(&(VERSION, &links), Vec::new()).is_ok() {
            self.said = Some(links);
        } else {
            self.edge = None;
        }
    }
}

/// The first server of every link, then the second of every one, each once; and all addresses, or none where
/// they are more than can be named.
fn links(servers: &BTreeMap<u32, Vec<Ipv4Addr>>, addresses: &BTreeSet<IpAddr>) -> Links {
    let mut named: Vec<IpAddr> = Vec::new();
    for rank in 0..SERVERS_MAX {
        for server in servers.values().filter_map(|of_link| of_link.get(rank)) {
            let server = IpAddr::V4(*server);
            if named.len() < SERVERS_MAX && !named.contains(&server) {
                named.push(server);
            }
        }
    }
    let addresses = if addresses.len() > ADDRESSES_MAX {
        Vec::new()
    } else {
        addresses.iter().copied().collect()
    };
    Links { servers: named, addresses }
}

/// The box's own address of a message: of a link between two the near one (rtnetlink(7): IFA_LOCAL).
fn own(message: &AddressMessage) -> Option<IpAddr> {
    let mut far = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => return Some(*address),
            AddressAttribute::Address(address) => far = Some(*address),
            _ => {}
        }
    }
    far
}

#[cfg(test)]
mod tests;
