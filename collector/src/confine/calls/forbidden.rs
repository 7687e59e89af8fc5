//! What the reader must not call.

use libc::{c_int, c_long};
use qrng_confine::calls::{Error, Rules, SeccompAction, SeccompRule, has, is_not};

use crate::confine::needs::Needs;

/// Never: programs, servers, other processes, the kernel, mounts, namespaces, users, clocks, and ways
/// around a filter. The sender was started before.
const NEVER: [c_long; 68] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_splice,
    libc::SYS_tee,
    libc::SYS_vmsplice,
    libc::SYS_sendfile,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_mknodat,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_reboot,
    libc::SYS_sethostname,
    libc::SYS_personality,
    libc::SYS_acct,
    libc::SYS_syslog,
];

/// The same by the numbers that only this architecture has.
#[cfg(target_arch = "x86_64")]
const NEVER_HERE: [c_long; 9] = [
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_kexec_file_load,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_mknod,
    libc::SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const NEVER_HERE: [c_long; 1] = [libc::SYS_kexec_file_load];

/// New namespaces, as flags of clone(2).
const NAMESPACES: c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// Rules, and what becomes of a call that one of them is for.
pub(super) fn of_reader(needs: &Needs) -> Result<Vec<(Rules, SeccompAction)>, Error> {
    let mut kills = Rules::new();
    for call in NEVER.into_iter().chain(NEVER_HERE) {
        kills.insert(call, Vec::new());
    }
    for bit in (0..32).map(|n| 1 << n).filter(|bit| NAMESPACES & bit != 0) {
        let rules = kills.entry(libc::SYS_clone).or_default();
        rules.push(SeccompRule::new(vec![has(0, bit)])?);
    }
    kills.insert(libc::SYS_socket, vec![other_families(needs)?]);
    let mut refusals = Rules::new();
    // Its flags are out of a filter's reach; the C library then uses clone.
    let missing = SeccompAction::Errno(libc::ENOSYS as u32);
    let no_clone3 = Rules::from([(libc::SYS_clone3, Vec::new())]);
    if !needs.netlink {
        // Whoever looks up a name asks the kernel for addresses first, and does without.
        let bind = if needs.network {
            &mut refusals
        } else {
            &mut kills
        };
        bind.insert(libc::SYS_bind, Vec::new());
    }
    let mut filters = vec![(kills, SeccompAction::KillProcess), (no_clone3, missing)];
    if !refusals.is_empty() {
        filters.push((refusals, SeccompAction::Errno(libc::EPERM as u32)));
    }
    Ok(filters)
}

/// Sockets of a family that is not needed.
fn other_families(needs: &Needs) -> Result<SeccompRule, Error> {
    // Word to the service manager goes through a socket of this family.
    let mut families = vec![libc::AF_UNIX];
    if needs.network {
        families.extend([libc::AF_INET, libc::AF_INET6]);
    }
    if needs.network || needs.netlink {
        families.push(libc::AF_NETLINK);
    }
    let others = families.into_iter().map(|family| is_not(0, family));
    Ok(SeccompRule::new(others.collect())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_is_listed_once() {
        let mut calls: Vec<_> = NEVER.into_iter().chain(NEVER_HERE).collect();
        calls.sort_unstable();
        let all = calls.len();
        calls.dedup();
        assert_eq!(calls.len(), all);
        // These have rules of their own.
        for own in [
            libc::SYS_socket,
            libc::SYS_bind,
            libc::SYS_clone,
            libc::SYS_clone3,
        ] {
            assert!(!calls.contains(&own));
        }
    }
}
