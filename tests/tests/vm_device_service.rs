//! Character devices as the package sets them up: modules-load, udev, the mount helper, and the gateway confined in its unit;
//! unmodified programs read them. Everything, the collector too, is in the guest.

use qrng_tests::bench;
use qrng_tests::vm::{Bench, Guest, Part};
use serde_json::Value;

/// Small blocks, so that start-up tests end soon on an emulated processor.
const GATEWAY: &str = "[health]\nblock-size = \"8 KiB\"\n\
    [device]\nraw = \"qrng\"\nurandom = \"qrng-urandom\"\n";

const SOURCE: &str = "[source.health]\nblock-size = \"8 KiB\"\n[send]\nrate = \"300 kB/s\"\n";

/// Programs that read a device, as somebody types them, and what they print; Debian's, but for busybox.
const PROGRAMS: [(&str, &str); 13] = [
    (
        "dd if=/dev/qrng of=/run/dd bs=4096 count=4 iflag=fullblock status=none && stat -c %s /run/dd",
        "16384\n",
    ),
    ("dd if=/dev/qrng bs=1 count=10 status=none | wc -c", "10\n"),
    ("head -c 1000 /dev/qrng | wc -c", "1000\n"),
    (
        "cat /dev/qrng 2>/dev/null | head -c 70000 | wc -c",
        "70000\n",
    ),
    ("od -An -v -N 16 -t x1 /dev/qrng | wc -w", "16\n"),
    (
        "openssl rand -rand /dev/qrng -hex 32 | tr -d '\\n' | wc -c",
        "64\n",
    ),
    ("openssl rand -rand /dev/qrng-urandom 100 | wc -c", "100\n"),
    (
        "seq 100 | shuf --random-source=/dev/qrng | sort -n | uniq | wc -l",
        "100\n",
    ),
    (
        "seq 100 | sort -R --random-source=/dev/qrng | wc -l",
        "100\n",
    ),
    (
        "touch /run/shred && shred -n 1 -s 4096 --random-source=/dev/qrng /run/shred && stat -c %s /run/shred",
        "4096\n",
    ),
    (
        "perl -e 'open F, \"<\", \"/dev/qrng\" or die; print sysread(F, $b, 64), \"\\n\"'",
        "64\n",
    ),
    (
        "python3 -c 'print(len(open(\"/dev/qrng\", \"rb\", buffering=0).read(100)))'",
        "100\n",
    ),
    ("busybox head -c 32 /dev/qrng | busybox wc -c", "32\n"),
];

/// What each of the ioctls of /dev/random gives on a device, by Python.
const IOCTLS: &str = r#"
import errno, fcntl, os, struct, sys
f = os.open(sys.argv[1], os.O_RDONLY)
def name(request, argument):
    try:
        fcntl.ioctl(f, request, argument)
        return "done"
    except OSError as e:
        return errno.errorcode[e.errno]
print(struct.unpack("i", fcntl.ioctl(f, 0x80045200, bytes(4)))[0])
print(name(0x40045201, bytes(4)), name(0x40085203, bytes(8)), name(0x5204, 0), name(0x5206, 0), name(0x5207, 0))
print(name(0x5401, bytes(64)), name(0x541B, bytes(4)), name(0x80085202, bytes(8)))
"#;

/// Reads the device and the file of the mount at once, in odd sizes, and says how many bytes that were and whether any 16 of
/// them came twice.
const ONCE: &str = r#"
import os, threading
got = {"/dev/qrng": bytearray(), "/qrng/raw": bytearray()}
def read(path, sizes, rounds):
    f = os.open(path, os.O_RDONLY)
    for n in range(rounds):
        got[path] += os.read(f, sizes[n % len(sizes)])
threads = [threading.Thread(target=read, args=a) for a in
           [("/dev/qrng", (4096, 65536, 1, 300), 24), ("/qrng/raw", (7, 65536, 1024), 15)]]
[t.start() for t in threads]
[t.join() for t in threads]
pieces = [bytes(b[i:i + 16]) for b in got.values() for i in range(0, len(b) - 15, 16)]
print(sum(map(len, got.values())), len(pieces) - len(set(pieces)))
"#;

/// Says to the mount helper what nobody should say, and prints its answer.
const OTHER_WISH: &str = r#"
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect("/run/qrng/mount.socket")
s.sendall(sys.argv[1].encode() + b"\n")
print(s.recv(4096).decode())
"#;

/// Whether one reader waits, for the shell.
const WAITS: &str = "grep -q '\"waiting\": 1$' /qrng/status";

/// A guest with the gateway's package, which serves devices.
fn start(bench: &Bench) -> Guest {
    let plan = bench.guest().gateway(GATEWAY, SOURCE);
    let mut guest = plan
        .program("qrng-cli", "qrng")
        .file("/usr/local/lib/ioctls.py", 0o644, IOCTLS)
        .file("/usr/local/lib/once.py", 0o644, ONCE)
        .file("/usr/local/lib/wish.py", 0o644, OTHER_WISH)
        .start();
    guest.start_gateway();
    guest
}

fn count(guest: &mut Guest, pointer: &str) -> u64 {
    let status = guest.gateway_status();
    let number = status.pointer(pointer).and_then(Value::as_u64);
    number.unwrap_or_else(|| panic!("no number {pointer} in {status}"))
}

#[test]
fn the_packaged_devices_are_for_everybody_and_programs_read_them() {
    let bench = bench!(Part::Full);
    let mut guest = start(&bench);
    // What may make devices is the helper's alone.
    let makes = guest.succeed("stat -c '%a %U' /dev/cuse");
    assert_eq!(makes, "600 qrng-mount\n");
    guest.wait_until(
        "udev's permissions",
        "test \"$(stat -c %a /dev/qrng-urandom)\" = 444",
    );
    for name in ["qrng", "qrng-urandom"] {
        let node = guest.succeed(&format!(
            "test -c /dev/{name} && stat -c '%F, %a %U:%G' /dev/{name}"
        ));
        assert_eq!(node, "character special file, 444 root:qrng\n");
    }
    let doctor = guest.run("qrng doctor").text;
    assert!(doctor.contains("CUSE            ready"), "{doctor}");
    let confined = guest.gateway_status()["confinement"].clone();
    assert_eq!(confined["gateway"], "enforced", "{confined}");
    let other = guest.succeed("python3 /usr/local/lib/wish.py 'device qrng-other'");
    assert!(other.contains("was not told to make"), "{other}");
    let other = guest.succeed("python3 /usr/local/lib/wish.py 'device ../sda'");
    assert!(other.contains("was not told to make"), "{other}");

    guest.start_feeding();
    for (command, said) in PROGRAMS {
        let bytes = guest.succeed(command);
        assert_eq!(bytes, said, "{command}");
    }
    let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    assert_eq!(
        guest.succeed(&format!("{nobody} head -c 50 /dev/qrng | wc -c")),
        "50\n"
    );
    let tested = guest.run("rngtest -c 10 </dev/qrng").text;
    assert!(
        tested.contains("bits received from input: 200032"),
        "{tested}"
    );
    // It feeds the kernel until it is ended.
    let fed = guest.run("timeout 10 rngd -f -r /dev/qrng");
    assert_eq!(fed.code, 124, "{}", fed.text);
}

#[test]
fn bytes_of_device_and_mount_are_one_supply_and_ioctls_count_them() {
    let bench = bench!(Part::Full);
    let mut guest = start(&bench);
    guest.start_feeding();
    guest.wait_for_bytes(1 << 20);
    guest.stop_feeding();
    guest.succeed("head -c 64 /dev/qrng-urandom | wc -c");
    let before = count(&mut guest, "/bytes/served");
    let read = guest.succeed("python3 /usr/local/lib/once.py");
    let (bytes, twice) = read.trim().split_once(' ').unwrap();
    assert_eq!(twice, "0", "16 bytes came twice");
    let after = count(&mut guest, "/bytes/served");
    assert_eq!(after - before, bytes.parse::<u64>().unwrap());

    let fill = count(&mut guest, "/buffer/fill_bytes");
    let ioctls = "python3 /usr/local/lib/ioctls.py";
    let refused = "EPERM EPERM EPERM EPERM EPERM\nENOTTY ENOTTY ENOTTY\n";
    let told = guest.succeed(&format!("{ioctls} /dev/qrng"));
    assert_eq!(told, format!("{}\n{refused}", fill * 8));
    let told = guest.succeed(&format!("{ioctls} /dev/qrng-urandom"));
    assert_eq!(told, format!("256\n{refused}"));
    assert_eq!(count(&mut guest, "/buffer/fill_bytes"), fill);
}

#[test]
fn readers_are_freed_by_a_restart_and_a_crash_and_the_device_is_back() {
    let bench = bench!(Part::Full);
    let mut guest = start(&bench);
    let resends = guest
        .run("printf '6.9\\n%s\\n' $(uname -r) | sort -VC")
        .code
        == 0;
    for end in [
        "systemctl restart qrng-gateway",
        "systemctl kill -s KILL qrng-gateway",
    ] {
        guest.wait_until(
            "the device",
            "test \"$(stat -c %a /dev/qrng)\" = 444 && systemctl is-active qrng-gateway",
        );
        guest.succeed("rm -f /run/ended; (sh -c 'echo $$ >/run/reader; exec cat /dev/qrng' >/run/got 2>/run/said; echo $? >/run/ended) </dev/null & sleep 1");
        guest.wait_until("it waits", WAITS);
        guest.succeed(end);
        if resends {
            guest.wait_until("it waits on", WAITS);
            // Nobody has opened it anew: the read that was begun before gets its bytes.
            guest.succeed("journalctl -b -u qrng-gateway | grep 'the readers of /dev/qrng go on'");
            guest.start_feeding();
            guest.wait_until("its bytes", "test -s /run/got");
            guest.stop_feeding();
            guest.succeed("test ! -e /run/ended && kill $(cat /run/reader)");
            guest.wait_until(
                "the rest is gone",
                "! dd if=/dev/qrng of=/dev/null bs=64k iflag=nonblock 2>/run/dd && grep 'temporarily unavailable' /run/dd",
            );
        } else {
            let code = guest.wait_until("the reader's end", "cat /run/ended");
            assert_eq!(code, "1\n");
        }
    }
    guest.wait_until(
        "the device",
        "test \"$(stat -c %a /dev/qrng)\" = 444 && systemctl is-active qrng-gateway",
    );
    // A stop takes it away, and the next start brings it back.
    guest.succeed("systemctl stop qrng-gateway");
    guest.wait_until("the device is gone", "test ! -e /dev/qrng");
    guest.succeed("systemctl start qrng-gateway && test -c /dev/qrng");
}
