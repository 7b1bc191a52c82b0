//! Where the forker stands: its own namespaces, which no cage may share and to which it comes back
//! from one; the places for cages that it makes ahead, and the id maps that it keeps.

use crate::cage::Kind;
use crate::direct::Networks;
use crate::error::CageError;
use crate::inside;
use crate::network::{Network, Packets};
use crate::rings::{Ring, Rings};
use capabilities::Class;
use linux::KernelError;
use linux::cage::{self, Namespace};
use rustix::thread::LinkNameSpaceType;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::fd::OwnedFd;

/// Most id maps that are kept.
const MAPS_MAX: usize = 256;
/// Places that are made ahead: making one takes as long as the rest of a cage's birth.
const PLACES: usize = 8;

/// What a cage is born into: a network, and mounts with a root of their own. Nobody has been in it, and
/// it belongs to the box's user namespace: no capability that somebody in a cage could come by is good
/// for either.
#[derive(Debug)]
pub(crate) struct Place {
    network: Network,
    /// Nothing for a cage without the ring, which only a test's build has.
    mounts: Option<Namespace>,
}

/// What the forker holds of a cage to work on it from outside.
#[derive(Debug)]
pub(crate) struct Equipment {
    /// Nothing where they are the forker's own.
    mounts: Option<Namespace>,
    pub(crate) packets: Packets,
}

impl Place {
    /// Runs `work` there, and comes back.
    pub(crate) fn inside<T, E: From<KernelError>>(
        &self,
        origin: &Origin,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        self.network.inside(&origin.network, || within(self.mounts.as_ref(), &origin.mount, work))
    }
}

impl From<Place> for Equipment {
    fn from(Place { network, mounts }: Place) -> Self {
        Self { mounts, packets: network.into_packets() }
    }
}

impl Equipment {
    /// Runs `work` among the cage's mounts, and comes back.
    pub(crate) fn among_mounts<T, E: From<KernelError>>(
        &self,
        origin: &Origin,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        within(self.mounts.as_ref(), &origin.mount, work)
    }
}

fn within<T, E: From<KernelError>>(
    namespace: Option<&Namespace>,
    home: &Namespace,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    match namespace {
        Some(namespace) => namespace.inside(home, work),
        None => work(),
    }
}

/// The forker's own namespaces, and the maps.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) mount: Namespace,
    pub(crate) network: Namespace,
    /// Names of all eight.
    names: Vec<String>,
    /// User namespaces that only map: an agent's disk user to a slot's.
    maps: BTreeMap<(u32, u32), OwnedFd>,
    /// Made ahead.
    places: Vec<Place>,
    /// The networks that agents connect from.
    pub(crate) direct: Networks,
}

impl Origin {
    pub(crate) fn open() -> Result<Self, KernelError> {
        Ok(Self {
            mount: Namespace::of(None, LinkNameSpaceType::Mount)?,
            network: Namespace::of(None, LinkNameSpaceType::Network)?,
            names: namespace_names("self"),
            maps: BTreeMap::new(),
            places: Vec::new(),
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

    /// A place for one cage of this kind, whose user is `user` outside.
    pub(crate) fn place(&mut self, kind: &Kind, user: u32) -> Result<Place, CageError> {
        let (rings, up) = (&kind.rings, kind.class == Class::Network);
        let plain = kind.direct.is_none() && !up && *rings == Rings::ALL;
        if let Some(ahead) = plain.then(|| self.places.pop()).flatten() {
            return Ok(ahead);
        }
        let network = match &kind.direct {
            _ if !rings.have(Ring::Namespace("net")) => {
                if rings.have(Ring::Check) {
                    return Err(CageError::SameNetwork);
                }
                Network::of_the_box()?
            }
            Some(direct) => {
                let namespace = self.direct.of(direct.agent, rings, &self.network)?;
                Network::of_agent(namespace, &self.network, user)?
            }
            None => Network::new(&self.network, rings, up)?,
        };
        Ok(Place { network, mounts: self.mounts(rings)? })
    }

    /// Mounts of their own, which are an empty root unless that ring is missing.
    fn mounts(&self, rings: &Rings) -> Result<Option<Namespace>, KernelError> {
        let make = || if rings.have(Ring::Root) { inside::make_root() } else { Ok(()) };
        let own = rings.have(Ring::Namespace("mnt"));
        own.then(|| Namespace::new_mounts(&self.mount, make)).transpose()
    }

    /// Whether another place should be made ahead.
    pub(crate) fn lacks_place(&self) -> bool {
        self.places.len() < PLACES
    }

    /// Makes a place ahead.
    pub(crate) fn make_place(&mut self) -> Result<(), KernelError> {
        let network = Network::new(&self.network, &Rings::ALL, false)?;
        self.places.push(Place { network, mounts: self.mounts(&Rings::ALL)? });
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
