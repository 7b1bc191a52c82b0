//! A service's side of its control socket.

use crate::{Channel, ChannelError, Frame};
use contract::control::{self, ToInit, ToService};
use contract::limits::NAME_BYTES_MAX;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The control socket of a started service, and the edges that it was given so far.
#[derive(Debug)]
pub struct Service {
    control: Channel,
    edges: BTreeMap<String, OwnedFd>,
    kept: Option<OwnedFd>,
}

/// What init wants of a running service.
#[derive(Debug)]
pub enum Wish {
    /// The peer at the end of this edge is new: use the new end.
    NewEdge(String),
    /// Finish and leave.
    Stop,
}

impl Service {
    /// Takes the control socket and waits until init has handed out all edges.
    ///
    /// # Errors
    /// [`ChannelError`], also when the program was not started by init.
    pub fn start() -> Result<Self, ChannelError> {
        let socket = linux::process::inherited(control::CONTROL_FD).map_err(|error| {
            ChannelError::Kernel { operation: "control socket", errno: error.errno }
        })?;
        let mut service =
            Self { control: Channel::new(socket), edges: BTreeMap::new(), kept: None };
        while service.take()?.is_some() {}
        Ok(service)
    }

    /// Hands over the end of the edge `name`, once.
    pub fn edge(&mut self, name: &str) -> Option<Channel> {
        self.edges.remove(name).map(Channel::new)
    }

    /// What an earlier run of this service gave init to keep; once.
    pub const fn kept(&mut self) -> Option<OwnedFd> {
        self.kept.take()
    }

    /// Gives init a descriptor to keep for later runs of this service.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn keep(&self, file: impl AsFd) -> Result<(), ChannelError> {
        self.control.send(&(control::VERSION, ToInit::Keep), &[file.as_fd()])
    }

    /// Tells init that the service serves.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn ready(&self) -> Result<(), ChannelError> {
        self.tell(&ToInit::Ready)
    }

    /// Tells init that the service is alive.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn alive(&self) -> Result<(), ChannelError> {
        self.tell(&ToInit::Alive)
    }

    /// Puts a line into the machine's log.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn log(&self, line: &str) -> Result<(), ChannelError> {
        let line = line.chars().filter(|c| !c.is_control()).take(400).collect();
        self.tell(&ToInit::Log { line })
    }

    /// Takes the next wish of init, waiting if the control socket waits.
    ///
    /// # Errors
    /// [`ChannelError`]; `Closed` when init let go, which it never does while the machine runs.
    pub fn wish(&mut self) -> Result<Wish, ChannelError> {
        loop {
            match self.take()? {
                Some(Wish::NewEdge(name)) => return Ok(Wish::NewEdge(name)),
                Some(Wish::Stop) => return Ok(Wish::Stop),
                None => {}
            }
        }
    }

    /// The next wish of init if there is one; never waits.
    ///
    /// # Errors
    /// As [`Service::wish`].
    pub fn wish_now(&mut self) -> Result<Option<Wish>, ChannelError> {
        match self.control.receive_now() {
            Ok(frame) => self.understand(frame),
            Err(ChannelError::WouldBlock) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One message; `None` is the start signal.
    fn take(&mut self) -> Result<Option<Wish>, ChannelError> {
        let frame = self.control.receive()?;
        self.understand(frame)
    }

    fn understand(&mut self, frame: Frame) -> Result<Option<Wish>, ChannelError> {
        let (message, fds) = frame.open(|(_, message): &(u16, ToService)| {
            usize::from(matches!(message, ToService::Edge { .. } | ToService::Kept))
        })?;
        let (version, message) = message;
        if version != control::VERSION {
            return Err(ChannelError::Content(contract::cbor::CborError::Decode(format!(
                "control version {version}, this service speaks {}",
                control::VERSION
            ))));
        }
        match message {
            ToService::Edge { name } if name.len() <= NAME_BYTES_MAX => {
                self.edges.extend(fds.into_iter().map(|fd| (name.clone(), fd)));
                Ok(Some(Wish::NewEdge(name)))
            }
            ToService::Edge { .. } => Err(ChannelError::TooLong),
            ToService::Kept => {
                self.kept = fds.into_iter().next();
                self.take()
            }
            ToService::Start => Ok(None),
            ToService::Stop => Ok(Some(Wish::Stop)),
        }
    }

    fn tell(&self, message: &ToInit) -> Result<(), ChannelError> {
        self.control.send(&(control::VERSION, message), &[])
    }
}

impl AsFd for Service {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }
}
