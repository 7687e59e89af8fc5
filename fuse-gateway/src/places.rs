//! Where programs get bytes from the kernel: the mount and the character devices. Each connection is the one that was kept from
//! the last run, one that the helper makes, or one's own.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use log::{info, warn};
use nix::unistd::geteuid;
use qrng_daemon::descriptors::{Handed as Kept, handed_over};
use qrng_daemon::{Ending, Manager, Progress, Supervisor};

use crate::config::{Config, DeviceConfig};
use crate::confine::Extent;
use crate::handover::{self, Wish};
use crate::kernel::{
    Device, DeviceOptions, Handed, LoopEnd, Mount, MountOptions, OnEnd, StopError, make_device,
};
use crate::tree::Tree;

/// The name under which the service manager keeps the mount's connection for the next run.
const KEPT_MOUNT: &str = "mount";

/// How the names begin under which it keeps those of devices.
const KEPT_DEVICE: &str = "device-";

/// The mount and the devices.
#[derive(Debug)]
pub struct Places {
    mount: Option<Mount>,
    devices: Vec<Device>,
}

/// What is needed to open them.
pub struct Opening<'a> {
    /// Says which there are to be.
    pub config: &'a Config,
    /// Keeps connections from one run to the next.
    pub manager: &'a Manager,
    /// Hears of threads that end by themselves.
    pub supervisor: &'a Supervisor,
    /// Where the threads show that they get on.
    pub progress: &'a Arc<Progress>,
    /// The files.
    pub tree: &'a Arc<Tree>,
}

impl Places {
    /// Opens all that are configured, for [`Places::serve`].
    ///
    /// # Errors
    /// One cannot be had: the text says how to mend it. Those before it are gone again.
    pub fn open(opening: &Opening<'_>) -> anyhow::Result<Self> {
        let mut kept = handed_over()?;
        let kept_mount = take(&mut kept, KEPT_MOUNT);
        let mut devices = Vec::new();
        for device in &opening.config.devices {
            let kept = take(&mut kept, &kept_name(device));
            devices.push(opening.device(device, kept)?);
        }
        // Devices, and a mount, that are no longer configured: who waits there is told when the last copy is closed.
        for other in kept {
            opening.manager.forget(&other.name);
        }
        if opening.config.mount.is_none() && kept_mount.is_some() {
            opening.manager.forget(KEPT_MOUNT);
        }
        // The mount comes last: a device goes by itself with this process if anything fails.
        let mount = opening.config.mount.as_ref();
        let mount = mount
            .map(|point| opening.mount(point, kept_mount))
            .transpose()?;
        Ok(Self { mount, devices })
    }

    /// Starts the threads that serve them.
    ///
    /// # Errors
    /// The kernel refuses a thread.
    pub fn serve(&mut self) -> anyhow::Result<()> {
        if let Some(mount) = &mut self.mount {
            mount.serve()?;
        }
        for device in &mut self.devices {
            device.serve()?;
        }
        Ok(())
    }

    /// How far a gateway with these can be confined.
    pub fn extent(&self, config: &Config) -> Extent {
        match &self.mount {
            Some(mount) if mount.resumed() => Extent::Whole(Some(mount.point().to_owned())),
            Some(_) if config.mount_helper.is_none() => Extent::mounting(),
            _ => Extent::Whole(None),
        }
    }

    /// Their paths.
    pub fn paths(&self) -> Vec<String> {
        let mount = self.mount.iter().map(|mount| mount.point().to_owned());
        let paths = mount.chain(self.devices.iter().map(Device::path));
        paths.map(|path| path.display().to_string()).collect()
    }

    /// Frees all who wait, and unmounts, as far as it is for this process to do so.
    ///
    /// # Errors
    /// See [`StopError`].
    pub fn stop(self) -> Result<(), StopError> {
        drop(self.devices);
        self.mount.map_or(Ok(()), Mount::stop)
    }
}

impl Opening<'_> {
    fn mount(&self, point: &Path, kept: Option<OwnedFd>) -> anyhow::Result<Mount> {
        let (config, manager) = (self.config, self.manager);
        let options = MountOptions {
            point: point.to_path_buf(),
            allow_other: config.allow_other.unwrap_or(geteuid().is_root()),
            threads: 0,
            stay_awake: config.stay_awake,
            progress: Arc::clone(self.progress),
            on_end: self.on_end(),
        };
        if let Some(kept) = kept {
            match Mount::adopt(options.clone(), Handed::Kept(kept), Arc::clone(self.tree)) {
                Ok(mount) => {
                    info!("the readers of the last run go on");
                    return Ok(mount);
                }
                Err(e) => {
                    warn!("{e}");
                    manager.forget(KEPT_MOUNT);
                }
            }
        }
        let Some(helper) = &config.mount_helper else {
            return Ok(Mount::new(options, Arc::clone(self.tree))?);
        };
        let handed = Handed::New(handover::ask(helper, Wish::Mount)?);
        let mount = Mount::adopt(options, handed, Arc::clone(self.tree))?;
        match mount.survives() {
            Some(fd) if manager.is_there() => manager
                .keep(KEPT_MOUNT, fd)
                .context("the service manager does not keep the connection")?,
            _ => info!(
                "open files will not survive a restart: no service manager, or a kernel before Linux 6.9"
            ),
        }
        Ok(mount)
    }

    fn device(&self, device: &DeviceConfig, kept: Option<OwnedFd>) -> anyhow::Result<Device> {
        let options = DeviceOptions {
            name: device.name.clone(),
            file: device.file,
            stay_awake: self.config.stay_awake,
            progress: Arc::clone(self.progress),
            on_end: self.on_end(),
        };
        let adopt = |handed| Device::adopt(options.clone(), handed, Arc::clone(self.tree));
        let name = kept_name(device);
        if let Some(kept) = kept {
            match adopt(Handed::Kept(kept)) {
                Ok(device) => {
                    info!("the readers of {} go on", device.path().display());
                    return Ok(device);
                }
                Err(e) => {
                    warn!("{e}");
                    self.manager.forget(&name);
                }
            }
        }
        let made = match &self.config.mount_helper {
            Some(helper) => handover::ask(helper, Wish::Device(&device.name))?,
            None => make_device(&device.name)?,
        };
        let device = adopt(Handed::New(made))?;
        match device.survives() {
            Some(fd) if self.manager.is_there() => self
                .manager
                .keep(&name, fd)
                .context("the service manager does not keep the connection of a device")?,
            _ => info!(
                "{} will be made anew by a restart: no service manager, or a kernel before Linux 6.9",
                device.path().display()
            ),
        }
        Ok(device)
    }

    fn on_end(&self) -> OnEnd {
        let reporter = self.supervisor.reporter();
        Arc::new(move |end: LoopEnd| {
            // Nobody listens once the process is ending anyway.
            let _ = reporter.send(Ending::Thread {
                name: end.thread,
                error: end.why.to_string(),
            });
        })
    }
}

fn kept_name(device: &DeviceConfig) -> String {
    format!("{KEPT_DEVICE}{}", device.name)
}

/// Takes out the descriptor of this name.
fn take(kept: &mut Vec<Kept>, name: &str) -> Option<OwnedFd> {
    let at = kept.iter().position(|kept| kept.name == name)?;
    Some(kept.swap_remove(at).fd)
}
