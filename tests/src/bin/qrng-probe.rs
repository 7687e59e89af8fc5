//! A reader (or a gateway without a network) as a process of its own. Prints one line with what came of it.
//!
//! ```text
//! qrng-probe read FILE BYTES           one read(2): `BYTES got` or the error's name
//! qrng-probe nonblock FILE             the same with O_NONBLOCK, 64 bytes
//! qrng-probe poll|epoll FILE SECONDS   prints `waiting`, then `ready` or `timeout`
//! qrng-probe sendfile|splice|copy-file-range FILE OUT
//! qrng-probe map-private|map-shared FILE
//! qrng-probe threads FILE              two threads read 4096 times 32 bytes each on one descriptor
//! qrng-probe serve DIRECTORY           mounts a buffer there, keeps it filled with what `feed N` on standard input asks for
//! qrng-probe device NAME FILE          the same, with FILE as the device /dev/NAME in place of a mount
//! ```

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, SpliceFFlags};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use qrng_gateway::buffer::{Buffer, Overflow};
use qrng_tests::fuse_harness::{device, entry, mount_options, tree_over};
use qrng_tests::mapping;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let said = match arguments[..] {
        ["read", file, bytes] => File::open(file).and_then(|file| one_read(file, bytes)),
        ["nonblock", file] => nonblocking(file).and_then(|file| one_read(file, "64")),
        ["poll", file, seconds] => wait_poll(file, seconds),
        ["epoll", file, seconds] => wait_epoll(file, seconds),
        ["sendfile" | "splice" | "copy-file-range", file, out] => {
            without_copying(arguments[0], file, out)
        }
        ["map-private", file] => File::open(file)
            .and_then(|file| mapping::first_byte_of_private(&file))
            .map(|b| format!("byte {b}")),
        ["map-shared", file] => File::open(file)
            .and_then(|file| mapping::map_shared(&file))
            .map(|()| "mapped".to_owned()),
        ["threads", file] => two_threads(file),
        ["serve", directory] => serve(directory),
        ["device", name, file] => serve_device(name, file),
        _ => Err(io::Error::other(
            "see the top of the source for the arguments",
        )),
    };
    match said {
        Ok(said) => println!("{said}"),
        Err(error) => match error.raw_os_error() {
            Some(number) => println!("{:?}", Errno::from_raw(number)),
            None => {
                println!("{error}");
                return ExitCode::FAILURE;
            }
        },
    }
    ExitCode::SUCCESS
}

fn one_read(mut file: File, bytes: &str) -> io::Result<String> {
    let mut buffer = vec![0; bytes.parse().map_err(io::Error::other)?];
    // Not `read_exact` nor anything that tries again: the first answer counts.
    file.read(&mut buffer).map(|n| format!("{n} got"))
}

fn nonblocking(file: &str) -> io::Result<File> {
    std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(file)
}

fn millis(seconds: &str) -> io::Result<u16> {
    seconds
        .parse::<u16>()
        .map(|s| s * 1000)
        .map_err(io::Error::other)
}

fn say(word: &str) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{word}")?;
    out.flush()
}

fn wait_poll(path: &str, seconds: &str) -> io::Result<String> {
    use std::os::fd::AsFd;
    let file = nonblocking(path)?;
    let mut polled = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    let now = poll(&mut polled, PollTimeout::ZERO)?;
    say(if now == 0 { "waiting" } else { "ready before" })?;
    let count = poll(&mut polled, PollTimeout::from(millis(seconds)?))?;
    if count == 0 {
        Ok("timeout".to_owned())
    } else {
        one_read(file, "64").map(|got| format!("ready, {got}"))
    }
}

fn wait_epoll(path: &str, seconds: &str) -> io::Result<String> {
    let file = nonblocking(path)?;
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    epoll.add(
        &file,
        EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 1),
    )?;
    let mut events = [EpollEvent::empty()];
    let now = epoll.wait(&mut events, 0u8)?;
    say(if now == 0 { "waiting" } else { "ready before" })?;
    let count = epoll.wait(&mut events, millis(seconds)?)?;
    if count == 0 {
        Ok("timeout".to_owned())
    } else {
        one_read(file, "64").map(|got| format!("ready, {got}"))
    }
}

fn without_copying(how: &str, from: &str, to: &str) -> io::Result<String> {
    let from = File::open(from)?;
    let n = match how {
        "splice" => {
            let (_read_end, write_end) = nix::unistd::pipe()?;
            nix::fcntl::splice(&from, None, &write_end, None, 4096, SpliceFFlags::empty())?
        }
        "sendfile" => nix::sys::sendfile::sendfile(File::create(to)?, &from, None, 4096)?,
        _ => nix::fcntl::copy_file_range(&from, None, File::create(to)?, None, 4096)?,
    };
    Ok(format!("{n} got"))
}

fn two_threads(path: &str) -> io::Result<String> {
    let file = Arc::new(File::open(path)?);
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let file = file.clone();
            std::thread::spawn(move || {
                (0..4096)
                    .map(|_| (&*file).read(&mut [0; 32]))
                    .sum::<io::Result<usize>>()
            })
        })
        .collect();
    let mut all = 0;
    for thread in threads {
        all += thread
            .join()
            .map_err(|_| io::Error::other("a thread panicked"))??;
    }
    Ok(format!("{all} got"))
}

/// Mounts, says so, obeys `feed N` (bytes) and `stop` on standard input, and ends with it.
fn serve(directory: &str) -> io::Result<String> {
    let buffer = Arc::new(Buffer::new(16 << 20, Overflow::Discard)?);
    let options = mount_options(PathBuf::from(directory));
    let mount = match qrng_gateway::kernel::Mount::start(options, tree_over(&buffer)) {
        Ok(mount) => mount,
        Err(error) => return Ok(format!("refused: {error}")),
    };
    say(&format!("mounted: {}", mount.point().display()))?;
    obey(&buffer)?;
    mount.stop().map_err(io::Error::other)?;
    Ok("stopped".to_owned())
}

/// The same with one file as a device.
fn serve_device(name: &str, file: &str) -> io::Result<String> {
    let buffer = Arc::new(Buffer::new(16 << 20, Overflow::Discard)?);
    let device = match device(name, entry(file), &tree_over(&buffer)) {
        Ok(device) => device,
        Err(error) => return Ok(format!("refused: {error}")),
    };
    say(&format!("made: {}", device.path().display()))?;
    obey(&buffer)?;
    drop(device);
    Ok("stopped".to_owned())
}

/// Does what standard input says, until it says something else than `feed N`, or ends.
fn obey(buffer: &Buffer) -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        match line?.split_once(' ') {
            Some(("feed", bytes)) => {
                let bytes = vec![0xa5; bytes.parse().map_err(io::Error::other)?];
                buffer.push(&bytes);
                buffer.notify();
                say("fed")?;
            }
            _ => break,
        }
    }
    Ok(())
}
