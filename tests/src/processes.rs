//! Looks at other processes by /proc.

use std::fs;
use std::path::Path;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The processes whose parent is `parent`, dead ones that were not waited for left out.
pub fn children(parent: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter(|&pid| parent_of(pid) == Some(parent))
        .collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which may hold anything: state, parent.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.next()?.parse().ok()
}

/// Whether a process of this number is there and has not died.
pub fn is_alive(pid: u32) -> bool {
    parent_of(pid).is_some()
}

/// A field of /proc/PID/status, such as `CapEff`.
pub fn status_field(pid: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        (field == name).then(|| value.trim().to_owned())
    })
}

/// The sender of a collector, once it has started it and is confined itself, if it is to be.
pub fn sender_of(collector: u32) -> Option<u32> {
    children(collector)
        .into_iter()
        .find(|&pid| status_field(pid, "Name").as_deref() == Some("qrng-sender"))
}

/// The capability that a daemon keeps of root, as a mask: to lock memory, where the limit on that could not be lifted.
pub fn of_locking() -> u64 {
    let (_, most) = getrlimit(Resource::RLIMIT_MEMLOCK).unwrap_or_default();
    let own = status_field(std::process::id(), "CapEff");
    let own = own
        .and_then(|mask| u64::from_str_radix(&mask, 16).ok())
        .unwrap_or(0);
    // CAP_SYS_RESOURCE lifts it.
    let limited = most != RLIM_INFINITY && own & (1 << 24) == 0;
    if limited { own & (1 << 14) } else { 0 }
}

/// Sends a signal.
///
/// # Panics
/// There is no such process.
pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().expect("a process number"));
    kill(pid, signal).expect("a process");
}

/// A UDP socket as the kernel shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpSocketState {
    /// Its port; 0 if it has none.
    pub port: u16,
    /// Bytes that wait to be received.
    pub queued: u64,
    /// Datagrams dropped.
    pub drops: u64,
    inode: u64,
}

/// The UDP sockets that a process has, of both families. It may be in another network namespace.
pub fn udp_sockets(pid: u32) -> Vec<UdpSocketState> {
    let open = fs::read_dir(format!("/proc/{pid}/fd"));
    let targets = open.into_iter().flatten().flatten();
    let own: Vec<String> = targets
        .filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.to_str()?.to_owned()))
        .collect();
    let tables = ["udp", "udp6"].map(|table| format!("/proc/{pid}/net/{table}"));
    let rows = tables.iter().flat_map(|table| udp_table(Path::new(table)));
    rows.filter(|row| own.contains(&format!("socket:[{}]", row.inode)))
        .collect()
}

fn udp_table(path: &Path) -> Vec<UdpSocketState> {
    let table = fs::read_to_string(path).unwrap_or_default();
    table.lines().skip(1).filter_map(udp_row).collect()
}

/// A line of /proc/net/udp: sl, local, remote, state, tx:rx queue, timer, retransmits, user, timeout,
/// inode, references, pointer, drops.
fn udp_row(line: &str) -> Option<UdpSocketState> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let port = fields.get(1)?.rsplit_once(':')?.1;
    let queued = fields.get(4)?.split_once(':')?.1;
    Some(UdpSocketState {
        port: u16::from_str_radix(port, 16).ok()?,
        queued: u64::from_str_radix(queued, 16).ok()?,
        inode: fields.get(9)?.parse().ok()?,
        drops: fields.last()?.parse().ok()?,
    })
}
