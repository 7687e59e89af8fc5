//! Queries, and bytes in the forms that they ask for.

use super::LARGEST;

/// A page that is no random bytes.
pub(super) const HTML: &str = "<!DOCTYPE html>\n<html><head><title>Service unavailable</title></head>\
    <body><h1>Service unavailable</h1><p>Please sign in.</p></body></html>\n";
pub(super) const FIRMWARE: &str = "{\"version\":\"2.0.4\",\"build\":\"2019-03-07\"}";

pub(super) fn system(serial: &str) -> Vec<u8> {
    format!("{{\"serial\":\"{serial}\",\"modules\":4}}").into_bytes()
}

/// Kinds of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// 16-bit integers.
    Short,
    /// 32-bit integers.
    Int,
    /// Floating-point numbers of 64 bits.
    Double,
    /// Floating-point numbers of 32 bits.
    Float,
}

impl Number {
    /// Bytes that one is made of.
    const fn bytes(self) -> usize {
        match self {
            Self::Short => 2,
            Self::Int => 4,
            Self::Double | Self::Float => 8,
        }
    }
}

/// A request for random bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Request {
    /// Bytes.
    Stream {
        /// How many.
        size: usize,
    },
    /// Strings of hexadecimal digits.
    Hex {
        /// How many.
        quantity: usize,
        /// Bytes in each.
        length: usize,
    },
    /// Numbers from `min` to `max`, both included; of `Double` and `Float` `max` is not.
    Numbers {
        /// Their kind.
        kind: Number,
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
        /// How many.
        quantity: usize,
    },
}

impl Request {
    /// Random bytes that it takes.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Stream { size } => size,
            Self::Hex { quantity, length } => quantity.saturating_mul(length),
            Self::Numbers { kind, quantity, .. } => quantity.saturating_mul(kind.bytes()),
        }
    }

    /// Asks for half as much.
    pub(super) fn halve(&mut self) {
        match self {
            Self::Stream { size: count }
            | Self::Hex {
                quantity: count, ..
            }
            | Self::Numbers {
                quantity: count, ..
            } => *count /= 2,
        }
    }

    /// Asks for one more.
    pub(super) fn lengthen(&mut self) {
        match self {
            Self::Stream { size: count }
            | Self::Hex {
                quantity: count, ..
            }
            | Self::Numbers {
                quantity: count, ..
            } => *count += 1,
        }
    }

    /// The content type and the body made of its bytes.
    pub(super) fn write(self, bytes: Vec<u8>, json: bool) -> (&'static str, Vec<u8>) {
        let items: Vec<String> = match self {
            Self::Stream { .. } if !json => return ("application/octet-stream", bytes),
            Self::Stream { .. } => bytes.iter().map(u8::to_string).collect(),
            Self::Hex { length, .. } => bytes.chunks(length).map(hex).collect(),
            Self::Numbers { kind, min, max, .. } => {
                let numbers = bytes.chunks(kind.bytes());
                numbers.map(|bytes| number(kind, min, max, bytes)).collect()
            }
        };
        let body = format!("[{}]", items.join(",")).into_bytes();
        ("application/json", body)
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("\"{digits}\"")
}

fn number(kind: Number, min: f64, max: f64, bytes: &[u8]) -> String {
    let random = bytes.iter().fold(0_u64, |all, b| all << 8 | u64::from(*b));
    match kind {
        Number::Short | Number::Int => {
            let (min, max) = (min as i64, max as i64);
            (min + (random % (max - min + 1) as u64) as i64).to_string()
        }
        Number::Double | Number::Float => {
            let unit = (random >> 11) as f64 / (1_u64 << 53) as f64;
            (min + unit * (max - min)).to_string()
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// There is no such path.
    Path,
    /// The query makes no sense for it.
    Query,
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Query {
    Random(Request),
    Firmware,
    System,
}

impl Query {
    pub(super) fn parse(target: &str) -> Result<Self, Wrong> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let name = path.strip_prefix("/api/2.0/").ok_or(Wrong::Path)?;
        let fields = Fields(query);
        let request = match name {
            "firmwareinfo" => return Ok(Self::Firmware),
            "systeminfo" => return Ok(Self::System),
            "streambytes" => Request::Stream {
                size: fields.get("size")?,
            },
            "hexbytes" => Request::Hex {
                quantity: fields.get("quantity")?,
                length: fields.get("dataLength")?,
            },
            "short" => fields.numbers(Number::Short, f64::from(i16::MIN), f64::from(i16::MAX))?,
            "int" => fields.numbers(Number::Int, f64::from(i32::MIN), f64::from(i32::MAX))?,
            "double" => fields.numbers(Number::Double, f64::MIN / 2.0, f64::MAX / 2.0)?,
            "float" => fields.numbers(Number::Float, f64::from(f32::MIN), f64::from(f32::MAX))?,
            _ => return Err(Wrong::Path),
        };
        match (1..=LARGEST).contains(&request.bytes()) {
            true => Ok(Self::Random(request)),
            false => Err(Wrong::Query),
        }
    }
}

/// The fields of a query.
struct Fields<'a>(&'a str);

impl Fields<'_> {
    fn get<T: std::str::FromStr>(&self, name: &str) -> Result<T, Wrong> {
        let fields = self.0.split('&').filter_map(|field| field.split_once('='));
        let found = fields
            .filter(|(n, _)| *n == name)
            .map(|(_, value)| value)
            .next();
        found
            .and_then(|value| value.parse().ok())
            .ok_or(Wrong::Query)
    }

    /// Numbers that have to be between `least` and `most`.
    fn numbers(&self, kind: Number, least: f64, most: f64) -> Result<Request, Wrong> {
        let (min, max) = (self.get("min")?, self.get("max")?);
        let quantity = self.get("quantity")?;
        match least <= min && min <= max && max <= most {
            true => Ok(Request::Numbers {
                kind,
                min,
                max,
                quantity,
            }),
            false => Err(Wrong::Query),
        }
    }
}
