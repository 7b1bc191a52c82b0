//! A wired link, and how one is told from what only looks like one.

use rtnetlink::packet_route::link::{LinkAttribute, LinkLayerType, LinkMessage};

/// A wired link.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) hardware: [u8; 6],
}

/// An Ethernet link, or nothing for loopback, tunnels and bridges.
pub(crate) fn ethernet(message: &LinkMessage) -> Option<Link> {
    if message.header.link_layer_type != LinkLayerType::Ether {
        return None;
    }
    let mut name = None;
    let mut hardware = None;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(found) => name = Some(found.clone()),
            LinkAttribute::Address(found) => hardware = <[u8; 6]>::try_from(found.as_slice()).ok(),
            LinkAttribute::LinkInfo(_) => return None, // a virtual device; none is ours to lease for
            _ => {}
        }
    }
    Some(Link { index: message.header.index, name: name?, hardware: hardware? })
}
