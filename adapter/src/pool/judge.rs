//! Whether the kernel may be given bytes, and whether they may count: by what the gateway said before they were taken, and after.
//!
//! The kinds of source since the gateway's start, asked for after the bytes were taken, are those of these bytes and of others. So a
//! gateway that has had bytes of a simulator gives none that count until it is started anew.

use qrng::report::Kind;

use crate::gateway::Told;

/// How the status calls a simulator.
const SIMULATOR: &str = Kind::Simulator.name();

/// What is to be done with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The kernel gets them.
    Add {
        /// Whether they may be a simulator's, or nobody knows whose.
        simulated: bool,
    },
    /// Nobody gets them, and why.
    Destroy(&'static str),
}

/// Whether a gateway that says this should be asked at all.
///
/// # Errors
/// Why not.
pub(super) fn serves(told: &Told) -> Result<(), &'static str> {
    match told.state.as_str() {
        "latched" => Err(
            "the gateway is latched, because a health test failed; see `reasons` in its status for what clears that",
        ),
        "stalled" => Err(
            "the gateway is stalled: its sources are latched or the link is silent; see `reasons` in its status",
        ),
        _ => Ok(()),
    }
}

/// Judges bytes that were taken between the two.
pub(super) fn judge(before: &Told, after: &Told) -> Verdict {
    if let Err(why) = serves(after) {
        return Verdict::Destroy(why);
    }
    if after.uptime < before.uptime {
        return Verdict::Destroy("the gateway was started anew meanwhile");
    }
    let known = !after.kinds.is_empty();
    Verdict::Add {
        simulated: !known || after.kinds.iter().any(|kind| kind == SIMULATOR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(state: &str, kinds: &[&str], uptime: u64) -> Told {
        Told {
            state: state.to_owned(),
            kinds: kinds.iter().map(|&kind| kind.to_owned()).collect(),
            fill: 0,
            uptime,
        }
    }

    #[test]
    fn only_what_no_simulator_can_have_made_counts() {
        let before = told("serving", &["usb"], 5);
        let judged = |kinds: &[&str]| judge(&before, &told("waiting", kinds, 5));
        assert_eq!(judged(&["usb"]), Verdict::Add { simulated: false });
        // Whatever it was when the bytes were asked for.
        for kinds in [&["usb", "simulator"][..], &["simulator"], &[]] {
            assert_eq!(judged(kinds), Verdict::Add { simulated: true }, "{kinds:?}");
        }
    }

    #[test]
    fn a_gateway_that_has_stopped_or_was_another_one_gives_nothing() {
        let before = told("serving", &["usb"], 5);
        for state in ["latched", "stalled"] {
            let after = told(state, &["usb"], 6);
            assert!(serves(&after).unwrap_err().contains(state));
            assert!(matches!(judge(&before, &after), Verdict::Destroy(_)));
        }
        let after = told("serving", &["usb"], 4);
        assert!(matches!(judge(&before, &after), Verdict::Destroy(_)));
        assert!(serves(&before).is_ok());
    }
}
