//! How each of several appliances is doing.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Address;
use crate::source::{Failure, Part};

/// The appliances of one source.
pub(super) struct Parts {
    /// The source's name.
    source: String,
    parts: Mutex<Vec<Part>>,
}

impl Parts {
    /// Appliances of which nothing is known yet.
    pub(super) fn new(source: &str, addresses: &[Address]) -> Self {
        let parts = addresses
            .iter()
            .map(|address| Part::new(address.to_string()));
        Self {
            source: source.to_owned(),
            parts: Mutex::new(parts.collect()),
        }
    }

    /// Each of them.
    pub(super) fn list(&self) -> Vec<Part> {
        self.lock().clone()
    }

    /// The appliance number `index` gave `count` bytes.
    pub(super) fn answered(&self, index: usize, count: usize) {
        let mut parts = self.lock();
        let several = parts.len() > 1;
        let part = &mut parts[index];
        part.bytes += count as u64;
        // Of a single one the stage that reads says so.
        if part.error.take().is_some() && several {
            log::info!("noise source {}: {} answers again", self.source, part.name);
        }
    }

    /// The appliance number `index` gave none. If none of the others is known to work, this is a failure of the source.
    pub(super) fn failed(&self, index: usize, failure: Failure) -> Option<Failure> {
        let mut parts = self.lock();
        let part = &mut parts[index];
        *part.faults.entry(failure.fault).or_default() += 1;
        let before = part.error.replace(failure.text);
        if parts.iter().all(|part| part.error.is_some()) {
            let fault = failure.fault;
            return Some(Failure::new(fault, of_all(&parts)));
        }
        let part = &parts[index];
        if before != part.error {
            log::warn!(
                "noise source {}: {}; the other appliances go on",
                self.source,
                told(part)
            );
        }
        None
    }

    /// The appliances; a panic elsewhere cannot leave one half changed.
    fn lock(&self) -> MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of_all(parts: &[Part]) -> String {
    let each: Vec<_> = parts.iter().map(told).collect();
    match each.len() {
        1 => each.concat(),
        count => format!("all {count} appliances fail: {}", each.join("; ")),
    }
}

fn told(part: &Part) -> String {
    let error = part.error.as_deref().unwrap_or_default();
    format!("{} {error}", part.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Fault;

    fn parts(hosts: &[&str]) -> Parts {
        let parse = |host: &&str| Address::parse(&format!("https://{host}")).unwrap();
        let addresses: Vec<_> = hosts.iter().map(parse).collect();
        Parts::new("rack", &addresses)
    }

    fn silent() -> Failure {
        Failure::new(Fault::Silent, "is silent; wake it")
    }

    #[test]
    fn one_appliance_is_the_source() {
        let parts = parts(&["a"]);
        let failure = parts.failed(0, silent()).unwrap();
        assert_eq!(failure.text, "https://a is silent; wake it");
        assert_eq!(failure.fault, Fault::Silent);
        parts.answered(0, 4096);
        let part = &parts.list()[0];
        assert_eq!((part.bytes, &part.error), (4096, &None));
        assert_eq!(part.faults, [(Fault::Silent, 1)].into());
    }

    #[test]
    fn the_source_fails_when_all_do() {
        let parts = parts(&["a", "b"]);
        assert_eq!(parts.failed(1, silent()), None);
        assert_eq!(parts.failed(1, silent()), None);
        parts.answered(0, 64);
        let gone = Failure::new(Fault::Gone, "is gone");
        let failure = parts.failed(0, gone).unwrap();
        assert_eq!(
            failure.text,
            "all 2 appliances fail: https://a is gone; https://b is silent; wake it"
        );
        assert_eq!(failure.fault, Fault::Gone);
        parts.answered(1, 64);
        assert_eq!(parts.failed(0, silent()), None);
        let list = parts.list();
        assert_eq!(
            list[0].faults,
            [(Fault::Gone, 1), (Fault::Silent, 1)].into()
        );
        assert_eq!(list[1].faults, [(Fault::Silent, 2)].into());
        assert_eq!(list[1].error, None);
    }
}
