//! Why there are no bytes, and what to do.

use std::io;
use std::path::PathBuf;

use qrng::stream::{Code, Malformed};
use thiserror::Error;

/// Why a call gave nothing. The text says what and how to mend it.
#[derive(Debug, Error)]
pub enum ConsumerError {
    /// Nobody listens at the socket.
    #[error(
        "no gateway listens at {path}: {error}; start it with `[stream] listen = {path:?}` in its configuration, or name the right socket"
    )]
    Absent {
        /// The socket.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
    /// This user may not use the socket.
    #[error(
        "{path}: this user may not take bytes here; add it to the socket's group, or to `users` in the gateway's section [stream]"
    )]
    Forbidden {
        /// The socket.
        path: PathBuf,
    },
    /// Not enough bytes came in the time allowed.
    #[error(
        "the gateway at {path} has too few bytes now{}; wait longer, or ask for less",
        wasted(*.had)
    )]
    Empty {
        /// The socket.
        path: PathBuf,
        /// Bytes that had come, and were destroyed.
        had: usize,
    },
    /// A health test of the gateway has failed for good.
    #[error(
        "the gateway at {path} has stopped for good, because a health test failed: mend the source, then `qrng clear --gateway`"
    )]
    Latched {
        /// The socket.
        path: PathBuf,
    },
    /// The supply has failed.
    #[error(
        "the gateway at {path} gets no bytes: its sources are latched or the link is silent; see `reasons` in its status"
    )]
    Stalled {
        /// The socket.
        path: PathBuf,
    },
    /// This user has had its bytes of the day.
    #[error(
        "{path}: this user has had all bytes that it may have today; wait until midnight (UTC), or raise `quota` in the gateway's \
         section [shares]"
    )]
    Quota {
        /// The socket.
        path: PathBuf,
    },
    /// As many programs are connected, or wait, as may be.
    #[error(
        "the gateway at {path} has as many connections as it may have; end some, and try again"
    )]
    Busy {
        /// The socket.
        path: PathBuf,
    },
    /// The connection ended although it was new.
    #[error(
        "the gateway at {path} ended the connection: it was stopped, or cut off a program that was too slow; try again"
    )]
    Ended {
        /// The socket.
        path: PathBuf,
    },
    /// Whom the bytes were for has gone, and none were taken.
    #[error("whom bytes of the gateway at {path} were for has gone")]
    Unwanted {
        /// The socket.
        path: PathBuf,
    },
    /// No answer came for much longer than was asked for.
    #[error("the gateway at {path} does not answer: see whether it hangs, and start it again")]
    Silent {
        /// The socket.
        path: PathBuf,
    },
    /// The connection failed in the middle of an answer.
    #[error("the connection to the gateway at {path} failed: {error}; try again")]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
    /// What answers is no gateway, or one of another version.
    #[error(
        "what listens at {path} does not speak as a gateway does ({malformed}): name the gateway's stream socket, and use \
         programs of one version"
    )]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// What is wrong.
        #[source]
        malformed: Malformed,
    },
    /// An answer that does not belong to the request.
    #[error(
        "the gateway at {path} answered {code:?}, which is no answer to what was asked: use programs of one version"
    )]
    Unfit {
        /// The socket.
        path: PathBuf,
        /// What it says.
        code: Code,
    },
}

fn wasted(had: usize) -> String {
    match had {
        0 => String::new(),
        had => format!(" ({had} had come, and were destroyed)"),
    }
}
