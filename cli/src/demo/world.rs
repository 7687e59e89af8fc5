//! All that a demonstration has on the disk: one private directory, and the place of the mount.
//!
//! ```text
//! qrng-demo-PID/            mode 0700
//!   demo.gateway.key        the pair made for this run
//!   demo.collector.key
//!   gateway.toml collector.toml
//!   gateway/bound           restart bound: now, since nothing was ever accepted under a new key
//!   collector/ state/       runtime and state of the collector
//!   mount/                  unless --mount names another place
//! ```

use std::fs::{self, DirBuilder};
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};

use super::mounts::{self, Claim, Left};
use crate::keygen;

/// Names tried before giving up on the temporary directory.
const ATTEMPTS: u32 = 16;

/// The files of one run; removed when dropped.
pub struct World {
    directory: PathBuf,
    mount: PathBuf,
    /// The place of the mount was made by us and goes with us.
    mount_is_ours: bool,
    /// Keeps other demonstrations away from the place of the mount, once it was found fit.
    claim: Option<Claim>,
    gateway_config: PathBuf,
    collector_config: PathBuf,
    port: u16,
    rate: String,
}

impl World {
    /// Makes the directory with everything both daemons need.
    pub fn create(mount: Option<&Path>, rate: &str) -> Result<Self> {
        let port = free_port()?;
        let directory = private_directory(&std::env::temp_dir())?;
        let mut world = Self {
            mount: directory.join("mount"),
            mount_is_ours: false,
            claim: None,
            gateway_config: directory.join("gateway.toml"),
            collector_config: directory.join("collector.toml"),
            port,
            rate: rate.to_owned(),
            directory,
        };
        // From here on an error drops `world`, which removes what was made so far.
        world.take_mount(mount)?;
        world.fill()?;
        Ok(world)
    }

    /// Where the files appear.
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// The gateway's configuration.
    pub fn gateway_config(&self) -> &Path {
        &self.gateway_config
    }

    /// The collector's configuration.
    pub fn collector_config(&self) -> &Path {
        &self.collector_config
    }

    /// What is about to be shown.
    pub fn introduction(&self) -> String {
        format!(
            "collector (simulated noise, rate {}) -> one-way UDP, 127.0.0.1:{} -> gateway -> files\n\
             These bytes are simulated: they show the link at work and are not quantum random numbers.\n\
             Keys, configurations and all else are in {} until the end.",
            self.rate,
            self.port,
            self.directory.display()
        )
    }

    fn take_mount(&mut self, wanted: Option<&Path>) -> Result<()> {
        if let Some(wanted) = wanted {
            self.mount = wanted.to_path_buf();
        }
        match DirBuilder::new().mode(0o755).create(&self.mount) {
            Ok(()) => self.mount_is_ours = true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("cannot make the directory {}", self.mount.display())
                });
            }
        }
        let (mount, claim) = mounts::fit_to_mount_on(&self.mount)?;
        self.mount = mount;
        self.claim = Some(claim);
        Ok(())
    }

    fn fill(&self) -> Result<()> {
        let pair = keygen::write_pair(&self.directory, "demo")?;
        let private = |name: &str| -> Result<PathBuf> {
            let path = self.directory.join(name);
            DirBuilder::new()
                .mode(0o700)
                .create(&path)
                .with_context(|| format!("cannot make {}", path.display()))?;
            Ok(path)
        };
        let gateway_runtime = private("gateway")?;
        let collector_runtime = private("collector")?;
        let state = private("state")?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .context("the clock is before 1970: set it")?
            .as_micros() as u64;
        write(&gateway_runtime.join("bound"), &now.to_be_bytes())?;
        let gateway = format!(
            "listen = \"127.0.0.1:{port}\"\nkeys = [{key}]\nmount = {mount}\nruntime-directory = {runtime}\nstate-directory = {state}\naccept-simulated = true\n",
            port = self.port,
            key = quoted(&pair.gateway)?,
            mount = quoted(&self.mount)?,
            runtime = quoted(&gateway_runtime)?,
            state = quoted(&private("gateway-state")?)?,
        );
        write(&self.gateway_config, gateway.as_bytes())?;
        let collector = format!(
            "state-directory = {state}\nruntime-directory = {runtime}\n\n[source]\nkind = \"simulator\"\nrate = {rate}\n\n[[gateway]]\nname = \"demo\"\naddress = \"127.0.0.1:{port}\"\nkey = {key}\n",
            state = quoted(&state)?,
            runtime = quoted(&collector_runtime)?,
            rate = serde_json::to_string(&self.rate)?,
            port = self.port,
            key = quoted(&pair.collector)?,
        );
        write(&self.collector_config, collector.as_bytes())
    }

    /// Removes everything; what could not be removed is told. The daemons must have ended: then
    /// what they mounted is dead, and told from what others mounted there.
    pub fn remove(mut self) -> Vec<String> {
        self.clear()
    }

    fn clear(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        let mut strange = false;
        if self.claim.is_some() {
            let shown = self.mount.display();
            match mounts::clear(&self.mount) {
                Left::Nothing => {}
                Left::Stranger => {
                    strange = true;
                    left.push(format!(
                        "mount {shown}: it is somebody else's, and was left alone"
                    ));
                }
                Left::Stuck(error) => left.push(format!("mount {shown}: {error}")),
            }
            self.claim = None;
        }
        if self.mount_is_ours && !strange {
            // Never recursively: what stands under a mount point is not ours.
            match fs::remove_dir(&self.mount) {
                Ok(()) => self.mount_is_ours = false,
                Err(error) => left.push(format!("{}: {error}", self.mount.display())),
            }
        }
        if left.is_empty()
            && self.directory.exists()
            && let Err(error) = fs::remove_dir_all(&self.directory)
        {
            left.push(format!("{}: {error}", self.directory.display()));
        }
        left
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.clear();
    }
}

fn private_directory(parent: &Path) -> Result<PathBuf> {
    let parent = fs::canonicalize(parent)
        .with_context(|| format!("{}: set TMPDIR to a directory", parent.display()))?;
    let id = std::process::id();
    for attempt in 0..ATTEMPTS {
        let path = parent.join(match attempt {
            0 => format!("qrng-demo-{id}"),
            _ => format!("qrng-demo-{id}-{attempt}"),
        });
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot make {}", path.display()));
            }
        }
    }
    Err(anyhow!(
        "{} is full of old demonstrations: remove qrng-demo-* there",
        parent.display()
    ))
}

/// A port that nobody has now; should somebody take it before the gateway does, the gateway says so.
fn free_port() -> Result<u16> {
    let socket =
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("no UDP port is free on 127.0.0.1")?;
    Ok(socket.local_addr()?.port())
}

/// A path as a TOML basic string: JSON's escapes are a subset of TOML's.
fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().ok_or_else(|| {
        anyhow!(
            "{}: the path is not UTF-8; set TMPDIR or --mount to one that is",
            path.display()
        )
    })?;
    Ok(serde_json::to_string(text)?)
}

fn write(path: &Path, contents: &[u8]) -> Result<()> {
    fs::write(path, contents).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    use nix::mount::{MsFlags, mount, umount};

    #[test]
    fn a_world_leaves_nothing_behind() {
        let world = World::create(None, "pcie-16m").unwrap();
        let directory = world.directory.clone();
        let mode = fs::metadata(&directory).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
        assert_eq!(fs::read(directory.join("gateway/bound")).unwrap().len(), 8);
        let config = fs::read_to_string(world.gateway_config()).unwrap();
        assert!(config.contains("accept-simulated = true"), "{config}");
        assert!(world.remove().is_empty());
        assert!(!directory.exists());
    }

    #[test]
    fn a_given_mount_directory_is_kept_and_a_made_one_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let kept = parent.path().join("kept");
        fs::create_dir(&kept).unwrap();
        drop(World::create(Some(&kept), "pcie-16m").unwrap());
        assert!(kept.is_dir());
        let made = parent.path().join("made");
        drop(World::create(Some(&made), "pcie-16m").unwrap());
        assert!(!made.exists());
    }

    #[test]
    fn a_strangers_mount_is_left_alone_and_told() {
        let world = World::create(None, "pcie-16m").unwrap();
        let (place, directory) = (world.mount().to_path_buf(), world.directory.clone());
        let none: Option<&str> = None;
        if mount(Some("x"), &place, Some("tmpfs"), MsFlags::empty(), none).is_err() {
            eprintln!("skipped: nothing can be mounted here");
            return;
        }
        fs::write(place.join("file"), "theirs").unwrap();
        let left = world.remove();
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(left[0].contains("somebody else's"), "{left:?}");
        assert_eq!(fs::read_to_string(place.join("file")).unwrap(), "theirs");
        umount(&place).unwrap();
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_refused_mount_directory_leaves_nothing_either() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("file"), "mine").unwrap();
        let error = World::create(Some(parent.path()), "pcie-16m")
            .err()
            .unwrap();
        assert!(error.to_string().contains("not empty"), "{error}");
        assert!(parent.path().join("file").exists());
    }
}
