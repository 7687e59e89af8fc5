//! Sections 6.3.5 and 6.3.6: tuples that come again, by a suffix array.

use super::{entropy_of, upper};

/// A tuple must come so often for the t-tuple estimate to use its length.
const CUTOFF: u64 = 35;

/// The t-tuple and the longest-repeated-substring estimates. None where no length of tuple serves.
pub fn tuples(bits: &[u8]) -> (Option<f64>, Option<f64>) {
    let n = bits.len();
    let (most, pairs) = repeats(bits);
    // Length 1 up to where the commonest tuple comes too seldom, and from there up to the longest that comes twice.
    let first_rare = (1..most.len())
        .find(|&len| most[len] < CUTOFF)
        .unwrap_or(most.len());
    let places = |len: usize| (n - len + 1) as f64;
    let estimate = |p: f64| entropy_of(upper(p, n as f64));
    let largest = |probabilities: &mut dyn Iterator<Item = f64>| probabilities.reduce(f64::max);
    let t_tuple = largest(
        &mut (1..first_rare).map(|len| (most[len] as f64 / places(len)).powf(1.0 / len as f64)),
    );
    let longest = largest(&mut (first_rare..most.len()).map(|len| {
        let choices = places(len) * (places(len) - 1.0) / 2.0;
        (pairs[len] as f64 / choices).powf(1.0 / len as f64)
    }));
    (t_tuple.map(estimate), longest.map(estimate))
}

/// For each length up to the longest repeated one: how often its commonest tuple comes, and how many pairs of places
/// have the same tuple.
fn repeats(bits: &[u8]) -> (Vec<u64>, Vec<u64>) {
    let suffixes = suffix_array(bits);
    let common = common_prefixes(bits, &suffixes);
    let longest = common.iter().copied().max().unwrap_or(0) as usize;
    let mut most = vec![0_u64; longest + 1];
    // Differences: a group of c suffixes that share the lengths from..=to adds c (c - 1) / 2 to each of them.
    let mut steps = vec![0_i128; longest + 2];
    // Open groups: shared length, and how many suffixes came before the group's last.
    let mut open: Vec<(usize, u64)> = Vec::new();
    for shared in common.into_iter().map(|shared| shared as usize).chain([0]) {
        let mut members = 1;
        while let Some(&(len, before)) = open.last().filter(|&&(len, _)| len > shared) {
            open.pop();
            let count = before + members;
            members = count;
            most[len] = most[len].max(count);
            let below = open.last().map_or(0, |&(len, _)| len).max(shared);
            let same = i128::from(count) * i128::from(count - 1) / 2;
            steps[below + 1] += same;
            steps[len + 1] -= same;
        }
        match open.last_mut() {
            Some((len, before)) if *len == shared => *before += members,
            _ if shared > 0 => open.push((shared, members)),
            _ => {}
        }
    }
    // A tuple's start comes at least as often as the tuple.
    for len in (0..longest).rev() {
        most[len] = most[len].max(most[len + 1]);
    }
    let mut pairs = 0;
    let pairs = steps[..=longest].iter().map(|step| {
        pairs += step;
        pairs as u64
    });
    (most, pairs.collect())
}

/// Starts of the suffixes in lexical order, by doubling the sorted length, from 32 bits on.
fn suffix_array(bits: &[u8]) -> Vec<u32> {
    let n = bits.len();
    // Two bits a place, so that an end sorts before a zero.
    let mut window = 0_u64;
    let mut keyed: Vec<(u64, u32)> = Vec::with_capacity(n);
    for start in (0..n + 31).rev() {
        window = window >> 2 | bits.get(start).map_or(0, |&bit| (u64::from(bit) + 1) << 62);
        if start < n {
            keyed.push((window, start as u32));
        }
    }
    let mut rank = vec![0_u32; n];
    let mut sorted = 32;
    loop {
        keyed.sort_unstable();
        let mut distinct = 0;
        for i in 0..n {
            distinct += u32::from(i > 0 && keyed[i].0 != keyed[i - 1].0);
            rank[keyed[i].1 as usize] = distinct;
        }
        if distinct as usize + 1 == n {
            return keyed.into_iter().map(|(_, start)| start).collect();
        }
        for (key, start) in &mut keyed {
            let next = rank
                .get(*start as usize + sorted)
                .map_or(0, |rank| u64::from(*rank) + 1);
            *key = u64::from(rank[*start as usize]) << 32 | next;
        }
        sorted *= 2;
    }
}

/// How many bits each suffix shares with the one before it in order (Kasai's method); the first is left out.
fn common_prefixes(bits: &[u8], suffixes: &[u32]) -> Vec<u32> {
    let mut place = vec![0_u32; suffixes.len()];
    for (i, &start) in suffixes.iter().enumerate() {
        place[start as usize] = i as u32;
    }
    let mut common = vec![0; suffixes.len().saturating_sub(1)];
    let mut shared = 0;
    for (start, &place) in place.iter().enumerate() {
        if place == 0 {
            shared = 0;
            continue;
        }
        let other = suffixes[place as usize - 1] as usize;
        shared += bits[start + shared..]
            .iter()
            .zip(&bits[other + shared..])
            .take_while(|(a, b)| a == b)
            .count();
        common[place as usize - 1] = shared as u32;
        shared = shared.saturating_sub(1);
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_those_that_counting_finds() {
        let mut state = 1_u32;
        for n in [2, 3, 40, 65, 200] {
            for ones in [0, 1, 2, 3, 4] {
                let bits: Vec<u8> = (0..n)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        u8::from(state >> 30 < ones)
                    })
                    .collect();
                let (most, pairs) = repeats(&bits);
                for len in 1..n {
                    let mut counts = std::collections::HashMap::new();
                    bits.windows(len)
                        .for_each(|tuple| *counts.entry(tuple).or_insert(0_u64) += 1);
                    let want_most = *counts.values().max().unwrap();
                    let want_pairs: u64 =
                        counts.values().map(|count| count * (count - 1) / 2).sum();
                    assert_eq!(
                        most.get(len).copied().unwrap_or(1),
                        want_most,
                        "{bits:?}, length {len}"
                    );
                    assert_eq!(
                        pairs.get(len).copied().unwrap_or(0),
                        want_pairs,
                        "{bits:?}, length {len}"
                    );
                }
            }
        }
    }
}
