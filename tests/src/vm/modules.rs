//! Which files a guest needs to load a kernel module.

use std::collections::BTreeSet;

/// The modules that `names` and all that they need are, as paths in the kernel's module folder.
///
/// `dependencies` is `modules.dep` (a module's path, a colon, the paths of those it needs, directly or not), `builtin` is
/// `modules.builtin`: what is part of the kernel needs no file.
///
/// # Errors
/// A name is in neither; the text says which.
pub fn files(
    dependencies: &str,
    builtin: &str,
    names: &[&str],
) -> Result<BTreeSet<String>, String> {
    let mut files = BTreeSet::new();
    for name in names {
        let line = dependencies
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(path, _)| is_module(path, name));
        match line {
            Some((path, needed)) => {
                files.insert(path.to_owned());
                files.extend(needed.split_whitespace().map(str::to_owned));
            }
            None if builtin.lines().any(|path| is_module(path, name)) => {}
            None => return Err(format!("the guests' kernel has no module {name}")),
        }
    }
    Ok(files)
}

/// Whether the file is the module of this name, in which dashes and underscores are the same.
fn is_module(path: &str, name: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.')
        .next()
        .is_some_and(|file| file.replace('-', "_") == name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/drivers/net/virtio_net.ko: kernel/net/failover.ko kernel/drivers/virtio/virtio.ko\n\
                       kernel/drivers/virtio/virtio.ko:\n\
                       kernel/net/failover.ko:\n\
                       kernel/drivers/vfio/pci/vfio-pci.ko: kernel/drivers/vfio/vfio.ko\n";
    const BUILTIN: &str = "kernel/net/packet/af_packet.ko\n";

    #[test]
    fn all_that_is_needed_once_and_nothing_for_what_is_built_in() {
        let found = files(DEP, BUILTIN, &["virtio-net", "virtio", "af_packet"]).unwrap();
        let expected = [
            "kernel/drivers/net/virtio_net.ko",
            "kernel/drivers/virtio/virtio.ko",
            "kernel/net/failover.ko",
        ];
        assert!(found.iter().eq(expected), "{found:?}");
        assert_eq!(files(DEP, BUILTIN, &["vfio_pci"]).unwrap().len(), 2);
    }

    #[test]
    fn an_unknown_module_is_an_error_that_names_it() {
        let error = files(DEP, BUILTIN, &["virtio_net", "vfio"]).unwrap_err();
        assert!(error.ends_with("vfio"), "{error}");
    }
}
