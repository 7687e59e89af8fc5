//! Character devices on a real kernel: the tests of the mount's files again against a device, and what is a device's own.

use std::collections::BTreeSet;
use std::path::Path;

use qrng_tests::bench;
use qrng_tests::vm::{Guest, Part};

/// Those of `fuse_semantics` that are about a file that gives bytes: a device is one, too.
const OF_A_FILE: [&str; 13] = [
    "a_failed_supply_gives_eio_also_to_those_who_wait",
    "a_killed_reader_takes_no_bytes_with_it",
    "a_short_buffer_gives_what_it_has",
    "an_interrupt_ends_a_reader",
    "any_offset_and_any_size_give_as_many_bytes_as_asked_for",
    "bytes_come_in_order_whole_and_once",
    "fifty_blocked_readers_sleep_and_nobody_else_waits",
    "poll_and_epoll_wake_when_bytes_come",
    "readers_killed_among_flowing_bytes_leave_exact_counts",
    "two_threads_on_one_descriptor_both_read",
    "what_goes_through_the_page_cache_never_yields_bytes",
    "whoever_waits_is_served_in_order",
    "without_bytes_a_nonblocking_read_gives_eagain",
];

/// The others: of records, which are no device, and of unmounting, for which a device has the end of its process.
const OF_A_MOUNT: [&str; 3] = [
    "a_record_waits_for_all_its_bytes",
    "many_mounts_come_and_go",
    "stopping_unmounts_and_frees_waiting_readers",
];

/// The probe as it was built for this machine.
const PROBE: &str = env!("CARGO_BIN_EXE_qrng-probe");

#[test]
fn a_device_passes_the_tests_of_the_files() {
    let bench = bench!(Part::Base);
    let plan = bench.guest().module("cuse").test_program("fuse_semantics");
    let mut guest = plan.foreign(Path::new(PROBE), "qrng-probe").start();
    let listed = guest.succeed("fuse_semantics --list --format terse");
    let listed: BTreeSet<_> = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .collect();
    let known = OF_A_FILE.into_iter().chain(OF_A_MOUNT).collect();
    assert_eq!(listed, known, "is a new test one of a file or of a mount?");
    for name in OF_A_FILE {
        let said = guest.succeed(&format!(
            "QRNG_TESTS_AS_DEVICE=1 QRNG_TESTS_PROBE=/usr/local/bin/qrng-probe fuse_semantics --exact {name} --nocapture"
        ));
        assert!(said.contains("1 passed"), "{name}: {said}");
        eprintln!("{name}: ok");
    }
}

/// Starts a process in the guest that serves `file` as /dev/`name`, which takes words through the pipe /run/`name`.
fn serve(guest: &mut Guest, name: &str, file: &str) {
    guest.succeed(&format!(
        "mkfifo /run/{name}; sh -c 'echo $$ >/run/{name}.pid; exec qrng-probe device {name} {file}' \
         <>/run/{name} >/run/{name}.said 2>&1 &"
    ));
    let made = format!("grep -x 'made: /dev/{name}' /run/{name}.said");
    guest.wait_until("the device", &made);
}

/// What the probe says of one thing that it does.
fn probe(guest: &mut Guest, what: &str) -> String {
    guest.succeed(&format!("qrng-probe {what}"))
}

#[test]
fn a_device_is_made_served_and_gone_with_its_process() {
    let bench = bench!(Part::Base);
    let plan = bench.guest().module("cuse");
    let mut guest = plan.foreign(Path::new(PROBE), "qrng-probe").start();
    serve(&mut guest, "qrng", "raw");
    serve(&mut guest, "qrng-urandom", "urandom");
    guest.succeed("test -c /dev/qrng && test -c /dev/qrng-urandom");
    let taken = probe(&mut guest, "device qrng random </dev/null");
    assert!(
        taken.contains("/dev/qrng is there already") && taken.contains("another name"),
        "{taken}"
    );

    // A read of several requests does not wait once it has bytes: 128 KiB are one request.
    guest.succeed("echo feed 131072 >/run/qrng");
    guest.wait_until("bytes", "grep -c fed /run/qrng.said");
    assert_eq!(probe(&mut guest, "read /dev/qrng 1048576"), "131072 got\n");
    assert_eq!(probe(&mut guest, "nonblock /dev/qrng"), "EAGAIN\n");
    // Another device has bytes of its own: here, of another process.
    assert_eq!(probe(&mut guest, "nonblock /dev/qrng-urandom"), "EAGAIN\n");
    guest.succeed("echo feed 200 >/run/qrng-urandom");
    assert_eq!(
        probe(&mut guest, "read /dev/qrng-urandom 1048576"),
        "1048576 got\n"
    );

    let written = guest.run("echo x >/dev/qrng");
    assert!(
        written.code != 0 && written.text.contains("Operation not permitted"),
        "{written:?}"
    );

    // Whoever waits is freed when the process dies, and the name is free for the next one.
    guest.succeed(
        "qrng-probe read /dev/qrng 32 >/run/waits 2>&1 & echo $! >/run/waits.pid; sleep 1",
    );
    let state = guest.succeed("cut -d ' ' -f 3 /proc/$(cat /run/waits.pid)/stat");
    assert_eq!(state, "S\n");
    guest.succeed("kill -9 $(cat /run/qrng.pid)");
    let freed = guest.wait_until("the reader's end", "grep . /run/waits");
    assert!(
        ["ECONNABORTED\n", "ENODEV\n", "ENOTCONN\n"].contains(&freed.as_str()),
        "{freed}"
    );
    guest.wait_until("the device is gone", "test ! -e /dev/qrng");
    guest.succeed("rm /run/qrng");
    serve(&mut guest, "qrng", "raw");

    // Without the module nothing is made, and what to do is said.
    guest.succeed("kill -9 $(cat /run/qrng.pid) $(cat /run/qrng-urandom.pid)");
    guest.wait_until("the module can be taken away", "rmmod cuse");
    let missing = probe(&mut guest, "device qrng raw </dev/null");
    assert!(
        missing.contains("no CUSE") && missing.contains("modprobe cuse"),
        "{missing}"
    );
}
