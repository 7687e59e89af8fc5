//! The thread over a buffer that the test feeds, and programs as sockets of the test.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

use nix::unistd::Uid;
use proptest::prelude::*;
use qrng_daemon::SocketFile;

use super::*;
use crate::buffer::{Buffer, Counts, Overflow};

/// How long a test waits for something that ought to happen at once.
const PATIENCE: Duration = Duration::from_secs(30);

struct Served {
    buffer: Arc<Buffer>,
    tree: Arc<Tree>,
    counters: Arc<StreamCounters>,
    directory: tempfile::TempDir,
    _file: SocketFile,
}

fn config(listen: PathBuf) -> StreamConfig {
    StreamConfig {
        listen,
        mode: 0o600,
        group: None,
        users: None,
    }
}

impl Served {
    fn new() -> Self {
        let buffer = Arc::new(Buffer::new(256 * 1024, Overflow::Discard).unwrap());
        let status = Arc::new(|| r#"{"state":"serving"}"#.to_owned());
        let tree = Arc::new(Tree::new(Arc::clone(&buffer), status, (0, 0), 1));
        let directory = tempfile::tempdir().unwrap();
        let listener = Listener::open(&config(directory.path().join("s"))).unwrap();
        let file = listener.file();
        let counters = Arc::<StreamCounters>::default();
        let pulse = qrng_daemon::Progress::default().stage("stream");
        let server =
            Server::new(listener, Arc::clone(&tree), Arc::clone(&counters), pulse).unwrap();
        // It ends with the process of the tests.
        thread::spawn(move || server.run().unwrap());
        Self {
            buffer,
            tree,
            counters,
            directory,
            _file: file,
        }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.directory.path().join("s")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn feed(&self, len: usize) {
        self.buffer.push(&vec![7; len]);
        self.buffer.notify();
    }

    fn counts(&self) -> Counts {
        self.buffer.counts()
    }

    /// The counts once what has been answered is counted: an answer arrives a moment before.
    fn settled(&self) -> Counts {
        wait_until("answers are counted", || self.counts().in_flight == 0);
        self.counts()
    }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn ask(stream: &mut UnixStream, least: u32, most: u32, wait: Wait) {
    let request = Request::Take { least, most, wait };
    stream.write_all(&request.frame()).unwrap();
}

fn answer(stream: &mut UnixStream) -> (Code, Vec<u8>) {
    let mut head = [0; ANSWER_LEN];
    stream.read_exact(&mut head).unwrap();
    let answer = Answer::new_checked(&head).unwrap();
    let mut body = vec![0; answer.len as usize];
    stream.read_exact(&mut body).unwrap();
    (answer.code, body)
}

const NOW: Wait = Wait::UpTo(0);

#[test]
fn bytes_are_given_once_and_whole_or_in_part() {
    let served = Served::new();
    let mut program = served.connect();
    served.feed(100);
    ask(&mut program, 32, 32, NOW);
    assert_eq!(answer(&mut program), (Code::Bytes, vec![7; 32]));
    ask(&mut program, 69, 69, NOW);
    assert_eq!(answer(&mut program), (Code::Empty, vec![]));
    ask(&mut program, 1, 1000, NOW);
    assert_eq!(answer(&mut program), (Code::Bytes, vec![7; 68]));
    ask(&mut program, 1, 1000, Wait::UpTo(1));
    assert_eq!(answer(&mut program), (Code::Empty, vec![]));
    let counts = served.settled();
    assert_eq!((counts.served, counts.fill), (100, 0));
    assert_eq!(served.counters.served_bytes.get(), 100);
    assert_eq!(served.counters.requests.get(), 4);
    wait_until("the queue is empty", || served.buffer.waiting() == 0);
}

#[test]
fn who_waits_is_served_in_order_when_bytes_come() {
    let served = Served::new();
    let mut programs: Vec<_> = (0..5).map(|_| served.connect()).collect();
    for (n, program) in programs.iter_mut().enumerate() {
        ask(program, 64, 64, Wait::ForEver);
        wait_until("it waits", || served.buffer.waiting() == n + 1);
    }
    // The third gives up.
    drop(programs.remove(2));
    wait_until("it has left the queue", || served.buffer.waiting() == 4);
    for program in &mut programs {
        // Less than the first insists on is given to nobody.
        served.feed(63);
        program.set_nonblocking(true).unwrap();
        assert!(program.read(&mut [0]).is_err());
        program.set_nonblocking(false).unwrap();
        served.feed(1);
        assert_eq!(answer(program), (Code::Bytes, vec![7; 64]));
    }
    let counts = served.settled();
    assert_eq!((counts.served, counts.destroyed), (4 * 64, 0));
}

#[test]
fn an_alarm_and_a_silent_link_end_waits() {
    let served = Served::new();
    let [mut a, mut b] = [served.connect(), served.connect()];
    ask(&mut a, 1, 10, Wait::ForEver);
    ask(&mut b, 1, 10, Wait::ForEver);
    wait_until("both wait", || served.buffer.waiting() == 2);
    served.tree.set_stalled(true);
    for program in [&mut a, &mut b] {
        assert_eq!(answer(program).0, Code::Stalled);
        ask(program, 1, 10, NOW);
        assert_eq!(answer(program).0, Code::Stalled);
    }
    served.tree.set_stalled(false);
    ask(&mut a, 1, 10, Wait::ForEver);
    wait_until("one waits", || served.buffer.waiting() == 1);
    served.feed(5);
    assert_eq!(answer(&mut a), (Code::Bytes, vec![7; 5]));
    ask(&mut a, 1, 10, Wait::ForEver);
    wait_until("one waits", || served.buffer.waiting() == 1);
    served.buffer.latch();
    assert_eq!(answer(&mut a).0, Code::Latched);
    ask(&mut b, 1, 10, Wait::ForEver);
    assert_eq!(answer(&mut b).0, Code::Latched);
    wait_until("the queue is empty", || served.buffer.waiting() == 0);
}

#[test]
fn what_a_program_does_not_take_is_kept_outside_the_buffer_and_destroyed_when_it_goes() {
    let served = Served::new();
    let mut slow = served.connect();
    // More requests than the kernel keeps answers for.
    for _ in 0..16 {
        ask(&mut slow, 1, MAX_TAKE, Wait::ForEver);
    }
    let mut seen = 0;
    wait_until("an answer is on its way for good", || {
        served.feed(MAX_TAKE as usize);
        let counts = served.counts();
        let stuck = counts.in_flight > 0 && counts.fill > 0;
        seen = if stuck { seen + 1 } else { 0 };
        seen == 10
    });
    // Another one is served meanwhile.
    let delivered = served.counters.served_bytes.get();
    let mut other = served.connect();
    ask(&mut other, 64, 64, Wait::ForEver);
    assert_eq!(answer(&mut other).0, Code::Bytes);
    wait_until("that is counted", || {
        served.counters.served_bytes.get() == delivered + 64
    });
    let before = served.counts();
    assert!((1..=u64::from(MAX_TAKE)).contains(&before.in_flight));
    drop(slow);
    let counts = served.settled();
    assert_eq!(counts.destroyed, before.in_flight);
    assert_eq!(counts.served, before.served);
}

#[test]
fn an_answer_that_waited_for_its_reader_arrives_whole() {
    let served = Served::new();
    let mut slow = served.connect();
    for _ in 0..8 {
        ask(&mut slow, 1, MAX_TAKE, Wait::ForEver);
    }
    let mut total = 0;
    for _ in 0..8 {
        served.feed(MAX_TAKE as usize);
        let (code, body) = answer(&mut slow);
        assert_eq!(code, Code::Bytes);
        assert!(body.iter().all(|&byte| byte == 7));
        total += body.len() as u64;
    }
    wait_until("all is delivered", || served.counts().served == total);
    assert_eq!(served.counters.served_bytes.get(), total);
}

#[test]
fn a_program_that_leaves_its_answer_unread_is_counted() {
    let served = Served::new();
    served.feed(10);
    let mut program = served.connect();
    ask(&mut program, 10, 10, NOW);
    wait_until("it is answered", || {
        served.counters.served_bytes.get() == 10
    });
    drop(program);
    wait_until("it is counted", || served.counters.left_unread.get() == 1);
    let mut program = served.connect();
    ask(&mut program, 10, 10, NOW);
    answer(&mut program);
    drop(program);
    wait_until("it has ended", || served.counters.connections.get() == 0);
    assert_eq!(served.counters.left_unread.get(), 1);
}

#[test]
fn the_status_and_what_is_no_request() {
    let served = Served::new();
    let mut program = served.connect();
    program.write_all(&Request::Status.frame()).unwrap();
    let (code, body) = answer(&mut program);
    assert_eq!(code, Code::Document);
    assert_eq!(body, b"{\"state\":\"serving\"}\n");
    program.write_all(&[9; 16]).unwrap();
    assert_eq!(answer(&mut program).0, Code::Malformed);
    assert_eq!(program.read(&mut [0]).unwrap(), 0);
    assert_eq!(served.counters.malformed.get(), 1);
}

#[test]
fn there_is_an_end_to_connections() {
    let served = Served::new();
    let mut held: Vec<_> = (0..admission::MAX_CONNECTIONS)
        .map(|_| served.connect())
        .collect();
    let mut more = served.connect();
    assert_eq!(answer(&mut more).0, Code::Busy);
    assert_eq!(served.counters.refused.get(), 1);
    held.truncate(200);
    wait_until("the ended ones are gone", || {
        served.counters.connections.get() == 200
    });
    served.feed(1);
    let mut again = served.connect();
    ask(&mut again, 1, 1, NOW);
    assert_eq!(answer(&mut again).0, Code::Bytes);
}

#[test]
fn a_dead_socket_is_replaced_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let error = |path: &Path| {
        Listener::open(&config(path.to_path_buf()))
            .unwrap_err()
            .to_string()
    };
    let dead = UnixListener::bind(&path).unwrap();
    assert!(error(&path).contains("another gateway runs here"));
    drop(dead);
    let listener = Listener::open(&config(path.clone())).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    assert!(listener.allows(0));
    drop(listener.file());
    assert!(!path.exists());
    std::fs::write(&path, "mine").unwrap();
    assert!(error(&path).contains("is no socket: remove it"));
    // A file that is not the socket's is left alone.
    drop(listener.file());
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    assert!(error(&directory.path().join("no/s")).contains("make its directory"));
}

#[test]
fn only_listed_users_are_let_in() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path().join("s"));
    let someone = Uid::from_raw(4242);
    let open = |config: &StreamConfig| {
        let listener = Listener::open(config).unwrap();
        drop(listener.file());
        listener
    };
    assert!(open(&config).allows(4242));
    config.users = Some(vec![]);
    let listener = open(&config);
    assert!(!listener.allows(4242) && listener.allows(0));
    assert!(listener.allows(nix::unistd::geteuid().as_raw()));
    config.users = Some(vec![someone]);
    assert!(open(&config).allows(4242));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// Whatever comes in, in whatever pieces: others are served, the books balance, and nothing stays in the queue.
    #[test]
    fn hostile_programs_hurt_only_themselves(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 1..20),
        valid in any::<bool>(),
    ) {
        let served = Served::new();
        served.feed(5000);
        let mut hostile = served.connect();
        for mut piece in pieces {
            if valid && piece.len() >= 16 {
                let take = Request::Take { least: 1, most: u32::from(piece[0]) + 1, wait: Wait::ForEver };
                piece[..16].copy_from_slice(&take.frame());
            }
            if hostile.write_all(&piece).is_err() {
                break;
            }
        }
        let mut honest = served.connect();
        served.feed(64);
        ask(&mut honest, 1, 64, NOW);
        prop_assert_eq!(answer(&mut honest).0, Code::Bytes);
        drop(hostile);
        wait_until("it has ended", || served.counters.connections.get() == 1);
        let counts = served.settled();
        prop_assert_eq!(served.buffer.waiting(), 0);
        prop_assert_eq!(counts.admitted, counts.served + counts.destroyed + counts.fill);
    }
}

#[test]
fn a_user_is_told_of_itself_alone() {
    let document = r#"{"state": "serving", "users": {"list": [{"uid": 7, "bytes": 1}, {"uid": 8, "bytes": 2}, {"uid": null}]}}"#;
    let told: Value = serde_json::from_str(&of_user(document.to_owned(), 8)).unwrap();
    assert_eq!(
        told,
        serde_json::json!({"state": "serving", "users": {"list": [{"uid": 8, "bytes": 2}]}})
    );
    assert_eq!(of_user("no document".to_owned(), 8), "no document");
}
