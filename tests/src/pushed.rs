//! A gateway that nothing reaches but through the HTTP service beside it, and a collector that pushes.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use qrng_card::certificates::write_set;
use serde_json::Value;

use crate::chain::{Chain, program, spawn};
use crate::http::{At, client_config};
use crate::numbered::{BLOCK, Numbering};
use crate::shim::{Shim, write_keys};

/// Numbered bytes are not random, as the gateway's tests would find.
pub const UNTESTED: &str = "[health]\nenabled = false";

/// Everything on one machine.
pub struct World {
    /// The gateway and, once it is started, the collector.
    pub chain: Chain,
    /// The HTTP service, while it runs.
    pub shim: Option<Shim>,
    /// Where it listens.
    pub address: SocketAddr,
    /// A key that pushes.
    pub push_key: String,
    /// A key that reads.
    pub read_key: String,
    authority: String,
}

impl World {
    /// Keys and certificates; the gateway runs, and accepts untested bytes. `mib` of numbered bytes are the source.
    ///
    /// # Panics
    /// Something of it cannot be made.
    pub fn new(mib: usize) -> Self {
        let mut chain = Chain::new();
        fs::create_dir(chain.path("tls")).expect("a directory");
        let (authority, _) = write_set(&chain.path("tls")).expect("certificates");
        private(&chain, "tls/server.key");
        let (_, mut keys) = write_keys(&chain, &["collector"]);
        let push_key = keys.remove(0);
        fs::rename(chain.path("http.keys"), chain.path("push.keys")).expect("a file of keys");
        let (_, mut keys) = write_keys(&chain, &["reader"]);
        fs::write(chain.path("push.key"), format!("{push_key}\n")).expect("a key");
        private(&chain, "push.key");
        let numbers = Numbering::default().bytes((mib << 20) as u64 / BLOCK as u64);
        fs::write(chain.path("numbers"), numbers).expect("a source");
        chain.start_gateway("", UNTESTED);
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        Self {
            chain,
            shim: None,
            address: free.expect("a free port"),
            push_key,
            read_key: keys.remove(0),
            authority: authority.certificate(),
        }
    }

    /// Starts the HTTP service with `more` in its configuration, before any table.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_shim(&mut self, more: &str, tables: &str) {
        let command = self.shim_command(more, tables);
        self.shim = Some(Shim::start_by(&self.chain, command));
    }

    /// Writes its configuration, and gives the command that starts it.
    pub fn shim_command(&self, more: &str, tables: &str) -> Command {
        let path = |name: &str| self.chain.path(name);
        let more = format!(
            "listen = [\"{}\"]\nkeys = {:?}\nlog-requests = \"all\"\n{more}",
            self.address,
            path("http.keys")
        );
        let tables = format!(
            "[tls]\ncertificate = {:?}\nkey = {:?}\n[push]\ngateway = \"127.0.0.1:{}\"\nkeys = {:?}\n{tables}",
            path("tls/server.pem"),
            path("tls/server.key"),
            self.chain.port,
            path("push.keys"),
        );
        Shim::command(&self.chain, &more, &tables)
    }

    /// The HTTP service as a client with TLS sees it.
    pub fn at(&self) -> At {
        At::Secret(self.address, client_config(&self.authority, None))
    }

    /// Where the collector pushes to.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The collector's configuration: it pushes to `url`, as `more` lines of [gateway.push] say.
    pub fn config(&self, url: &str, more: &str) -> String {
        let path = |name: &str| self.chain.path(name);
        format!(
            "state-directory = {0:?}\nruntime-directory = {0:?}\n[source]\nkind = \"node\"\npath = {1:?}\n[source.health]\n\
             enabled = false\n[send]\ndata-size = 1345\nrate = \"2 MB/s\"\n[[gateway]]\nname = \"far\"\nkey = {2:?}\n\
             [gateway.push]\nurl = \"{url}\"\napi-key = {3:?}\n{more}\n",
            path("collector"),
            path("numbers"),
            path("collector.key"),
            path("push.key"),
        )
    }

    /// That of the usual authority.
    pub fn ca_file(&self) -> String {
        format!("ca-file = {:?}", self.chain.path("tls/ca.pem"))
    }

    /// Starts the collector with this configuration.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start_collector(&mut self, config: &str, variables: &[(&str, &str)]) {
        let mut command = self.collector_command(config);
        command.envs(variables.iter().copied());
        let log = self.chain.path("collector.log");
        self.chain.collector = Some(spawn(&mut command, &log));
    }

    /// Writes its configuration, and gives the command that starts it.
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn collector_command(&self, config: &str) -> Command {
        let file = self.chain.path("collector.toml");
        fs::write(&file, config).expect("the collector's configuration");
        let mut command = Command::new(program("qrng-collector"));
        command.arg("--config").arg(file);
        command.env_remove("QRNG_GATEWAY_PUSH_URL");
        command
    }

    /// What the collector tells of pushing, once it does.
    pub fn pushing(&self) -> Option<Value> {
        let status = self.chain.collector_status()?;
        Some(status["gateways"][0]["push"].clone())
    }
}

fn private(chain: &Chain, name: &str) {
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(chain.path(name), mode).expect("a private file");
}
