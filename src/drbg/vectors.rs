//! Known answers: NIST's CAVP vectors for CTR_DRBG, AES-256, no derivation function (CAVS 14.3, `drbgtestvectors`).
//!
//! The procedure of the vectors: instantiate; reseed if the vector has a reseed; two requests, each reseeded first
//! if the vector is one of prediction resistance; the second answer is the one published.

use super::{CtrDrbg, SEED_LEN, Seed};

struct Vector {
    name: &'static str,
    entropy: &'static str,
    personalization: &'static str,
    reseed: &'static str,
    additional_reseed: &'static str,
    /// For the first and the second request.
    additional: [&'static str; 2],
    /// For the first and the second request.
    prediction: [&'static str; 2],
    returned: &'static str,
}

const NONE: Vector = Vector {
    name: "",
    entropy: "",
    personalization: "",
    reseed: "",
    additional_reseed: "",
    additional: ["", ""],
    prediction: ["", ""],
    returned: "",
};

const VECTORS: [Vector; 8] = [
    Vector {
        name: "no reseed, COUNT 0",
        entropy: "df5d73faa468649edda33b5cca79b0b05600419ccb7a879ddfec9db32ee494e5531b51de16a30f769262474c73bec010",
        returned: "d1c07cd95af8a7f11012c84ce48bb8cb87189e99d40fccb1771c619bdf82ab22\
                   80b1dc2f2581f39164f7ac0c510494b3a43c41b7db17514c87b107ae793e01c5",
        ..NONE
    },
    Vector {
        name: "no reseed, COUNT 1",
        entropy: "3b6fb634d35bb386927374f991c1cbc9fafba3a43c432dc411b7b2fa96cfcce8d305e135ff9bc460dbc7ba3990bf8060",
        returned: "083a836fe1cde053164555529409337dc4fec6844594fdf15083ba9d1001eb94\
                   5c3b96a1bcee3990e1e51f85c80e9f4e04de34e57b640f6cae8ed68e99624712",
        ..NONE
    },
    Vector {
        name: "no reseed, personalization string, COUNT 0",
        entropy: "22a89ee0e37b54ea636863d9fed10821f1952a428488d528eceb9d2ec69d573ec6216216fb3e8f72a148a5ada9d620b1",
        personalization: "953c10badcbcd45fb4e5475826477fc137ac96a49ad5005fb14bdaf6468ae7f46c5d0de22d304afc67989615adc2e983",
        returned: "f7fab6a6fcf445f0a0434b2aa0c610bdef5489ecd95414634623add18a9f888b\
                   ca6be151312d1b9e8f83bd0acad6234d3bccc11b63a40d6fbff448f67db0b91f",
        ..NONE
    },
    Vector {
        name: "reseed, COUNT 0",
        entropy: "e4bc23c5089a19d86f4119cb3fa08c0a4991e0a1def17e101e4c14d9c323460a7c2fb58e0b086c6c57b55f56cae25bad",
        reseed: "fd85a836bba85019881e8c6bad23c9061adc75477659acaea8e4a01dfe07a1832dad1c136f59d70f8653a5dc118663d6",
        returned: "b2cb8905c05e5950ca31895096be29ea3d5a3b82b269495554eb80fe07de43e1\
                   93b9e7c3ece73b80e062b1c1f68202fbb1c52a040ea2478864295282234aaada",
        ..NONE
    },
    Vector {
        name: "reseed, COUNT 1",
        entropy: "edfdb55e77d418a63e4414dfd42225ed257cf74e99325fba26e8f3a4524a71bc80a731af23256908cb4675a9c253ea6f",
        reseed: "a9372fea93d607fbbc75a97b7f65f2d4ae8c06bd184981572e888a35c5794d2bb380a4ae04bba27f2efcc9e7914b96dc",
        returned: "11b1a0f0bb935ec0c54e089e0cd20832d1f00e7069f30e9ea2e35b7f15ecf057\
                   7d0e90035bf0f91ffd9e8a1fa8a507503739afbec19393e02c9b7c230cdea36f",
        ..NONE
    },
    Vector {
        name: "reseed, additional input, COUNT 0",
        entropy: "99903165903fea49c2db26ed675e44cc14cb2c1f28b836b203240b02771e831146ffc4335373bb344688c5c950670291",
        reseed: "b4ee99fa9e0eddaf4a3612013cd636c4af69177b43eebb3c58a305b9979b68b5cc820504f6c029aad78a5d29c66e84a0",
        additional_reseed: "2d8c5c28b05696e74774eb69a10f01c5fabc62691ddf7848a8004bb5eeb4d2c5febe1aa01f4d557b23d7e9a0e4e90655",
        additional: [
            "0dc9cde42ac6e856f01a55f219c614de90c659260948db5053d414bab0ec2e13e995120c3eb5aafc25dc4bdcef8ace24",
            "711be6c035013189f362211889248ca8a3268e63a7eb26836d915810a680ac4a33cd1180811a31a0f44f08db3dd64f91",
        ],
        returned: "11c7a0326ea737baa7a993d510fafee5374e7bbe17ef0e3e29f50fa68aac2124\
                   b017d449768491cac06d136d691a4e80785739f9aaedf311bba752a3268cc531",
        ..NONE
    },
    Vector {
        name: "prediction resistance, personalization string, COUNT 0",
        entropy: "c8f0c7b9bdf7e7d524c998aedeabb3b7dd4fa8f95c51b582010a5e09d0b4b1ad510302422df738fbef002a051543b4cc",
        personalization: "3b8f2ed03e4c4a857ebaf4730124ae5b3ffa67e294381fe085e1d5b25bb79c228f39b9912d8bf9e84cdb43fcefb552e0",
        prediction: [
            "c1a7b160c8e33a01fbd49743dc1161539390d9ba6b876fe63b58e8fd605b98617322578b17aca9db71e858b154f97910",
            "d98b25eda41d15eacdecba586609d8c743704fa099ac37f9185bcb19652723d1648431a73c4399773c85caf12fcdd842",
        ],
        returned: "338da59350a72bba94b217b99ff813fafa85f31fa7e991d4350d6fce39471aa2\
                   49c6a9e7d189649ea6770a15be302b943ad403728b7387f5984c9bfb82597771",
        ..NONE
    },
    Vector {
        name: "prediction resistance, personalization string, additional input, 128 bits returned, COUNT 0",
        entropy: "7e833fa639dccb38176aa359a98c1f50d3db34dda43965e4771708574904bd685c7d2aee0cf2fb16ef16184d326a266c",
        personalization: "c0541ea593d98b2b43152c072625c708f0b34b4496fec7c56427aa785bbc4051ce896bc13f9ca05c759824c5e13e86db",
        additional: [
            "0ee30f0790e2de20b6f76fef87dc7fc40d9d053191878c9a1953d2f82091a0ef9759ea121b2f29747635f7715a96ebbc",
            "f12435a68c93287e84ea3d274418c9137349b983791529532fef4306e7cb5c0f9f104c607fbf0c379be49426e53bf563",
        ],
        prediction: [
            "37269aa628e035781242445c55bcc8b61f24f332880269a7ed1db74d8b4412215e6053963bb9317f2a87bf3c07bb2722",
            "dc914811637b7941368c4fe2c984049cdc5b6c8d6152eafa923bb4364c064ad1b18e3203fda4f75aa65c63a1b996fa12",
        ],
        returned: "1cbafd480ff48563d67d9114ef676b7f",
        ..NONE
    },
];

fn bytes(hex: &str) -> Vec<u8> {
    assert_eq!(hex.len() % 2, 0);
    (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect()
}

/// An absent input is all zero, as the standard pads it.
fn seed(hex: &str) -> Seed {
    match bytes(hex).as_slice() {
        [] => [0; SEED_LEN],
        bytes => bytes.try_into().unwrap(),
    }
}

fn answer(vector: &Vector) -> Vec<u8> {
    let mut drbg = CtrDrbg::new(&seed(vector.entropy), &seed(vector.personalization));
    if !vector.reseed.is_empty() {
        drbg.reseed(&seed(vector.reseed), &seed(vector.additional_reseed));
    }
    let mut out = vec![0; vector.returned.len() / 2];
    for (additional, entropy) in vector.additional.iter().zip(vector.prediction) {
        let additional = (!additional.is_empty()).then(|| seed(additional));
        if entropy.is_empty() {
            drbg.generate(&mut out, additional.as_ref()).unwrap();
        } else {
            // Section 9.3.1, step 7: the additional input goes into the reseed and not into the request again.
            drbg.reseed(&seed(entropy), &additional.unwrap_or([0; SEED_LEN]));
            drbg.generate(&mut out, None).unwrap();
        }
    }
    out
}

#[test]
fn the_published_answers_come_out() {
    for vector in &VECTORS {
        assert_eq!(answer(vector), bytes(vector.returned), "{}", vector.name);
    }
}

#[test]
fn a_wrong_bit_anywhere_changes_the_answer() {
    for vector in &VECTORS {
        let mut drbg = CtrDrbg::new(&seed(vector.entropy), &seed(vector.personalization));
        let mut wrong = seed(vector.entropy);
        wrong[SEED_LEN - 1] ^= 1;
        let mut other = CtrDrbg::new(&wrong, &seed(vector.personalization));
        let (mut a, mut b) = ([0; 64], [0; 64]);
        drbg.generate(&mut a, None).unwrap();
        other.generate(&mut b, None).unwrap();
        assert_ne!(a, b, "{}", vector.name);
    }
}
