//! Why a capture does not start, and why it ends by itself.

use std::io;

use super::{
    attach::AttachError,
    chain::Detached,
    interface::InterfaceError,
    log::LogError,
    namespace::{NamespaceError, NetworkNamespace},
    object::{CountersError, LoadError, SettleError},
    watch::WatchError,
};

/// Why a capture does not start. Nothing is left attached.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The interface cannot be captured on.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The interface is down or gone, or it would not be noticed when it goes.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// A network namespace cannot be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// What concerns an interface in another network namespace.
    #[error("in network namespace {namespace}: {source}")]
    InNamespace {
        /// What it is called.
        namespace: String,
        /// What went wrong.
        #[source]
        source: Box<StartError>,
    },
    /// The programs are not loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// What the programs log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The programs are not attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A program was detached again at once.
    #[error(transparent)]
    Detached(#[from] Detached),
    /// The counters cannot be read.
    #[error(transparent)]
    Counters(#[from] CountersError),
    /// There is no helper.
    #[error("cannot start the helper process, which keeps the programs attached: {0}")]
    Helper(#[source] io::Error),
    /// Packets cannot be waited for.
    #[error(transparent)]
    Wait(#[from] WaitError),
}

impl StartError {
    /// Whether it concerns every interface, and not the one alone.
    pub(super) fn is_of_all(&self) -> bool {
        matches!(self, Self::Load(_) | Self::Attach(AttachError::Load(_) | AttachError::NotPermitted(_)))
    }

    /// The same, with the namespace that the interface is in.
    pub(super) fn within(self, namespace: Option<&NetworkNamespace>) -> Self {
        match namespace {
            Some(namespace) if !self.is_of_all() && !matches!(self, Self::Namespace(_)) => {
                Self::InNamespace { namespace: namespace.name().to_owned(), source: Box::new(self) }
            }
            _ => self,
        }
    }

    /// Whether the interface was gone.
    pub(super) fn is_disappeared(&self) -> bool {
        matches!(self, Self::Attach(AttachError::Disappeared(_)))
    }
}

/// Why a capture that runs has ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The interface is gone or would not be noticed when it goes, or another process has detached a program.
    #[error("{0}")]
    Lost(String),
    /// The helper is gone.
    #[error(transparent)]
    Helper(#[from] HelperError),
    /// Packets cannot be waited for.
    #[error(transparent)]
    Wait(#[from] WaitError),
}

/// The helper does not do its work any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "lost the helper process that keeps the programs attached: {0}; the capture has ended: start it again"
)]
pub struct HelperError(pub String);

/// What went wrong when a capture was detached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DetachError {
    /// Another process had detached a program.
    #[error(transparent)]
    Detached(#[from] Detached),
    /// The programs may still run.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// The same, as the helper says it.
    #[error("{0}")]
    Told(String),
    /// The helper is gone.
    #[error(transparent)]
    Helper(#[from] HelperError),
}

/// Waiting for the rings failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot wait for the ring buffers: {0}")]
pub struct WaitError(#[source] pub io::Error);
