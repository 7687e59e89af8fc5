//! The server: one thread reads commands, another one answers them when their data is there.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use super::wire::{self, Command, HEADER, status};
use crate::shared::Shared;
use crate::usb::{ENDPOINT, Setup, UsbCard, UsbError};

/// How often a waiting transfer looks for data, and a listener whether the device is back.
const TICK: Duration = Duration::from_millis(1);
/// Commands that were read and not looked at.
const COMMANDS: usize = 64;
/// Transfers that wait for data. A client that has more under way is refused.
const WAITING: usize = 1024;

/// A stream socket.
pub trait Connection: Read + Write + Send + Sized + 'static {
    /// Another handle of the same socket.
    ///
    /// # Errors
    /// The operating system gives none.
    fn again(&self) -> io::Result<Self>;

    /// Ends the connection for all handles.
    fn close(&self);
}

impl Connection for TcpStream {
    fn again(&self) -> io::Result<Self> {
        // Many small answers: none may wait for another one's acknowledgement.
        self.set_nodelay(true)?;
        self.try_clone()
    }

    fn close(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

impl Connection for UnixStream {
    fn again(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn close(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

/// Serves whoever connects, one after the other, until the listener fails. A device that is gone refuses.
///
/// # Errors
/// The listener's.
pub fn listen(card: &Shared<UsbCard>, listener: &TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        // A connection that fails is the client's affair.
        let _ = serve(card, stream);
    }
}

/// Serves one connection until it ends: the client closes it, or the device is gone.
///
/// # Errors
/// The connection failed, or the client does not keep to the protocol.
pub fn serve<C: Connection>(card: &Shared<UsbCard>, mut stream: C) -> io::Result<()> {
    loop {
        let mut head = [0; 8];
        match stream.read_exact(&mut head) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        match head.first_chunk().copied().unwrap_or_default() {
            wire::LIST_REQUEST => list(card, &mut stream)?,
            wire::IMPORT_REQUEST => {
                return match import(card, &mut stream)? {
                    Some(unplugs) => transfers(card, stream, unplugs),
                    None => Ok(()),
                };
            }
            _ => return Err(io::Error::other("no request of USB/IP 1.1.1")),
        }
    }
}

fn list(card: &Shared<UsbCard>, stream: &mut impl Write) -> io::Result<()> {
    let card = card.lock();
    let (count, device) = match card.gone() {
        true => (0_u32, Vec::new()),
        false => (
            1,
            [&wire::device(card.speed())[..], &wire::INTERFACES].concat(),
        ),
    };
    let head = [&wire::LIST_REPLY[..], &[0; 4], &count.to_be_bytes()].concat();
    stream.write_all(&[head, device].concat())
}

/// Answers an import; if it succeeded, says how often the device had been unplugged until then.
fn import(card: &Shared<UsbCard>, stream: &mut (impl Read + Write)) -> io::Result<Option<u64>> {
    let mut id = [0; 32];
    stream.read_exact(&mut id)?;
    let card = card.lock();
    let there = !card.gone() && id == wire::bus_id();
    let mut reply = wire::IMPORT_REPLY.to_vec();
    reply.extend(u32::from(!there).to_be_bytes());
    if there {
        reply.extend(wire::device(card.speed()));
    }
    stream.write_all(&reply)?;
    Ok(there.then(|| card.unplugs()))
}

/// The connection after an import.
fn transfers<C: Connection>(card: &Shared<UsbCard>, mut stream: C, unplugs: u64) -> io::Result<()> {
    let (sender, commands) = mpsc::sync_channel(COMMANDS);
    let mut answers = Answers {
        card: card.clone(),
        unplugs,
        stream: stream.again()?,
        waiting: VecDeque::new(),
    };
    let answering = thread::spawn(move || {
        let result = answers.run(&commands);
        // Whatever ended it: the thread that reads must see it too.
        answers.stream.close();
        result
    });
    let read = read_commands(&mut stream, &sender);
    drop(sender);
    let answered = answering
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the model panicked")));
    answered.and(read)
}

fn read_commands(stream: &mut impl Read, commands: &SyncSender<Command>) -> io::Result<()> {
    loop {
        let mut header = [0; HEADER];
        match stream.read_exact(&mut header) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        let command = Command::parse(&header);
        let command = command.ok_or_else(|| io::Error::other("no command of USB/IP"))?;
        if let Command::Submit {
            into_host: false,
            length,
            ..
        } = command
        {
            // No request that is allowed brings data.
            io::copy(&mut stream.take(length as u64), &mut io::sink())?;
        }
        if commands.send(command).is_err() {
            return Ok(());
        }
    }
}

/// A transfer that waits for the device.
struct Waiting {
    number: u32,
    transfer: Transfer,
}

#[derive(Clone, Copy)]
enum Transfer {
    Control(Setup),
    Bulk { endpoint: u8, length: usize },
}

struct Answers<C> {
    card: Shared<UsbCard>,
    /// How often the device had been unplugged when it was imported.
    unplugs: u64,
    stream: C,
    /// In the order in which they came. Those of one endpoint are served in that order.
    waiting: VecDeque<Waiting>,
}

impl<C: Connection> Answers<C> {
    /// Answers until the connection ends or the device is gone.
    fn run(&mut self, commands: &Receiver<Command>) -> io::Result<()> {
        loop {
            match commands.recv_timeout(TICK) {
                Ok(command) => self.take(command)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if self.card.lock().unplugs() != self.unplugs {
                return Ok(());
            }
            self.work()?;
        }
    }

    fn take(&mut self, command: Command) -> io::Result<()> {
        match command {
            Command::Submit {
                number,
                into_host,
                endpoint,
                length,
                setup,
            } => {
                let transfer = match (endpoint, into_host) {
                    (0, _) => Transfer::Control(setup),
                    (endpoint, true) => Transfer::Bulk {
                        endpoint: endpoint | 0x80,
                        length,
                    },
                    (endpoint, false) => Transfer::Bulk { endpoint, length },
                };
                if self.waiting.len() == WAITING {
                    return Err(io::Error::other("too many transfers at once"));
                }
                self.waiting.push_back(Waiting { number, transfer });
                Ok(())
            }
            Command::Unlink { number, transfer } => {
                let before = self.waiting.len();
                self.waiting.retain(|w| w.number != transfer);
                let found = self.waiting.len() < before;
                let status = if found {
                    status::UNLINKED
                } else {
                    status::DONE
                };
                self.stream.write_all(&wire::unlinked(number, status))
            }
        }
    }

    /// Serves the transfers that can be served now.
    fn work(&mut self) -> io::Result<()> {
        let mut still = VecDeque::new();
        let mut empty = false;
        while let Some(waiting) = self.waiting.pop_front() {
            let bulk = matches!(
                waiting.transfer,
                Transfer::Bulk {
                    endpoint: ENDPOINT,
                    ..
                }
            );
            if bulk && empty {
                still.push_back(waiting);
                continue;
            }
            match self.attempt(waiting.transfer) {
                Err(UsbError::Nak) => {
                    empty |= bulk;
                    still.push_back(waiting);
                }
                result => self.answer(waiting.number, result)?,
            }
        }
        self.waiting = still;
        Ok(())
    }

    fn attempt(&self, transfer: Transfer) -> Result<Vec<u8>, UsbError> {
        let mut card = self.card.lock();
        match transfer {
            Transfer::Control(setup) => card.control(setup),
            Transfer::Bulk { endpoint, length } => card.bulk_in(endpoint, length),
        }
    }

    fn answer(&mut self, number: u32, result: Result<Vec<u8>, UsbError>) -> io::Result<()> {
        let answer = match result {
            Ok(data) => wire::submitted(number, status::DONE, data.len(), &data),
            Err(_) => wire::submitted(number, status::STALL, 0, &[]),
        };
        self.stream.write_all(&answer)
    }
}
