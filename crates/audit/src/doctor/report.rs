//! The diagnosis for people, and for programs.

use std::fmt::Write as _;

use serde_json::json;

use super::finding::{Diagnosis, Finding, Severity};

/// How many things of one kind are listed before the rest is only counted.
const LISTED_MAX: usize = 10;

/// One line, one object.
pub(super) fn json(diagnosis: &Diagnosis) -> String {
    let unchecked = diagnosis.unchecked.iter().map(
        |unchecked| json!({ "check": unchecked.check, "what": unchecked.what, "count": unchecked.count }),
    );
    let object = json!({
        "url": diagnosis.url,
        "product": diagnosis.product,
        "loses_now": diagnosis.count(Severity::LosesNow),
        "can_lose": diagnosis.count(Severity::CanLose),
        "look_at_it": diagnosis.count(Severity::LookAtIt),
        "findings": diagnosis.findings.iter().map(Finding::json).collect::<Vec<_>>(),
        "unchecked": unchecked.collect::<Vec<_>>(),
    });
    format!("{object}\n")
}

/// A page, in colour on a terminal.
pub(super) fn text(diagnosis: &Diagnosis, colour: bool) -> String {
    let mut page = format!("{} at {}\n\n", diagnosis.product, diagnosis.url);
    for group in groups(&diagnosis.findings) {
        write_group(&mut page, group, colour);
    }
    if !diagnosis.unchecked.is_empty() {
        page.push_str("Could not be checked, as the broker does not tell:\n");
        for unchecked in &diagnosis.unchecked {
            let times = match unchecked.count {
                1 => String::new(),
                count => format!(" ({count} times)"),
            };
            let _ = writeln!(page, "  {}: {}{times}", unchecked.check, unchecked.what);
        }
        page.push('\n');
    }
    page.push_str(&verdict(diagnosis));
    page
}

/// Neighbours that the same check found, equally bad.
fn groups(findings: &[Finding]) -> impl Iterator<Item = &[Finding]> {
    findings.chunk_by(|left, right| left.check == right.check && left.severity == right.severity)
}

fn write_group(page: &mut String, group: &[Finding], colour: bool) {
    let Some(first) = group.first() else { return };
    let words = first.severity.words().to_uppercase();
    let _ = writeln!(
        page,
        "{}  {}",
        painted(&words, first.severity, colour),
        first.title
    );
    let _ = writeln!(page, "  {}", first.why);
    for (index, finding) in group.iter().take(LISTED_MAX).enumerate() {
        let _ = writeln!(page, "  - {}: {}", finding.subject, finding.seen);
        // A fix that is the same for all is said once, behind the last.
        let next = group.get(index + 1).filter(|_| index + 1 < LISTED_MAX);
        if next.is_none_or(|next| next.fix != finding.fix) {
            let _ = writeln!(page, "    fix: {}", finding.fix);
        }
    }
    if group.len() > LISTED_MAX {
        let _ = writeln!(
            page,
            "  - and {} more (--json lists all)",
            group.len() - LISTED_MAX
        );
    }
    page.push('\n');
}

fn painted(words: &str, severity: Severity, colour: bool) -> String {
    let code = match severity {
        Severity::LosesNow => "1;31",
        Severity::CanLose => "1;33",
        Severity::LookAtIt => "1;36",
    };
    if colour {
        format!("\x1b[{code}m{words}\x1b[0m")
    } else {
        words.to_owned()
    }
}

fn verdict(diagnosis: &Diagnosis) -> String {
    let [now, can, look] =
        [Severity::LosesNow, Severity::CanLose, Severity::LookAtIt].map(|severity| diagnosis.count(severity));
    if now + can + look > 0 {
        return format!("{now} that lose messages now, {can} that can lose them, {look} to look at.\n");
    }
    let unchecked = diagnosis.unchecked.len();
    match unchecked {
        0 => "No risk of losing messages was found.\n".to_owned(),
        _ => format!("No risk of losing messages was found, but {unchecked} things could not be checked.\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Unchecked;

    fn finding(severity: Severity, subject: &str, fix: &str) -> Finding {
        Finding {
            check: "some-check",
            title: "Something is wrong",
            why: "It loses messages.",
            severity,
            subject: subject.to_owned(),
            seen: "3 messages".to_owned(),
            fix: fix.to_owned(),
        }
    }

    fn diagnosis(findings: Vec<Finding>) -> Diagnosis {
        Diagnosis {
            url: "http://h".to_owned(),
            product: "Everack 0.1.0".to_owned(),
            findings,
            unchecked: vec![Unchecked {
                check: "other",
                what: "'x' of a queue".to_owned(),
                count: 2,
            }],
        }
    }

    #[test]
    fn one_page_for_people() {
        let page = text(
            &diagnosis(vec![
                finding(Severity::CanLose, "queue 'a'", "do this"),
                finding(Severity::CanLose, "queue 'b'", "do this"),
            ]),
            false,
        );
        let expected = "\
Everack 0.1.0 at http://h

CAN LOSE  Something is wrong
  It loses messages.
  - queue 'a': 3 messages
  - queue 'b': 3 messages
    fix: do this

Could not be checked, as the broker does not tell:
  other: 'x' of a queue (2 times)

0 that lose messages now, 2 that can lose them, 0 to look at.
";
        assert_eq!(page, expected);
    }

    #[test]
    fn long_lists_are_cut_and_colour_is_for_terminals() {
        let many = (0..LISTED_MAX + 5).map(|number| finding(Severity::LosesNow, &number.to_string(), "f"));
        let page = text(&diagnosis(many.collect()), true);
        assert!(page.contains("- and 5 more (--json lists all)"), "{page}");
        assert!(page.contains("\x1b[1;31mLOSES NOW\x1b[0m"), "{page}");
        assert_eq!(page.matches("fix: f").count(), 1, "{page}");
    }

    #[test]
    fn nothing_found_is_not_nothing_unknown() {
        let page = text(&diagnosis(Vec::new()), false);
        assert!(page.ends_with("but 1 things could not be checked.\n"), "{page}");
    }

    #[test]
    fn json_has_everything_on_one_line() {
        let line = json(&diagnosis(vec![finding(
            Severity::LosesNow,
            "queue 'a'",
            "do this",
        )]));
        assert_eq!(line.trim_end().lines().count(), 1);
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["loses_now"], 1);
        assert_eq!(object["findings"][0]["subject"], "queue 'a'");
        assert_eq!(object["unchecked"][0]["count"], 2);
    }
}
