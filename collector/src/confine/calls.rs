//! System calls: seccomp filters.
//!
//! The sender's is a list of what it may call; everything else kills the process, also calls by the
//! numbers of other architectures (x32, int 0x80). `read` is allowed of the pipe alone: it would read a
//! socket just as well. The reader's is a list of what it must not call, because drivers and the
//! libraries under them call many things.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use libc::{c_long, c_ulong};
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter, apply_filter_all_threads,
};

use super::SenderHandles;
use super::needs::Needs;

mod forbidden;

/// Calls, each with the arguments that it matters for; none: whatever they are.
type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// Keeps all threads of this process to what sealing and sending call.
///
/// # Errors
/// The kernel's.
pub fn confine_sender(handles: &SenderHandles) -> Result<(), Error> {
    let rules = of_sender(handles)?;
    let filter = compile(rules, SeccompAction::KillProcess, SeccompAction::Allow)?;
    apply_filter_all_threads(&filter)
}

/// Keeps this thread, and those that it starts, from what no source needs.
///
/// # Errors
/// The kernel's.
pub fn confine_reader(needs: &Needs) -> Result<(), Error> {
    for (rules, action) in forbidden::of_reader(needs)? {
        apply_filter(&compile(rules, SeccompAction::Allow, action)?)?;
    }
    #[cfg(target_arch = "x86_64")]
    apply_filter(&forbidden::x32())?;
    Ok(())
}

fn compile(rules: Rules, others: SeccompAction, these: SeccompAction) -> Result<BpfProgram, Error> {
    let arch = TargetArch::try_from(ARCH)?;
    Ok(SeccompFilter::new(rules, others, these, arch)?.try_into()?)
}

/// What the sender may call.
fn of_sender(handles: &SenderHandles) -> Result<Rules, Error> {
    let mut rules = Rules::new();
    // Sealing and sending.
    let sockets = handles.sockets.iter().map(|&fd| vec![is(0, fd), is(2, 0)]);
    allow(&mut rules, libc::SYS_sendmsg, sockets)?;
    allow(&mut rules, libc::SYS_read, [vec![is(0, handles.pipe)]])?;
    let written = [handles.answers[0], handles.answers[1], libc::STDERR_FILENO];
    for call in [libc::SYS_write, libc::SYS_writev] {
        allow(&mut rules, call, written.map(|fd| vec![is(0, fd)]))?;
    }
    for call in [libc::SYS_pwrite64, libc::SYS_fdatasync] {
        allow(&mut rules, call, [vec![is(0, handles.epochs)]])?;
    }
    // Memory, never to be executed.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        allow(&mut rules, call, [vec![lacks(2, libc::PROT_EXEC)]])?;
    }
    let free = [
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_brk,
        // Waiting, and time where it cannot be read without a call.
        libc::SYS_futex,
        libc::SYS_sched_yield,
        libc::SYS_nanosleep,
        libc::SYS_clock_nanosleep,
        libc::SYS_clock_gettime,
        libc::SYS_gettimeofday,
        libc::SYS_restart_syscall,
        // Keys of a session.
        libc::SYS_getrandom,
        // The end of a thread and of the process, in order or by a panic.
        libc::SYS_close,
        libc::SYS_sigaltstack,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigreturn,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];
    for call in free {
        rules.insert(call, Vec::new());
    }
    // Built for tests, the standard library looks whether what it closes is open.
    if cfg!(debug_assertions) {
        allow(&mut rules, libc::SYS_fcntl, [vec![is(1, libc::F_GETFD)]])?;
    }
    // A thread that aborts the process, after a panic within a panic: this one only.
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    allow(&mut rules, libc::SYS_tgkill, [vec![is(0, own)]])?;
    Ok(rules)
}

/// Adds a call for each of these sets of conditions.
fn allow(
    rules: &mut Rules,
    call: c_long,
    sets: impl IntoIterator<Item = Vec<SeccompCondition>>,
) -> Result<(), Error> {
    let sets = sets.into_iter().map(SeccompRule::new);
    let sets = sets.collect::<Result<Vec<_>, _>>()?;
    // An empty list would allow the call with any arguments.
    if !sets.is_empty() {
        rules.insert(call, sets);
    }
    Ok(())
}

/// That the argument of this number is `value`. The kernel takes descriptors, modes and flags of these
/// calls as 32 bits, so the upper ones do not matter.
fn is(argument: u8, value: i32) -> SeccompCondition {
    condition(argument, SeccompCmpOp::Eq, value)
}

/// That the argument has none of the bits of `mask`.
fn lacks(argument: u8, mask: i32) -> SeccompCondition {
    condition(
        argument,
        SeccompCmpOp::MaskedEq(c_ulong::from(mask as u32)),
        0,
    )
}

fn condition(argument: u8, op: SeccompCmpOp, value: i32) -> SeccompCondition {
    let value = u64::from(value as u32);
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)
        .unwrap_or_else(|_| unreachable!("a system call has arguments 0 to 5"))
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
            epochs: 8,
        };
        let mut rules = of_sender(&handles).unwrap();
        rules.remove(&libc::SYS_fcntl);
        let text = include_str!("../../../docs/confinement.md");
        assert!(text.contains(&format!("a seccomp list of {} calls", rules.len())));
        // One rule for each socket; without any, nothing can be sent rather than everything.
        assert_eq!(rules[&libc::SYS_sendmsg].len(), 2);
        let sockets = Vec::new();
        let rules = of_sender(&SenderHandles { sockets, ..handles }).unwrap();
        assert!(!rules.contains_key(&libc::SYS_sendmsg));
    }
}
