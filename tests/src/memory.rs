//! Looks for secrets in the memory of another process, as root.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that are compared: eight that are random do not come by chance.
const WORD: usize = 8;

/// What is looked for: words of eight bytes, each with the name of what it is a part of.
#[derive(Default)]
pub struct Needles {
    words: HashMap<u64, String>,
    /// Which lower 16 bits there are at all: most places are done with by this.
    seen: Vec<bool>,
}

impl Needles {
    /// Adds every eighth word of `bytes`.
    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        self.seen.resize(1 << 16, false);
        for word in bytes
            .chunks_exact(WORD)
            .filter_map(|word| word.first_chunk())
        {
            let word = u64::from_le_bytes(*word);
            self.seen[usize::from(word as u16)] = true;
            self.words.insert(word, name.to_owned());
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The names of those that are in `bytes`, with the place of each.
    pub fn find<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (usize, &'a str)> {
        let places = bytes.windows(WORD).enumerate();
        places.filter_map(|(at, word)| {
            if !self.seen[usize::from(u16::from_le_bytes([word[0], word[1]]))] {
                return None;
            }
            let word = u64::from_le_bytes(*word.first_chunk()?);
            Some((at, self.words.get(&word)?.as_str()))
        })
    }
}

/// A part of a process's memory, as /proc/PID/smaps tells of it.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// The one behind the last.
    pub end: u64,
    /// File, `[heap]`, `[stack]`, or nothing.
    pub name: String,
    /// Two letters each: `lo` locked, `dd` not dumped (proc_pid_smaps(5)).
    pub flags: Vec<String>,
}

/// Something that was found.
#[derive(Debug)]
pub struct Found {
    /// What it is a part of.
    pub name: String,
    /// Where.
    pub address: u64,
    /// In which mapping.
    pub mapping: Mapping,
}

/// All mappings of a process.
///
/// # Errors
/// The kernel's.
pub fn mappings(pid: u32) -> io::Result<Vec<Mapping>> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps"))?;
    let mut all: Vec<Mapping> = Vec::new();
    for line in text.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            if let Some(last) = all.last_mut() {
                last.flags = flags.split_whitespace().map(str::to_owned).collect();
            }
        } else if let Some((start, end, name)) = head(line) {
            all.push(Mapping {
                start,
                end,
                name,
                flags: Vec::new(),
            });
        }
    }
    Ok(all)
}

/// A mapping's first line: `start-end perms offset device inode name`.
fn head(line: &str) -> Option<(u64, u64, String)> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let name = fields.skip(4).collect::<Vec<_>>().join(" ");
    Some((
        u64::from_str_radix(start, 16).ok()?,
        u64::from_str_radix(end, 16).ok()?,
        name,
    ))
}

/// Looks through all memory of a process that can be read; gives what was found, and how many bytes were looked at.
///
/// # Errors
/// The kernel's.
pub fn search(pid: u32, needles: &Needles) -> io::Result<(Vec<Found>, u64)> {
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let (mut found, mut looked) = (Vec::new(), 0);
    for mapping in mappings(pid)? {
        let mut room = vec![0; (mapping.end - mapping.start) as usize];
        // The kernel's own pages cannot be read.
        if memory.read_exact_at(&mut room, mapping.start).is_err() {
            continue;
        }
        looked += room.len() as u64;
        // Page by page, with the first bytes of the next; most are empty.
        for start in (0..room.len()).step_by(4096) {
            let page = &room[start..room.len().min(start + 4096 + WORD - 1)];
            if page.iter().all(|&byte| byte == 0) {
                continue;
            }
            found.extend(needles.find(page).map(|(at, name)| Found {
                name: name.to_owned(),
                address: mapping.start + (start + at) as u64,
                mapping: mapping.clone(),
            }));
        }
    }
    Ok((found, looked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_found_and_where() {
        let secret: Vec<u8> = (0..64).map(|n: u8| n.wrapping_mul(37) ^ 0x5a).collect();
        let mut needles = Needles::default();
        needles.add("secret", &secret);
        assert_eq!(needles.len(), 8);
        let text = [&[0; 3], &secret[8..24], &[1; 5]].concat();
        let places: Vec<_> = needles.find(&text).collect();
        assert_eq!(places, [(3, "secret"), (11, "secret")]);
        let (found, looked) = search(std::process::id(), &needles).unwrap();
        let at = secret.as_ptr() as u64;
        assert!(looked > 1 << 16);
        assert!(found.iter().any(|found| found.address == at));
    }
}
