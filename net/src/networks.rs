//! Networks that a test made, so that it changes no other.

use linux::KernelError;
use linux::cage::Namespace;
use rustix::thread::LinkNameSpaceType;

/// Goes into a new network for good, which is the box's from now on.
pub(crate) fn enter_new() -> Namespace {
    let kind = LinkNameSpaceType::Network;
    let host = Namespace::of(None, kind).unwrap();
    Namespace::enter_new_network().unwrap();
    let home = Namespace::of(None, kind).unwrap();
    assert!(!home.is(&host), "this is the machine's own network");
    home
}

/// Does `work` in another network, in a thread that ends with it.
pub(crate) fn inside<T: Send + 'static>(
    home: &Namespace,
    network: &Namespace,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let done = || Ok::<_, KernelError>(std::thread::spawn(work).join());
    network.inside(home, done).unwrap().unwrap()
}
