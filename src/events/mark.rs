//! What events mean: for work, and for the object.
//!
//! A noun states the mark of each of its events where it declares them (`noun_events!`), so
//! nothing is read off the spelling of a type (rule E6). Not here: payloads (one file a noun).

/// What work does to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Bring it into being.
    Create,
    /// Start its process.
    Start,
    /// Stop its process.
    Stop,
    /// Stop and start its process.
    Reboot,
    /// Freeze its process.
    Pause,
    /// Let its process continue.
    Unpause,
    /// Send its process a signal.
    Kill,
    /// Run a command in it.
    Execute,
    /// End a command that runs in it.
    EndExecution,
    /// Delete what is in it.
    Empty,
    /// Change the name by which others reach it.
    Rename,
    /// Change its limits while it goes on.
    Adjust,
    /// Make it anew, in the place of what there is of it.
    Recreate,
    /// Remove it.
    Delete,
}

impl Verb {
    /// Every verb, for reading one that was recorded by name.
    const ALL: [Self; 14] = [
        Self::Create,
        Self::Start,
        Self::Stop,
        Self::Reboot,
        Self::Pause,
        Self::Unpause,
        Self::Kill,
        Self::Execute,
        Self::EndExecution,
        Self::Empty,
        Self::Rename,
        Self::Adjust,
        Self::Recreate,
        Self::Delete,
    ];

    /// As it is recorded and shown: `start`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Reboot => "reboot",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Kill => "kill",
            Self::Execute => "execute",
            Self::EndExecution => "end execution",
            Self::Empty => "empty",
            Self::Rename => "rename",
            Self::Adjust => "adjust",
            Self::Recreate => "recreate",
            Self::Delete => "delete",
        }
    }

    /// Whether it is done beside the queue of the object's work.
    pub const fn runs_beside(self) -> bool {
        matches!(self, Self::Execute | Self::EndExecution)
    }

    /// Whether it is done to what runs in the object, so that its failure says nothing of that.
    pub const fn is_inside(self) -> bool {
        matches!(self, Self::Execute | Self::EndExecution | Self::Kill)
    }

    /// The verb that was recorded under a name; `None` if it is not one of ours.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.name() == name)
    }
}

/// What an event means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It asks for work; its own id is the id of that work.
    Asks(Verb),
    /// Work is done.
    Done(Verb),
    /// One step of work is done; the work goes on.
    Step,
    /// Work failed.
    Failed,
    /// The outcome of work is unknown.
    Unknown,
    /// Work waits.
    Blocked,
    /// Work makes progress.
    Progress,
    /// Something happened that was not asked for.
    Observed,
    /// The object changed without work.
    Changed,
    /// A command was refused; nothing changed.
    Refused,
}

impl Mark {
    /// Whether it is the end of work.
    pub const fn ends_work(self) -> bool {
        matches!(self, Self::Done(_) | Self::Failed | Self::Unknown)
    }

    /// Whether it only says how far work is, which does not change the object.
    pub const fn is_progress(self) -> bool {
        matches!(self, Self::Blocked | Self::Progress)
    }
}
