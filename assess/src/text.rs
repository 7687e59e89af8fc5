//! The report for a terminal.

use crate::finding::show_p;
use crate::{Assessment, LIMITS};
use std::fmt::Write;

pub(crate) fn report(assessment: &Assessment) -> String {
    let mut text = String::from("Quality of random bytes\n\n");
    for (name, value) in assessment.provenance() {
        line(&mut text, &format!("  {name:<11} {value}"));
    }
    line(&mut text, &format!("\n{}\n", assessment.verdict()));
    for finding in &assessment.findings {
        let p = finding
            .p
            .map_or(String::new(), |p| format!("p = {}, ", show_p(p)));
        line(
            &mut text,
            &format!(
                "  {:<8} {:<48} {:<14}",
                finding.verdict.word(),
                finding.name,
                finding.source
            ),
        );
        line(&mut text, &format!("  {:<8} {p}{}", "", finding.seen));
    }
    if !assessment.estimates.is_empty() {
        line(
            &mut text,
            "\nMin-entropy estimates, bits in one bit (each the lower end of a 99 % interval)\n",
        );
        for estimate in &assessment.estimates {
            line(
                &mut text,
                &format!("  {:.4}   {}", estimate.min_entropy, estimate.name),
            );
        }
    }
    line(&mut text, "\nWhat this does not say\n");
    for limit in LIMITS {
        line(&mut text, &wrap(limit));
    }
    text
}

fn line(text: &mut String, line: &str) {
    // Writing to a String can't fail.
    let _ = writeln!(text, "{}", line.trim_end());
}

/// A paragraph of at most 98 columns, indented.
fn wrap(paragraph: &str) -> String {
    let mut wrapped = String::from("  -");
    let mut column = 3;
    for word in paragraph.split(' ') {
        if column + 1 + word.len() > 98 {
            wrapped.push_str("\n   ");
            column = 3;
        }
        wrapped.push(' ');
        wrapped.push_str(word);
        column += 1 + word.len();
    }
    wrapped
}
