//! Where the forker stands: its own namespaces, which no cage may share and to which it comes back
//! from one, and the id maps that it keeps.

use crate::direct::Networks;
use linux::KernelError;
use linux::cage::{self, Namespace};
use rustix::thread::LinkNameSpaceType;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::fd::OwnedFd;

/// Most id maps that are kept.
const MAPS_MAX: usize = 256;
/// Network namespaces that are made ahead: making one takes as long as the rest of a cage's birth.
const NETWORKS: usize = 8;

/// The forker's own namespaces, and the maps.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) mount: Namespace,
    pub(crate) network: Namespace,
    /// Names of all eight.
    names: Vec<String>,
    /// User namespaces that only map: an agent's disk user to a slot's.
    maps: BTreeMap<(u32, u32), OwnedFd>,
    /// Network namespaces that nobody has been in. They belong to the box's user namespace: no
    /// capability that somebody in a cage could come by is good for its network.
    networks: Vec<Namespace>,
    /// Those that agents connect from.
    pub(crate) direct: Networks,
}

impl Origin {
    pub(crate) fn open() -> Result<Self, KernelError> {
        Ok(Self {
            mount: Namespace::of(None, LinkNameSpaceType::Mount)?,
            network: Namespace::of(None, LinkNameSpaceType::Network)?,
            names: namespace_names("self"),
            maps: BTreeMap::new(),
            networks: Vec::new(),
            direct: Networks::default(),
        })
    }

    /// Whether a process has all eight namespaces and shares none of them; else their names.
    pub(crate) fn shares_none(&self, process: &str) -> Result<(), String> {
        let its = namespace_names(process);
        if its.len() == cage::NAMESPACES.len() && !its.iter().any(|name| self.names.contains(name))
        {
            Ok(())
        } else {
            Err(its.join(" "))
        }
    }

    /// A network namespace for one cage.
    pub(crate) fn take_network(&mut self) -> Result<Namespace, KernelError> {
        self.networks.pop().map_or_else(|| Namespace::new_network(&self.network), Ok)
    }

    /// Whether another network namespace should be made ahead.
    pub(crate) fn lacks_network(&self) -> bool {
        self.networks.len() < NETWORKS
    }

    /// Makes a network namespace ahead.
    pub(crate) fn make_network(&mut self) -> Result<(), KernelError> {
        self.networks.push(Namespace::new_network(&self.network)?);
        Ok(())
    }

    /// Whether the map is here already.
    pub(crate) fn has_map(&self, agent: u32, slot: u32) -> bool {
        self.maps.contains_key(&(agent, slot))
    }

    /// The namespace that maps `agent` to `slot`: made once, since making one forks.
    pub(crate) fn map(&mut self, agent: u32, slot: u32) -> Result<&OwnedFd, KernelError> {
        if self.maps.len() >= MAPS_MAX && !self.has_map(agent, slot) {
            self.maps.clear();
        }
        Ok(match self.maps.entry((agent, slot)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(cage::id_map_namespace(agent, slot)?),
        })
    }
}

/// Ring one's namespaces of a process, as the kernel names them.
fn namespace_names(process: &str) -> Vec<String> {
    let link = |name| std::fs::read_link(format!("/proc/{process}/ns/{name}"));
    let links = cage::NAMESPACES.iter().filter_map(|(name, _)| link(name).ok());
    links.map(|link| link.to_string_lossy().into_owned()).collect()
}
