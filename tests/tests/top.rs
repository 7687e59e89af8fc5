//! `qrng top` in a pseudo-terminal: what it shows, and that the terminal is afterwards as it was.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;
use qrng_tests::chain::{Chain, PATIENCE, program, wait_until};

const SIMULATED: &str = "[source]\nkind = \"simulator\"\nrate = \"4 MB/s\"\n";

/// A terminal with `qrng top` in it.
struct Terminal {
    child: Child,
    keys: File,
    shown: Arc<Mutex<String>>,
    ours: OwnedFd,
    before: Termios,
}

impl Terminal {
    fn start(arguments: &[&std::ffi::OsStr]) -> Self {
        let size = Winsize {
            ws_row: 40,
            ws_col: 120,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        let before = tcgetattr(&pty.slave).unwrap();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut command = Command::new(program("qrng"));
        command
            .arg("top")
            .args(arguments)
            .env("TERM", "xterm-256color");
        let child = command
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let shown = Arc::<Mutex<String>>::default();
        let mut screen = File::from(pty.master.try_clone().unwrap());
        let told = Arc::clone(&shown);
        // It ends with the process of the tests.
        thread::spawn(move || {
            let mut room = [0; 4096];
            loop {
                match screen.read(&mut room) {
                    Ok(0) => return,
                    Ok(len) => told
                        .lock()
                        .unwrap()
                        .push_str(&String::from_utf8_lossy(&room[..len])),
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
            }
        });
        Self {
            child,
            keys: File::from(pty.master),
            shown,
            ours: pty.slave,
            before,
        }
    }

    /// What was drawn so far, without the sequences between the letters.
    fn text(&self) -> String {
        let shown = self.shown.lock().unwrap();
        let mut text = String::new();
        let mut parts = shown.split('\x1b');
        text.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let end = part
                .find(|c: char| c.is_ascii_alphabetic())
                .map_or(part.len(), |at| at + 1);
            text.push_str(&part[end..]);
        }
        text
    }

    fn wait_for(&self, words: &str) {
        wait_until(words, || self.text().contains(words));
    }

    /// Waits for the end, and checks that the terminal is as it was.
    fn ended(mut self) -> ExitStatus {
        wait_until("it ends", || self.child.try_wait().unwrap().is_some());
        let status = self.child.wait().unwrap();
        wait_until("the screen is left and the cursor is back", || {
            let shown = self.shown.lock().unwrap();
            shown.contains("\x1b[?1049l") && shown.contains("\x1b[?25h")
        });
        assert_eq!(tcgetattr(&self.ours).unwrap(), self.before);
        status
    }
}

#[test]
fn a_live_gateway_is_shown_and_keys_and_signals_restore_the_terminal() {
    let mut chain = Chain::new();
    let tables = format!("[stream]\nlisten = {:?}", chain.path("s"));
    chain.start_gateway("accept-simulated = true", &tables);
    chain.start_collector(None, SIMULATED);
    chain.read_raw(32, PATIENCE);
    let (mount, socket) = (chain.path("mnt"), chain.path("s"));
    let by_mount = ["--mount".as_ref(), mount.as_os_str()];
    let by_socket = ["--stream".as_ref(), socket.as_os_str()];

    let mut terminal = Terminal::start(&by_mount);
    for words in ["SERVING", "buffer ", "simulator", "q: quit"] {
        terminal.wait_for(words);
    }
    assert_ne!(tcgetattr(&terminal.ours).unwrap(), terminal.before);
    terminal.keys.write_all(b"xq").unwrap();
    assert!(terminal.ended().success());

    let mut terminal = Terminal::start(&by_socket);
    terminal.wait_for("SERVING");
    // Ctrl-C, as the terminal sends it.
    terminal.keys.write_all(b"\x03").unwrap();
    assert!(terminal.ended().success());

    let terminal = Terminal::start(&by_socket);
    terminal.wait_for("SERVING");
    kill(Pid::from_raw(terminal.child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(terminal.ended().code(), Some(128 + 15));

    let mut terminal = Terminal::start(&by_socket);
    terminal.wait_for("SERVING");
    chain.stop_gateway();
    terminal.wait_for("no gateway listens");
    terminal.keys.write_all(b"q").unwrap();
    assert!(terminal.ended().success());
}

#[test]
fn once_is_text_and_its_exit_code_is_that_of_status() {
    let mut chain = Chain::new();
    let tables = format!("[stream]\nlisten = {:?}", chain.path("s"));
    chain.start_gateway("accept-simulated = true", &tables);
    chain.start_collector(None, SIMULATED);
    chain.read_raw(32, PATIENCE);
    let top = |arguments: &[&std::ffi::OsStr]| {
        let mut command = Command::new(program("qrng"));
        command
            .arg("top")
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let socket = chain.path("s");
    let by_socket = ["--once".as_ref(), "--stream".as_ref(), socket.as_os_str()];
    let output = top(&by_socket);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    for words in ["gateway ", "SERVING", "rates", "rejected"] {
        assert!(text.contains(words), "{words:?} is not in:\n{text}");
    }
    assert!(!text.contains('\x1b'), "{text}");
    chain.stop_gateway();
    let output = top(&by_socket);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no gateway listens"));
    // Without a terminal and without --once there is nothing to draw on.
    let output = top(&["--stream".as_ref(), socket.as_os_str()]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("qrng top --once"));
}
