//! The packages and the shipped units as they are, in a throw-away container: installed, configured as the README says,
//! started, read, upgraded and crashed under readers, stopped, and purged.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use nix::sys::stat::{major, minor};
use qrng_tests::chain::{program, wait_until};
use qrng_tests::container::{self, Container};
use qrng_tests::skip;

/// How many read while things go wrong.
const READERS: usize = 20;

/// What is installed first, and what it is upgraded to.
const VERSIONS: [&str; 2] = ["0.1.0-1", "0.1.1-1"];

/// Every byte sequence of this length is there once, if nothing is served twice: it comes twice by chance with a probability
/// of 2^-80 for megabytes.
const WINDOW: usize = 16;

/// Keys and configurations, as in the README but of a simulator.
const CONFIGURE: &str = r#"
qrng keygen --out /root --name lab >/dev/null
install -m 0600 -o qrng-gateway /root/lab.gateway.key /etc/qrng/
install -m 0600 -o qrng-collector /root/lab.collector.key /etc/qrng/
cat >/etc/qrng/gateway.toml <<END
keys = ["/etc/qrng/lab.gateway.key"]
mount-helper = "/run/qrng/mount.socket"
accept-simulated = true
listen = "127.0.0.1:4790"
[stream]
listen = "/run/qrng-gateway/stream.socket"
END
cat >/etc/qrng/adapter.toml <<END
[pool]
interval = "2 s"
END
cat >/etc/qrng/collector.toml <<END
[source]
kind = "simulator"
rate = "500 kB/s"
[[gateway]]
name = "lab"
address = "127.0.0.1:4790"
key = "/etc/qrng/lab.collector.key"
END
"#;

/// Makes the packages of both versions of the programs as they were built for tests.
fn packages(directory: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/packages.sh");
    for version in VERSIONS {
        let made = Command::new("sh")
            .arg(&script)
            .arg("dev")
            .arg(directory)
            .arg(version)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
    }
}

/// Readers in the container, as an ordinary user, each into a file of its own.
struct Readers(Vec<Child>);

impl Readers {
    fn start(container: &Container) -> Self {
        container.must("install -d -o alice /run/read");
        let reader = |number| {
            let script = format!(
                "exec setpriv --reuid=alice --regid=alice --init-groups dd if=/qrng/raw of=/run/read/{number} bs=1k status=none"
            );
            container.command(&script).spawn().unwrap()
        };
        Self((0..READERS).map(reader).collect())
    }

    fn sizes(container: &Container) -> Vec<u64> {
        let sizes = container.must("stat -c %s /run/read/*");
        sizes.lines().map(|size| size.parse().unwrap()).collect()
    }

    /// Waits until all read.
    fn get_going(&mut self, container: &Container) {
        wait_until("bytes for every reader", || {
            let sizes = container.run("ls /run/read/* | wc -l");
            String::from_utf8_lossy(&sizes.stdout).trim() == READERS.to_string()
        });
        self.go_on(container, "their start");
    }

    /// Waits until every reader that was there has got more, and none has ended.
    fn go_on(&mut self, container: &Container, after: &str) {
        let before = Self::sizes(container);
        wait_until(
            &format!("more bytes for every reader after {after}"),
            || {
                let now = Self::sizes(container);
                now.len() == READERS && now.iter().zip(&before).all(|(now, before)| now > before)
            },
        );
        for reader in &mut self.0 {
            assert!(
                reader.try_wait().unwrap().is_none(),
                "a reader ended: {after}"
            );
        }
    }

    /// Ends them; gives what each got.
    fn end(mut self, container: &Container) -> Vec<Vec<u8>> {
        container.must("pkill -x -u alice dd");
        for reader in &mut self.0 {
            reader.wait().unwrap();
        }
        let got = |number| {
            let output = container.run(&format!("cat /run/read/{number}"));
            output.stdout
        };
        (0..READERS).map(got).collect()
    }
}

/// No sequence of [`WINDOW`] bytes is there twice, wherever it begins.
fn nothing_twice(all: &[Vec<u8>]) {
    let mut seen = HashMap::new();
    for (reader, bytes) in all.iter().enumerate() {
        for (number, block) in bytes.chunks_exact(WINDOW).enumerate() {
            let place = (reader, number * WINDOW);
            assert_eq!(seen.insert(block, place), None, "served twice: {place:?}");
        }
    }
    for (reader, bytes) in all.iter().enumerate() {
        for (at, window) in bytes.windows(WINDOW).enumerate() {
            let first = seen.get(window).copied().unwrap_or((reader, at));
            assert_eq!(first, (reader, at), "served twice");
        }
    }
}

fn wait_for_bytes(container: &Container, after: &str) {
    wait_until(&format!("bytes after {after}"), || {
        let read = container.run("setpriv --reuid=alice --regid=alice --init-groups sh -c 'timeout 5 head -c 1000 /qrng/raw | wc -c'");
        String::from_utf8_lossy(&read.stdout).trim() == "1000"
    });
}

fn pid(container: &Container, unit: &str) -> String {
    container.must(&format!("systemctl show -P MainPID {unit}"))
}

fn install(container: &Container, version: &str) {
    let log = container.must(&format!("dpkg -i /shared/*_{version}_*.deb 2>&1"));
    assert!(!log.contains("warning"), "{log}");
}

fn installed_but_not_started(container: &Container) {
    install(container, VERSIONS[0]);
    container
        .must("systemctl is-enabled qrng-mount.socket qrng-gateway.service qrng-collector.service");
    // Without a configuration a start is nothing, and no failure.
    container.must("systemctl start qrng-gateway qrng-collector");
    for unit in ["qrng-gateway", "qrng-collector"] {
        assert!(
            !container
                .run(&format!("systemctl is-active {unit}"))
                .status
                .success()
        );
        assert!(
            !container
                .run(&format!("systemctl is-failed {unit}"))
                .status
                .success()
        );
    }
}

fn first_run(container: &Container) {
    container.must(CONFIGURE);
    container.must("useradd -m -G qrng alice; useradd -m bob");
    let awake = latency_for_gateway(container);
    container.must("systemctl start qrng-gateway qrng-collector");
    wait_for_bytes(container, "the first start");
    let files = format!("ls -l /proc/{}/fd", pid(container, "qrng-gateway").trim());
    let files = container.must(&files);
    assert_eq!(files.contains("/dev/cpu_dma_latency"), awake, "{files}");
    // The mount is in the namespace of everybody, and each service runs as its own user without privileges.
    let mounts = container.must("cat /proc/1/mounts");
    assert!(
        mounts
            .lines()
            .any(|line| line.contains(" /qrng fuse.qrng ")),
        "{mounts}"
    );
    container.must(
        "setpriv --reuid=bob --regid=bob --init-groups sh -c 'head -c 10 /qrng/raw' >/dev/null",
    );
    container.must("setpriv --reuid=alice --regid=alice --init-groups sh -c 'cat /qrng/status' | grep -q serving");
    assert!(
        !container
            .run("setpriv --reuid=bob --regid=bob --init-groups sh -c 'cat /qrng/status'")
            .status
            .success()
    );
    for unit in ["qrng-gateway", "qrng-collector"] {
        let pid = pid(container, unit);
        let status = container.must(&format!("cat /proc/{}/status", pid.trim()));
        assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
        let user = container.must(&format!("ps -o user:32= -p {}", pid.trim()));
        assert_eq!(user.trim(), unit);
    }
}

/// Makes the file that keeps processors awake and gives it to the gateway, as the udev rule does on a host. False: this kernel has
/// none, and then the gateway must do without.
fn latency_for_gateway(container: &Container) -> bool {
    let Ok(node) = fs::metadata("/dev/cpu_dma_latency") else {
        return false;
    };
    let (major, minor) = (major(node.rdev()), minor(node.rdev()));
    container.must(&format!(
        "mknod -m 600 /dev/cpu_dma_latency c {major} {minor}; chown qrng-gateway /dev/cpu_dma_latency"
    ));
    true
}

/// All memory is locked, if the container itself may lock so much; else as much as it may. The gateway is confined.
fn locked_and_confined(container: &Container) {
    let status = container.must("cat /qrng/status");
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["confinement"]["gateway"], "enforced");
    let gateway = pid(container, "qrng-gateway");
    let manager = container.must("sed -n 's/^Max locked memory *[^ ]* *//p' /proc/1/limits");
    let most = manager.split_whitespace().next().unwrap();
    let limits = container.must(&format!("cat /proc/{}/limits", gateway.trim()));
    let own = limits
        .lines()
        .find(|l| l.starts_with("Max locked memory"))
        .unwrap();
    let own: Vec<&str> = own.split_whitespace().skip(3).take(2).collect();
    assert_eq!(own, [most, most], "the unit asks for all there is");
    let locked = status["buffer"]["locked_bytes"].as_u64().unwrap();
    let wanted = status["buffer"]["capacity_bytes"].as_u64().unwrap();
    match most.parse::<u64>() {
        // What the container's manager may lock at the most, which a unit cannot raise.
        Ok(most) => assert!(locked + (1 << 20) >= most.min(wanted), "{locked} of {most}"),
        Err(_) => {
            assert!(locked >= wanted, "{locked} of {wanted}");
            let flags = container.must(&format!("cat /proc/{}/status", gateway.trim()));
            assert!(!flags.contains("VmLck:\t       0 kB"), "{flags}");
        }
    }
}

/// Keys as credentials: a file that root alone can read, and one that is encrypted for this machine.
fn credentials(container: &Container) {
    let drop_in = |unit: &str, lines: &str| {
        container.must(&format!(
            "mkdir -p /etc/systemd/system/{unit}.service.d; printf '[Service]\\n{lines}\\n' >/etc/systemd/system/{unit}.service.d/key.conf"
        ));
    };
    container.must("chown root /etc/qrng/*.key");
    container.must(
        "systemd-creds encrypt --with-key=host --name=lab.gateway.key /etc/qrng/lab.gateway.key /etc/qrng/lab.gateway.key.cred",
    );
    container.must("mv /etc/qrng/lab.gateway.key /root/kept.key");
    drop_in(
        "qrng-gateway",
        "LoadCredentialEncrypted=lab.gateway.key:/etc/qrng/lab.gateway.key.cred",
    );
    drop_in(
        "qrng-collector",
        "LoadCredential=lab.collector.key:/etc/qrng/lab.collector.key",
    );
    container.must("cp /etc/qrng/gateway.toml /etc/qrng/collector.toml /root");
    container.must(
        "sed -i 's#/etc/qrng/lab.gateway.key#credential:lab.gateway.key#' /etc/qrng/gateway.toml",
    );
    container.must("sed -i 's#/etc/qrng/lab.collector.key#credential:lab.collector.key#' /etc/qrng/collector.toml");
    container.must("systemctl daemon-reload; systemctl restart qrng-gateway qrng-collector");
    container
        .must("grep -q credential: /etc/qrng/gateway.toml && test ! -e /etc/qrng/lab.gateway.key");
    wait_for_bytes(container, "a start with credentials");
    // And back.
    container.must("rm -r /etc/systemd/system/qrng-*.service.d /etc/qrng/*.cred");
    container.must("mv /root/kept.key /etc/qrng/lab.gateway.key; cp /root/*.toml /etc/qrng");
    container.must("chown qrng-gateway /etc/qrng/lab.gateway.key; chown qrng-collector /etc/qrng/lab.collector.key");
    container.must("systemctl daemon-reload; systemctl restart qrng-gateway qrng-collector");
    wait_for_bytes(container, "a start with key files");
}

/// A gateway that gets stuck is killed and started anew by its watchdog, and its readers go on.
fn stuck(container: &Container, readers: &mut Readers) {
    container.must(
        "mkdir -p /run/systemd/system/qrng-gateway.service.d; \
         printf '[Service]\\nWatchdogSec=2s\\n' >/run/systemd/system/qrng-gateway.service.d/soon.conf; \
         systemctl daemon-reload; systemctl restart qrng-gateway",
    );
    readers.go_on(container, "a restart");
    let before = pid(container, "qrng-gateway");
    container.must("systemctl kill -s STOP --kill-who=main qrng-gateway");
    wait_until("the watchdog", || {
        let now = pid(container, "qrng-gateway");
        now != before && now.trim() != "0"
    });
    let log = container.must("journalctl -u qrng-gateway --no-pager");
    assert!(log.contains("Watchdog timeout"), "{log}");
    readers.go_on(container, "a watchdog");
    container.must("rm -r /run/systemd/system/qrng-gateway.service.d; systemctl daemon-reload");
}

/// The forms of the adapter, which nothing starts before an operator enables them; each with its own rights and no other.
fn adapters(container: &Container) {
    let units = ["qrng-pool", "qrng-egd", "qrng-fifo"];
    for unit in units {
        let enabled = container.run(&format!("systemctl is-enabled {unit}"));
        assert_eq!(String::from_utf8_lossy(&enabled.stdout).trim(), "disabled");
    }
    container.must("systemctl enable --now qrng-pool qrng-egd qrng-fifo 2>&1");
    for (unit, user, capabilities) in [
        ("qrng-pool", "qrng-pool", 1 << 21),
        ("qrng-egd", "qrng-adapter", 0),
        ("qrng-fifo", "qrng-adapter", 0),
    ] {
        let pid = pid(container, unit);
        let status = container.must(&format!("cat /proc/{}/status", pid.trim()));
        let line = format!("CapEff:\t{capabilities:016x}");
        assert!(status.contains(&line), "{unit}: {status}");
        assert!(
            status.contains(&line.replace("Eff", "Bnd")),
            "{unit}: {status}"
        );
        let owner = container.must(&format!("ps -o user:32= -p {}", pid.trim()));
        assert_eq!(owner.trim(), user);
    }
    wait_until("the kernel's pool", || {
        let log = container.must("journalctl -u qrng-pool --no-pager");
        log.contains("the kernel's pool got 64 bytes, which count as 0 bits")
    });
    let as_user = |user: &str, script: &str| {
        let output = container.run(&format!(
            "setpriv --reuid={user} --regid={user} --init-groups sh -c '{script}'"
        ));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let fifo = "timeout 20 head -c 5000 /run/qrng-fifo/fifo | wc -c";
    assert_eq!(as_user("alice", fifo), "5000");
    assert_eq!(as_user("bob", fifo), "0");
    let egd = "perl -MSocket -e \"socket(S, PF_UNIX, SOCK_STREAM, 0); \
        connect(S, pack_sockaddr_un(q(/run/qrng-egd/egd.socket))) or die; syswrite(S, chr(2) . chr(99)); \
        while (length(\\$a) < 99) { sysread(S, \\$a, 99, length(\\$a)) or die } print length(\\$a)\"";
    assert_eq!(as_user("alice", egd), "99");
    assert_eq!(as_user("bob", egd), "");
}

/// The upgrade, and each crash, with the readers at it.
fn upgraded_and_crashed(container: &Container) {
    let mut readers = Readers::start(container);
    readers.get_going(container);
    let gateway = pid(container, "qrng-gateway");
    install(container, VERSIONS[1]);
    assert_ne!(
        pid(container, "qrng-gateway"),
        gateway,
        "the upgrade restarts it"
    );
    readers.go_on(container, "an upgrade");
    wait_for_bytes(container, "an upgrade");
    for unit in ["qrng-gateway", "qrng-collector", "qrng-mount"] {
        container.must(&format!("systemctl kill -s KILL --kill-who=main {unit}"));
        readers.go_on(container, &format!("the death of {unit}"));
        wait_for_bytes(container, &format!("the death of {unit}"));
    }
    container.must("systemctl is-active qrng-pool qrng-egd qrng-fifo");
    stuck(container, &mut readers);
    nothing_twice(&readers.end(container));
}

fn stopped_and_purged(container: &Container) {
    container.must("systemctl stop qrng-gateway qrng-collector qrng-pool qrng-egd qrng-fifo");
    wait_until("the mount to go", || {
        !container.must("cat /proc/1/mounts").contains(" /qrng ")
    });
    // Removed, but keys and configuration stay.
    container.must("dpkg -r qrng-adapter qrng-http qrng-gateway qrng-collector 2>&1");
    container.must("test -f /etc/qrng/lab.gateway.key -a -f /etc/qrng/lab.collector.key");
    container.must("dpkg -P qrng-adapter qrng-http qrng-gateway qrng-collector qrng 2>&1");
    let left = container.must(
        "find / -xdev \\( -path /proc -o -path /sys -o -path /shared -o -path /var/log -o -path /run/read -o -path /root \
         -o -path '/var/lib/dpkg/*' \\) -prune -o -name '*qrng*' -print; find /run -name '*qrng*'; \
         grep -l qrng /etc/passwd /etc/group || true",
    );
    assert_eq!(left, "", "left behind");
}

#[test]
fn packages_install_run_survive_and_go() {
    if let Some(why) = container::impossible() {
        skip!("{why}");
    }
    if !container::is_there("cargo-deb") {
        skip!("cargo-deb is missing");
    }
    let tree: PathBuf = match container::tree() {
        Ok(tree) => tree,
        Err(why) => skip!("the container's tree cannot be made: {why}"),
    };
    // They must have been built.
    for name in [
        "qrng",
        "qrng-collector",
        "qrng-gateway",
        "qrng-http",
        "qrng-adapter",
        "qrng-mount",
    ] {
        program(name);
    }
    let shared = tempfile::tempdir().unwrap();
    packages(shared.path());
    lintian(shared.path());
    let container = Container::boot(&tree, shared.path());
    installed_but_not_started(&container);
    first_run(&container);
    locked_and_confined(&container);
    credentials(&container);
    adapters(&container);
    upgraded_and_crashed(&container);
    stopped_and_purged(&container);
}

/// Debian's own checks of packages, of the first version.
fn lintian(directory: &Path) {
    if !container::is_there("lintian") {
        qrng_tests::note_skip("lintian is missing: the packages were not checked");
        return;
    }
    let packages = fs::read_dir(directory).unwrap();
    let packages = packages.map(|entry| entry.unwrap().path());
    let first = packages.filter(|path| path.display().to_string().contains(VERSIONS[0]));
    let checked = Command::new("lintian")
        .args([
            "--allow-root",
            "--fail-on=error,warning",
            "--no-tag-display-limit",
        ])
        .args(first)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{text}");
}
