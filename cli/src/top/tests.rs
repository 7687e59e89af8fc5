//! Looks as screens, on a terminal that is memory.

use std::time::Instant;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;

use super::*;
use crate::status::Sample;

fn look(state: &str, admitted: u64, taken: Instant) -> Look<Gateway> {
    let raw = json!({
        "state": state, "reasons": ["the clock is odd"], "version": "1", "uptime_seconds": 5,
        "buffer": {"capacity_bytes": 1048576, "fill_bytes": 524288},
        "bytes": {"admitted": admitted, "served": admitted / 2},
        "rejected": {"wrong-hmac": 3},
        "sources": [{"kind": "usb", "name": "quantis", "serial": "42", "state": "running", "age_seconds": 0.5}],
    });
    let document = serde_json::from_value(raw.clone()).unwrap();
    Ok(Sample {
        raw,
        document,
        taken,
    })
}

fn screen(history: &History, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| draw::draw(frame, Path::new("/qrng"), history))
        .unwrap();
    terminal.backend().to_string()
}

#[test]
fn a_screen_shows_fill_rates_rejects_and_sources() {
    let mut history = History::default();
    assert!(screen(&history, 80, 24).contains("nothing seen yet"));
    let start = Instant::now();
    for second in 0..3 {
        history.add(look(
            "serving",
            second * 1_000_000,
            start + second as u32 * EVERY,
        ));
    }
    let shown = screen(&history, 100, 30);
    for words in [
        "gateway /qrng SERVING",
        "buffer 50 %: 512 KiB of 1.00 MiB",
        "in 1.00 MB/s, at most 1.00 MB/s",
        "out 500 kB/s",
        "the clock is odd",
        "wrong-hmac",
        "quantis",
        "q: quit",
    ] {
        assert!(shown.contains(words), "{words:?} is not in:\n{shown}");
    }
}

#[test]
fn trouble_is_said_and_the_last_look_stays() {
    let mut history = History::default();
    let trouble = || Err(Trouble::Absent("no gateway listens".into()));
    history.add(trouble());
    assert!(screen(&history, 80, 24).contains("no gateway listens"));
    history.add(look("latched", 5, Instant::now()));
    assert!(!screen(&history, 80, 24).contains("no gateway listens"));
    history.add(trouble());
    let shown = screen(&history, 80, 24);
    assert!(
        shown.contains("no gateway listens") && shown.contains("LATCHED"),
        "{shown}"
    );
}

#[test]
fn no_size_of_a_terminal_is_too_small() {
    let mut history = History::default();
    history.add(look("waiting", 5, Instant::now()));
    history.add(look("waiting", 0, Instant::now()));
    for (width, height) in [(1, 1), (3, 40), (200, 2), (20, 9)] {
        screen(&history, width, height);
    }
}

#[test]
fn these_keys_end_it_and_no_others() {
    let key = |code, modifiers| KeyEvent::new(code, modifiers);
    for code in [KeyCode::Char('q'), KeyCode::Esc] {
        assert!(is_end(key(code, KeyModifiers::NONE)));
    }
    assert!(is_end(key(KeyCode::Char('c'), KeyModifiers::CONTROL)));
    assert!(!is_end(key(KeyCode::Char('c'), KeyModifiers::NONE)));
    assert!(!is_end(key(KeyCode::Enter, KeyModifiers::CONTROL)));
}
