//! What a source's bytes become, and whether that makes sense.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use qrng::condition::hmac::Hmac;
use qrng::condition::matrix::Matrix;
use qrng::condition::pair::{Bits, Claim, DEFAULT_LOG2_EPS, Processing, Source};
use qrng::condition::toeplitz::Toeplitz;
use qrng::condition::von_neumann::VonNeumann;
use qrng::condition::{Conditioner, Method, Sizes};
use qrng_daemon::{Problems, path_in};

use super::Driver;
use super::raw::{RawConditioning, RawMethod, RawProcessing, RawSource};
use super::sources::Place;
use super::xdma;

/// What the kernel's own generators give is conditioned, whatever is declared.
const GENERATORS: [&str; 2] = ["/dev/random", "/dev/urandom"];

/// A conditioner that is ready to work, or none.
pub struct Conditioning(Option<Box<dyn Conditioner>>);

impl Conditioning {
    /// The samples go on as they are.
    pub const NONE: Self = Self(None);

    /// With this conditioner.
    pub fn by(conditioner: impl Conditioner + 'static) -> Self {
        Self(Some(Box::new(conditioner)))
    }

    /// The method, with its sizes.
    pub fn method(&self) -> Method {
        self.0.as_ref().map_or(Method::None, |c| c.method())
    }

    /// The conditioner.
    pub fn into_conditioner(self) -> Option<Box<dyn Conditioner>> {
        self.0
    }
}

impl fmt::Debug for Conditioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.method().fmt(f)
    }
}

/// Checks a source's conditioning; `min_entropy` is claimed of each of its bits.
pub(super) fn check(
    problems: &mut Problems,
    place: &Place,
    config: &Path,
    raw: &RawSource,
    driver: &Driver,
    min_entropy: f64,
) -> Option<(Conditioning, Claim)> {
    let wanted = &raw.conditioning;
    superfluous(problems, place, wanted);
    let method = match wanted.method {
        RawMethod::None => Method::None,
        RawMethod::VonNeumann => Method::VonNeumann,
        RawMethod::Matrix => Method::Matrix(sizes(problems, place, wanted)?),
        RawMethod::Toeplitz => Method::Toeplitz(sizes(problems, place, wanted)?),
        RawMethod::Hmac => Method::Hmac {
            input_len: hmac_input(problems, place, wanted)?,
        },
    };
    let source = Source {
        processing: processing(problems, place, raw, driver, method)?,
        bits: if wanted.independent_bits == Some(true) {
            Bits::Independent
        } else {
            Bits::Unknown
        },
        min_entropy,
    };
    let claim = problems.keep(
        &place.key("conditioning"),
        method.claim(&source, DEFAULT_LOG2_EPS),
        "see docs/conditioning.md",
    )?;
    let conditioning = match method {
        Method::VonNeumann => Conditioning::by(VonNeumann::new()),
        Method::Matrix(sizes) => {
            let file = read(problems, place, config, wanted, sizes.matrix_len())?;
            let matrix = Matrix::new(sizes, &file);
            Conditioning::by(built(problems, place, matrix)?)
        }
        Method::Toeplitz(sizes) => {
            // One byte more tells a file that is too long.
            let seed = read(problems, place, config, wanted, sizes.seed_len() + 1)?;
            let toeplitz = Toeplitz::new(sizes, &seed);
            Conditioning::by(built(problems, place, toeplitz)?)
        }
        Method::Hmac { input_len } => {
            let key = hmac_key(problems, place, config, wanted)?;
            Conditioning::by(Hmac::new(&key, input_len))
        }
        Method::None => Conditioning::NONE,
    };
    Some((conditioning, claim))
}

fn built<T, E: fmt::Display>(
    problems: &mut Problems,
    place: &Place,
    result: Result<T, E>,
) -> Option<T> {
    let key = place.key("conditioning.file");
    problems.keep(
        &key,
        result,
        "name the file that belongs to this method and these sizes",
    )
}

/// Settings of other methods are refused, since nobody would notice that they do nothing.
fn superfluous(problems: &mut Problems, place: &Place, raw: &RawConditioning) {
    let extractor = matches!(raw.method, RawMethod::Matrix | RawMethod::Toeplitz);
    let von_neumann = raw.method == RawMethod::VonNeumann;
    let hmac = raw.method == RawMethod::Hmac;
    let given = [
        ("file", raw.file.is_some(), extractor || hmac),
        ("input-bytes", raw.input_bytes.is_some(), hmac),
        ("input-bits", raw.input_bits.is_some(), extractor),
        ("output-bits", raw.output_bits.is_some(), extractor),
        (
            "independent-bits",
            raw.independent_bits.is_some(),
            von_neumann,
        ),
    ];
    for (name, given, used) in given {
        if given && !used {
            problems.add(
                &place.key(&format!("conditioning.{name}")),
                "has no meaning for this method",
                "remove it, or choose the method that it belongs to",
            );
        }
    }
}

fn sizes(problems: &mut Problems, place: &Place, raw: &RawConditioning) -> Option<Sizes> {
    let default = Sizes::DEFAULT;
    let input = raw.input_bits.unwrap_or(default.input_bits());
    let output = raw.output_bits.unwrap_or(default.output_bits());
    problems.keep(
        &place.key("conditioning"),
        Sizes::new(input, output),
        "give input-bits and output-bits, such as 1024 and 768",
    )
}

/// Bytes of an HMAC's input block. Whether they hold enough entropy is not looked at here.
fn hmac_input(problems: &mut Problems, place: &Place, raw: &RawConditioning) -> Option<usize> {
    let most = Hmac::MOST_INPUT_LEN;
    let given = raw.input_bytes.unwrap_or(Hmac::DEFAULT_INPUT_LEN);
    if (1..=most).contains(&given) {
        return Some(given);
    }
    problems.add(
        &place.key("conditioning.input-bytes"),
        format!("is {given}"),
        format!("give 1 to {most}, or leave it out"),
    );
    None
}

/// The key in the method's file, if there is one.
fn hmac_key(
    problems: &mut Problems,
    place: &Place,
    config: &Path,
    raw: &RawConditioning,
) -> Option<[u8; 32]> {
    if raw.file.is_none() {
        return Some(Hmac::PUBLIC_KEY);
    }
    // One byte more tells a file that is too long.
    let file = read(problems, place, config, raw, 33)?;
    let key = <[u8; 32]>::try_from(file).map_err(|file| match file.len() {
        33.. => "the key of an HMAC has 32 bytes, and the file has more".to_owned(),
        short => format!("the key of an HMAC has 32 bytes, and the file has {short}"),
    });
    built(problems, place, key)
}

/// What the device did to its samples. It must be declared before an extractor is put behind it.
fn processing(
    problems: &mut Problems,
    place: &Place,
    raw: &RawSource,
    driver: &Driver,
    method: Method,
) -> Option<Processing> {
    let path = match driver {
        Driver::Appliances(_) => return of_appliance(problems, place, raw),
        // They give raw samples (docs/hardware.md sections 1 and 4), and so does a card that is simulated, unless told otherwise.
        Driver::Pcie { .. } | Driver::Usb { .. } | Driver::Simulator { .. } => None,
        Driver::Node { path } => Some(path),
        Driver::Xdma { mode, .. } => return xdma::processing(problems, place, raw, *mode),
    };
    let generator = path.is_some_and(|path| {
        let real = fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
        GENERATORS
            .iter()
            .any(|generator| real == Path::new(generator))
    });
    match raw.processing {
        _ if generator => Some(Processing::PostProcessed),
        Some(RawProcessing::PostProcessed) => Some(Processing::PostProcessed),
        Some(RawProcessing::Raw) => Some(Processing::Raw),
        None if path.is_none() => Some(Processing::Raw),
        // Nothing is done to it, so nothing depends on it.
        None if method == Method::None => Some(Processing::PostProcessed),
        None => {
            problems.add(
                &place.key("processing"),
                format!("is missing, and {} is meant for raw samples", method.name()),
                "write \"raw\" if the device gives the samples of its noise source, or \
                 \"post-processed\" if it conditions them (and then use no conditioning)",
            );
            None
        }
    }
}

/// What appliances give has been conditioned by them, as far as is known of any.
fn of_appliance(problems: &mut Problems, place: &Place, raw: &RawSource) -> Option<Processing> {
    if raw.processing == Some(RawProcessing::Raw) {
        problems.add(
            &place.key("processing"),
            "is \"raw\", and appliances condition what they give",
            "remove it, and use no conditioning",
        );
        return None;
    }
    Some(Processing::PostProcessed)
}

/// Reads at most `most` bytes of the method's file.
fn read(
    problems: &mut Problems,
    place: &Place,
    config: &Path,
    raw: &RawConditioning,
    most: usize,
) -> Option<Vec<u8>> {
    let key = place.key("conditioning.file");
    let Some(path) = &raw.file else {
        problems.add(&key, "is missing", "name the matrix or seed file");
        return None;
    };
    let path = path_in(config, path);
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(&path)?
            .take(most as u64)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|e| format!("{}: {e}", path.display()));
    problems.keep(&key, bytes, "name a matrix or seed file that can be read")
}
