//! Which bytes of a software card's stream some bytes are.

use std::ops::Range;

use qrng_card::Stream;
use qrng_card::stream::BLOCK;

/// Splits `bytes` into the longest runs of `stream`, as ranges of offsets. Bytes that left a card in order, none twice, give
/// ranges that rise; what is between two ranges did not arrive.
///
/// # Errors
/// Some bytes are not of the stream, or a run is too short to be recognised (under 31 bytes); the text says where.
pub fn runs(stream: &Stream, bytes: &[u8]) -> Result<Vec<Range<u64>>, String> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let run = run(stream, &bytes[at..])
            .ok_or_else(|| format!("the bytes from {at} on are none that the card made"))?;
        at += (run.end - run.start) as usize;
        runs.push(run);
    }
    Ok(runs)
}

/// The run that `bytes` begin with.
fn run(stream: &Stream, bytes: &[u8]) -> Option<Range<u64>> {
    let (before, offset) = (0..BLOCK).find_map(|before| {
        let block = bytes.get(before..)?.first_chunk::<BLOCK>()?;
        Some((before as u64, stream.offset_of(*block)?))
    })?;
    let start = offset.checked_sub(before)?;
    let length = bytes
        .chunks(BLOCK)
        .zip((start..).step_by(BLOCK))
        .map(|(chunk, offset)| {
            let made = stream.bytes(offset, chunk.len());
            let equal = chunk.iter().zip(&made).take_while(|(a, b)| a == b).count();
            (equal, equal == BLOCK)
        })
        .scan(true, |goes_on, (equal, whole)| {
            let counted = goes_on.then_some(equal as u64);
            *goes_on = whole;
            counted
        })
        .sum::<u64>();
    (length >= before).then_some(start..start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_begin_and_end_anywhere() {
        let stream = Stream::new(3);
        let ranges = [5..105, 1000..1064, 2003..2050];
        let bytes: Vec<u8> = ranges
            .iter()
            .flat_map(|r| stream.bytes(r.start, (r.end - r.start) as usize))
            .collect();
        assert_eq!(runs(&stream, &bytes).unwrap(), ranges);
        assert_eq!(runs(&stream, &[]), Ok(Vec::new()));
    }

    #[test]
    fn one_wrong_byte_is_found() {
        let stream = Stream::new(3);
        let mut bytes = stream.bytes(0, 200);
        bytes[100] ^= 1;
        let error = runs(&stream, &bytes).unwrap_err();
        assert!(error.contains("from 100 on"), "{error}");
        assert!(runs(&stream, &Stream::new(4).bytes(0, 64)).is_err());
    }
}
