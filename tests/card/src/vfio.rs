//! A PCI card for QEMU's `vfio-user-pci`: configuration space and BARs over a Unix socket, DMA into the guest's memory.
//!
//! No BAR can be mapped by QEMU, so every access of the guest comes here. There are no interrupts. A card that is gone answers
//! all ones everywhere; the process must live on, because QEMU aborts without it.

mod dma;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use vfio_bindings::bindings::vfio::{
    VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_NUM_IRQS, VFIO_PCI_NUM_REGIONS,
    VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE, vfio_region_info,
};
use vfio_user::{DmaMapFlags, DmaUnmapFlags, Error, IrqInfo, Server, ServerBackend, ServerRegion};

use crate::pci::PciCard;
use crate::pci::config::{self, ConfigSpace};
use crate::shared::{Shared, Ticker};

pub use dma::DmaTable;

/// How often time passes for a card that nobody accesses.
const TICK: Duration = Duration::from_millis(1);

/// Serves a card at a new socket, to one client after the other, until the socket fails.
///
/// # Errors
/// The socket can't be made, or failed.
pub fn serve<C: PciCard + 'static>(card: &Shared<C>, socket: &Path) -> Result<(), Error> {
    listen(card, socket)?.run()
}

/// A card at its socket.
pub struct Listener<C> {
    server: Server,
    backend: Backend<C>,
    _ticker: Ticker,
}

/// Makes the socket; clients can connect from now on, and are served by [`Listener::run`].
///
/// # Errors
/// The socket can't be made: there may be a file of that name.
pub fn listen<C: PciCard + 'static>(card: &Shared<C>, socket: &Path) -> Result<Listener<C>, Error> {
    let backend = Backend::new(card.clone());
    let irqs = (0..VFIO_PCI_NUM_IRQS).map(|index| IrqInfo {
        index,
        flags: 0,
        count: 0,
    });
    let server = Server::new(socket, true, irqs.collect(), regions(card))?;
    Ok(Listener {
        server,
        backend,
        _ticker: card.tick(TICK),
    })
}

impl<C: PciCard + 'static> Listener<C> {
    /// Serves one client after the other. The card is reset when one leaves.
    ///
    /// # Errors
    /// The socket failed.
    pub fn run(mut self) -> Result<(), Error> {
        loop {
            match self.server.run(&mut self.backend) {
                Err(error @ Error::SocketAccept(_)) => return Err(error),
                // A client that breaks off is its own affair.
                Ok(()) | Err(_) => self.backend.disconnected(),
            }
        }
    }
}

fn regions<C: PciCard + 'static>(card: &Shared<C>) -> Vec<ServerRegion> {
    let card = card.lock();
    let size = |index: u32| match index {
        VFIO_PCI_CONFIG_REGION_INDEX => config::SIZE as u64,
        _ => {
            let bar = card.bars().iter().find(|bar| u32::from(bar.index) == index);
            bar.map_or(0, |bar| bar.size.into())
        }
    };
    let region = |index| ServerRegion {
        region_info: vfio_region_info {
            argsz: size_of::<vfio_region_info>() as u32,
            flags: VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
            index,
            cap_offset: 0,
            size: size(index),
            offset: 0,
        },
        sparse_areas: Vec::new(),
        mmap_fd: None,
    };
    (0..VFIO_PCI_NUM_REGIONS).map(region).collect()
}

struct Backend<C> {
    card: Shared<C>,
    config: ConfigSpace,
    memory: DmaTable,
}

impl<C: PciCard> Backend<C> {
    fn new(card: Shared<C>) -> Self {
        let memory = DmaTable::default();
        let config = {
            let mut card = card.lock();
            card.attach_memory(Box::new(memory.clone()));
            ConfigSpace::new(card.identity(), card.bars())
        };
        Self {
            card,
            config,
            memory,
        }
    }

    fn disconnected(&mut self) {
        self.memory.clear();
        self.reset_all();
    }

    fn reset_all(&mut self) {
        self.config.reset();
        self.memory.set_master(false);
        self.card.lock().reset();
    }

    /// The BAR that a region is, if there is one and it answers.
    fn bar(&self, region: u32) -> Option<u8> {
        let bar = u8::try_from(region).ok().filter(|bar| *bar < 6);
        bar.filter(|_| self.config.memory_enabled())
    }
}

impl<C: PciCard> ServerBackend for Backend<C> {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> io::Result<()> {
        let mut card = self.card.lock();
        // Nobody answers: all ones.
        data.fill(0xFF);
        if region == VFIO_PCI_CONFIG_REGION_INDEX && !card.gone() {
            self.config.read(offset, data);
        } else if let Some(bar) = self.bar(region) {
            card.read(bar, offset, data);
        }
        Ok(())
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut card = self.card.lock();
        if region == VFIO_PCI_CONFIG_REGION_INDEX && !card.gone() {
            self.config.write(offset, data);
            self.memory.set_master(self.config.bus_master());
        } else if let Some(bar) = self.bar(region) {
            card.write(bar, offset, data);
        }
        Ok(())
    }

    fn dma_map(
        &mut self,
        flags: DmaMapFlags,
        offset: u64,
        address: u64,
        size: u64,
        fd: Option<File>,
    ) -> io::Result<()> {
        self.memory
            .map(flags, offset, address..address.saturating_add(size), fd)
    }

    fn dma_unmap(&mut self, flags: DmaUnmapFlags, address: u64, size: u64) -> io::Result<()> {
        if flags.contains(DmaUnmapFlags::UNMAP_ALL) {
            self.memory.clear();
            return Ok(());
        }
        self.memory.unmap(address..address.saturating_add(size))
    }

    fn reset(&mut self) -> io::Result<()> {
        self.reset_all();
        Ok(())
    }

    fn set_irqs(
        &mut self,
        _index: u32,
        _flags: u32,
        _start: u32,
        _count: u32,
        _fds: Vec<File>,
    ) -> io::Result<()> {
        // There are none, so there is nothing to set.
        Ok(())
    }
}
