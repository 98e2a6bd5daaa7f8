//! Once a write or a sync of the log has failed, the broker promises nothing more: no confirm, no commit, no declaration is answered.

use super::Property;
use crate::book::{Book, Event};

pub(super) const PROPERTY: Property = Property {
    name: "nothing_after_fatal",
    broken_by,
};

fn broken_by(_book: &Book, event: &Event) -> Option<String> {
    match event {
        Event::AnsweredLate(what) => Some(format!("{what} was sent after the disk had failed")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::book::Event;
    use crate::properties::tests::Tale;

    #[test]
    fn a_late_confirm_is_found() {
        let mut tale = Tale::begin();
        tale.kept(1).then(Event::AnsweredLate("basic.ack"));
        assert_eq!(tale.broken(), ["nothing_after_fatal"]);
    }
}
