//! System calls: seccomp filters.
//!
//! A list of what a process may call is the stronger one, because it forbids what nobody thought of, also calls by the
//! numbers of other architectures (x32, int 0x80). A list of what it must not call is for processes that run
//! code which calls many things.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use libc::{c_long, c_ulong};
pub use seccompiler::{BpfProgram, Error, SeccompAction, SeccompCondition, SeccompRule};
use seccompiler::{
    SeccompCmpArgLen, SeccompCmpOp, SeccompFilter, TargetArch, apply_filter,
    apply_filter_all_threads, sock_filter,
};

/// Calls, each with the arguments that it matters for; none: whatever they are.
pub type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// What every running process calls, once its threads have started: memory that is never executed, waiting, the clock,
/// random numbers of the kernel, closing, and the end of a thread and of the process, in order or by a panic.
///
/// # Errors
/// None that can be mended.
pub fn running() -> Result<Rules, Error> {
    let mut rules = Rules::new();
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
        // Keys and seeds.
        libc::SYS_getrandom,
        // The end.
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
    allow_all(&mut rules, &free);
    // Built for tests, the standard library looks whether what it closes is open.
    if cfg!(debug_assertions) {
        allow(&mut rules, libc::SYS_fcntl, [vec![is(1, libc::F_GETFD)]])?;
    }
    // A thread that aborts the process, after a panic within a panic: this one only.
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    allow(&mut rules, libc::SYS_tgkill, [vec![is(0, own)]])?;
    Ok(rules)
}

/// Adds calls whatever their arguments are.
pub fn allow_all(rules: &mut Rules, calls: &[c_long]) {
    rules.extend(calls.iter().map(|&call| (call, Vec::new())));
}

/// Adds a call for each of these sets of conditions.
///
/// # Errors
/// A set without conditions.
pub fn allow(
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
pub fn is(argument: u8, value: i32) -> SeccompCondition {
    condition(argument, SeccompCmpOp::Eq, value)
}

/// That the argument is not `value`.
pub fn is_not(argument: u8, value: i32) -> SeccompCondition {
    condition(argument, SeccompCmpOp::Ne, value)
}

/// That the argument has none of the bits of `mask`.
pub fn lacks(argument: u8, mask: i32) -> SeccompCondition {
    condition(
        argument,
        SeccompCmpOp::MaskedEq(c_ulong::from(mask as u32)),
        0,
    )
}

/// That the argument has this bit.
pub fn has(argument: u8, bit: i32) -> SeccompCondition {
    condition(argument, SeccompCmpOp::MaskedEq(u64::from(bit as u32)), bit)
}

fn condition(argument: u8, op: SeccompCmpOp, value: i32) -> SeccompCondition {
    let value = u64::from(value as u32);
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)
        .unwrap_or_else(|_| unreachable!("a system call has arguments 0 to 5"))
}

/// Kills this process, whichever of its threads it is, at a call that is not in `rules`.
///
/// # Errors
/// The kernel's.
pub fn only(rules: Rules) -> Result<(), Error> {
    let filter = compile(rules, SeccompAction::KillProcess, SeccompAction::Allow)?;
    apply_filter_all_threads(&filter)
}

/// Does `action` at the calls in `rules`, for this thread and those that it starts.
///
/// # Errors
/// The kernel's.
pub fn never(rules: Rules, action: SeccompAction) -> Result<(), Error> {
    apply_filter(&compile(rules, SeccompAction::Allow, action)?)
}

fn compile(rules: Rules, others: SeccompAction, these: SeccompAction) -> Result<BpfProgram, Error> {
    let arch = TargetArch::try_from(ARCH)?;
    Ok(SeccompFilter::new(rules, others, these, arch)?.try_into()?)
}

/// Kills calls by the numbers of the x32 architecture, for this thread and those that it starts. They are the numbers of
/// this architecture with one bit more, and so would pass by any list of what is forbidden.
///
/// # Errors
/// The kernel's.
pub fn never_x32() -> Result<(), Error> {
    const X32_BIT: u32 = 0x4000_0000;
    let instruction = |code: u32, jt, jf, k| sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    if cfg!(not(target_arch = "x86_64")) {
        return Ok(());
    }
    apply_filter(&[
        // The number of the call is the first thing that a filter sees.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0, 1, X32_BIT),
        instruction(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_KILL_PROCESS,
        ),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_without_conditions_is_not_allowed_by_an_empty_list() {
        let mut rules = Rules::new();
        allow(&mut rules, libc::SYS_sendmsg, []).unwrap();
        assert!(rules.is_empty());
        allow(&mut rules, libc::SYS_sendto, [vec![is(0, 3)]]).unwrap();
        assert_eq!(rules[&libc::SYS_sendto].len(), 1);
    }

    #[test]
    fn a_running_process_reaches_nobody() {
        let rules = running().unwrap();
        for call in [
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_openat,
            libc::SYS_execve,
            libc::SYS_clone,
            libc::SYS_kill,
        ] {
            assert!(!rules.contains_key(&call));
        }
    }
}
