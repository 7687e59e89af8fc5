//! The gateway's stream socket with whole daemons: numbered bytes once across files and socket, programs that are killed or
//! slow or hostile, and gateways that die and come again.

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use qrng::stream::{MAX_TAKE, Request, Wait};
use qrng_consumer::{Consumer, ConsumerError};
use qrng_tests::chain::{Chain, PATIENCE, program, spawn, wait_until};
use qrng_tests::numbered::{BLOCK, Numbering};

const UNTESTED: &str = "[health]\nenabled = false\n";

/// The tables of a gateway with a stream socket, and what comes after.
fn stream_table(chain: &Chain, more: &str) -> String {
    format!("[stream]\nlisten = {:?}\n{more}", chain.path("s"))
}

/// A gateway without a mount, once it listens.
fn start_without_mount(chain: &mut Chain, more: &str) {
    let mut command = chain.gateway_command("accept-simulated = true", &stream_table(chain, more));
    let config = chain.path("gateway.toml");
    let text = fs::read_to_string(&config).unwrap();
    let mount = format!("mount = {:?}", chain.path("mnt"));
    fs::write(&config, text.replace(&mount, "mount = \"none\"")).unwrap();
    chain.gateway = Some(spawn(&mut command, &chain.path("gateway.log")));
    wait_until("the gateway listens", || {
        chain.assert_alive();
        UnixStream::connect(chain.path("s")).is_ok()
    });
}

fn status(consumer: &mut Consumer) -> serde_json::Value {
    serde_json::from_slice(&consumer.status().unwrap()).unwrap()
}

fn count(consumer: &mut Consumer, pointer: &str) -> u64 {
    let status = status(consumer);
    status
        .pointer(pointer)
        .and_then(|n| n.as_u64())
        .expect(pointer)
}

const SIMULATED: &str = "[source]\nkind = \"simulator\"\nrate = \"4 MB/s\"\n";

/// A program that asks at the socket and writes what it gets to a file, as a process that can be killed.
fn python_taker(socket: &Path, out: &Path) -> Child {
    let code = "import socket,struct,sys\n\
        s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); out=open(sys.argv[2],'wb',buffering=0)\n\
        while True:\n\
        \x20s.sendall(struct.pack('>BBHIII',1,1,0,16,48,0xFFFFFFFF))\n\
        \x20h=s.recv(8,socket.MSG_WAITALL)\n\
        \x20if len(h)<8: sys.exit(3)\n\
        \x20n=struct.unpack('>BBHI',h)[3]\n\
        \x20out.write(s.recv(n,socket.MSG_WAITALL))\n";
    Command::new("python3")
        .args(["-c", code])
        .args([socket, out])
        .stdin(Stdio::null())
        .spawn()
        .expect("python3 starts")
}

/// The numbers of what a program got; behind them there may be zeros that it never wrote.
fn numbers(numbering: &Numbering, bytes: &[u8]) -> Vec<u64> {
    let mut blocks = bytes.chunks_exact(BLOCK);
    let numbers = blocks
        .by_ref()
        .map_while(|block| numbering.number(block.try_into().unwrap()))
        .collect();
    assert!(
        blocks.flatten().all(|&byte| byte == 0),
        "bytes that the source never made"
    );
    numbers
}

/// Waits until no more packets come and the buffer is empty.
fn wait_until_all_is_read(chain: &Chain) {
    let mut last = (0, 0);
    wait_until("the source ends", || {
        thread::sleep(Duration::from_millis(80));
        let packets = chain.count("/packets/admitted");
        last = if packets == last.0 {
            (packets, last.1 + 1)
        } else {
            (packets, 0)
        };
        last.1 >= 20 && packets > 0 && chain.count("/buffer/fill_bytes") == 0
    });
}

#[test]
fn each_byte_once_across_files_and_socket_and_killed_programs() {
    let mut chain = Chain::new();
    let numbering = Numbering::default();
    let blocks = (8 << 20) / BLOCK as u64;
    fs::write(chain.path("numbers"), numbering.bytes(blocks)).unwrap();
    let tables = stream_table(&chain, UNTESTED);
    chain.start_gateway("", &tables);
    let socket = chain.path("s");
    let mut outs = Vec::new();
    let mut children = Vec::new();
    for n in 0..3 {
        outs.push(chain.path(&format!("file.{n}")));
        let mut reader = Command::new(program("qrng-test-reader"));
        reader.arg(chain.file("raw")).arg(&outs[outs.len() - 1]);
        reader.args(["33554432", "4096"]).stdin(Stdio::null());
        children.push(reader.spawn().unwrap());
        outs.push(chain.path(&format!("socket.{n}")));
        children.push(python_taker(&socket, &outs[outs.len() - 1]));
    }
    // And one in this process, by the client's own code.
    let stop = Arc::new(AtomicBool::new(false));
    let taker = thread::spawn({
        let (stop, socket) = (Arc::clone(&stop), socket.clone());
        move || {
            let mut consumer = Consumer::connect(socket).unwrap();
            let mut all = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let mut block = vec![0; 4096];
                match consumer.take(&mut block, Some(Duration::ZERO)) {
                    Ok(()) => all.extend(block),
                    Err(ConsumerError::Empty { had: 0, .. }) => {
                        thread::sleep(Duration::from_millis(1))
                    }
                    Err(e) => panic!("{e}"),
                }
            }
            all
        }
    });
    chain.start_collector(
        None,
        &format!(
            "[source]\nkind = \"node\"\npath = {:?}\n[source.health]\nenabled = false\n[send]\ndata-size = 1345\nrate = \"4 MB/s\"\n",
            chain.path("numbers")
        ),
    );
    // Programs die in the middle, and others take their place.
    for n in 0..4 {
        let before = chain.count("/bytes/served");
        wait_until("bytes flow", || {
            chain.count("/bytes/served") > before + (256 << 10)
        });
        let victim = &mut children[1 + 2 * (n % 3)];
        victim.kill().unwrap();
        victim.wait().unwrap();
        outs.push(chain.path(&format!("again.{n}")));
        *victim = python_taker(&socket, &outs[outs.len() - 1]);
    }
    wait_until_all_is_read(&chain);
    stop.store(true, Ordering::Relaxed);
    let own = taker.join().unwrap();
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    wait_until("nobody waits", || chain.count("/readers/waiting") == 0);

    let mut all = numbers(&numbering, &own);
    assert!(!all.is_empty(), "the client of this process got nothing");
    for out in &outs {
        all.extend(numbers(&numbering, &fs::read(out).unwrap_or_default()));
    }
    let bytes = (all.len() * BLOCK) as u64;
    let mut seen = HashSet::new();
    for number in all {
        assert!(seen.insert(number), "number {number} was handed out twice");
    }
    let status = chain.status();
    let n = |pointer: &str| {
        status
            .pointer(pointer)
            .and_then(|v| v.as_u64())
            .expect(pointer)
    };
    assert_eq!(
        n("/bytes/admitted"),
        n("/bytes/served") + n("/bytes/destroyed") + n("/bytes/overflow_discarded"),
        "{status:#}"
    );
    assert!(n("/stream/served_bytes") > 0 && n("/stream/served_bytes") < n("/bytes/served"));
    // What was served and is in no file was the one answer on its way to a program that was killed.
    let on_the_way = 48 * (4 + 3);
    let served = n("/bytes/served");
    assert!(
        (bytes..=bytes + on_the_way).contains(&served),
        "{bytes} {status:#}"
    );
    assert!(seen.len() as u64 > blocks / 2);
}

#[test]
fn a_gateway_without_a_mount_serves_and_comes_again() {
    let mut chain = Chain::new();
    start_without_mount(&mut chain, "mode = \"0600\"\n");
    chain.start_collector(None, SIMULATED);
    let socket = chain.path("s");
    assert_eq!(
        fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let mut consumer = Consumer::connect(&socket).unwrap();
    let mut key = [0; 32];
    consumer.take(&mut key, Some(PATIENCE)).unwrap();
    assert_ne!(key, [0; 32]);
    let mut long = vec![0; 200_000];
    consumer.take(&mut long, Some(PATIENCE)).unwrap();
    assert!(fs::read_dir(chain.path("mnt")).unwrap().next().is_none());
    let document = status(&mut consumer);
    assert_eq!(document["stream"]["connections"], 1);
    assert!(document["bytes"]["served"].as_u64().unwrap() >= 200_032);

    // A second one is refused by words, whatever its port.
    let second = fs::read_to_string(chain.path("gateway.toml")).unwrap();
    let port = format!("127.0.0.1:{}", chain.port);
    fs::write(
        chain.path("second.toml"),
        second.replace(&port, "127.0.0.1:0").replace(
            &format!("{:?}", chain.path("gateway")),
            &format!("{:?}", chain.path("second")),
        ),
    )
    .unwrap();
    let refused = Command::new(program("qrng-gateway"))
        .arg("--config")
        .arg(chain.path("second.toml"))
        .output()
        .unwrap();
    assert!(!refused.status.success());
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(words.contains("another gateway runs here"), "{words}");

    // Killed, it leaves its socket; the next one replaces it, and the same client goes on.
    chain.kill_gateway();
    assert!(socket.exists());
    let error = consumer.take(&mut key, None).unwrap_err();
    assert!(matches!(error, ConsumerError::Absent { .. }), "{error}");
    start_without_mount(&mut chain, "");
    consumer.take(&mut key, Some(PATIENCE)).unwrap();

    // A program that waits is told when the gateway ends, and the socket is gone.
    chain.stop_collector();
    let waiting = thread::spawn(move || {
        let mut rest = vec![0; 64 << 20];
        consumer.take(&mut rest, None).unwrap_err()
    });
    let mut other = Consumer::connect(&socket).unwrap();
    wait_until("it waits", || count(&mut other, "/readers/waiting") == 1);
    assert!(chain.stop_gateway().unwrap().success());
    let error = waiting.join().unwrap();
    assert!(
        matches!(
            error,
            ConsumerError::Ended { .. } | ConsumerError::Absent { .. }
        ),
        "{error}"
    );
    assert!(!socket.exists());
}

#[test]
fn slow_and_hostile_programs_delay_nobody() {
    let mut chain = Chain::new();
    let tables = stream_table(&chain, "");
    chain.start_gateway("accept-simulated = true", &tables);
    chain.start_collector(None, SIMULATED);
    let socket = chain.path("s");
    let mut consumer = Consumer::connect(&socket).unwrap();
    consumer.take(&mut [0; 32], Some(PATIENCE)).unwrap();
    let take = Request::Take {
        least: 1,
        most: MAX_TAKE,
        wait: Wait::ForEver,
    }
    .frame();
    // Some never read their answers, some never end their request, some say what is none, one is stopped.
    let mut held = Vec::new();
    for n in 0..60 {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_nonblocking(true).unwrap();
        let words: Vec<u8> = match n % 3 {
            0 => take.repeat(32),
            1 => take[..7].to_vec(),
            _ => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        };
        stream.write_all(&words).unwrap();
        held.push(stream);
    }
    let mut stopped = python_taker(&socket, &chain.path("stopped"));
    wait_until("it takes", || {
        fs::metadata(chain.path("stopped")).is_ok_and(|m| m.len() > 0)
    });
    kill(Pid::from_raw(stopped.id() as i32), Signal::SIGSTOP).unwrap();
    let packets = chain.count("/packets/admitted");
    chain.read_raw(1 << 20, PATIENCE);
    consumer
        .take(&mut vec![0; 1 << 20], Some(PATIENCE))
        .unwrap();
    assert!(chain.count("/packets/admitted") > packets);
    assert!(chain.count("/stream/malformed") >= 20);
    // They are cut off in the end, and what lay there for them is destroyed.
    wait_until("the slow are cut off", || {
        chain.count("/stream/cut_off") >= 40
    });
    assert!(chain.count("/bytes/destroyed") > 0);
    chain.read_raw(1 << 16, PATIENCE);
    kill(Pid::from_raw(stopped.id() as i32), Signal::SIGKILL).unwrap();
    stopped.wait().unwrap();
    let mut end = [0; 8];
    held[2].set_nonblocking(false).unwrap();
    held[2].read_exact(&mut end).unwrap();
    assert_eq!(end, [1, 5, 0, 0, 0, 0, 0, 0]);
    chain.assert_alive();
}

#[test]
fn only_those_whom_the_configuration_names_may_ask() {
    if !nix::unistd::geteuid().is_root() {
        qrng_tests::skip!("only root can ask as another user");
    }
    let mut chain = Chain::new();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(chain.path("."), open).unwrap();
    start_without_mount(&mut chain, "mode = \"0666\"\nusers = [\"daemon\"]\n");
    chain.start_collector(None, SIMULATED);
    let ask_as = |user: &str| {
        // Where every user may execute it, as not every python3 is. Who is refused may be so before it has asked.
        let code = "use Socket; $SIG{PIPE} = 'IGNORE'; socket(S, PF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un($ARGV[0])) or die $!;\
            syswrite(S, pack('CCnNNN', 1, 1, 0, 16, 16, 60000)); sysread(S, $head, 8); print unpack('xC', $head)";
        let output = Command::new("setpriv")
            .args(["--reuid", user, "--regid", "nogroup", "--clear-groups"])
            .args(["perl", "-e", code])
            .arg(chain.path("s"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(ask_as("daemon"), "0");
    assert_eq!(ask_as("root"), "0");
    assert_eq!(ask_as("nobody"), "7");
    let mut consumer = Consumer::connect(chain.path("s")).unwrap();
    assert!(count(&mut consumer, "/stream/refused") >= 1);
}
