//! The bench itself: guests boot, run commands, and have devices plugged in and out. If this fails, look here first.

use qrng_tests::bench;
use qrng_tests::vm::Part;
use serde_json::json;

#[test]
fn a_guest_runs_commands_and_tells_their_output_and_exit_code() {
    let bench = bench!(Part::Base);
    let plan = bench.guest().file("/etc/greeting", 0o640, "hello\n");
    let mut guest = plan.start();
    assert_eq!(
        guest.succeed("cat /etc/greeting; echo 'to  both' >&2"),
        "hello\nto  both\n"
    );
    assert_eq!(guest.succeed("stat -c '%a %u' /etc/greeting"), "640 0\n");
    let failed = guest.run("echo half a line | tr -d '\\n'; exit 7");
    assert_eq!((failed.code, failed.text.as_str()), (7, "half a line"));
    // Nothing is cut, and no byte of the output is taken for another answer.
    let long = guest.succeed("seq 1 3000; echo 0 0");
    assert_eq!(long.lines().count(), 3001);
    let kernel = guest.succeed("uname -r");
    assert!(
        guest.console().contains(kernel.trim()),
        "{}",
        guest.console()
    );
}

#[test]
fn systemd_comes_up_and_udev_sees_what_is_plugged_in_and_out() {
    let bench = bench!(Part::Full);
    let rule = "SUBSYSTEM==\"pci\", ATTR{vendor}==\"0x1af4\", ATTR{class}==\"0x00ff00\", ATTR{numa_node}=\"-1\", \
                RUN+=\"/bin/sh -c 'echo %k >/run/seen'\"\n";
    let plan = bench
        .guest()
        .file("/etc/udev/rules.d/90-test.rules", 0o644, rule)
        .slot();
    let mut guest = plan.start();
    let pid_1 = guest.succeed("cat /proc/1/comm");
    assert_eq!(pid_1, "systemd\n");
    let before = guest.succeed("ls /sys/bus/pci/devices");
    guest.plug(json!({ "driver": "virtio-rng-pci" }));
    let name = guest.wait_until("udev's rule ran", "cat /run/seen");
    let path = format!("/sys/bus/pci/devices/{}", name.trim());
    guest.succeed(&format!("test -e {path}/vendor"));
    guest.unplug();
    guest.wait_until("the device is gone", &format!("test ! -e {path}"));
    assert_eq!(guest.succeed("ls /sys/bus/pci/devices"), before);
}
