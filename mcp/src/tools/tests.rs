//! The draws and limits over a supply that counts.

use std::collections::HashSet;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::*;
use crate::Provenance;

/// Gives 0, 1, 2 ..., and knows how many it gave; none beyond `limit`.
struct Counted {
    given: Mutex<usize>,
    limit: usize,
}

impl Counted {
    fn up_to(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            given: Mutex::new(0),
            limit,
        })
    }

    fn given(&self) -> usize {
        *self.given.lock().unwrap()
    }
}

impl Supply for Counted {
    fn fill(&self, out: &mut [u8]) -> Result<(), NoBytes> {
        let mut given = self.given.lock().unwrap();
        if *given + out.len() > self.limit {
            return Err(NoBytes("the buffer is empty: wait".into()));
        }
        for byte in out {
            // Steps that spread: consecutive draws must differ in their high bytes.
            *byte = (*given * 167 + (*given >> 8) * 29) as u8;
            *given += 1;
        }
        Ok(())
    }

    fn provenance(&self) -> Provenance {
        Provenance::of_status(br#"{"state":"serving","kinds":["simulator"]}"#)
    }
}

fn run<T: serde::Serialize>(
    future: impl Future<Output = Result<Json<T>, String>>,
) -> Result<Value, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let Json(given) = runtime.block_on(future)?;
    Ok(serde_json::to_value(given).unwrap())
}

fn parameters<T: serde::de::DeserializeOwned>(arguments: Value) -> Parameters<T> {
    Parameters(serde_json::from_value(arguments).unwrap())
}

#[test]
fn each_tool_gives_what_it_says_and_takes_no_byte_more() {
    let supply = Counted::up_to(100_000);
    let tools = Tools::new(supply.clone());
    let mut before = 0;
    let mut took = || {
        let now = supply.given();
        now - std::mem::replace(&mut before, now)
    };
    let hex = run(tools.get_random_bytes(parameters(json!({})))).unwrap();
    assert_eq!(hex["bytes"].as_str().unwrap().len(), 64);
    assert_eq!(
        (&hex["encoding"], &hex["count"]),
        (&json!("hex"), &json!(32))
    );
    assert_eq!(hex["provenance"]["kinds"], json!(["simulator"]));
    assert_eq!(took(), 32);
    let hex = run(tools.get_random_hex(parameters(json!({"count": 3})))).unwrap();
    assert_eq!(hex["bytes"].as_str().unwrap().len(), 6);
    let base64 = run(tools.get_random_base64(parameters(json!({"count": 4096})))).unwrap();
    assert_eq!(base64["bytes"].as_str().unwrap().len(), 5464);
    assert_eq!(took(), 4099);
    let integers =
        run(tools.get_random_integers(parameters(json!({"count": 1000, "min": -3, "max": 3}))))
            .unwrap();
    let seen: HashSet<i64> = integers["integers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_i64().unwrap())
        .collect();
    assert_eq!(seen, (-3..=3).collect());
    assert_eq!(took(), 8000);
    let uuids = run(tools.uuid(parameters(json!({"count": 2})))).unwrap();
    let uuids: HashSet<&str> = uuids["uuids"]
        .as_array()
        .unwrap()
        .iter()
        .map(|u| u.as_str().unwrap())
        .collect();
    assert!(
        uuids.len() == 2
            && uuids
                .iter()
                .all(|u| u.len() == 36 && u.as_bytes()[14] == b'4')
    );
    assert_eq!(took(), 32);
    let dice = run(tools.dice(parameters(json!({"count": 100})))).unwrap();
    let rolls: Vec<u64> = dice["rolls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_u64().unwrap())
        .collect();
    assert!(rolls.iter().all(|roll| (1..=6).contains(roll)));
    assert_eq!(dice["total"].as_u64().unwrap(), rolls.iter().sum::<u64>());
    assert_eq!(took(), 800);
}

#[test]
fn shuffles_and_choices_lose_and_invent_nothing() {
    let tools = Tools::new(Counted::up_to(100_000));
    let items: Vec<Value> = (0..50).map(|n| json!({ "n": n })).collect();
    let shuffled = run(tools.shuffle(parameters(json!({ "items": items })))).unwrap();
    let mut order: Vec<i64> = shuffled["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["n"].as_i64().unwrap())
        .collect();
    assert_ne!(order, (0..50).collect::<Vec<_>>());
    order.sort_unstable();
    assert_eq!(order, (0..50).collect::<Vec<_>>());
    let chosen = run(tools.choice(parameters(json!({ "items": items, "count": 10 })))).unwrap();
    let chosen: HashSet<i64> = chosen["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["n"].as_i64().unwrap())
        .collect();
    assert_eq!(chosen.len(), 10);
    let one = run(tools.choice(parameters(json!({ "items": ["x"] })))).unwrap();
    assert_eq!(one["items"], json!(["x"]));
}

#[test]
fn limits_and_an_empty_supply_are_told_in_words() {
    let supply = Counted::up_to(10);
    let tools = Tools::new(supply.clone());
    let refused = |result: Result<Value, String>, words: &str| {
        let error = result.unwrap_err();
        assert!(error.contains(words), "{words:?} is not in: {error}");
    };
    refused(
        run(tools.get_random_hex(parameters(json!({"count": 0})))),
        "from 1 to 4096",
    );
    refused(
        run(tools.get_random_base64(parameters(json!({"count": 4097})))),
        "from 1 to 4096",
    );
    let integers = |arguments| run(tools.get_random_integers(parameters(arguments)));
    refused(
        integers(json!({"count": 1001, "min": 0, "max": 1})),
        "from 1 to 1000",
    );
    refused(
        integers(json!({"min": 2, "max": 1})),
        "the range from 2 to 1 is empty",
    );
    refused(
        integers(json!({"min": 0, "max": i64::MAX})),
        "9007199254740991",
    );
    refused(
        run(tools.uuid(parameters(json!({"count": 101})))),
        "from 1 to 100",
    );
    refused(
        run(tools.dice(parameters(json!({"sides": 1})))),
        "sides is 1",
    );
    refused(
        run(tools.shuffle(parameters(json!({"items": []})))),
        "number of items is 0",
    );
    refused(
        run(tools.choice(parameters(json!({"items": [1, 2], "count": 3})))),
        "count is 3, but must be from 1 to 2",
    );
    assert_eq!(supply.given(), 0);
    refused(
        run(tools.get_random_hex(parameters(json!({"count": 11})))),
        "the buffer is empty",
    );
}

#[test]
fn unknown_arguments_are_refused() {
    let wrong: Result<Count, _> = serde_json::from_value(json!({"count": 1, "size": 2}));
    assert!(wrong.unwrap_err().to_string().contains("size"));
}

#[test]
fn every_tool_is_listed_with_what_it_takes_and_gives() {
    let tools = Tools::new(Counted::up_to(0));
    let listed = tools.router.list_all();
    let names: HashSet<&str> = listed.iter().map(|tool| tool.name.as_ref()).collect();
    let expected = [
        "get_random_bytes",
        "get_random_integers",
        "get_random_hex",
        "get_random_base64",
        "uuid",
        "dice",
        "shuffle",
        "choice",
    ];
    assert_eq!(names, expected.into());
    for tool in listed {
        assert!(tool.description.is_some_and(|words| words.len() > 10));
        assert!(
            tool.output_schema
                .is_some_and(|schema| schema["properties"].get("provenance").is_some())
        );
    }
}
