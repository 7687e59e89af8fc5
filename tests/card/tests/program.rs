//! The program, from its ready line to its exit status.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use qrng_card::control::Control;
use qrng_card::usbip;
use tempfile::TempDir;
use vfio_user::Client;

const PATIENCE: Duration = Duration::from_secs(60);
const CONFIG: u32 = 7;

/// A running card, killed when dropped.
struct Card {
    child: Child,
    ready: String,
    directory: TempDir,
}

impl Card {
    /// Starts one whose sockets are `card` and `control` in a directory of its own.
    fn start(arguments: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_qrng-card"))
            .args(arguments.split(' '))
            .args(["--control", "control", "--die-with-parent"])
            .current_dir(directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut ready).unwrap();
        Self {
            child,
            ready,
            directory,
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn control(&self) -> Control {
        Control::connect(&self.path("control")).unwrap()
    }

    /// Ends it by command. Gives its exit status and what it said.
    fn quit(mut self) -> (Option<i32>, String) {
        self.control().ask("quit").unwrap();
        let status = self.child.wait().unwrap();
        let mut said = String::new();
        let mut errors = self.child.stderr.take().unwrap();
        errors.read_to_string(&mut said).unwrap();
        (status.code(), said)
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(client: &mut Client, region: u32, offset: u64) -> u32 {
    let mut data = [0; 4];
    client.region_read(region, offset, &mut data).unwrap();
    u32::from_le_bytes(data)
}

fn enable(socket: &Path) -> Client {
    let mut client = Client::new(socket).unwrap();
    client.region_write(CONFIG, 4, &[2, 0]).unwrap();
    client
}

#[test]
fn a_card_that_was_used_well_ends_with_status_0() {
    let card = Card::start("module --modules 2 --rate 1MB/s --socket card");
    assert_eq!(card.ready, "ready socket=card control=control\n");
    let mut client = enable(&card.path("card"));
    assert_eq!(read(&mut client, CONFIG, 0), 0x0001_179A);
    assert_eq!(read(&mut client, 1, 0x3C), 0xC0C0);
    let state = card.control().ask("state").unwrap();
    assert!(state[0].contains("MX_SR=0x0000c0c0"), "{state:?}");
    let (status, said) = card.quit();
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn a_violation_shows_in_the_exit_status() {
    let card = Card::start("chip --model 40m --socket card");
    let mut client = enable(&card.path("card"));
    assert_eq!(read(&mut client, CONFIG, 0), 0x0002_1E89);
    assert_eq!(read(&mut client, 0, 0x084), 0x003);
    assert_eq!(read(&mut client, 1, 0x084), 0);
    let (status, said) = card.quit();
    assert_eq!(status, Some(1));
    assert!(said.contains("violation: BAR1+0x84"), "{said}");
}

#[test]
fn a_usb_device_says_where_it_listens() {
    let card = Card::start("usb --listen 127.0.0.1:0 --serial ABC");
    let address = card.ready.split(['=', ' ']).nth(2).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    assert_eq!(usbip::import(&mut stream).unwrap().speed, 3);
    let (status, said) = card.quit();
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn a_usb_device_is_plugged_into_the_kernels_port_and_again_when_it_is_back() {
    let vhci = TempDir::new().unwrap();
    let file = vhci.path().join("attach");
    let card = Card::start(&format!("usb --attach 3 --vhci {}", vhci.path().display()));
    assert_eq!(card.ready, "ready port=3 control=control\n");
    let attached = || std::fs::read_to_string(&file).unwrap_or_default();
    let words: Vec<_> = attached().split(' ').map(str::to_owned).collect();
    assert!(
        matches!(&words[..], [port, _, device, speed]
        if port == "3" && device == "65537" && speed == "3"),
        "{words:?}"
    );
    std::fs::remove_file(&file).unwrap();
    card.control().ask("fault gone").unwrap();
    card.control().ask("clear").unwrap();
    let start = Instant::now();
    while !attached().starts_with("3 ") {
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_appliance_makes_its_certificates_and_listens() {
    let directory = TempDir::new().unwrap();
    let place = directory.path().display();
    let card = Card::start(&format!(
        "appliance --listen 127.0.0.1:0 --ask-certificate --dir {place}"
    ));
    let address = card.ready.split(['=', ' ']).nth(2).unwrap();
    TcpStream::connect(address).unwrap();
    for name in [
        "ca.pem",
        "server.pem",
        "client.pem",
        "client.key",
        "other-ca.pem",
    ] {
        assert!(directory.path().join(name).exists(), "{name}");
    }
    let (status, said) = card.quit();
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn what_can_not_be_served_is_an_error_with_words() {
    for (arguments, words) in [
        ("module --socket no/such/directory", "cannot be made"),
        ("usb --attach 0 --vhci no/such/directory", "vhci_hcd"),
        (
            "module --modules 3 --rate 1MB/s --socket card",
            "equal parts",
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_qrng-card"))
            .args(arguments.split(' '))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(words), "{said}");
    }
}
