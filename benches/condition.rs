//! Speed of each way to condition, on one core, beside a copy of the same bytes.
//!
//! `cargo bench --bench condition`. Each figure is input per second, the best of several rounds; the last column says
//! how much of the copy's speed of the same run that is.

use qrng::condition::combine::{Combination, Combining, Identity, Member, Policy};
use qrng::condition::{Conditioner, Sizes, hmac, matrix, toeplitz, von_neumann};
use qrng::report::Kind;
use qrng_simd::Path;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Bytes of input in one round: about what a collector handles at once, and short enough to fit between two
/// interruptions on a busy machine.
const INPUT: usize = 1 << 17;
/// Rounds of one measurement go on for at least this long.
const TIME: Duration = Duration::from_millis(500);

fn main() {
    let input = matrix::generate(Sizes::new(2048, 512).expect("sizes"), "bench input");
    assert_eq!(input.len(), INPUT);
    let mut copied = vec![0; INPUT];
    let copy = best(|| black_box(&mut copied).copy_from_slice(black_box(&input)));
    print("memcpy", "", copy, copy);

    linear(&input, copy);
    let mut out = Vec::with_capacity(INPUT);
    for path in available(qrng_simd::von_neumann::Selector::PATHS) {
        let mut selector = qrng_simd::von_neumann::Selector::new();
        selector.choose(path);
        let time = best(|| {
            out.clear();
            selector.select(black_box(&input), &mut out);
        });
        print("von-neumann", path.name(), time, copy);
    }
    streams(&input, copy);
    combinations(&input, copy);
}

/// The linear extractors' arithmetic, by each way that this processor has.
fn linear(input: &[u8], copy: Duration) {
    for (name, sizes) in [("1024-768", Sizes::DEFAULT), ("2048-1792", Sizes::LARGE)] {
        let (n, k) = (sizes.input_bits(), sizes.output_bits());
        let mut out = vec![0; INPUT / n * k];
        let rows = matrix::generate(sizes, "bench");
        let mut matrix = qrng_simd::matrix::Matrix::new(n, k, &rows).expect("sizes");
        for path in available(qrng_simd::matrix::Matrix::PATHS) {
            matrix.choose(path);
            let time = best(|| {
                matrix.multiply(black_box(input), black_box(&mut out));
            });
            print(&format!("matrix {name}"), path.name(), time, copy);
        }
        let seed = &rows[..sizes.seed_len()];
        let mut toeplitz = qrng_simd::toeplitz::Toeplitz::new(n, k, seed).expect("sizes");
        for path in available(qrng_simd::toeplitz::Toeplitz::PATHS) {
            toeplitz.choose(path);
            let time = best(|| {
                toeplitz.multiply(black_box(input), black_box(&mut out));
            });
            print(&format!("toeplitz {name}"), path.name(), time, copy);
        }
    }
}

/// The conditioners as the collector uses them.
fn streams(input: &[u8], copy: Duration) {
    let rows = matrix::generate(Sizes::DEFAULT, "bench");
    let seed = &rows[..Sizes::DEFAULT.seed_len()];
    let conditioners: [Box<dyn Conditioner>; 4] = [
        Box::new(von_neumann::VonNeumann::new()),
        Box::new(matrix::Matrix::new(Sizes::DEFAULT, &rows).expect("rank")),
        Box::new(toeplitz::Toeplitz::new(Sizes::DEFAULT, seed).expect("seed")),
        Box::new(hmac::Hmac::new(&[1; 32], 48)),
    ];
    let mut out = Vec::with_capacity(INPUT + 8);
    for mut conditioner in conditioners {
        // Pieces that fit no block: part of each is held back.
        let time = best(|| {
            out.clear();
            for piece in black_box(input).chunks(30_000) {
                conditioner.condition(piece, &mut out);
            }
        });
        print(conditioner.method().name(), "stream", time, copy);
    }
}

fn combinations(input: &[u8], copy: Duration) {
    let member = |serial: &str| Member {
        identity: Identity {
            kind: Kind::Usb,
            serial: Some(serial.to_owned()),
            path: None,
        },
        group: serial.to_owned(),
        min_entropy: 0.98,
    };
    let (a, b) = input.split_at(INPUT / 2);
    let hkdf = Combining::Hkdf {
        bytes_each: 32,
        output_len: 32,
    };
    let mut out = Vec::with_capacity(INPUT);
    for (name, combining) in [("xor of 2", Combining::Xor), ("hkdf of 2", hkdf)] {
        let members = vec![member("a"), member("b")];
        let combination =
            Combination::new(combining, Policy::RequireAll, members).expect("members");
        let time = best(|| {
            out.clear();
            let kinds = combination.combine(black_box(&[Some(a), Some(b)]), &mut out);
            kinds.expect("blocks");
        });
        print(name, "", time, copy);
    }
}

fn available(paths: &[Path]) -> impl Iterator<Item = Path> {
    paths.iter().copied().filter(|path| path.is_available())
}

/// The shortest of many rounds, after one that does not count.
fn best(mut round: impl FnMut()) -> Duration {
    round();
    let begin = Instant::now();
    let mut shortest = Duration::MAX;
    while begin.elapsed() < TIME {
        let start = Instant::now();
        round();
        shortest = shortest.min(start.elapsed());
    }
    shortest
}

fn print(name: &str, way: &str, time: Duration, copy: Duration) {
    let speed = INPUT as f64 / time.as_secs_f64() / 1e6;
    let ratio = copy.as_secs_f64() / time.as_secs_f64();
    println!("{name:<20} {way:<10} {speed:>8.0} MB/s   {ratio:>6.3} of memcpy");
}
