//! Containers by podman, from images without a distribution: nothing is fetched from anywhere, and all of it lies in a directory of
//! the test's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use crate::container::is_there;
use crate::namespaces::must;

/// The programs without which there are no such containers.
const PROGRAMS: [&str; 5] = ["podman", "crun", "unshare", "nsenter", "busybox"];

/// What is all of a container's programs.
const BUSYBOX: &str = "/bin/busybox";

/// Limits that every host permits: podman's own are higher than some.
const LIMITS: [&str; 2] = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"];

/// Prepares the mounts that podman is run with, which are passed on to the host's and from them: where the host has control
/// groups of the first version crun wants those of the second.
const PREPARE: &str = "if [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then\n\
    mount --make-rprivate /sys && umount --recursive /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup\n\
    fi && exec podman \"$@\"";

/// A store of images and containers. All of them are gone when the last of its copies is dropped.
#[derive(Debug, Clone)]
pub struct Podman {
    store: Arc<Store>,
}

#[derive(Debug)]
struct Store {
    directory: PathBuf,
}

/// A container that runs.
#[derive(Debug)]
pub struct Running {
    podman: Podman,
    id: String,
    pid: u32,
}

/// Why there can be no containers here, if there can't.
pub fn impossible() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("containers that share mounts need root".into());
    }
    let missing: Vec<_> = PROGRAMS.iter().filter(|name| !is_there(name)).collect();
    if !missing.is_empty() {
        return Some(format!("missing: {missing:?}"));
    }
    None
}

impl Store {
    fn command<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "unchanged",
            "sh",
            "-c",
            PREPARE,
            "podman",
        ]);
        for (option, name) in [
            ("--root", "store"),
            ("--runroot", "run"),
            ("--tmpdir", "tmp"),
        ] {
            command.arg(option).arg(self.directory.join(name));
        }
        command.args(["--storage-driver=vfs", "--cgroup-manager=cgroupfs"]);
        command.args(["--events-backend=none", "--log-level=error"]);
        command.args(arguments);
        command
    }
}

impl Podman {
    /// An empty store in `directory`, which must be there.
    pub fn new(directory: &Path) -> Self {
        let directory = directory.canonicalize().expect("a directory");
        Self {
            store: Arc::new(Store { directory }),
        }
    }

    fn command<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Command {
        self.store.command(arguments)
    }

    /// The image `tag` of the `context` by `file`, with what it is built with, such as `BASE=...`.
    ///
    /// # Panics
    /// It cannot be built.
    pub fn build(&self, tag: &str, file: &Path, context: &Path, with: &[&str]) {
        let mut command = self.command(&["build", "--pull=never"]);
        command.args(["--tag", tag, "--file"]).arg(file);
        with.iter().for_each(|with| {
            command.args(["--build-arg", with]);
        });
        must(command.arg(context));
    }

    /// An image with busybox as every program, and the libraries that `programs` are linked to.
    ///
    /// # Panics
    /// It cannot be built.
    pub fn build_base(&self, tag: &str, programs: &[&Path]) {
        let root = self.store.directory.join("base");
        let shell = root.join("bin");
        fs::create_dir_all(&shell).expect("a directory");
        fs::copy(BUSYBOX, shell.join("busybox")).expect("a copy");
        for name in ["sh", "head", "cat", "sleep", "id", "test", "mkdir", "grep"] {
            std::os::unix::fs::symlink("busybox", shell.join(name)).expect("a link");
        }
        let programs = programs.iter().copied().chain([Path::new(BUSYBOX)]);
        for library in programs.flat_map(libraries) {
            let to = root.join(library.strip_prefix("/").expect("an absolute path"));
            fs::create_dir_all(to.parent().expect("a directory above")).expect("a directory");
            fs::copy(&library, &to).expect("a copy");
            fs::set_permissions(&to, PermissionsExt::from_mode(0o755)).expect("chmod of a copy");
        }
        let file = self.store.directory.join("Base");
        fs::write(&file, "FROM scratch\nCOPY . /\n").expect("a file");
        self.build(tag, &file, &root, &[]);
    }

    /// Starts a container with `options` from `image`, with what it is to run.
    ///
    /// # Panics
    /// It does not start.
    pub fn run(&self, options: &[String], image: &str, run: &[&str]) -> Running {
        let mut command = self.command(&["run", "--detach", "--cgroups=disabled", "--pull=never"]);
        command.args(LIMITS).args(options).arg(image).args(run);
        let id = must(&mut command).trim().to_owned();
        let pid = must(&mut self.command(&["inspect", "--format={{.State.Pid}}", &id]));
        let pid = pid.trim().parse().expect("a process id");
        Running {
            podman: self.clone(),
            id,
            pid,
        }
    }

    /// Runs a container to its end.
    pub fn try_run(&self, options: &[String], image: &str, run: &[&str]) -> Output {
        let mut command = self.command(&["run", "--rm", "--cgroups=disabled", "--pull=never"]);
        command.args(LIMITS).args(options).arg(image).args(run);
        command.output().expect("podman starts")
    }
}

impl Running {
    /// A command that the host's root runs in it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid.to_string()]);
        command.args(["--mount", "--root", "--wd", program]);
        command
    }

    /// The same by the root of its own user namespace.
    pub fn command_of_its_root(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid.to_string()]);
        command.args(["--user", "--mount", "--root", "--wd", program]);
        command
    }

    /// What it has written.
    pub fn log(&self) -> String {
        let output = self.podman.command(&["logs", &self.id]).output();
        let output = output.expect("podman starts");
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Ends it with SIGTERM; its exit code.
    ///
    /// # Panics
    /// It does not end.
    pub fn stop(&self) -> i32 {
        must(&mut self.podman.command(&["stop", "--time=30", &self.id]));
        let format = "--format={{.State.ExitCode}}";
        let code = must(&mut self.podman.command(&["inspect", format, &self.id]));
        code.trim().parse().expect("an exit code")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the container\n{}", self.log());
        }
        let _ = self
            .podman
            .command(&["rm", "--force", "--time=5", &self.id])
            .output();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self
            .command(&["rm", "--force", "--all", "--time=1"])
            .output();
    }
}

/// The libraries that `program` is linked to, its loader among them.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let text = must(Command::new("ldd").arg(program));
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    words.map(PathBuf::from).collect()
}
