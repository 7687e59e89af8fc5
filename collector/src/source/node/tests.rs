use super::*;
use std::io::Write;
use std::thread;
use std::time::Instant;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::source::NoiseSource;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[test]
fn a_regular_file_is_read_once_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("noise");
    let content: Vec<u8> = (0..300_000u32).flat_map(u32::to_be_bytes).collect();
    fs::write(&path, &content).unwrap();
    let mut node = open("file", &path).unwrap();
    assert_eq!(node.identity().kind, Kind::KernelNode);
    let mut got = Vec::new();
    let mut buffer = vec![0; 60_975];
    let end = loop {
        match node.read(&mut buffer, soon()) {
            Ok(n) => got.extend_from_slice(&buffer[..n]),
            Err(e) => break e,
        }
    };
    assert!(matches!(end, SourceError::Ended));
    assert!(got == content, "bytes are missing or out of order");
    assert!(matches!(
        node.read(&mut buffer, soon()),
        Err(SourceError::Ended)
    ));
}

#[test]
fn what_is_no_noise_source_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = |path: &Path| open("x", path).err().unwrap().to_string();
    assert!(error(dir.path()).contains("is a directory"));
    assert!(error(&dir.path().join("none")).contains("No such file"));
}

#[test]
fn silence_gives_nothing_at_the_deadline_and_then_what_came() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    // Held open for both directions, so that neither end waits for the other.
    let mut writer = File::options().read(true).write(true).open(&path).unwrap();
    let mut node = open("pipe", &path).unwrap();
    let mut buffer = [0; 100];
    assert_eq!(node.read(&mut buffer, Instant::now()).unwrap(), 0);
    writer.write_all(b"abc").unwrap();
    let mut got = Vec::new();
    while got.len() < 3 {
        let n = node
            .read(&mut buffer, Instant::now() + Duration::from_millis(1))
            .unwrap();
        got.extend_from_slice(&buffer[..n]);
    }
    assert_eq!(got, b"abc");
    // A full buffer needs no deadline to pass.
    writer.write_all(&[7; 100]).unwrap();
    assert_eq!(node.read(&mut buffer, soon()).unwrap(), 100);
}

#[test]
fn end_of_a_device_is_a_failure_and_is_tried_again() {
    let mut node = open("null", Path::new("/dev/null")).unwrap();
    for _ in 0..3 {
        // Ok(0) cannot come before the deadline, as the failure ends the wait.
        let error = node.read(&mut [0; 10], soon()).unwrap_err();
        assert!(matches!(error, SourceError::Retry(_)), "{error}");
    }
}

#[test]
fn an_error_of_a_regular_file_is_final() {
    // A regular file whose first page nobody can read.
    let mut node = open("memory", Path::new("/proc/self/mem")).unwrap();
    for _ in 0..3 {
        let error = node.read(&mut [0; 10], soon()).unwrap_err();
        assert!(matches!(error, SourceError::Lost(_)), "{error:?}");
        assert!(error.to_string().contains("not begun anew"), "{error}");
    }
}

#[test]
fn bytes_before_a_failure_come_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let feeder = {
        let path = path.clone();
        thread::spawn(move || {
            let mut pipe = File::options().write(true).open(path).unwrap();
            pipe.write_all(&[5; 5000]).unwrap();
        })
    };
    let mut node = open("pipe", &path).unwrap();
    feeder.join().unwrap();
    let mut buffer = vec![0; 10_000];
    assert_eq!(node.read(&mut buffer, soon()).unwrap(), 5000);
    assert!(matches!(
        node.read(&mut buffer, soon()),
        Err(SourceError::Retry(_))
    ));
}
