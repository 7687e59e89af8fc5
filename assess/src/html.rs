//! The report as one HTML file.

use crate::finding::show_p;
use crate::{Assessment, LIMITS, Verdict, picture};
use std::fmt::Write;

const STYLE: &str = "
:root{color-scheme:light dark;--fg:#1b1f24;--bg:#fff;--soft:#57606a;--line:#d0d7de;--data:#0969da;--good:#1a7f37;--bad:#cf222e}
@media(prefers-color-scheme:dark){:root{--fg:#e6edf3;--bg:#0d1117;--soft:#9198a1;--line:#3d444d;--data:#58a6ff;--good:#3fb950;--bad:#ff7b72}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
.verdict{font-size:1.15rem;padding:.75rem 1rem;border-left:.4rem solid var(--good)}.verdict.bad{border-color:var(--bad)}
table{border-collapse:collapse;width:100%;font-size:.9rem}th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid var(--line)}
td.p,td.from{white-space:nowrap}.passed{color:var(--good)}.failed{color:var(--bad);font-weight:bold}.none,figcaption{color:var(--soft)}
figure{margin:1rem 0}svg{width:100%;height:auto;border:1px solid var(--line)}
img{width:512px;max-width:100%;image-rendering:pixelated;border:1px solid var(--line)}
.data{fill:var(--data)}.line{fill:none;stroke:var(--data);stroke-width:1.5}.axis{fill:none;stroke:var(--soft)}.limit{fill:none;stroke:var(--bad);stroke-dasharray:4 3}
";

pub(crate) fn report(assessment: &Assessment) -> String {
    let mut html =
        String::from("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    html.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">");
    let _ = write!(
        html,
        "<title>Quality of random bytes</title><style>{STYLE}</style></head><body>"
    );
    html.push_str("<h1>Quality of random bytes</h1>\n");
    let class = if assessment.passed() {
        "verdict"
    } else {
        "verdict bad"
    };
    let _ = writeln!(
        html,
        "<p class=\"{class}\">{}</p>",
        escape(&assessment.verdict())
    );
    html.push_str("<table>");
    for (name, value) in assessment.provenance() {
        let _ = write!(
            html,
            "<tr><th>{}</th><td>{}</td></tr>",
            escape(name),
            escape(&value)
        );
    }
    html.push_str("</table>\n");
    pictures(&mut html, assessment);
    findings(&mut html, assessment);
    estimates(&mut html, assessment);
    html.push_str("<h2>What this does not say</h2><ul>");
    for limit in LIMITS {
        let _ = write!(html, "<li>{}</li>", escape(limit));
    }
    html.push_str("</ul></body></html>\n");
    html
}

fn pictures(html: &mut String, assessment: &Assessment) {
    let stream = &assessment.stream;
    html.push_str("<h2>Pictures</h2>\n");
    let mut figure = |picture: &str, caption: &str| {
        let _ = writeln!(
            html,
            "<figure>{picture}<figcaption>{caption}</figcaption></figure>"
        );
    };
    if let Some(uri) = picture::bitmap(stream) {
        let caption = "The first bits, 256 a row, a one is black. Good bits look like fine noise, without lines or patches.";
        figure(
            &format!("<img alt=\"bitmap of the first bits\" src=\"{uri}\">"),
            caption,
        );
    }
    let bytes = stream.bytes as f64;
    let share = bytes / 256.0;
    figure(
        &picture::histogram(stream),
        &format!(
            "How often each byte from 0 to 255 came, around the even share of {share:.0}. \
             Dashed: four standard deviations, {:.0} more or fewer.",
            4.0 * (share * 255.0 / 256.0).sqrt()
        ),
    );
    figure(
        &picture::autocorrelation(stream),
        &format!(
            "Correlation of each bit with the bit 1 to 64 places before. Dashed: four standard deviations, {:.6}.",
            4.0 * stream.autocorrelation_deviation()
        ),
    );
    figure(
        &picture::running_bias(stream),
        &format!(
            "Ones more than zeros as the bits came, from the first to the last. \
             Dashed: four standard deviations, {:.0} at the end.",
            4.0 * (8.0 * bytes).sqrt()
        ),
    );
}

fn findings(html: &mut String, assessment: &Assessment) {
    html.push_str("<h2>Checks</h2>\n<table><tr><th>Verdict</th><th>Check</th><th>From</th><th>p</th><th>Seen</th></tr>");
    for finding in &assessment.findings {
        let class = match finding.verdict {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::NotRun => "none",
        };
        let _ = writeln!(
            html,
            "<tr><td class=\"{class}\">{}</td><td>{}</td><td class=\"from\">{}</td><td class=\"p\">{}</td><td>{}</td></tr>",
            finding.verdict.word(),
            escape(&finding.name),
            escape(&finding.source),
            finding.p.map(show_p).unwrap_or_default(),
            escape(&finding.seen),
        );
    }
    html.push_str("</table>\n<p>p is the probability that good random bytes look at least as odd in this check.");
    let _ = writeln!(
        html,
        " A check fails below {:.0e}.</p>",
        assessment.options.alpha
    );
}

fn estimates(html: &mut String, assessment: &Assessment) {
    if assessment.estimates.is_empty() {
        return;
    }
    html.push_str("<h2>Min-entropy estimates</h2>\n<table><tr><th>Estimator (SP 800-90B)</th><th>Bits in one bit</th></tr>");
    for estimate in &assessment.estimates {
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{:.4}</td></tr>",
            escape(estimate.name),
            estimate.min_entropy
        );
    }
    html.push_str("</table>\n<p>Each is the lower end of a 99 % interval: for good bytes the least is 0.8 to 0.9, not 1.</p>\n");
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}
