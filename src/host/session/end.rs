//! Why sessions end, and what their clients are told of it.

#![forbid(unsafe_code)]

use std::fmt;

use punktfunk_core::proto::gamestream::control::Termination;

/// Why a session ends.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// Its app has ended by itself.
    AppEnded,
    /// Its app is cancelled, by whoever may.
    Cancelled,
    /// The client does not answer any more.
    ClientGone,
    /// The administrator ends it.
    Dismissed,
    /// The client said good-bye.
    ClientLeft,
    /// Nobody came.
    NeverCame,
    /// The pictures have ended: why.
    NoPicture(String),
    /// The same client begins another, or another client takes over.
    Replaced,
    /// Another session goes on with its app.
    Resumed,
    /// The client may not see the host any more.
    Revoked,
    /// The daemon stops.
    Stopped,
    /// What is said in its name is not the client's.
    Tampered,
    /// The client is not trusted any more.
    Unpaired,
}

impl End {
    /// What the client is told, where it is to be told anything.
    pub(super) fn termination(&self) -> Option<Termination> {
        match self {
            End::AppEnded
            | End::Cancelled
            | End::Dismissed
            | End::Replaced
            | End::Resumed
            | End::Revoked
            | End::Stopped
            | End::Unpaired => Some(Termination::Graceful),
            End::NoPicture(_) => Some(Termination::FrameConversion),
            End::ClientGone | End::ClientLeft | End::NeverCame | End::Tampered => None,
        }
    }

    /// Whether the app goes on, for the client to return to.
    pub(super) fn leaves_app(&self) -> bool {
        matches!(self, End::ClientGone | End::ClientLeft | End::NeverCame | End::NoPicture(_))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::NoPicture(why) => write!(f, "no picture: {why}"),
            other => f.write_str(match other {
                End::AppEnded => "app ended",
                End::Cancelled => "app cancelled",
                End::ClientGone => "client does not answer",
                End::ClientLeft => "client left",
                End::Dismissed => "the administrator ended it",
                End::NeverCame => "client did not connect",
                End::Replaced => "another session took its place",
                End::Resumed => "another session goes on with its app",
                End::Revoked => "client may not see this host any more",
                End::Stopped => "daemon stops",
                End::Tampered => "forged messages on its control stream",
                _ => "client unpaired",
            }),
        }
    }
}
