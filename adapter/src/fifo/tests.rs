//! The pipe without a gateway.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::pipe::PipeError;
use super::*;

fn config(path: &Path) -> FifoConfig {
    FifoConfig {
        path: path.to_path_buf(),
        mode: 0o640,
        group: Some(nix::unistd::getegid()),
        in_flight: MOST,
    }
}

#[test]
fn a_portion_lies_in_it_until_somebody_has_read_all_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fifo");
    let pipe = Pipe::make(&config(&path)).unwrap();
    let found = fs::metadata(&path).unwrap();
    assert!(found.file_type().is_fifo());
    assert_eq!(found.permissions().mode() & 0o777, 0o640);
    let drained = || pipe.is_drained(Duration::ZERO).unwrap();
    assert!(drained());
    for portion in [100, MOST] {
        let bytes: Vec<u8> = (0..portion).map(|n| n as u8).collect();
        assert!(pipe.put(&bytes).unwrap());
        assert!(!drained());
        // Readers come and go.
        let mut first = vec![0; 60];
        File::open(&path).unwrap().read_exact(&mut first).unwrap();
        assert!(!drained(), "a part of a portion is no room");
        let mut rest = vec![0; portion - 60];
        File::open(&path).unwrap().read_exact(&mut rest).unwrap();
        assert_eq!([first, rest].concat(), bytes);
        assert!(drained());
    }
    assert!(pipe.put(&[7; 50]).unwrap());
    let reader = File::open(&path).unwrap();
    fcntl(&reader, FcntlArg::F_SETPIPE_SZ(1 << 20)).unwrap();
    assert!(!drained(), "whoever reads makes no room for more");
    assert_eq!(pipe.drain(), 50);
    assert!(pipe.begin());
    assert!(pipe.put(&[7; 40]).unwrap());
    let mut reader = File::open(&path).unwrap();
    // A portion that is being dealt with is waited for.
    let closed = thread::scope(|scope| {
        let closing = scope.spawn(|| pipe.close());
        while path.exists() {
            thread::sleep(Duration::from_millis(5));
        }
        pipe.done();
        closing.join().unwrap()
    });
    assert_eq!(closed, 40);
    assert!(!pipe.begin());
    assert!(!path.exists());
    assert!(!pipe.put(&[7; 40]).unwrap());
    drop(pipe);
    // End of file for those who still have it open.
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
}

#[test]
fn one_that_is_fed_is_refused_and_a_dead_one_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fifo");
    let pipe = Pipe::make(&config(&path)).unwrap();
    let second = Pipe::make(&config(&path)).unwrap_err();
    assert!(matches!(second, PipeError::Alive(_)), "{second}");
    assert!(second.to_string().contains("another adapter runs here"));
    assert!(pipe.put(&[1; 10]).unwrap());
    // What a killed one leaves is a pipe that nobody feeds, with or without bytes that a reader keeps there.
    let _reader = File::open(&path).unwrap();
    drop(pipe);
    let next = Pipe::make(&config(&path)).unwrap();
    assert_eq!(next.drain(), 0);
    assert!(next.put(&[2; 10]).unwrap());
    let mut got = [0; 10];
    File::open(&path).unwrap().read_exact(&mut got).unwrap();
    assert_eq!(got, [2; 10]);
    drop(next);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    let error = Pipe::make(&config(&path)).unwrap_err();
    assert!(matches!(error, PipeError::NotAPipe(_)), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    let error = Pipe::make(&config(Path::new("/nonexistent/fifo"))).unwrap_err();
    assert!(matches!(error, PipeError::Refused(..)), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn what_others_wrote_is_no_room_and_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fifo");
    let pipe = Pipe::make(&config(&path)).unwrap();
    // Its owner alone could do that.
    let mut other = File::options().write(true).open(&path).unwrap();
    other.write_all(&[1; MOST]).unwrap();
    assert!(!pipe.put(&[2; 10]).unwrap());
    assert_eq!(pipe.drain(), MOST);
    // A pipe that somebody else has made and nobody feeds is replaced as well.
    drop(pipe);
    fs::remove_file(&path).unwrap();
    mkfifo(&path, Mode::from_bits_truncate(0o666)).unwrap();
    Pipe::make(&config(&path)).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}
