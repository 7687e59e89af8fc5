//! Answers about directories and permissions.

use super::Shared;
use crate::kernel::MAX_READ;
use crate::kernel::abi::{self, Request};
use crate::kernel::errno::Refusal;

impl Shared {
    pub(super) fn read_directory(&self, request: &Request<'_>, plus: bool) -> Result<(), Refusal> {
        let read = request.read()?;
        let directory = self.tree.entry(request.inode())?;
        let parent = self.tree.entry(directory.parent)?;
        let dots = [(".", directory), ("..", parent)];
        let children = directory.children().map(|child| (child.name, child));
        let limit = read.size.min(MAX_READ);
        let mut out = Vec::new();
        let from = usize::try_from(read.offset).unwrap_or(usize::MAX);
        for (at, (name, entry)) in dots.into_iter().chain(children).enumerate().skip(from) {
            // An all-zero entry tells the kernel to look up nothing, as it must be for the dots.
            let entry_out = if at < dots.len() {
                [0; 128]
            } else {
                abi::entry_out(entry, &self.tree.attributes(entry))
            };
            let plus = plus.then_some(entry_out);
            if !abi::push_dirent(
                &mut out,
                limit,
                entry.inode,
                at as u64 + 1,
                entry.is_directory(),
                name,
                plus,
            ) {
                break;
            }
        }
        self.connection.body(request.unique(), &out);
        Ok(())
    }

    /// access(2). The kernel asks only where it doesn't check the permissions itself.
    pub(super) fn access(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let (mask, (user, group)) = (request.access_mask()?, request.who());
        let entry = self.tree.entry(request.inode())?;
        let owner = self.tree.attributes(entry).owner;
        let shift = if user == owner.0 {
            6
        } else if group == owner.1 {
            3
        } else {
            0
        };
        let granted = if user == 0 {
            entry.permissions() | 0o444
        } else {
            entry.permissions() >> shift
        };
        if mask & 2 != 0 {
            return Err(Refusal::ReadOnly);
        }
        if mask & 5 & !granted != 0 {
            return Err(Refusal::NoPermission);
        }
        self.connection.body(request.unique(), &[]);
        Ok(())
    }
}
