//! Which card is meant.

use super::device::UsbDevice;
use crate::source::{Failure, Fault};
use crate::sysfs::usb::Device;

/// A USB, or several.
pub(super) trait Bus: Send + Sync + 'static {
    /// The cards that are plugged in.
    fn cards(&self) -> Result<Vec<Device>, Failure>;

    /// Opens a card.
    fn open(&self, card: &Device) -> Result<Box<dyn UsbDevice>, Failure>;
}

/// The card with the serial number `wanted`, or the only one if none is wanted.
pub(super) fn choose<'c>(cards: &'c [Device], wanted: Option<&str>) -> Result<&'c Device, Failure> {
    let mut fitting = cards
        .iter()
        .filter(|card| wanted.is_none() || card.serial.as_deref() == wanted);
    let (first, second) = (fitting.next(), fitting.next());
    let there = told(cards);
    let problem = match (first, second, wanted) {
        (Some(card), None, _) => return Ok(card),
        (None, _, None) => "no Quantis USB-4M is plugged in; plug it in \
                            (`lsusb -d 0aba:0102` shows whether the host sees it)"
            .to_owned(),
        (None, _, Some(wanted)) => format!(
            "no Quantis USB-4M with the serial number {wanted} is plugged in ({there}); \
             plug it in, or name another by serial = \"...\""
        ),
        (Some(_), Some(_), None) => {
            format!("there are several Quantis USB-4M ({there}); name one by serial = \"...\"")
        }
        (Some(_), Some(_), Some(wanted)) => format!(
            "several Quantis USB-4M have the serial number {wanted} ({there}); unplug all but one of these"
        ),
    };
    Err(Failure::new(Fault::Unavailable, problem))
}

/// Which cards are there, in words.
fn told(cards: &[Device]) -> String {
    let each = cards.iter().map(|card| {
        let serial = card.serial.as_deref().unwrap_or("without serial number");
        format!("{serial} at {}", card.port)
    });
    let all: Vec<_> = each.collect();
    if all.is_empty() {
        "there is none".into()
    } else {
        format!("there: {}", all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(serial: &str, port: &str) -> Device {
        Device {
            port: port.into(),
            vendor: 0x0aba,
            product: 0x0102,
            serial: (!serial.is_empty()).then(|| serial.into()),
            bus: 1,
            number: 2,
        }
    }

    fn refused(cards: &[Device], wanted: Option<&str>, words: &[&str]) {
        let failure = choose(cards, wanted).unwrap_err();
        assert_eq!(failure.fault, Fault::Unavailable);
        for word in words {
            assert!(failure.text.contains(word), "{word} is not in: {failure}");
        }
    }

    #[test]
    fn a_card_is_chosen_by_serial_number_or_because_it_is_the_only_one() {
        let (a, b) = (card("A1", "1-2"), card("B2", "1-3"));
        let both = [a.clone(), b.clone()];
        assert_eq!(choose(&both, Some("B2")).unwrap(), &b);
        assert_eq!(choose(&both[..1], None).unwrap(), &a);
        let nameless = [card("", "1-4")];
        assert_eq!(choose(&nameless, None).unwrap(), &nameless[0]);
    }

    #[test]
    fn no_card_and_too_many_are_told_with_what_there_is() {
        let both = [card("A1", "1-2"), card("", "1-3")];
        refused(&[], None, &["no Quantis USB-4M", "plug it in", "lsusb"]);
        refused(&[], Some("C3"), &["C3", "there is none"]);
        refused(&both, Some("C3"), &["C3", "A1 at 1-2", "1-3"]);
        refused(&both, None, &["several", "A1 at 1-2", "serial = "]);
        let twins = [card("A1", "1-2"), card("A1", "1-3")];
        refused(&twins, Some("A1"), &["1-2", "1-3", "unplug"]);
    }
}
