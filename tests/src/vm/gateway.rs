//! The gateway in a guest with systemd, as its package sets it up, and a collector beside it that feeds it.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::guest::{Guest, PATIENCE};
use super::plan::Plan;
use crate::chain::{Chain, now_us};

/// What the package installs, as it is shipped.
const SHIPPED: [(&str, &str); 7] = [
    (
        "/usr/lib/systemd/system/qrng-gateway.service",
        include_str!("../../../systemd/qrng-gateway.service"),
    ),
    (
        "/usr/lib/systemd/system/qrng-mount.service",
        include_str!("../../../systemd/qrng-mount.service"),
    ),
    (
        "/usr/lib/systemd/system/qrng-mount.socket",
        include_str!("../../../systemd/qrng-mount.socket"),
    ),
    (
        "/usr/lib/sysusers.d/qrng-gateway.conf",
        include_str!("../../../systemd/qrng-gateway.sysusers"),
    ),
    (
        "/usr/lib/tmpfiles.d/qrng-gateway.conf",
        include_str!("../../../systemd/tmpfiles.conf"),
    ),
    (
        "/usr/lib/modules-load.d/qrng-gateway.conf",
        include_str!("../../../systemd/qrng-gateway.modules-load"),
    ),
    (
        "/usr/lib/udev/rules.d/70-qrng-gateway.rules",
        include_str!("../../../udev/70-qrng-gateway.rules"),
    ),
];

/// What both ends are told before what the test tells them.
const GATEWAY: &str = "listen = \"127.0.0.1:4790\"\n\
    keys = [\"/etc/qrng/qrng.gateway.key\"]\n\
    mount-helper = \"/run/qrng/mount.socket\"\n\
    accept-simulated = true\n";
const COLLECTOR: &str = "state-directory = \"/var/lib/qrng-collector\"\n\
    runtime-directory = \"/run/qrng-collector\"\n\
    [[gateway]]\nname = \"here\"\naddress = \"127.0.0.1:4790\"\nkey = \"/etc/qrng/collector.key\"\n\
    [source]\nkind = \"node\"\npath = \"/dev/urandom\"\n";

impl Plan<'_> {
    /// Has the gateway and its mount helper with what their package installs, and a collector, whose source is the guest's own
    /// kernel, because the simulator finds no seed in a program without libraries. `gateway` and `collector` are tables of
    /// their configurations.
    ///
    /// # Panics
    /// A program does not build.
    pub fn gateway(mut self, gateway: &str, collector: &str) -> Self {
        let chain = Chain::new();
        let key = |name: &str| fs::read(chain.path(name)).expect("the chain made it");
        for (path, text) in SHIPPED {
            self = self.file(path, 0o644, text);
        }
        self.installed("qrng-gateway", "qrng-gateway", "/usr/bin")
            .installed("qrng-gateway", "qrng-mount", "/usr/libexec/qrng")
            .program("qrng-collector", "qrng-collector")
            .file("/etc/qrng/qrng.gateway.key", 0o600, key("gateway.key"))
            .file("/etc/qrng/collector.key", 0o600, key("collector.key"))
            .file(
                "/etc/qrng/gateway.toml",
                0o644,
                format!("{GATEWAY}{gateway}"),
            )
            .file(
                "/etc/qrng/collector.toml",
                0o644,
                format!("{COLLECTOR}{collector}"),
            )
    }
}

impl Guest {
    /// Starts the gateway that the plan gave the guest, and waits until it serves.
    ///
    /// # Panics
    /// It does not start; its log is told.
    pub fn start_gateway(&mut self) {
        // The guest's clock is its own.
        self.succeed(&format!("date -s @{} >/dev/null", now_us() / 1_000_000));
        self.succeed("chown qrng-gateway /etc/qrng/qrng.gateway.key");
        self.succeed(
            "systemctl start qrng-mount.socket qrng-gateway || { journalctl -b -o cat -u 'qrng-*'; false; }",
        );
    }

    /// Starts the collector.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_feeding(&mut self) {
        let command = "/usr/local/bin/qrng-collector --config /etc/qrng/collector.toml";
        let directories = "-p StateDirectory=qrng-collector -p RuntimeDirectory=qrng-collector";
        self.succeed(&format!(
            "systemd-run --quiet --unit=collector {directories} {command}"
        ));
    }

    /// Ends the collector, and waits until what it has sent is in the buffer.
    ///
    /// # Panics
    /// It does not end.
    pub fn stop_feeding(&mut self) {
        self.succeed("systemctl stop collector");
        let mut before = Value::Null;
        loop {
            let now = self.gateway_status()["bytes"].take();
            if now == before {
                return;
            }
            before = now;
            self.succeed("sleep 1");
        }
    }

    /// The gateway's status.
    ///
    /// # Panics
    /// There is none, or it is no JSON.
    pub fn gateway_status(&mut self) -> Value {
        let text = self.succeed("cat /qrng/status");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("the gateway's status: {e}\n{text}"))
    }

    /// Waits until so many bytes are in the buffer.
    ///
    /// # Panics
    /// They do not come.
    pub fn wait_for_bytes(&mut self, bytes: u64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.gateway_status();
            if status["buffer"]["fill_bytes"].as_u64() >= Some(bytes) {
                return;
            }
            if Instant::now() > deadline {
                let log = self.succeed("journalctl -b -o cat -u collector -u 'qrng-*'");
                panic!("too few bytes: {status:#}\n{log}");
            }
            thread::sleep(Duration::from_millis(300));
        }
    }
}
