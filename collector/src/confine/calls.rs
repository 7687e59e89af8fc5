//! System calls: what the collector's processes may call, and must not.
//!
//! The sender's is a list of what it may call; everything else kills the process. `read` is allowed of the pipe alone: it would
//! read a socket just as well. The reader's is a list of what it must not call, because drivers and the
//! libraries under them call many things.

use qrng_confine::calls::{self, Error, Rules, allow, is};

use super::SenderHandles;
use super::needs::Needs;

mod forbidden;

/// Keeps all threads of this process to what sealing and sending call.
///
/// # Errors
/// The kernel's.
pub fn confine_sender(handles: &SenderHandles) -> Result<(), Error> {
    calls::only(of_sender(handles)?)
}

/// Keeps this thread, and those that it starts, from what no source needs.
///
/// # Errors
/// The kernel's.
pub fn confine_reader(needs: &Needs) -> Result<(), Error> {
    for (rules, action) in forbidden::of_reader(needs)? {
        calls::never(rules, action)?;
    }
    calls::never_x32()
}

/// What the sender may call.
fn of_sender(handles: &SenderHandles) -> Result<Rules, Error> {
    let mut rules = calls::running()?;
    // Sealing and sending.
    let sockets = handles.sockets.iter().map(|&fd| vec![is(0, fd), is(2, 0)]);
    allow(&mut rules, libc::SYS_sendmsg, sockets)?;
    allow(&mut rules, libc::SYS_read, [vec![is(0, handles.pipe)]])?;
    let [first, second] = handles.answers;
    let written = [first, second, libc::STDERR_FILENO];
    let written: Vec<_> = written.into_iter().chain(handles.pusher).collect();
    for call in [libc::SYS_write, libc::SYS_writev] {
        allow(&mut rules, call, written.iter().map(|&fd| vec![is(0, fd)]))?;
    }
    for call in [libc::SYS_pwrite64, libc::SYS_fdatasync] {
        allow(&mut rules, call, [vec![is(0, handles.epochs)]])?;
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_senders_list_is_as_short_as_the_documents_say() {
        let handles = SenderHandles {
            pipe: 3,
            answers: [4, 5],
            sockets: vec![6, 7],
            pusher: None,
            epochs: 8,
        };
        let mut rules = of_sender(&handles).unwrap();
        rules.remove(&libc::SYS_fcntl);
        let text = include_str!("../../../docs/confinement.md");
        assert!(text.contains(&format!("a seccomp list of {} calls", rules.len())));
        // A pipe to the pusher is one more that is written, and nothing else.
        assert_eq!(rules[&libc::SYS_write].len(), 3);
        let pusher = Some(9);
        let mut more = of_sender(&SenderHandles {
            pusher,
            ..handles.clone()
        })
        .unwrap();
        more.remove(&libc::SYS_fcntl);
        assert_eq!(more.len(), rules.len());
        assert_eq!(more[&libc::SYS_writev].len(), 4);
        assert_eq!(more[&libc::SYS_read].len(), 1);
        // One rule for each socket; without any, nothing can be sent rather than everything.
        assert_eq!(rules[&libc::SYS_sendmsg].len(), 2);
        let sockets = Vec::new();
        let rules = of_sender(&SenderHandles { sockets, ..handles }).unwrap();
        assert!(!rules.contains_key(&libc::SYS_sendmsg));
    }
}
