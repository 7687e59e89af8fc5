//! A look as a screen: state, fill, two lines of rates over time, and below them what `qrng status` says.

use std::path::Path;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Gauge, Paragraph, Sparkline, Wrap};

use super::history::History;
use crate::status::Sample;
use crate::status::document::Gateway;
use crate::status::render;
use crate::text;

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, path: &Path, history: &History) {
    let rows = [
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(3),
        Constraint::Length(3),
        Constraint::Min(0),
        Constraint::Length(1),
    ];
    let [head, fill, came, went, rest, foot] = Layout::vertical(rows).areas(frame.area());
    let help = Line::from("q: quit").style(Style::new().add_modifier(Modifier::DIM));
    frame.render_widget(help, foot);
    if let Some(trouble) = history.trouble() {
        let words = Line::from(trouble.words().to_owned()).style(Color::Red);
        frame.render_widget(
            Paragraph::new(words).wrap(Wrap { trim: false }),
            if history.now().is_none() { rest } else { foot },
        );
    }
    let Some(now) = history.now() else {
        let words = format!("gateway {}: nothing seen yet", path.display());
        return frame.render_widget(Line::from(words), head);
    };
    draw_fill(frame, fill, now);
    let over_time = [
        ("in", came, history.came(came.width)),
        ("out", went, history.went(went.width)),
    ];
    for (name, area, rates) in over_time {
        draw_rates(frame, area, name, &rates);
    }
    let words = render::gateway(path, now, history.before());
    let (first, others) = words.split_once('\n').unwrap_or((&words, ""));
    let style = Style::new()
        .fg(color(&now.document.state))
        .add_modifier(Modifier::BOLD);
    frame.render_widget(Line::from(first.to_owned()).style(style), head);
    // The bar is above already.
    let others: Vec<Line<'_>> = others
        .lines()
        .filter(|line| !line.trim_start().starts_with("buffer "))
        .map(Line::from)
        .collect();
    frame.render_widget(Paragraph::new(others).wrap(Wrap { trim: false }), rest);
}

fn draw_fill(frame: &mut Frame<'_>, area: Rect, now: &Sample<Gateway>) {
    let buffer = &now.document.buffer;
    let fraction = buffer.fill_bytes as f64 / buffer.capacity_bytes.max(1) as f64;
    let (fill, capacity) = (
        text::memory(buffer.fill_bytes),
        text::memory(buffer.capacity_bytes),
    );
    let gauge = Gauge::default()
        .ratio(fraction.clamp(0.0, 1.0))
        .label(format!(
            "buffer {:.0} %: {fill} of {capacity}",
            (fraction * 100.0).floor()
        ))
        .gauge_style(color(&now.document.state));
    frame.render_widget(gauge, area);
}

fn draw_rates(frame: &mut Frame<'_>, area: Rect, name: &str, rates: &[u64]) {
    let now = rates
        .last()
        .map_or_else(|| "...".into(), |rate| text::rate(*rate as f64));
    let most = text::rate(rates.iter().max().copied().unwrap_or(0) as f64);
    let title = format!("{name} {now}, at most {most}");
    let line = Sparkline::default()
        .block(Block::new().title(title))
        .data(rates);
    frame.render_widget(line, area);
}

/// What a state looks like; its name is always there, too.
fn color(state: &str) -> Color {
    match state {
        "serving" => Color::Green,
        "waiting" => Color::Yellow,
        _ => Color::Red,
    }
}
