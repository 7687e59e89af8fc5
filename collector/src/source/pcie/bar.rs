//! A BAR mapped into memory: the only `unsafe` of this driver.
//!
//! Registers are reached by volatile accesses of 32 bits through raw pointers; no reference to them is ever made, so the compiler
//! neither repeats nor drops nor widens an access. `memmap2` maps and, when the map is dropped, unmaps.
//!
//! **Bus errors.** When the kernel takes a BAR away from a process (the card is unplugged, or a driver claims it), the next access
//! raises SIGBUS, which would end the process. Here a handler puts memory full of ones in the page's place: the access is done
//! again and reads what an unplugged card reads as, the driver says that the card is gone, and unmaps. A SIGBUS from anywhere else
//! gets the disposition that it had before.

use std::fs::File;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use nix::libc;

use super::registers::{Registers, WORD};

/// Maps that exist at a time at most: more than there are sources in a configuration.
const MAPS: usize = 64;

/// A mapped BAR. It is unmapped when it is dropped.
pub struct Bar {
    // Dropped before the map is.
    _guard: Guard,
    map: MmapRaw,
    /// Where the registers begin in the map.
    in_page: usize,
}

impl Bar {
    /// Maps the `length` bytes of registers in `file`, which begin `in_page` bytes after the begin of a page: sysfs maps whole
    /// pages, and a small BAR may begin in the middle of one.
    ///
    /// # Errors
    /// The kernel refuses the map or the handler of bus errors, `length` is 0 or too large, or too many BARs are mapped.
    pub fn map(file: &File, in_page: usize, length: usize) -> io::Result<Self> {
        let too_large = || io::Error::from(io::ErrorKind::InvalidInput);
        let bytes = in_page.checked_add(length).ok_or_else(too_large)?;
        let map = MmapOptions::new().len(bytes).map_raw(file)?;
        Ok(Self {
            _guard: Guard::new(map.as_mut_ptr() as usize, bytes)?,
            map,
            in_page,
        })
    }

    /// Where the register at `offset` is.
    fn register(&self, offset: u32) -> *mut u32 {
        let offset = self.in_page + offset as usize;
        assert!(
            offset.is_multiple_of(WORD) && offset + WORD <= self.map.len(),
            "a register outside the BAR"
        );
        // SAFETY: the map is `map.len()` bytes long, and the offset was found to lie within.
        unsafe { self.map.as_mut_ptr().add(offset).cast() }
    }
}

impl Registers for Bar {
    fn read(&mut self, offset: u32) -> u32 {
        let register = self.register(offset);
        // SAFETY: `register` gives an aligned address within the map, which lives as long as `self`. Nobody has a reference to it;
        // whatever bits are there are a u32. If the kernel took the page away, the handler puts another in its place.
        u32::from_le(unsafe { register.read_volatile() })
    }

    fn write(&mut self, offset: u32, value: u32) {
        let register = self.register(offset);
        // SAFETY: as for `read`; the map is writable.
        unsafe { register.write_volatile(value.to_le()) }
    }
}

/// The least size of a page, to which every map is aligned.
const PAGE: usize = 4096;

/// The maps whose bus errors the handler mends: where each begins, and in the bits that are zero there its length in pages; 0 if
/// there is none. One number for both, because the handler must not see the begin of one map and the length of another.
static MAPPED: [AtomicUsize; MAPS] = [const { AtomicUsize::new(0) }; MAPS];

/// What SIGBUS did before; none if the handler can't be installed.
static BEFORE: OnceLock<Option<libc::sigaction>> = OnceLock::new();

/// Keeps a place in [`MAPPED`] as long as it lives.
struct Guard(&'static AtomicUsize);

impl Guard {
    fn new(start: usize, length: usize) -> io::Result<Self> {
        let pages = length.div_ceil(PAGE);
        if !start.is_multiple_of(PAGE) || pages == 0 || pages >= PAGE {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        if BEFORE.get_or_init(install).is_none() {
            return Err(io::Error::other("the handler of SIGBUS is refused"));
        }
        let free = MAPPED.iter().find(|place| {
            let (from, to) = (Ordering::SeqCst, Ordering::SeqCst);
            place.compare_exchange(0, start | pages, from, to).is_ok()
        });
        let place = free.ok_or_else(|| io::Error::other("too many BARs are mapped"))?;
        Ok(Self(place))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(0, Ordering::SeqCst);
    }
}

/// Installs the handler and gives what there was before.
fn install() -> Option<libc::sigaction> {
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_bus_error;
    // SAFETY: all zeros is a value of both structures. The handler has the signature that SA_SIGINFO asks for, and calls nothing
    // that a handler of signals must not. SA_ONSTACK lets it run where the standard library's handlers run.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut before: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        let done = libc::sigaction(libc::SIGBUS, &action, &mut before);
        (done == 0).then_some(before)
    }
}

/// Runs in the thread whose access failed, in the middle of it. When it returns, the access is done again.
extern "C" fn on_bus_error(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel gives a valid `info`; `si_addr` is the address of a failed access if `si_code` is positive.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    let maps = MAPPED.iter().map(|place| place.load(Ordering::SeqCst));
    let mut maps = maps.map(|map| (map / PAGE * PAGE, map % PAGE * PAGE));
    let hit = maps.find(|(start, length)| code > 0 && address.wrapping_sub(*start) < *length);
    if hit.is_some_and(|(start, length)| replace(start, length)) {
        return;
    }
    // SAFETY: `BEFORE` was given by the kernel. A signal that somebody sent is sent again, for whoever is responsible now; an access
    // that failed is done again by itself.
    unsafe {
        if let Some(Some(before)) = BEFORE.get() {
            libc::sigaction(signal, before, std::ptr::null_mut());
        }
        if code <= 0 {
            libc::raise(signal);
        }
    }
}

/// Puts memory full of ones in the place of a map. True: done.
fn replace(start: usize, length: usize) -> bool {
    // SAFETY: it is a whole map that a `Bar` owns, so nothing else is replaced, and only the thread that is here uses it. The value
    // of errno is kept for the code that was interrupted.
    unsafe {
        let errno = *libc::__errno_location();
        let memory = libc::mmap(
            start as *mut libc::c_void,
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        );
        *libc::__errno_location() = errno;
        if memory == libc::MAP_FAILED {
            return false;
        }
        memory.cast::<u8>().write_bytes(0xff, length);
    }
    true
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::source::pcie::registers::NOBODY;

    /// A file in a BAR's place: a page whose words are their offsets.
    fn page() -> File {
        let file = tempfile::tempfile().unwrap();
        let words: Vec<u8> = (0..4096u32).step_by(4).flat_map(u32::to_le_bytes).collect();
        std::os::unix::fs::FileExt::write_all_at(&file, &words, 0).unwrap();
        file
    }

    fn word(file: &File, offset: u64) -> u32 {
        let mut word = [0; 4];
        std::os::unix::fs::FileExt::read_exact_at(file, &mut word, offset).unwrap();
        u32::from_le_bytes(word)
    }

    #[test]
    fn registers_are_found_in_the_middle_of_a_page() {
        let file = page();
        let mut bar = Bar::map(&file, 0x140, 64).unwrap();
        assert_eq!(bar.read(0), 0x140);
        assert_eq!(bar.read(0x3c), 0x17c);
        bar.write(0x20, 0x1234_5678);
        assert_eq!(word(&file, 0x160), 0x1234_5678);
        assert_eq!(word(&file, 0x15c), 0x15c);
        assert_eq!(word(&file, 0x164), 0x164);
    }

    #[test]
    fn what_cannot_be_mapped_is_an_error() {
        assert!(Bar::map(&page(), usize::MAX, 64).is_err());
        assert!(Bar::map(&File::open("/dev/null").unwrap(), 0, 64).is_err());
    }

    #[test]
    #[should_panic(expected = "outside the BAR")]
    fn a_register_outside_is_not_touched() {
        Bar::map(&page(), 0x140, 64).unwrap().read(64);
    }

    #[test]
    #[should_panic(expected = "outside the BAR")]
    fn a_register_is_not_touched_in_parts() {
        Bar::map(&page(), 0, 64).unwrap().read(2);
    }

    #[test]
    fn a_page_that_is_taken_away_reads_as_ones() {
        let file = page();
        let mut others = Bar::map(&page(), 0, 64).unwrap();
        let mut bar = Bar::map(&file, 0x140, 64).unwrap();
        assert_eq!(bar.read(0x28), 0x168);
        file.set_len(0).unwrap();
        assert_eq!(bar.read(0x28), NOBODY);
        assert_eq!(bar.read(0), NOBODY);
        bar.write(0x20, 0);
        assert_eq!(others.read(0x28), 0x28);
        drop(bar);
        // The next one is a new one.
        let mut bar = Bar::map(&page(), 0x140, 64).unwrap();
        assert_eq!(bar.read(0x28), 0x168);
    }

    #[test]
    fn a_write_to_a_page_that_is_taken_away_does_nothing() {
        let file = page();
        let mut bar = Bar::map(&file, 0, 64).unwrap();
        file.set_len(0).unwrap();
        bar.write(0x20, 0);
        assert_eq!(bar.read(0x24), NOBODY);
    }

    #[test]
    fn many_maps_in_many_threads_lose_their_own_pages_only() {
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for round in 0..50u32 {
                        let file = page();
                        let mut bar = Bar::map(&file, 0, 4096).unwrap();
                        if round.is_multiple_of(2) {
                            file.set_len(0).unwrap();
                            assert_eq!(bar.read(0x40), NOBODY);
                        } else {
                            assert_eq!(bar.read(0x40), 0x40);
                        }
                    }
                });
            }
        });
    }

    /// Says to this test program, started once more, to fail outside of a BAR.
    const FAIL_ELSEWHERE: &str = "QRNG_TEST_BUS_ERROR";

    #[test]
    fn a_bus_error_elsewhere_still_ends_the_process() {
        if std::env::var_os(FAIL_ELSEWHERE).is_some() {
            let mut bar = Bar::map(&page(), 0, 64).unwrap();
            let file = page();
            let map = MmapOptions::new().len(4096).map_raw(&file).unwrap();
            file.set_len(0).unwrap();
            // SAFETY: the address is within the map. Its page is gone, which is the point.
            let value = unsafe { map.as_ptr().cast::<u32>().read_volatile() };
            panic!("{value} was read, and {} of the BAR", bar.read(0));
        }
        let name = "source::pcie::bar::tests::a_bus_error_elsewhere_still_ends_the_process";
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        let again = again.args(["--exact", name]).env(FAIL_ELSEWHERE, "1");
        let status = again.output().unwrap().status;
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(libc::SIGBUS), "{status}");
    }
}
