//! What the stream socket's thread counts.

use serde_json::{Value, json};

use crate::counters::Counter;

/// What the socket's thread has counted since the start.
#[derive(Debug, Default)]
pub struct StreamCounters {
    /// Connections that are open now.
    pub connections: Counter,
    /// Connections that were let in.
    pub accepted: Counter,
    /// Connections that were refused: not allowed, or too many.
    pub refused: Counter,
    /// Requests that were understood.
    pub requests: Counter,
    /// Bytes that were delivered, part of what the buffer counts as served.
    pub served_bytes: Counter,
    /// Requests that were not understood; each ended its connection.
    pub malformed: Counter,
    /// Connections that were ended because their program was too slow, or idle for too long.
    pub cut_off: Counter,
    /// Connections that ended with a part of an answer unread, although the kernel had taken all of it.
    pub left_unread: Counter,
}

impl StreamCounters {
    /// All of it, for the status document.
    pub fn value(&self) -> Value {
        json!({
            "connections": self.connections.get(),
            "accepted": self.accepted.get(),
            "refused": self.refused.get(),
            "requests": self.requests.get(),
            "served_bytes": self.served_bytes.get(),
            "malformed": self.malformed.get(),
            "cut_off": self.cut_off.get(),
            "left_unread": self.left_unread.get(),
        })
    }
}
