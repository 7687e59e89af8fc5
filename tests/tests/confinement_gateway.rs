//! What the gateway cannot do once it is confined: each forbidden call is made by a program that confined itself with the
//! same functions, and kills it. What a running gateway is seen to be, and what becomes of one that cannot be confined.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use nix::errno::Errno;
use qrng_tests::chain::{Chain, program, wait_until};
use qrng_tests::confined::{Fate, KILLED, fates};
use qrng_tests::fuse_harness::{is_root, no_mount};
use qrng_tests::helper::Helper;
use qrng_tests::processes::of_locking;
use qrng_tests::skip;

fn all(process: &str, calls: &[&str], expected: &Fate) {
    let others: BTreeMap<_, _> = fates(process, calls)
        .into_iter()
        .filter(|(_, fate)| fate != expected)
        .collect();
    assert!(others.is_empty(), "{process}: not {expected:?}: {others:?}");
}

#[test]
fn what_the_gateway_needs_goes_on() {
    let calls = [
        "tell-manager",
        "replace-file",
        "read-pipe",
        "write-answers",
        "write-log",
        "random",
        "memory",
        "allocate",
        "sleep",
        "lock",
        "panic",
    ];
    all("gateway", &calls, &Fate::Worked);
    all("mounting", &calls, &Fate::Worked);
    // Nothing has come.
    let nothing = Fate::Failed(Errno::EAGAIN as i32);
    all("gateway", &["receive"], &nothing);
}

#[test]
fn every_way_to_connect_or_to_send_kills_the_gateway() {
    let calls = [
        "connect",
        "sendto",
        "sendto-address",
        "send-manager",
        "send-manager-to",
        "send",
        "send-elsewhere",
        "sendmmsg",
        "socket",
        "socket-6",
        "socket-packet",
        "socket-unix",
        "socket-netlink",
        "socketpair",
        "bind",
        "listen",
        "accept",
        "accept4",
        "setsockopt",
        "ioctl",
        "splice",
        "tee",
        "vmsplice",
        "sendfile",
        "io-uring-setup",
        "io-uring-enter",
        "io-uring-register",
        "aio",
    ];
    all("gateway", &calls, &KILLED);
    all("mounting", &calls, &KILLED);
    // The UDP socket has no address to send to.
    let nowhere = Fate::Failed(Errno::EDESTADDRREQ as i32);
    all("gateway", &["write-socket"], &nowhere);
}

#[test]
fn programs_processes_and_the_kernel_kill_the_gateway() {
    let calls = [
        "execve",
        "execveat",
        "clone",
        "clone3",
        "kill",
        "ptrace",
        "process-vm-readv",
        "pidfd-getfd",
        "bpf",
        "module",
        "mount",
        "unshare",
        "setuid",
        "prctl",
        "open-by-handle",
        "openat2",
        "memfd",
        "dup",
        "execute-memory",
        "make-executable",
        "make-directory",
    ];
    all("gateway", &calls, &KILLED);
    all("mounting", &calls, &KILLED);
    all("gateway", &["umount"], &KILLED);
    // No mount point, but it may ask.
    let refused = Fate::Failed(Errno::EINVAL as i32);
    all("mounting", &["umount"], &refused);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_numbers_of_other_architectures_kill_the_gateway() {
    all("gateway", &["x32", "int80"], &KILLED);
}

#[test]
fn landlock_leaves_the_gateway_its_directory_alone() {
    let denied = Fate::Failed(Errno::EACCES as i32);
    let files = ["openat", "make-file", "make-file-beside", "device"];
    for process in ["gateway", "gateway-files"] {
        all(process, &files, &denied);
    }
    let programs = ["execve", "make-directory"];
    all("gateway-files", &programs, &denied);
    all("gateway-files", &["replace-file"], &Fate::Worked);
}

/// What the kernel says of all threads of a process: capabilities, no_new_privs, seccomp.
fn of_threads(pid: u32) -> Vec<[String; 3]> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let states = threads.map(|thread| {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        ["CapPrm:", "NoNewPrivs:", "Seccomp:"].map(|name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().to_owned()
        })
    });
    states.collect()
}

#[test]
fn a_running_gateway_is_confined_in_all_its_threads() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    if !is_root() {
        skip!("not root, so the gateway would mount by fusermount3");
    }
    for (helped, name, capabilities) in [
        (true, "enforced", 0_u64),
        // CAP_SYS_ADMIN.
        (false, "without-landlock", 1 << 21),
    ] {
        let mut chain = Chain::new();
        let helper = helped.then(|| Helper::start(&chain));
        let setting = helper
            .as_ref()
            .map_or(String::new(), |_| Helper::setting(&chain));
        chain.start_gateway(&format!("{setting}\naccept-simulated = true"), "");
        let pid = chain.gateway.as_ref().unwrap().id();
        let capabilities = capabilities | of_locking();
        let confined = [format!("{capabilities:016x}"), "1".into(), "2".into()];
        // The first answer may come before the last thread has started.
        wait_until("all threads are confined", || {
            of_threads(pid).iter().all(|thread| *thread == confined)
        });
        let status = chain.status();
        assert_eq!(status["confinement"]["gateway"], name);
        assert_eq!(status["confinement"]["landlock"].is_null(), !helped);
        // And it serves.
        chain.start_collector(None, "[source]\nkind = \"simulator\"\n");
        assert_eq!(
            chain.read_raw(1000, qrng_tests::chain::PATIENCE).len(),
            1000
        );
        assert!(chain.stop_gateway().is_some_and(|status| status.success()));
        let log = chain.log("gateway");
        let words = if helped {
            "confined, with version"
        } else {
            "confined without Landlock and with CAP_SYS_ADMIN"
        };
        assert!(log.contains(words), "{log}");
        helper.map(Helper::end);
    }
}

#[test]
fn confinement_can_be_turned_off_by_its_name_and_is_told() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    let mut chain = Chain::new();
    chain.start_gateway("", "[confinement]\ngateway = \"off-insecure\"");
    let pid = chain.gateway.as_ref().unwrap().id();
    assert!(of_threads(pid).iter().all(|thread| thread[2] == "0"));
    assert_eq!(chain.status()["confinement"]["gateway"], "off-insecure");
    let log = chain.log("gateway");
    assert!(log.contains("THE GATEWAY IS NOT CONFINED"), "{log}");
}

#[test]
fn without_a_kernel_that_confines_no_gateway_starts() {
    if let Some(reason) = no_mount() {
        skip!("{reason}");
    }
    if Command::new("strace").arg("-V").output().is_err() {
        skip!("strace is not installed");
    }
    if !is_root() {
        skip!("not root, so the gateway would mount by fusermount3");
    }
    let chain = Chain::new();
    let helper = Helper::start(&chain);
    let helped = Helper::setting(&chain);
    for (setting, call, error, words) in [
        ("", "seccomp", "EINVAL", "CONFIG_SECCOMP_FILTER"),
        ("", "capset", "EPERM", "privileges:"),
        (
            &helped,
            "landlock_create_ruleset",
            "ENOSYS",
            "Landlock is not available",
        ),
        (
            &helped,
            "landlock_create_ruleset",
            "EOPNOTSUPP",
            "boot parameter lsm=",
        ),
        (&helped, "landlock_restrict_self", "E2BIG", "Landlock:"),
        (&helped, "seccomp", "EINVAL", "CONFIG_SECCOMP_FILTER"),
        (&helped, "capset", "EPERM", "privileges:"),
    ] {
        chain.gateway_command(setting, "");
        let output = Command::new("strace")
            .args([
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                &format!("trace={call}"),
            ])
            .args(["-e", &format!("inject={call}:error={error}")])
            .arg(program("qrng-gateway"))
            .arg("--config")
            .arg(chain.path("gateway.toml"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{call}: {text}");
        for word in [
            "cannot be confined",
            words,
            "\"off-insecure\" in [confinement]",
        ] {
            assert!(text.contains(word), "{call}: {word} is not in: {text}");
        }
        if setting.is_empty() {
            assert_eq!(left(&chain), 0, "{call}: something stays mounted");
        }
    }
    helper.end();
    assert_eq!(left(&chain), 0);
}

/// Files at the mount point.
fn left(chain: &Chain) -> usize {
    fs::read_dir(chain.path("mnt")).unwrap().count()
}
