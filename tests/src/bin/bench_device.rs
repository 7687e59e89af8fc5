//! Reads of /dev/qrng and of the mount beside /dev/urandom, in a guest of the VM bench, because few machines that build this
//! have CUSE: `cargo run -p qrng-tests --bin qrng-bench-device`.
//!
//! The guest's processor is emulated: only ratios say something, and those of another machine differ. Each round measures every
//! subject once, one after another, with the collector at rest; the table has medians over the rounds.

use std::process::ExitCode;

use qrng_tests::vm::{Bench, Guest, Part};

/// Rounds that are measured, after one that is not.
const ROUNDS: usize = 5;

/// The sizes of a read, in bytes, and how many are made at a time.
const BLOCKS: [(&str, u64, u64); 5] = [
    ("32 B", 32, 1000),
    ("4 KiB", 4 << 10, 200),
    ("64 KiB", 64 << 10, 16),
    ("128 KiB", 128 << 10, 12),
    ("1 MiB", 1 << 20, 3),
];

/// What is read.
const SUBJECTS: [&str; 3] = ["/dev/urandom", "/dev/qrng", "/qrng/raw"];

const GATEWAY: &str = "[buffer]\nsize = \"48 MiB\"\n[device]\nraw = \"qrng\"\n";
const SOURCE: &str = "";

fn main() -> ExitCode {
    let bench = match Bench::new(Part::Full) {
        Ok(bench) => bench,
        Err(why) => {
            eprintln!("qrng-bench-device: {why}");
            return ExitCode::FAILURE;
        }
    };
    let mut guest = bench.guest().gateway(GATEWAY, SOURCE).start();
    guest.start_gateway();
    let kernel = guest.succeed("uname -r");
    // For each block and subject, the speed in each round.
    let mut speeds = vec![vec![Vec::new(); SUBJECTS.len()]; BLOCKS.len()];
    for round in 0..=ROUNDS {
        fill(&mut guest);
        for (at, (_, size, count)) in BLOCKS.into_iter().enumerate() {
            for (subject, path) in SUBJECTS.into_iter().enumerate() {
                let speed = read(&mut guest, path, size, count);
                if round > 0 {
                    speeds[at][subject].push(speed);
                }
            }
        }
        eprintln!("round {round} of {ROUNDS}");
    }
    print_table(kernel.trim(), &speeds);
    ExitCode::SUCCESS
}

/// Has all bytes of one round in the buffer.
fn fill(guest: &mut Guest) {
    let round: u64 = BLOCKS.iter().map(|(_, size, count)| 2 * size * count).sum();
    guest.start_feeding();
    guest.wait_for_bytes(round);
    guest.stop_feeding();
}

/// Reads by dd(1); bytes a second, as it has measured.
fn read(guest: &mut Guest, path: &str, size: u64, count: u64) -> f64 {
    let said = guest.succeed(&format!(
        "LC_ALL=C dd if={path} of=/dev/null bs={size} count={count} iflag=fullblock"
    ));
    let bytes = size * count;
    let seconds = said
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{bytes} bytes")))
        .and_then(|rest| {
            rest.split("copied, ")
                .nth(1)?
                .split(' ')
                .next()?
                .parse()
                .ok()
        });
    let seconds: f64 = seconds.unwrap_or_else(|| panic!("dd of {path} says {said}"));
    bytes as f64 / seconds
}

fn print_table(kernel: &str, speeds: &[Vec<Vec<f64>>]) {
    println!("In a guest with Linux {kernel} and one emulated processor, {ROUNDS} rounds:\n");
    println!("| block | urandom | device | mount | device / urandom | mount / urandom |");
    println!("|---|---|---|---|---|---|");
    for ((name, size, _), subjects) in BLOCKS.iter().zip(speeds) {
        let [urandom, device, mount] = &subjects[..] else {
            continue;
        };
        let time = |speeds: &Vec<f64>| {
            let speed = median(speeds.clone());
            format!(
                "{:.2} MB/s, {:.0} us a read",
                speed / 1e6,
                *size as f64 / speed * 1e6
            )
        };
        let ratio = |speeds: &Vec<f64>| {
            let ratios = speeds.iter().zip(urandom).map(|(a, b)| a / b);
            let ratios: Vec<f64> = ratios.collect();
            let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            let most = ratios.iter().copied().fold(0.0, f64::max);
            format!("{:.2} ({least:.2}-{most:.2})", median(ratios))
        };
        println!(
            "| {name} | {} | {} | {} | {} | {} |",
            time(urandom),
            time(device),
            time(mount),
            ratio(device),
            ratio(mount)
        );
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
