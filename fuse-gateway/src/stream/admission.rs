//! Who is let in when there are as many connections as there may be.

use std::collections::HashMap;
use std::time::Instant;

use qrng::stream::Code;

/// The most connections at once.
pub(super) const MAX_CONNECTIONS: usize = 256;

/// What becomes of a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is room.
    LetIn,
    /// It takes the place of this one.
    InsteadOf(usize),
    /// It is refused.
    Refuse(Code),
}

/// Judges a new connection of the user `uid`, given each other one's user and since when it is idle. Where there is no room,
/// the user who has most connections loses the one that is idle for longest, if that is another user: nobody can keep others out by holding connections.
pub(super) fn admit(uid: u32, others: &[(u32, Option<Instant>)]) -> Verdict {
    if others.len() < MAX_CONNECTIONS {
        return Verdict::LetIn;
    }
    let mut count: HashMap<u32, usize> = HashMap::new();
    others
        .iter()
        .for_each(|(user, _)| *count.entry(*user).or_default() += 1);
    let of = |user: &u32| count.get(user).copied().unwrap_or(0);
    let most = count.values().copied().max().unwrap_or(0);
    if of(&uid) + 1 >= most {
        return Verdict::Refuse(Code::Busy);
    }
    let idle = others
        .iter()
        .enumerate()
        .filter(|(_, (user, _))| of(user) == most);
    let longest = idle
        .filter_map(|(at, (_, since))| Some((at, (*since)?)))
        .min_by_key(|(_, since)| *since);
    longest.map_or(Verdict::Refuse(Code::Busy), |(at, _)| {
        Verdict::InsteadOf(at)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nobody_keeps_others_out_by_holding_connections() {
        let start = Instant::now();
        let since = |ms| Some(start + Duration::from_millis(ms));
        let mut others: Vec<_> = (1..MAX_CONNECTIONS as u64).map(|n| (7, since(n))).collect();
        assert_eq!(admit(7, &others), Verdict::LetIn);
        others.push((8, since(0)));
        assert_eq!(admit(7, &others), Verdict::Refuse(Code::Busy));
        assert_eq!(admit(8, &others), Verdict::InsteadOf(0));
        others[0].1 = None;
        others[1].1 = since(999);
        assert_eq!(admit(9, &others), Verdict::InsteadOf(2));
        others.iter_mut().for_each(|(_, since)| *since = None);
        assert_eq!(admit(9, &others), Verdict::Refuse(Code::Busy));
    }
}
