//! A page as man pages are written.

use roff::{Inline, Roff, bold, italic, roman};

use super::page::{Item, Page};

/// An argument that is empty: without quotes the next one would take its place.
const NOTHING: &str = "\"\"";

/// The whole page.
pub(super) fn render(page: &Page<'_>) -> String {
    let mut roff = Roff::new();
    let title = page.title();
    let version = concat!("everack ", env!("CARGO_PKG_VERSION"));
    roff.control(
        "TH",
        [title.to_uppercase().as_str(), "1", NOTHING, version, "Everack"],
    );
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{title} - {}", page.phrase().replace('`', "")))]);
    roff.control("SH", ["SYNOPSIS"]);
    for (at, usage) in page.usage().iter().enumerate() {
        if at > 0 {
            roff.control("br", []);
        }
        let arguments = usage.strip_prefix(&page.name()).unwrap_or(usage);
        roff.text([bold(page.name()), roman(arguments)]);
    }
    roff.control("SH", ["DESCRIPTION"]);
    for (at, paragraph) in page.description().iter().enumerate() {
        if at > 0 {
            roff.control("PP", []);
        }
        roff.text(marked(paragraph));
    }
    commands(&mut roff, page);
    items(&mut roff, "ARGUMENTS", &page.arguments());
    items(&mut roff, "OPTIONS", &page.options());
    if let Some(from) = page.inherits_from() {
        roff.control("PP", []);
        let reference = [
            roman("The options of "),
            bold(from.replace(' ', "-")),
            roman("(1) may be given too."),
        ];
        roff.text(reference);
    }
    statuses(&mut roff, page);
    see_also(&mut roff, page);
    roff.render()
}

fn commands(roff: &mut Roff, page: &Page<'_>) {
    let commands = page.commands();
    if commands.is_empty() {
        return;
    }
    roff.control("SH", ["COMMANDS"]);
    for (_, title, phrase) in commands {
        roff.control("TP", []);
        roff.text([bold(title), roman("(1)")]);
        roff.text(marked(&format!("{phrase}.")));
    }
}

fn items(roff: &mut Roff, heading: &str, items: &[Item]) {
    if items.is_empty() {
        return;
    }
    roff.control("SH", [heading]);
    for item in items {
        roff.control("TP", []);
        let (flags, value) = item.written.split_once(" <").unwrap_or((&item.written, ""));
        let mut head = Vec::new();
        for flag in flags.split(", ") {
            head.extend((!head.is_empty()).then(|| roman(", ")));
            head.push(bold(flag));
        }
        if !value.is_empty() {
            head.extend([roman(" "), italic(value.trim_end_matches('>'))]);
        }
        roff.text(head);
        let mut text = item.help.clone();
        if let Some(default) = &item.default {
            text += &format!(" The default is `{default}`.");
        }
        if let Some(variable) = &item.variable {
            text += &format!(" The variable `{variable}` says it too.");
        }
        roff.text(marked(text.trim()));
        values(roff, item);
    }
}

fn values(roff: &mut Roff, item: &Item) {
    if item.values.is_empty() {
        return;
    }
    roff.control("RS", []);
    for (name, help) in &item.values {
        roff.control("TP", []);
        roff.text([bold(name.as_str())]);
        roff.text(marked(help.as_deref().unwrap_or_default()));
    }
    roff.control("RE", []);
}

fn statuses(roff: &mut Roff, page: &Page<'_>) {
    let statuses = page.statuses();
    if statuses.is_empty() {
        return;
    }
    roff.control("SH", ["EXIT STATUS"]);
    for (status, meaning) in statuses {
        roff.control("TP", []);
        roff.text([bold(status)]);
        roff.text(marked(&meaning));
    }
}

fn see_also(roff: &mut Roff, page: &Page<'_>) {
    let titles = page.see_also();
    if titles.is_empty() {
        return;
    }
    roff.control("SH", ["SEE ALSO"]);
    let last = titles.len() - 1;
    for (at, title) in titles.into_iter().enumerate() {
        let comma = if at == last { "(1)" } else { "(1)," };
        roff.text([bold(title), roman(comma)]);
    }
}

/// A text whose `code` is bold.
fn marked(text: &str) -> Vec<Inline> {
    let piece = |(at, piece): (usize, &str)| if at % 2 == 1 { bold(piece) } else { roman(piece) };
    text.split('`')
        .enumerate()
        .filter(|(_, piece)| !piece.is_empty())
        .map(piece)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, parts: &[&str]) {
        let everack = super::super::everack();
        let pages = Page::all(&everack);
        let page = pages.iter().find(|page| page.name() == name).unwrap();
        let text = render(page);
        for part in parts {
            assert!(text.contains(part), "{name} has no {part:?}:\n{text}");
        }
        // Each of these would be an order to the formatter.
        assert!(!text.lines().any(|line| line.starts_with('\'')), "{text}");
    }

    #[test]
    fn pages_are_complete() {
        check(
            "everack",
            &[
                ".TH EVERACK 1",
                ".SH NAME\neverack \\- ",
                ".SH COMMANDS\n.TP\n\\fBeverack\\-serve\\fR(1)\n",
                "\\fB\\-V\\fR, \\fB\\-\\-version\\fR",
            ],
        );
        check(
            "everack ctl",
            &[
                ".TH EVERACK-CTL 1 \"\" \"everack ",
                "\\fB\\-\\-url\\fR \\fIURL\\fR\n",
                "The variable \\fBEVERACK_URL\\fR says it too.",
                ".SH \"EXIT STATUS\"\n.TP\n\\fB0\\fR\ndone\n",
                "\\fBeverack\\-doctor\\fR(1)",
            ],
        );
        check(
            "everack ctl list",
            &[
                ".SH SYNOPSIS\n\\fBeverack ctl list\\fR [OPTIONS] <RESOURCE>\n",
                ".SH ARGUMENTS\n.TP\n\\fB<RESOURCE>\\fR\n",
                "The options of \\fBeverack\\-ctl\\fR(1) may be given too.",
                ".SH \"SEE ALSO\"\n\\fBeverack\\-ctl\\fR(1)",
            ],
        );
    }

    #[test]
    fn code_is_bold() {
        let check = |text: &str, expected: &str| {
            let mut roff = Roff::new();
            roff.text(marked(text));
            assert_eq!(roff.render().lines().last(), Some(expected), "{text}");
        };
        check("`a` or b", "\\fBa\\fR or b");
        check(".x", "\\&.x");
        check("don't", "don\\*(Aqt");
    }
}
