//! Lists: sorted, filtered and cut into pages by the API where it can, here where it does not.

use maud::{Markup, html};
use serde_json::{Value, json};

use super::format::{count, items, number, plural, text};
use super::parts::nothing;
use crate::ask::{Answer, link, path};
use crate::visit::Visit;

/// Items on a page.
const PAGE_SIZE: usize = 50;

/// A column: its heading, the field that it sorts by (none if empty), and its cells.
pub(crate) struct Column {
    pub(crate) label: &'static str,
    pub(crate) sort: &'static str,
    pub(crate) look: Look,
    pub(crate) cell: fn(&Value) -> Markup,
}

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Text,
    Number,
    /// Not on narrow screens.
    Wide,
    /// A number, not on narrow screens.
    WideNumber,
}

impl Look {
    fn class(self) -> &'static str {
        match self {
            Look::Text => "",
            Look::Number => "number",
            Look::Wide => "wide",
            Look::WideNumber => "number wide",
        }
    }
}

/// A column.
pub(crate) const fn column(
    label: &'static str,
    sort: &'static str,
    look: Look,
    cell: fn(&Value) -> Markup,
) -> Column {
    Column {
        label,
        sort,
        look,
        cell,
    }
}

/// A table with all its items.
pub(crate) fn table(label: &str, columns: &[Column], rows: &[Value], empty: &str) -> Markup {
    if rows.is_empty() {
        return nothing(empty);
    }
    let heads = html! {
        @for column in columns { th scope="col" class=(column.look.class()) { (column.label) } }
    };
    grid(label, &heads, columns, rows)
}

fn grid(label: &str, heads: &Markup, columns: &[Column], rows: &[Value]) -> Markup {
    html! {
        div class="scroll" role="region" aria-label=(label) tabindex="0" {
            table {
                caption class="hidden" { (label) }
                thead { tr { (heads) } }
                tbody {
                    @for row in rows {
                        tr { @for column in columns { td class=(column.look.class()) { ((column.cell)(row)) } } }
                    }
                }
            }
        }
    }
}

/// A list of the API with a page of its own.
pub(crate) struct List {
    /// The page.
    pub(crate) page: &'static str,
    /// Below `/api`: all of them. With a vhost behind it, those of one.
    pub(crate) resource: &'static str,
    /// What they are called.
    pub(crate) noun: (&'static str, &'static str),
    /// Where those of one vhost are.
    pub(crate) scope: Scope,
    /// Whether the API cuts pages.
    pub(crate) paged: bool,
    pub(crate) columns: &'static [Column],
    pub(crate) empty: &'static str,
}

/// Where the items of one vhost are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// `/api/queues/VHOST`.
    Behind,
    /// `/api/vhosts/VHOST/connections`.
    Within,
    /// They are of no vhost.
    None,
}

/// How a list is looked at: what stands in the page's query.
struct Choice<'a> {
    page: usize,
    sort: &'a str,
    reverse: bool,
    name: &'a str,
    pattern: bool,
    vhost: &'a str,
}

impl<'a> Choice<'a> {
    fn of(visit: &'a Visit, list: &List) -> Self {
        let sortable = |sort: &&str| list.columns.iter().any(|column| column.sort == *sort);
        Self {
            page: visit.wanted("page").parse().unwrap_or(1).max(1),
            sort: Some(visit.wanted("sort")).filter(sortable).unwrap_or_default(),
            reverse: visit.query.ticked("reverse"),
            name: visit.wanted("name"),
            pattern: visit.query.ticked("pattern"),
            vhost: match list.scope {
                Scope::None => "",
                _ => visit.wanted("vhost"),
            },
        }
    }

    fn api_path(&self, list: &List) -> String {
        let base = match (list.scope, self.vhost) {
            (Scope::None, _) | (_, "") => path(&[list.resource]),
            (Scope::Behind, vhost) => path(&[list.resource, vhost]),
            (Scope::Within, vhost) => path(&["vhosts", vhost, list.resource]),
        };
        let (page, size) = (self.page.to_string(), PAGE_SIZE.to_string());
        let mut query = Vec::new();
        if list.paged {
            query.extend([("page", page.as_str()), ("page_size", &size), ("name", self.name)]);
            query.push(("use_regex", if self.pattern { "true" } else { "false" }));
        }
        if !self.sort.is_empty() {
            query.push(("sort", self.sort));
            query.push(("sort_reverse", if self.reverse { "true" } else { "false" }));
        }
        link(&base, &query)
    }

    /// A link to the same list, otherwise seen.
    fn link(&self, list: &List, page: usize, sort: &str, reverse: bool) -> String {
        let page = page.to_string();
        let all = [
            ("vhost", self.vhost),
            ("name", self.name),
            ("pattern", if self.pattern { "true" } else { "" }),
            ("sort", sort),
            ("reverse", if reverse { "true" } else { "" }),
            ("page", if page == "1" { "" } else { &page }),
        ];
        let given: Vec<_> = all.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        link(list.page, &given)
    }
}

/// The list as this visit wants to see it, with its filter and its pages.
pub(crate) async fn listing(visit: &Visit, list: &List) -> Answer<Markup> {
    let choice = Choice::of(visit, list);
    let vhosts = match list.scope {
        Scope::None => None,
        _ => visit.ask.find("/api/vhosts?columns=name").await,
    };
    let answer = visit.ask.get(&choice.api_path(list)).await;
    // The list may have become shorter since the link was made.
    let answer = match answer {
        Err(_) if list.paged && choice.page > 1 => {
            let first = Choice { page: 1, ..choice };
            return shown(
                visit,
                list,
                &first,
                vhosts.as_ref(),
                visit.ask.get(&first.api_path(list)).await?,
            );
        }
        answer => answer?,
    };
    shown(visit, list, &choice, vhosts.as_ref(), answer)
}

fn shown(
    _visit: &Visit,
    list: &List,
    choice: &Choice<'_>,
    vhosts: Option<&Value>,
    answer: Value,
) -> Answer<Markup> {
    let answer = if answer.is_array() {
        cut(answer, choice)
    } else {
        answer
    };
    let rows = items(&answer);
    let heads = html! { @for column in list.columns { (heading(list, choice, column)) } };
    Ok(html! {
        (filter(list, choice, vhosts))
        div id="list" data-live {
            p class="sum" { (sum(list, &answer)) }
            @if rows.is_empty() { (nothing(list.empty)) } @else { (grid(list.noun.1, &heads, list.columns, rows)) }
            (pager(list, choice, &answer))
        }
    })
}

/// A page of what the API does not cut itself.
fn cut(answer: Value, choice: &Choice<'_>) -> Value {
    let total = items(&answer).len();
    let name = choice.name.to_lowercase();
    let fits = |item: &&Value| {
        let shown = [text(item, "name"), text(item, "user")];
        name.is_empty() || shown.iter().any(|shown| shown.to_lowercase().contains(&name))
    };
    let fitting: Vec<&Value> = items(&answer).iter().filter(fits).collect();
    let pages = fitting.len().div_ceil(PAGE_SIZE).max(1);
    let page = choice.page.min(pages);
    let rows: Vec<Value> = fitting
        .iter()
        .skip((page - 1) * PAGE_SIZE)
        .take(PAGE_SIZE)
        .map(|&item| item.clone())
        .collect();
    json!({
        "total_count": total, "filtered_count": fitting.len(), "page": page, "page_count": pages, "items": rows,
    })
}

fn sum(list: &List, answer: &Value) -> String {
    let (total, filtered) = (number(answer, "total_count"), number(answer, "filtered_count"));
    let all = plural(total, list.noun.0, list.noun.1);
    if filtered == total {
        all
    } else {
        format!("{} of {all}", count(filtered))
    }
}

fn heading(list: &List, choice: &Choice<'_>, column: &Column) -> Markup {
    let class = column.look.class();
    if column.sort.is_empty() {
        return html! { th scope="col" class=(class) { (column.label) } };
    }
    let sorted = choice.sort == column.sort;
    // Numbers are first looked at from the largest on.
    let from_largest = matches!(column.look, Look::Number | Look::WideNumber);
    let reverse = if sorted { !choice.reverse } else { from_largest };
    let order = sorted.then_some(if choice.reverse { "descending" } else { "ascending" });
    html! {
        th scope="col" class=(class) aria-sort=[order] {
            a href=(choice.link(list, 1, column.sort, reverse)) { (column.label) }
        }
    }
}

fn filter(list: &List, choice: &Choice<'_>, vhosts: Option<&Value>) -> Markup {
    let vhosts = vhosts.map(items).filter(|vhosts| vhosts.len() > 1);
    html! {
        form class="filter" method="get" action=(list.page) role="search" {
            @if let Some(vhosts) = vhosts {
                label { span class="hidden" { "Virtual host" }
                    select name="vhost" {
                        option value="" { "All virtual hosts" }
                        @for vhost in vhosts {
                            @let name = text(vhost, "name");
                            option value=(name) selected[name == choice.vhost] { (name) }
                        }
                    }
                }
            } @else if !choice.vhost.is_empty() { input type="hidden" name="vhost" value=(choice.vhost); }
            label class="grow" { span class="hidden" { "Name contains" }
                input type="search" name="name" value=(choice.name) placeholder=(format!("Filter {} by name", list.noun.1)) autocomplete="off" spellcheck="false"; }
            @if list.paged {
                label class="tick" { input type="checkbox" name="pattern" value="true" checked[choice.pattern]; span { "Regular expression" } }
            }
            @if !choice.sort.is_empty() { input type="hidden" name="sort" value=(choice.sort); }
            @if choice.reverse { input type="hidden" name="reverse" value="true"; }
            button type="submit" { "Filter" }
        }
    }
}

fn pager(list: &List, choice: &Choice<'_>, answer: &Value) -> Markup {
    let (page, pages) = (
        number(answer, "page") as usize,
        number(answer, "page_count") as usize,
    );
    if pages <= 1 {
        return html! {};
    }
    let to = |page: usize| choice.link(list, page, choice.sort, choice.reverse);
    html! {
        nav class="pager" aria-label="Pages of the list" {
            @if page > 1 { a href=(to(1)) { "First" } a href=(to(page - 1)) rel="prev" { "Previous" } }
            span { "Page " (count(page as u64)) " of " (count(pages as u64)) }
            @if page < pages { a href=(to(page + 1)) rel="next" { "Next" } a href=(to(pages)) { "Last" } }
        }
    }
}
