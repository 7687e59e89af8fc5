//! The way to each gateway, as the kernel's tables have it: whether packets leave without an answer from the other end,
//! and the commands that make a line one way at both ends (docs/operations.md).

use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

use super::report::Problem;

/// The way to a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The gateway's name in the configuration.
    pub gateway: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The interface that packets leave by.
    pub interface: String,
    /// Whose Ethernet address they bear: the gateway, or the router before it.
    pub next_hop: IpAddr,
    /// How that address is known.
    pub neighbour: Neighbour,
}

/// How the next hop's Ethernet address is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Neighbour {
    /// This host itself, or an interface without such addresses.
    Needless,
    /// Given by hand.
    Permanent(String),
    /// From an answer, which must come again and again.
    Learned(String),
    /// Not at all.
    Unknown,
}

/// Asks the kernel's tables.
pub trait Tables {
    /// What `ip -json` prints for these words.
    ///
    /// # Errors
    /// It can't be run, or refuses.
    fn ask(&self, words: &[&str]) -> Result<Value>;
}

/// Those of this host.
pub struct ThisHost;

impl ThisHost {
    /// Whether they can be asked.
    pub fn can_be_asked() -> bool {
        Command::new("ip").arg("-Version").output().is_ok()
    }
}

impl Tables for ThisHost {
    fn ask(&self, words: &[&str]) -> Result<Value> {
        let output = Command::new("ip").arg("-json").args(words).output();
        let output = output.context("ip cannot be run (package iproute2)")?;
        if !output.status.success() {
            bail!(
                "ip {}: {}",
                words.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        if output.stdout.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Array(Vec::new()));
        }
        serde_json::from_slice(&output.stdout).context("ip prints no JSON")
    }
}

/// The way to `address`.
///
/// # Errors
/// There is none, or nobody can be asked.
pub fn look(tables: &impl Tables, gateway: &str, address: SocketAddr) -> Result<Line> {
    let to = address.ip().to_string();
    let route = tables.ask(&["route", "get", &to])?;
    let route = &route[0];
    let interface = route["dev"].as_str().context("a route without a device")?;
    let next_hop = match route["gateway"].as_str().or(route["via"]["host"].as_str()) {
        Some(router) => router.parse().context("a router without an address")?,
        None => address.ip(),
    };
    let neighbour = if route["type"] == "local" || without_neighbours(tables, interface)? {
        Neighbour::Needless
    } else {
        let hop = next_hop.to_string();
        known(&tables.ask(&["neigh", "show", "to", &hop, "dev", interface])?)
    };
    Ok(Line {
        gateway: gateway.to_owned(),
        address,
        interface: interface.to_owned(),
        next_hop,
        neighbour,
    })
}

fn without_neighbours(tables: &impl Tables, interface: &str) -> Result<bool> {
    let link = tables.ask(&["link", "show", "dev", interface])?;
    let flags = link[0]["flags"].as_array();
    Ok(flags.is_some_and(|flags| {
        flags
            .iter()
            .any(|flag| flag == "NOARP" || flag == "LOOPBACK")
    }))
}

fn known(entries: &Value) -> Neighbour {
    let entry = &entries[0];
    let has = |state: &str| {
        let states = entry["state"].as_array();
        states.is_some_and(|states| states.iter().any(|other| other == state))
    };
    match entry["lladdr"].as_str() {
        Some(address) if has("PERMANENT") => Neighbour::Permanent(address.to_owned()),
        Some(address) if !has("FAILED") => Neighbour::Learned(address.to_owned()),
        _ => Neighbour::Unknown,
    }
}

impl Line {
    /// What keeps packets from leaving.
    pub fn problem(&self) -> Option<Problem> {
        (self.neighbour == Neighbour::Unknown).then(|| {
            Problem::new(
                format!(
                    "gateway {}: the Ethernet address of {} is not known, so no packet leaves if nobody there can answer",
                    self.gateway, self.next_hop
                ),
                self.entry(),
            )
        })
    }

    fn entry(&self) -> String {
        let address = match &self.neighbour {
            Neighbour::Permanent(address) | Neighbour::Learned(address) => address,
            Neighbour::Needless | Neighbour::Unknown => "MAC",
        };
        format!(
            "ip neigh replace {} lladdr {address} dev {} nud permanent",
            self.next_hop, self.interface
        )
    }

    /// The line for people, with the commands for both hosts.
    pub fn lines(&self) -> Vec<String> {
        let Self {
            gateway,
            address,
            interface,
            next_hop,
            ..
        } = self;
        let mut lines = vec![format!("The way to gateway {gateway} ({address})")];
        let mut line = |name: &str, value: String| lines.push(format!("  {name:<12}{value}"));
        line("interface", interface.clone());
        line(
            "neighbour",
            match &self.neighbour {
                Neighbour::Needless => "none is needed".into(),
                Neighbour::Permanent(mac) => format!("{next_hop} at {mac}, permanent"),
                Neighbour::Learned(mac) => {
                    format!("{next_hop} at {mac}, as long as answers come back")
                }
                Neighbour::Unknown => format!("{next_hop} is not known"),
            },
        );
        if self.neighbour == Neighbour::Needless {
            return lines;
        }
        line("one way here", self.entry());
        for command in one_way(interface, "in", "input", "iifname") {
            line("", command);
        }
        line("and there", "IF is the gateway's interface".into());
        for command in one_way("IF", "out", "output", "oifname") {
            line("", command);
        }
        lines
    }
}

/// Keeps an interface from whatever would be a way back.
fn one_way(interface: &str, chain: &str, hook: &str, direction: &str) -> [String; 4] {
    [
        format!("ethtool -A {interface} rx off tx off autoneg off"),
        "nft add table inet diode".to_owned(),
        format!(
            "nft add chain inet diode {chain} '{{ type filter hook {hook} priority -300; policy accept; }}'"
        ),
        format!("nft add rule inet diode {chain} {direction} \"{interface}\" drop"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Tables with one route and at most one entry.
    struct Made {
        route: Value,
        entries: Value,
        flags: Value,
    }

    impl Tables for Made {
        fn ask(&self, words: &[&str]) -> Result<Value> {
            match words {
                ["route", "get", "192.0.2.10"] => Ok(json!([self.route])),
                ["link", "show", "dev", "fibre0"] => Ok(json!([{"flags": self.flags}])),
                [
                    "neigh",
                    "show",
                    "to",
                    "192.0.2.10" | "198.51.100.1",
                    "dev",
                    "fibre0",
                ] => Ok(self.entries.clone()),
                other => bail!("asked for {other:?}"),
            }
        }
    }

    fn line(route: Value, entries: Value, flags: Value) -> Line {
        let tables = Made {
            route,
            entries,
            flags,
        };
        look(&tables, "lab", "192.0.2.10:4790".parse().unwrap()).unwrap()
    }

    fn direct(entries: Value) -> Line {
        line(json!({"dev": "fibre0"}), entries, json!(["UP"]))
    }

    #[test]
    fn an_unknown_neighbour_is_a_problem_with_its_command() {
        for entries in [
            json!([]),
            json!([{"state": ["FAILED"]}]),
            json!([{"lladdr": "02:00:00:00:00:02", "state": ["FAILED"]}]),
        ] {
            let line = direct(entries);
            assert_eq!(line.neighbour, Neighbour::Unknown);
            let problem = line.problem().unwrap();
            assert!(problem.what.contains("192.0.2.10"), "{problem:?}");
            assert_eq!(
                problem.remedy,
                "ip neigh replace 192.0.2.10 lladdr MAC dev fibre0 nud permanent"
            );
        }
    }

    #[test]
    fn a_known_neighbour_is_told_as_it_is_known() {
        let entry = |state: &str| json!([{"lladdr": "02:00:00:00:00:02", "state": [state]}]);
        let permanent = direct(entry("PERMANENT"));
        let mac = "02:00:00:00:00:02".to_owned();
        assert_eq!(permanent.neighbour, Neighbour::Permanent(mac.clone()));
        let learned = direct(entry("STALE"));
        assert_eq!(learned.neighbour, Neighbour::Learned(mac));
        for line in [permanent, learned] {
            assert_eq!(line.problem(), None);
            let text = line.lines().join("\n");
            for command in [
                "ip neigh replace 192.0.2.10 lladdr 02:00:00:00:00:02 dev fibre0 nud permanent",
                "ethtool -A fibre0 rx off tx off autoneg off",
                "nft add rule inet diode in iifname \"fibre0\" drop",
                "nft add rule inet diode out oifname \"IF\" drop",
            ] {
                assert!(text.contains(command), "{command} is not in: {text}");
            }
        }
    }

    #[test]
    fn behind_a_router_it_is_the_router_that_must_be_known() {
        let route = json!({"dev": "fibre0", "gateway": "198.51.100.1"});
        let line = line(route, json!([]), json!(["UP"]));
        assert_eq!(line.next_hop, IpAddr::from([198, 51, 100, 1]));
        assert!(line.problem().unwrap().what.contains("198.51.100.1"));
    }

    #[test]
    fn this_host_and_lines_without_addresses_need_no_neighbour() {
        let local = json!({"dev": "fibre0", "type": "local"});
        for (route, flags) in [
            (local, json!(["UP"])),
            (json!({"dev": "fibre0"}), json!(["NOARP"])),
        ] {
            let line = line(route, json!([]), flags);
            assert_eq!(line.neighbour, Neighbour::Needless);
            assert_eq!(line.problem(), None);
            assert!(!line.lines().join("\n").contains("nft"));
        }
    }
}
