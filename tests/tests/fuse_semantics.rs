//! What readers see, against a real mount: every row of the table in docs/semantics.md.
//!
//! As root the mount is made with mount(2); `fuse_ordinary_user.rs` runs these same tests as an ordinary user, where it is
//! made by fusermount3, and `vm_device.rs` those that are not about other files or unmounting against a character device. No
//! test asserts a duration.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Instant;

use nix::sys::signal::Signal;
use qrng_tests::fuse_harness::{DEADLINE, Process, Served, no_mount, run, sh};
use qrng_tests::skip;

const MIB: usize = 1 << 20;

/// The probe's path: beside this test, or where the ordinary user can reach it.
fn probe() -> Command {
    let built = env!("CARGO_BIN_EXE_qrng-probe").into();
    Command::new(std::env::var_os(qrng_tests::fuse_harness::PROBE).unwrap_or(built))
}

/// A mount, or the skip of the test that asked for one.
macro_rules! served {
    ($capacity:expr) => {
        match no_mount() {
            Some(reason) => skip!("{reason}"),
            None => Served::start($capacity),
        }
    };
}

/// A reader that will wait: one read(2) of `bytes`.
fn reader(served: &Served, file: &str, bytes: usize) -> Process {
    Process::start(
        probe()
            .arg("read")
            .arg(served.path(file))
            .arg(bytes.to_string()),
    )
}

// --- data there, any offset, any size ---------------------------------------------------------------------------------

#[test]
fn any_offset_and_any_size_give_as_many_bytes_as_asked_for() {
    let served = served!(16 * MIB);
    served.feed(16 * MIB);
    let raw = File::open(served.path("raw")).unwrap();
    let mut buffer = vec![0; MIB];
    let mut all = 0;
    for (offset, size) in [
        (0, 1),
        (1 << 40, 32),
        (65_536, 4096),
        (7, 65_536),
        (0, 131_072),
        (3, MIB),
        (i64::MAX as u64 - MIB as u64, 65_537),
    ] {
        assert_eq!(
            raw.read_at(&mut buffer[..size], offset).unwrap(),
            size,
            "at {offset}"
        );
        all += size as u64;
    }
    let counts = served.settled();
    assert_eq!(
        (counts.served, counts.destroyed, counts.in_flight),
        (all, 0, 0)
    );
}

#[test]
fn bytes_come_in_order_whole_and_once() {
    let served = served!(4 * MIB);
    let bytes: Vec<u8> = (0..4 * MIB as u32).flat_map(|i| [(i >> 3) as u8]).collect();
    served.buffer.push(&bytes);
    let mut raw = File::open(served.path("raw")).unwrap();
    let mut out = vec![0; bytes.len()];
    let mut at = 0;
    for size in [1, 31, 32, 5000, 65_535, 65_536, 65_537, 300_000, MIB]
        .into_iter()
        .cycle()
    {
        let end = (at + size).min(out.len());
        at += raw.read(&mut out[at..end]).unwrap();
        if at == out.len() {
            break;
        }
    }
    assert!(out == bytes, "the bytes are not those that were fed");
}

#[test]
fn a_short_buffer_gives_what_it_has() {
    let served = served!(MIB);
    served.feed(10);
    let mut raw = File::open(served.path("raw")).unwrap();
    assert_eq!(raw.read(&mut [0; 100]).unwrap(), 10);
}

// --- buffer empty, blocking -------------------------------------------------------------------------------------------

#[test]
fn fifty_blocked_readers_sleep_and_nobody_else_waits() {
    let served = served!(MIB);
    let mut readers: Vec<_> = (0..50).map(|_| reader(&served, "raw", 32)).collect();
    served.wait_for_waiting(50);
    for _ in 0..50 {
        for reader in &readers {
            assert_eq!(reader.state(), 'S');
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // Everything that needs no bytes answers at once.
    if served.is_mount() {
        files_without_bytes_answer(&served);
    }
    assert_eq!(
        run(probe().arg("nonblock").arg(served.path("raw"))).text(),
        "EAGAIN\n"
    );
    assert_eq!(served.buffer.waiting(), 50);

    // Interrupted and killed ones leave, the others get their bytes.
    for (signal, count) in [(Signal::SIGINT, 5), (Signal::SIGKILL, 5)] {
        for reader in readers.drain(..count) {
            reader.signal(signal);
            assert_eq!(reader.end().signal, Some(signal as i32));
        }
    }
    served.wait_for_waiting(40);
    served.feed(40 * 32);
    for reader in readers {
        assert_eq!(reader.end().success().text(), "32 got\n");
    }
    let counts = served.settled();
    assert_eq!(
        (counts.served, counts.destroyed, counts.fill),
        (40 * 32, 0, 0)
    );
}

fn files_without_bytes_answer(served: &Served) {
    for (script, file, said) in [
        ("cat $F", "status", "{\"state\":\"serving\"}\n"),
        ("ls $F | wc -l", "", "9\n"),
        ("stat -c %s $F", "stream/uuid", "65536\n"),
    ] {
        assert_eq!(sh(script, &served.path(file)).success().text(), said);
    }
}

#[test]
fn an_interrupt_ends_a_reader() {
    let served = served!(MIB);
    let mut times = Vec::new();
    for _ in 0..21 {
        let reader = reader(&served, "raw", 32);
        served.wait_for_waiting(1);
        let start = Instant::now();
        reader.signal(Signal::SIGINT);
        assert_eq!(reader.end().signal, Some(Signal::SIGINT as i32));
        times.push(start.elapsed());
        served.wait_for_waiting(0);
    }
    times.sort();
    eprintln!(
        "a reader ends after SIGINT: median {:?}, longest {:?}",
        times[10], times[20]
    );
    // What they waited for is still there for others.
    served.feed(32);
    assert_eq!(served.buffer.fill(), 32);
}

#[test]
fn a_killed_reader_takes_no_bytes_with_it() {
    let served = served!(MIB);
    let reader = reader(&served, "raw", 32);
    served.wait_for_waiting(1);
    reader.signal(Signal::SIGKILL);
    assert_eq!(reader.end().signal, Some(Signal::SIGKILL as i32));
    served.wait_for_waiting(0);
    served.feed(32);
    let mut raw = File::open(served.path("raw")).unwrap();
    assert_eq!(raw.read(&mut [0; 64]).unwrap(), 32);
    assert_eq!(served.settled().destroyed, 0);
}

#[test]
fn readers_killed_among_flowing_bytes_leave_exact_counts() {
    let served = served!(MIB);
    let feeder = served.keep_filled();
    for _ in 0..30 {
        let reader = Process::start(
            Command::new("dd")
                .arg(format!("if={}", served.path("raw").display()))
                .args(["of=/dev/null", "bs=64k"]),
        );
        std::thread::sleep(std::time::Duration::from_millis(3));
        reader.signal(Signal::SIGKILL);
        reader.end();
    }
    drop(feeder);
    let counts = served.settled();
    let sum = counts.served + counts.destroyed + counts.overflow_discarded + counts.fill;
    assert_eq!(counts.admitted, sum, "{counts:?}");
}

#[test]
fn whoever_waits_is_served_in_order() {
    let served = served!(MIB);
    let mut readers = Vec::new();
    for count in 1..=8 {
        readers.push(reader(&served, "raw", 32));
        served.wait_for_waiting(count);
    }
    for reader in readers {
        served.feed(32);
        assert_eq!(reader.end().success().text(), "32 got\n");
    }
}

#[test]
fn a_record_waits_for_all_its_bytes() {
    let served = served!(MIB);
    let reader = reader(&served, "hex", 100);
    served.wait_for_waiting(1);
    served.feed(31);
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!((served.buffer.waiting(), served.buffer.fill()), (1, 31));
    served.feed(1);
    assert_eq!(reader.end().success().text(), "65 got\n");
}

// --- buffer empty, O_NONBLOCK, poll -----------------------------------------------------------------------------------

#[test]
fn without_bytes_a_nonblocking_read_gives_eagain() {
    let served = served!(MIB);
    for file in served.those(&[
        "raw",
        "hex",
        "base64",
        "uuid",
        "stream/hex",
        "stream/base64",
        "stream/uuid",
    ]) {
        assert_eq!(
            run(probe().arg("nonblock").arg(served.path(file))).text(),
            "EAGAIN\n",
            "{file}"
        );
    }
    served.feed(64);
    assert_eq!(
        run(probe().arg("nonblock").arg(served.path("raw"))).text(),
        "64 got\n"
    );
}

#[test]
fn poll_and_epoll_wake_when_bytes_come() {
    let served = served!(MIB);
    for (how, file, got) in [
        ("poll", "raw", 64),
        ("epoll", "raw", 64),
        ("poll", "hex", 64),
        ("epoll", "stream/uuid", 64),
    ] {
        if served.those(&[file]).is_empty() {
            continue;
        }
        let seconds = DEADLINE.as_secs().to_string();
        let poller = Process::start(probe().arg(how).arg(served.path(file)).arg(seconds));
        // No way to see a poller wait from outside: whichever comes first, it must end.
        std::thread::sleep(std::time::Duration::from_millis(100));
        served.feed(64);
        let said = poller.end().success().text();
        assert!(
            said.ends_with(&format!("ready, {got} got\n")),
            "{how} of {file}: {said}"
        );
        let mut space = qrng_gateway::buffer::Space::new().unwrap();
        drop(served.buffer.claim(MIB, &mut space));
    }
    assert_eq!(
        run(probe().args(["poll"]).arg(served.path("raw")).arg("1"))
            .success()
            .text(),
        "waiting\ntimeout\n"
    );
}

// --- the supply fails -------------------------------------------------------------------------------------------------

#[test]
fn a_failed_supply_gives_eio_also_to_those_who_wait() {
    let served = served!(MIB);
    let files = served.those(&["raw", "hex", "stream/uuid"]);
    let readers: Vec<_> = files.iter().map(|file| reader(&served, file, 10)).collect();
    served.wait_for_waiting(files.len());
    let poller = Process::start(probe().arg("poll").arg(served.path("raw")).arg("30"));
    served.tree.set_stalled(true);
    for reader in readers {
        assert_eq!(reader.end().text(), "EIO\n");
    }
    assert!(poller.end().text().ends_with("EIO\n"));
    assert_eq!(
        run(probe().arg("nonblock").arg(served.path("raw"))).text(),
        "EIO\n"
    );
    if served.is_mount() {
        files_without_bytes_answer(&served);
    }
    served.feed(10);
    assert_eq!(reader(&served, "raw", 10).end().text(), "10 got\n");
    served.tree.set_stalled(false);
    let reader = reader(&served, "raw", 10);
    served.wait_for_waiting(1);
    served.feed(10);
    assert_eq!(reader.end().text(), "10 got\n");
}

// --- nothing is shared through the page cache -------------------------------------------------------------------------

#[test]
fn what_goes_through_the_page_cache_never_yields_bytes() {
    let served = served!(MIB);
    served.feed(MIB);
    let out = served
        .path("../")
        .join(format!("out-{}", std::process::id()));
    // What is behind a path through the page cache differs; a device has none, and no mappings either.
    let (no_copy, no_page) = if served.is_mount() {
        (&["EINVAL\n", "EXDEV\n"][..], Err(Signal::SIGBUS as i32))
    } else {
        (&["EINVAL\n"][..], Ok("ENODEV\n"))
    };
    for file in served.those(&["raw", "hex", "status", "stream/hex"]) {
        let path = served.path(file);
        for how in ["sendfile", "splice"] {
            assert_eq!(
                run(probe().arg(how).arg(&path).arg(&out)).text(),
                "EINVAL\n",
                "{how} of {file}"
            );
        }
        // Between two file systems newer kernels refuse it by themselves.
        let said = run(probe().arg("copy-file-range").arg(&path).arg(&out)).text();
        assert!(
            no_copy.contains(&said.as_str()),
            "copy_file_range of {file}: {said}"
        );
        let mapped = run(probe().arg("map-private").arg(&path));
        match no_page {
            Err(signal) => assert_eq!(mapped.signal, Some(signal), "{file}"),
            Ok(word) => assert_eq!(mapped.text(), word, "{file}"),
        }
        assert_eq!(
            run(probe().arg("map-shared").arg(&path)).text(),
            "ENODEV\n",
            "{file}"
        );
    }
    let _ = std::fs::remove_file(out);
    let counts = served.settled();
    assert_eq!(
        (counts.served, counts.destroyed),
        (0, 0),
        "bytes were taken"
    );
}

// --- two threads on one descriptor ------------------------------------------------------------------------------------

#[test]
fn two_threads_on_one_descriptor_both_read() {
    let served = served!(MIB);
    let _feeder = served.keep_filled();
    assert_eq!(
        run(probe().arg("threads").arg(served.path("raw")))
            .success()
            .text(),
        "262144 got\n"
    );
}

// --- the end ----------------------------------------------------------------------------------------------------------

#[test]
fn stopping_unmounts_and_frees_waiting_readers() {
    let mut served = served!(MIB);
    let readers: Vec<_> = (0..5).map(|_| reader(&served, "raw", 32)).collect();
    served.wait_for_waiting(5);
    // Also an open file that nobody reads.
    let _held = File::open(served.path("raw")).unwrap();
    served.stop();
    for reader in readers {
        let said = reader.end().text();
        assert!(
            ["ECONNABORTED\n", "ENOTCONN\n"].contains(&said.as_str()),
            "{said}"
        );
    }
    // A device goes with its process.
    if served.is_mount() {
        assert_eq!(
            std::fs::read_dir(served.path("")).unwrap().count(),
            0,
            "the empty directory is back"
        );
    }
}

#[test]
fn many_mounts_come_and_go() {
    for _ in 0..20 {
        let mut served = served!(65_536);
        served.feed(32);
        assert_eq!(
            File::open(served.path("raw"))
                .unwrap()
                .read(&mut [0; 64])
                .unwrap(),
            32
        );
        served.stop();
    }
}
