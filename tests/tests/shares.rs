//! Users who compete for few bytes, with whole daemons at 0.5 MB/s: parts, weights, quotas, files beside the stream socket.
//! Readers are processes of users of their own. What is compared are bytes, not times.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::Signal;
use qrng_consumer::Consumer;
use qrng_tests::chain::{Chain, PATIENCE, wait_until};
use qrng_tests::fuse_harness::{Process, is_root, run};
use qrng_tests::skip;

/// A card of 4 Mbit/s: what it gives, readers can take at any time.
const SOURCE: &str = "[source]\nkind = \"simulator\"\nrate = \"500 kB/s\"\n";

/// Users who are in nobody's way.
const GREEDY: u32 = 20_001;
const MODEST: u32 = 20_002;

/// Whether this test can be: readers must be other users.
macro_rules! need_root {
    () => {
        if !is_root() {
            skip!("only root can read as other users");
        }
    };
}

fn start(tables: &str) -> Chain {
    let mut chain = Chain::new();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(chain.path("."), open).expect("chmod of a directory of our own");
    chain.start_gateway("accept-simulated = true", tables);
    chain.start_collector(None, SOURCE);
    chain.read_raw(1, PATIENCE);
    chain
}

/// A program run by the user `uid`.
fn as_user(uid: u32, program: &[&str], file: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={uid}"))
        .arg(format!("--regid={uid}"))
        .arg("--clear-groups")
        .args(program)
        .env("F", file);
    command
}

/// A process that reads blocks of `size` until it is dropped.
fn reader(chain: &Chain, uid: u32, size: &str) -> Process {
    let script = format!("exec dd if=\"$F\" of=/dev/null bs={size} status=none");
    Process::start(&mut as_user(
        uid,
        &["sh", "-c", &script],
        &chain.file("raw"),
    ))
}

/// What of `field` the status tells of a user; 0 before its first read.
fn told(chain: &Chain, uid: u32, field: &str) -> u64 {
    let status = chain.status();
    let users = status["users"]["list"].as_array().expect("a list").clone();
    let user = users.into_iter().find(|user| user["uid"] == uid);
    user.map_or(0, |user| user[field].as_u64().expect(field))
}

/// What each user gets of the next `total` bytes that all of them get.
fn dealt(chain: &mut Chain, users: &[u32], total: u64) -> Vec<u64> {
    let bytes = |chain: &Chain| -> Vec<u64> {
        let of = users.iter().map(|&uid| told(chain, uid, "bytes"));
        of.collect()
    };
    let before = bytes(chain);
    let mut got = Vec::new();
    wait_until("bytes are dealt out", || {
        chain.assert_alive();
        let now = bytes(chain);
        got = now
            .iter()
            .zip(&before)
            .map(|(now, then)| now - then)
            .collect();
        got.iter().sum::<u64>() >= total
    });
    got
}

fn part(got: &[u64], at: usize) -> f64 {
    got[at] as f64 / got.iter().sum::<u64>() as f64
}

/// Waits until each user has had bytes, so that all compete from now on.
fn all_compete(chain: &Chain, users: &[u32]) {
    wait_until("all readers read", || {
        users.iter().all(|&uid| told(chain, uid, "bytes") > 65_536)
    });
}

#[test]
fn one_modest_reader_gets_its_half_beside_three_greedy_ones() {
    need_root!();
    let mut chain = start("");
    let raw = chain.file("raw");
    let mut cat = as_user(GREEDY, &["sh", "-c", "exec cat \"$F\" >/dev/null"], &raw);
    let greedy: Vec<_> = (0..3).map(|_| Process::start(&mut cat)).collect();
    for size in ["4k", "128k"] {
        let modest = reader(&chain, MODEST, size);
        all_compete(&chain, &[GREEDY, MODEST]);
        let got = dealt(&mut chain, &[GREEDY, MODEST], 4_000_000);
        let half = part(&got, 1);
        eprintln!("blocks of {size}: {got:?}, {half:.3} of all for the modest reader");
        assert!((0.45..=0.55).contains(&half), "{size}: {got:?}");
        drop(modest);
    }
    drop(greedy);
}

#[test]
fn who_asks_for_little_gets_it_and_the_greedy_get_the_rest() {
    need_root!();
    let mut chain = start("");
    let greedy: Vec<_> = (0..3).map(|_| reader(&chain, GREEDY, "128k")).collect();
    all_compete(&chain, &[GREEDY]);
    let script = "open(F, '<', $ENV{F}) or die $!;\
        for (1..200) { sysread(F, $b, 32) == 32 or die $!; select(undef, undef, undef, 0.01) }";
    let modest = run(&mut as_user(
        MODEST,
        &["perl", "-e", script],
        &chain.file("raw"),
    ));
    modest.success();
    assert_eq!(told(&chain, MODEST, "bytes"), 200 * 32);
    // Where who comes first takes all, each of these reads waits for a block of its own.
    let waits = told(&chain, MODEST, "waits");
    eprintln!("{waits} of 200 reads had to wait");
    assert!(waits <= 100, "{waits}");
    // Returns when they have had so many.
    dealt(&mut chain, &[GREEDY], 1_000_000);
    drop(greedy);
}

#[test]
fn who_reads_without_waiting_gets_its_part_too() {
    need_root!();
    let mut chain = start("");
    let greedy: Vec<_> = (0..3).map(|_| reader(&chain, GREEDY, "128k")).collect();
    let script = "use Fcntl; sysopen(F, $ENV{F}, O_RDONLY | O_NONBLOCK) or die $!;\
        while (1) { vec($r = '', fileno(F), 1) = 1; select($r, undef, undef, undef);\
        defined(sysread(F, $b, 4096)) or $!{EAGAIN} or die $! }";
    let mut polls = as_user(MODEST, &["perl", "-e", script], &chain.file("raw"));
    let modest = Process::start(&mut polls);
    all_compete(&chain, &[GREEDY, MODEST]);
    let got = dealt(&mut chain, &[GREEDY, MODEST], 4_000_000);
    let half = part(&got, 1);
    eprintln!("{got:?}, {half:.3} of all for the one that polls");
    assert!((0.45..=0.55).contains(&half), "{got:?}");
    drop((greedy, modest));
}

#[test]
fn weights_divide_what_there_is() {
    need_root!();
    let tables = format!("[shares.users]\n{MODEST} = {{ weight = 3 }}\n");
    let mut chain = start(&tables);
    let readers: Vec<_> = [GREEDY, GREEDY, MODEST, MODEST]
        .map(|uid| reader(&chain, uid, "16k"))
        .into();
    all_compete(&chain, &[GREEDY, MODEST]);
    let got = dealt(&mut chain, &[GREEDY, MODEST], 4_000_000);
    let part = part(&got, 1);
    eprintln!("{got:?}, {part:.3} of all for a weight of 3 beside 1");
    assert!((0.70..=0.80).contains(&part), "{got:?}");
    assert_eq!(told(&chain, MODEST, "weight"), 3);
    drop(readers);
}

#[test]
fn a_program_at_the_stream_socket_is_one_user_among_the_readers_of_files() {
    need_root!();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket = directory.path().join("s");
    let mut chain = start(&format!("[stream]\nlisten = {socket:?}\n"));
    let readers: Vec<_> = (0..3).map(|_| reader(&chain, GREEDY, "128k")).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let taker = thread::spawn(move || {
        let mut consumer = Consumer::connect(&socket).expect("the socket");
        let mut block = vec![0; 4096];
        while !stopped.load(Ordering::SeqCst) {
            consumer
                .take_some(&mut block, Some(PATIENCE))
                .expect("bytes");
        }
    });
    // This process is root at the socket.
    all_compete(&chain, &[GREEDY, 0]);
    let got = dealt(&mut chain, &[GREEDY, 0], 4_000_000);
    stop.store(true, Ordering::SeqCst);
    taker.join().expect("the program at the socket");
    let half = part(&got, 1);
    eprintln!("{got:?}, {half:.3} of all at the socket");
    assert!((0.45..=0.55).contains(&half), "{got:?}");
    drop(readers);
}

#[test]
fn a_quota_ends_in_edquot_for_files_and_socket_and_outlives_a_restart() {
    need_root!();
    let mut chain = Chain::new();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(chain.path("."), open).expect("chmod of a directory of our own");
    let socket = chain.path("gateway/s");
    let tables = format!(
        "[stream]\nlisten = {socket:?}\n[shares]\nquota = 100000\n[shares.users]\nroot.quota = \"none\"\nnobody.quota = \"20 kB\"\n"
    );
    chain.start_gateway("accept-simulated = true", &tables);
    chain.start_collector(None, SOURCE);
    chain.read_raw(1, PATIENCE);
    let raw = chain.file("raw");
    let script = "dd if=\"$F\" of=/dev/null bs=4k 2>&1; dd if=\"$F\" of=/dev/null iflag=nonblock bs=32 count=1 2>&1";
    let ended = run(&mut as_user(MODEST, &["sh", "-c", script], &raw)).text();
    assert_eq!(ended.matches("Disk quota exceeded").count(), 2, "{ended}");
    assert!(ended.contains("100000 bytes"), "{ended}");
    assert_eq!(told(&chain, MODEST, "bytes"), 100_000);
    assert_eq!(told(&chain, MODEST, "quota_left_bytes"), 0);
    // A record is 32 bytes: not out of what is left, whoever reads it; others have their own.
    let hex = chain.file("hex");
    let refused = run(&mut as_user(MODEST, &["sh", "-c", "cat \"$F\""], &hex));
    assert!(refused.err.contains("Disk quota exceeded"), "{refused:?}");
    run(&mut as_user(GREEDY, &["sh", "-c", "cat \"$F\""], &hex)).success();
    // urandom takes no bytes once it is seeded.
    let urandom = chain.file("urandom");
    run(&mut as_user(
        GREEDY,
        &["head", "-c1", &urandom.display().to_string()],
        &urandom,
    ))
    .success();
    run(&mut as_user(
        MODEST,
        &["head", "-c1000000", &urandom.display().to_string()],
        &urandom,
    ))
    .success();

    // A restart renews nothing.
    assert!(chain.stop_gateway().expect("a gateway").success());
    chain.start_gateway("accept-simulated = true", &tables);
    chain.read_raw(1, PATIENCE);
    let again = run(&mut as_user(MODEST, &["sh", "-c", "head -c1 \"$F\""], &raw));
    assert!(again.err.contains("Disk quota exceeded"), "{again:?}");
    assert_eq!(told(&chain, MODEST, "quota_left_bytes"), 0);

    // At the socket root has no limit; another user has, and gets its code.
    let mut consumer = Consumer::connect(&socket).expect("the socket");
    let mut block = vec![0; 150_000];
    consumer
        .take(&mut block, Some(PATIENCE))
        .expect("no limit for root");
    assert_eq!(quota_code(&mut chain, &socket), "8");
}

/// The code that the user `nobody` gets at the socket after its quota.
fn quota_code(chain: &mut Chain, socket: &Path) -> String {
    let all = fs::Permissions::from_mode(0o666);
    fs::set_permissions(socket, all).expect("chmod of a socket of our own");
    let way = fs::Permissions::from_mode(0o755);
    fs::set_permissions(chain.path("gateway"), way).expect("chmod of a directory of our own");
    let code = "use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un($ENV{F})) or die $!;\
        for (1..100) { syswrite(S, pack('CCnNNN', 1, 1, 0, 1, 4096, 60000)); sysread(S, $h, 8) == 8 or die $!;\
        ($c, $n) = unpack('xCxxN', $h); last if $c; while ($n) { $n -= sysread(S, $b, $n) || die $! } } print $c";
    let nobody = nix::unistd::User::from_name("nobody")
        .expect("users")
        .expect("nobody");
    let uid = nobody.uid.as_raw();
    let ended = run(&mut as_user(uid, &["perl", "-e", code], socket)).success();
    assert_eq!(told(chain, uid, "bytes"), 20_000);
    ended.text()
}

#[test]
fn a_waiting_reader_of_a_spent_user_is_told_and_signals_still_end_others() {
    need_root!();
    let mut chain = start("[shares]\nquota = 1000000\n[shares.users]\nroot.quota = \"none\"\n");
    let readers: Vec<_> = (0..3).map(|_| reader(&chain, GREEDY, "64k")).collect();
    for reader in readers {
        let ended = reader.end();
        assert!(ended.err.contains("Disk quota exceeded"), "{ended:?}");
    }
    assert_eq!(told(&chain, GREEDY, "bytes"), 1_000_000);
    chain.stop_collector();
    let waits = reader(&chain, MODEST, "64k");
    wait_until("it has read what there is, and waits", || {
        chain.count("/readers/waiting") == 1
    });
    waits.signal(Signal::SIGTERM);
    assert_eq!(waits.end().signal, Some(Signal::SIGTERM as i32));
}
