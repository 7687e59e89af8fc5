//! `qrng doctor` at the collector's end of a line: whether the gateway's Ethernet address is known without an answer.

use std::fs;
use std::process::{Command, Output};

use qrng_tests::chain::program;
use qrng_tests::netns::{FAR, FAR_MAC, Line, NEAR_DEVICE, ip};
use qrng_tests::skip;

/// The doctor's words within the collector's namespace, and its exit code.
fn doctor(line: &Line, config: &std::path::Path) -> (String, Option<i32>) {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &line.near]);
    command
        .arg(program("qrng"))
        .args(["doctor", "--config"])
        .arg(config);
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("ip runs");
    let words = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    (words.into_owned(), status.code())
}

#[test]
fn a_line_without_a_permanent_neighbour_is_told_with_the_command_that_makes_one() {
    let line = match Line::new() {
        Ok(line) => line,
        Err(why) => skip!("no network namespaces: {why}"),
    };
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("collector.toml");
    let gateways: String = [FAR[0], FAR[2]]
        .iter()
        .zip(["four", "six"])
        .map(|(address, name)| {
            let port = if address.contains(':') { format!("[{address}]:4790") } else { format!("{address}:4790") };
            format!("[[gateway]]\nname = \"{name}\"\naddress = \"{port}\"\nkey = \"/etc/qrng/{name}.key\"\n")
        })
        .collect();
    fs::write(
        &config,
        format!("state-directory = \"/var/lib/q\"\nruntime-directory = \"/run/q\"\n[source]\nkind = \"simulator\"\n{gateways}"),
    )
    .expect("a file");

    let mac: Vec<_> = FAR_MAC.iter().map(|byte| format!("{byte:02x}")).collect();
    let mac = mac.join(":");
    let (words, code) = doctor(&line, &config);
    assert_eq!(code, Some(0), "{words}");
    for address in [FAR[0], FAR[2]] {
        assert!(
            words.contains(&format!("{address} at {mac}, permanent")),
            "{words}"
        );
        let command =
            format!("ip neigh replace {address} lladdr {mac} dev {NEAR_DEVICE} nud permanent");
        assert!(words.contains(&command), "{words}");
    }
    for command in [
        format!("ethtool -A {NEAR_DEVICE} rx off tx off autoneg off"),
        format!("nft add rule inet diode in iifname \"{NEAR_DEVICE}\" drop"),
    ] {
        assert!(words.contains(&command), "{words}");
    }

    for address in [FAR[0], FAR[2]] {
        ip(&format!(
            "-n {} neigh del {address} dev {NEAR_DEVICE}",
            line.near
        ))
        .expect("ip");
    }
    let (words, code) = doctor(&line, &config);
    assert_eq!(code, Some(1), "{words}");
    for (name, address) in [("four", FAR[0]), ("six", FAR[2])] {
        let problem = format!("gateway {name}: the Ethernet address of {address} is not known");
        assert!(words.contains(&problem), "{words}");
        assert!(
            words.contains(&format!(
                "ip neigh replace {address} lladdr MAC dev {NEAR_DEVICE} nud permanent"
            )),
            "{words}"
        );
    }
}
