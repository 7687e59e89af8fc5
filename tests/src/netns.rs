//! Two network namespaces joined by a veth pair: the collector's host and the gateway's side.

use std::fs::File;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sched::{CloneFlags, setns};

/// The collector's addresses (RFC 5737, RFC 3849).
pub const NEAR: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
/// The gateways', all at the far end.
pub const FAR: [&str; 3] = ["192.0.2.2", "192.0.2.3", "2001:db8::2"];
/// The collector's Ethernet address.
pub const NEAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The gateway's.
pub const FAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// The name of the collector's interface.
pub const NEAR_DEVICE: &str = "near0";
/// The name of the gateway's.
pub const FAR_DEVICE: &str = "far0";

/// The namespaces and the line between them; gone when dropped.
pub struct Line {
    /// The collector's namespace.
    pub near: String,
    /// The gateway's.
    pub far: String,
}

impl Line {
    /// Makes one, with permanent neighbour entries at the near end.
    ///
    /// # Errors
    /// Why it cannot be made here: not root, or no namespaces.
    pub fn new() -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = |end: &str| format!("qrng-test-{}-{number}-{end}", std::process::id());
        // Dropped, and so removed, if a step fails.
        let line = Self {
            near: name("near"),
            far: name("far"),
        };
        let (near, far) = (&line.near, &line.far);
        for step in [
            format!("netns add {near}"),
            format!("netns add {far}"),
            format!(
                "link add name {NEAR_DEVICE} netns {near} address {} type veth \
                 peer name {FAR_DEVICE} netns {far} address {}",
                mac(NEAR_MAC),
                mac(FAR_MAC)
            ),
        ] {
            ip(&step)?;
        }
        let ends: [(_, _, &[&str]); 2] = [(near, NEAR_DEVICE, &NEAR), (far, FAR_DEVICE, &FAR)];
        for (space, device, addresses) in ends {
            for address in addresses {
                let prefix = if is_v6(address) { "/64 nodad" } else { "/24" };
                ip(&format!(
                    "-n {space} addr add {address}{prefix} dev {device}"
                ))?;
            }
            ip(&format!("-n {space} link set lo up"))?;
            ip(&format!("-n {space} link set {device} up"))?;
        }
        line.know_neighbours()?;
        Ok(line)
    }

    /// Gives the near end permanent entries for the far one.
    ///
    /// # Errors
    /// `ip`'s words.
    pub fn know_neighbours(&self) -> Result<(), String> {
        for address in FAR {
            let neighbour = format!("{address} lladdr {} dev {NEAR_DEVICE}", mac(FAR_MAC));
            ip(&format!(
                "-n {} neigh replace {neighbour} nud permanent",
                self.near
            ))?;
        }
        Ok(())
    }

    /// Runs `body` in a thread of the collector's namespace: sockets that it opens stay there.
    ///
    /// # Panics
    /// The namespace cannot be entered, or `body` panics.
    pub fn near<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> T {
        within(&self.near, body)
    }

    /// The same in the gateway's namespace.
    ///
    /// # Panics
    /// As [`near`](Self::near).
    pub fn far<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> T {
        within(&self.far, body)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        for space in [&self.near, &self.far] {
            // It may not have been made.
            let _ = ip(&format!("netns del {space}"));
        }
    }
}

fn within<T: Send + 'static>(space: &str, body: impl FnOnce() -> T + Send + 'static) -> T {
    let path = format!("/var/run/netns/{space}");
    let thread = thread::spawn(move || {
        let file = File::open(path).expect("a namespace");
        setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter it");
        body()
    });
    thread.join().expect("no panic in the namespace")
}

/// Runs `ip` with these words.
///
/// # Errors
/// Its words.
pub fn ip(words: &str) -> Result<String, String> {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new("ip")
        .args(words.split_whitespace())
        .output()
        .map_err(|e| format!("ip: {e}"))?;
    if !status.success() {
        return Err(format!("ip {words}: {}", String::from_utf8_lossy(&stderr)));
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Whether an address in words is one of IPv6.
pub fn is_v6(address: &str) -> bool {
    address.contains(':')
}

fn mac(address: [u8; 6]) -> String {
    address.map(|byte| format!("{byte:02x}")).join(":")
}
