//! Commands to a card that is served, one a line, over a Unix socket. Each answer ends with a line `ok` or `error: TEXT`.
//!
//! ```text
//! fault NAME [N]   make something go wrong; names as in `Fault`
//! clear            end all faults
//! produced         one line: produced N handed N overflowed N flushed N   (bytes)
//! pieces           a line for each run of bytes handed out: START END good|altered|condemned|stale
//! violations       a line for each violation
//! state            one line
//! quit             end the program; its exit status is 1 if there were violations
//! ```

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use crate::Device;
use crate::fault::{Fault, FaultError};
use crate::ledger::Worth;
use crate::shared::Shared;

/// The longest line, in bytes.
const LINE: u64 = 256;

/// Answers commands to `card` for whoever connects to `listener`, until that fails. `quit` is called for `quit`.
///
/// # Errors
/// The listener's, or that there can be no thread.
pub fn serve<M: Device + 'static>(
    card: &Shared<M>,
    listener: &UnixListener,
    quit: impl Fn() + Clone + Send + 'static,
) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        let (card, quit) = (card.clone(), quit.clone());
        thread::Builder::new()
            .name("control".into())
            .spawn(move || {
                // Who breaks off hears no answer.
                let _ = converse(&card, stream, quit);
            })?;
    }
}

fn converse<M: Device>(card: &Shared<M>, stream: UnixStream, quit: impl Fn()) -> io::Result<()> {
    let mut commands = BufReader::new(stream.try_clone()?);
    let mut answers = stream;
    loop {
        let mut line = String::new();
        if io::Read::take(&mut commands, LINE).read_line(&mut line)? == 0 {
            return Ok(());
        }
        let command = line.trim();
        let answer = match answer(card, command) {
            Ok(lines) => lines + "ok\n",
            Err(error) => format!("error: {error}\n"),
        };
        answers.write_all(answer.as_bytes())?;
        if command == "quit" {
            quit();
        }
    }
}

/// The lines of an answer.
fn answer<M: Device>(card: &Shared<M>, command: &str) -> Result<String, FaultError> {
    let mut card = card.lock();
    match command {
        "clear" => card.clear(),
        "quit" => {}
        "state" => return Ok(card.state() + "\n"),
        "violations" => {
            return Ok(card
                .violations()
                .texts()
                .iter()
                .map(|t| format!("{t}\n"))
                .collect());
        }
        "produced" => {
            let ledger = card.ledger();
            return Ok(format!(
                "produced {} handed {} overflowed {} flushed {}\n",
                ledger.produced(),
                ledger.handed(),
                ledger.overflowed(),
                ledger.flushed()
            ));
        }
        "pieces" => {
            let line = |p: &crate::ledger::Piece| {
                format!("{} {} {}\n", p.range.start, p.range.end, worth(p.worth))
            };
            return Ok(card.ledger().pieces().iter().map(line).collect());
        }
        _ => {
            let name = command.strip_prefix("fault ");
            let unknown = || FaultError::Unknown(command.to_owned());
            card.inject(name.ok_or_else(unknown)?.parse::<Fault>()?)?;
        }
    }
    Ok(String::new())
}

fn worth(worth: Worth) -> &'static str {
    match worth {
        Worth::Good => "good",
        Worth::Altered => "altered",
        Worth::Condemned => "condemned",
        Worth::Stale => "stale",
    }
}

/// The other end, for tests.
#[derive(Debug)]
pub struct Control {
    answers: BufReader<UnixStream>,
}

impl Control {
    /// Connects to a card's control socket.
    ///
    /// # Errors
    /// The operating system's.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        let answers = BufReader::new(stream);
        Ok(Self { answers })
    }

    /// Sends a command and gives the lines of the answer.
    ///
    /// # Errors
    /// The connection failed, or the card's own words.
    pub fn ask(&mut self, command: &str) -> io::Result<Vec<String>> {
        let stream = self.answers.get_mut();
        stream.write_all(format!("{command}\n").as_bytes())?;
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.answers.read_line(&mut line)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end();
            match line.strip_prefix("error: ") {
                Some(error) => return Err(io::Error::other(error.to_owned())),
                None if line == "ok" => return Ok(lines),
                None => lines.push(line.to_owned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::{ModuleCard, ModuleConfig};
    use crate::pci::PciCard;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn commands_reach_the_card_and_answers_tell_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control");
        let listener = UnixListener::bind(&path).unwrap();
        let card = Shared::stepped(ModuleCard::new(ModuleConfig::default()));
        let (quit, quits) = mpsc::channel();
        let served = card.clone();
        thread::spawn(move || serve(&served, &listener, move || quit.send(()).unwrap()));
        let mut control = Control::connect(&path).unwrap();

        for (offset, value) in [(0, 1), (4, 1), (0x30, 0x0202_0202), (0x20, 0)] {
            card.lock().write32(1, offset, value);
        }
        card.step(Duration::from_millis(3));
        let produced = control.ask("produced").unwrap();
        assert_eq!(
            produced,
            ["produced 6000 handed 0 overflowed 1904 flushed 0"]
        );
        card.lock().read32(1, 0x2C);
        card.lock().read32(1, 0x28);
        assert_eq!(control.ask("pieces").unwrap(), ["0 4 condemned"]);
        assert!(control.ask("violations").unwrap().is_empty());
        card.lock().read32(1, 0x40);
        assert_eq!(control.ask("violations").unwrap().len(), 1);

        assert!(control.ask("fault module-fails 2").unwrap().is_empty());
        assert!(control.ask("state").unwrap()[0].contains("faults=[module-fails 2]"));
        control.ask("clear").unwrap();
        assert!(control.ask("state").unwrap()[0].contains("faults=[]"));
        for command in ["", "no such", "fault no such", "fault html"] {
            control.ask(command).unwrap_err();
        }
        control.ask("quit").unwrap();
        quits.recv_timeout(Duration::from_secs(60)).unwrap();
    }
}
