//! probe
use aes::cipher::{KeyIvInit, StreamCipher};
use qrng::health::probe::*;
use std::hint::black_box;
use std::time::Instant;
type Stream = ctr::Ctr128BE<aes::Aes256>;
fn time(name: &str, mut f: impl FnMut()) {
    f();
    let mut d = f64::MAX;
    for _ in 0..400 {
        let t = Instant::now();
        f();
        d = d.min(t.elapsed().as_secs_f64());
    }
    println!("{name:20} {:8.1} us {:8.0} MB/s", d * 1e6, 65536e-6 / d);
}
fn main() {
    let mut s = Stream::new(&[7; 32].into(), &[0; 16].into());
    let mut b = vec![0u8; 65536];
    let mut c = b.clone();
    time("aes-ctr", || {
        s.apply_keystream(&mut b);
    });
    time("memcpy", || {
        c.copy_from_slice(black_box(&b));
        black_box(&c);
    });
    let mut t = Repetition::new(0.98, 7.84, [-40., -60.]);
    time("rct", || {
        black_box(t.update(black_box(&b)));
    });
    let mut t = BitProportion::new(0.98, [-40., -60.]);
    time("apt bits", || {
        black_box(t.update(black_box(&b)));
    });
    let mut t = ByteProportion::new(7.84, [-40., -60.]);
    time("apt bytes", || {
        black_box(t.update(black_box(&b)));
    });
    let mut t = RepeatedData::new();
    time("repeated", || {
        black_box(t.update(black_box(&b)));
    });
    let mut t = Histogram::new();
    let ht = HistogramTests::new(7.84, [-30., -40.]);
    time("histogram", || {
        t.reset();
        t.add(black_box(&b));
        black_box((ht.chi_square(&t), ht.bias(&t), ht.total_failure(&t)));
    });
    let mut t = Autocorrelation::new([-30., -40.]);
    time("autocorrelation", || {
        for p in black_box(&b).as_chunks::<8192>().0 {
            black_box(t.piece(p));
        }
    });
}
