//! Queues with rules of their own, and the queues that their dead letters go to.
//!
//! A message that dies goes from one queue to another without any client's doing, and a client that looks into one of them cannot tell what
//! the other one holds. So a queue and its *heirs* are one *family*: the [`Book`](super::Book) knows of a message in a family as it knows of
//! one in a plain queue, and where in it the message is as far as its rules say. Names tell: `x1.dead` is an heir of `x1`.

use super::{Copy, Fate, Message, Name, Publish};

/// One queue of a family, and its rules: the arguments of its declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The queue.
    pub name: &'static str,
    /// Where its dead letters go.
    pub heir: Option<&'static str>,
    /// Where an operator sends what is ready, now and then.
    pub sent_to: Option<&'static str>,
    /// Clients do not read from it: what is in it leaves by order only.
    pub closed: bool,
    /// They go there by an exchange that holds them back for as long as each says, and not by the default exchange.
    pub held_back: bool,
    /// `x-message-ttl`, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// Its messages may have an expiration of their own.
    pub expirations: bool,
    /// `x-max-length`.
    pub messages_max: Option<u64>,
    /// `x-overflow`.
    pub overflow: Overflow,
    /// `x-max-priority`.
    pub priority_max: Option<u8>,
    /// `x-single-active-consumer`.
    pub single_active: bool,
    /// A quorum queue: failed deliveries count.
    pub quorum: bool,
    /// `x-delivery-limit`; below zero is none.
    pub delivery_limit: Option<i64>,
    /// `x-delayed-retry-min` of all that comes back, in milliseconds.
    pub retry_ms: Option<u64>,
    /// `x-expires`, in milliseconds.
    pub expires_ms: Option<u64>,
}

/// `x-overflow`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest make room.
    DropHead,
    /// The newest is refused.
    Reject,
    /// The newest is refused, and a copy goes to the heir.
    RejectToHeir,
}

const PLAIN: Place = Place {
    name: "",
    heir: None,
    sent_to: None,
    closed: false,
    held_back: false,
    ttl_ms: None,
    expirations: false,
    messages_max: None,
    overflow: Overflow::DropHead,
    priority_max: None,
    single_active: false,
    quorum: false,
    delivery_limit: None,
    retry_ms: None,
    expires_ms: None,
};

const fn plain(name: &'static str) -> Place {
    Place { name, ..PLAIN }
}

const fn with_heir(name: &'static str, heir: &'static str) -> Place {
    Place {
        heir: Some(heir),
        ..plain(name)
    }
}

const fn sent(name: &'static str, sent_to: &'static str) -> Place {
    Place {
        sent_to: Some(sent_to),
        ..plain(name)
    }
}

const fn bounded(place: Place, max: u64, overflow: Overflow) -> Place {
    Place {
        messages_max: Some(max),
        overflow,
        ..place
    }
}

const fn brief(place: Place, ttl_ms: u64) -> Place {
    Place {
        ttl_ms: Some(ttl_ms),
        ..place
    }
}

const fn counting(place: Place, limit: i64) -> Place {
    Place {
        quorum: true,
        delivery_limit: Some(limit),
        ..place
    }
}

/// All of them; of each family the head first.
pub const PLACES: [Place; 33] = [
    // Messages with expirations of their own; rejected ones.
    Place {
        expirations: true,
        ..with_heir("x0", "x0.dead")
    },
    plain("x0.dead"),
    // A chain: too old, then one too many.
    brief(with_heir("x1", "x1.short"), 30),
    bounded(with_heir("x1.short", "x1.dead"), 3, Overflow::DropHead),
    plain("x1.dead"),
    // A circle: what is rejected waits and comes again.
    with_heir("w0", "w0.wait"),
    brief(with_heir("w0.wait", "w0"), 8),
    // Expires and goes nowhere.
    Place {
        expirations: true,
        ..brief(plain("u0"), 40)
    },
    bounded(plain("m0"), 4, Overflow::DropHead),
    bounded(with_heir("m1", "m1.dead"), 3, Overflow::DropHead),
    plain("m1.dead"),
    bounded(plain("r0"), 4, Overflow::Reject),
    bounded(with_heir("r1", "r1.dead"), 3, Overflow::RejectToHeir),
    plain("r1.dead"),
    // Dead letters that find no room and wait.
    with_heir("f0", "f0.dead"),
    bounded(plain("f0.dead"), 2, Overflow::Reject),
    Place {
        priority_max: Some(5),
        ..plain("p0")
    },
    // Failed too often: parked.
    counting(plain("l0"), 1),
    // Failed too often: dead.
    counting(with_heir("l1", "l1.dead"), 1),
    plain("l1.dead"),
    Place {
        single_active: true,
        ..plain("s0")
    },
    Place {
        retry_ms: Some(30),
        ..counting(plain("z0"), -1)
    },
    // Goes when it is unused.
    Place {
        expires_ms: Some(60),
        ..plain("g0")
    },
    // All at once: old, too many, failed.
    Place {
        messages_max: Some(5),
        quorum: true,
        delivery_limit: Some(2),
        expirations: true,
        ..brief(with_heir("y0", "y0.dead"), 90)
    },
    plain("y0.dead"),
    // Too old, and then held back for a while.
    Place {
        held_back: true,
        ..brief(with_heir("v0", "v0.due"), 25)
    },
    plain("v0.due"),
    // Sent elsewhere by order while both are read.
    sent("o0", "o0.else"),
    plain("o0.else"),
    // Sent elsewhere by order, in their order.
    Place {
        closed: true,
        ..sent("o1", "o1.else")
    },
    plain("o1.else"),
    // Sent by order to where there may be no room.
    sent("o2", "o2.else"),
    bounded(plain("o2.else"), 3, Overflow::Reject),
];

/// The queue of this name, if it has rules or is somebody's heir.
pub fn place(name: &str) -> Option<&'static Place> {
    PLACES.iter().find(|place| place.name == name)
}

/// Heirs that are always there.
pub fn held_back_heirs() -> impl Iterator<Item = &'static str> {
    let held_back = PLACES.iter().filter(|place| place.held_back);
    held_back.filter_map(|place| place.heir)
}

/// The name of a queue's family; a plain queue is its own.
pub fn family(name: &str) -> Name {
    Name::from(head_of(name))
}

/// Whether a queue is not the head of its family.
pub fn is_heir(name: &str) -> bool {
    name.contains('.')
}

/// The queues of a family, the head first.
pub fn places(family: &str) -> impl Iterator<Item = &'static Place> {
    PLACES.iter().filter(move |place| head_of(place.name) == family)
}

fn head_of(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

impl Place {
    /// Whether a rejected message stays in the family.
    pub fn has_heir(&self) -> bool {
        self.heir.is_some()
    }

    /// Whether messages may go without anybody's doing, and nowhere.
    pub fn drops(&self) -> bool {
        let limited = self.messages_max.is_some() && self.overflow == Overflow::DropHead;
        self.heir.is_none() && (limited || self.ttl_ms.is_some() || self.expirations)
    }

    /// Whether publishes may be refused.
    pub fn refuses(&self) -> bool {
        self.messages_max.is_some() && self.overflow != Overflow::DropHead
    }

    /// Whether what it holds is handed out in the order in which it came, but for what came back.
    pub fn keeps_order(&self) -> bool {
        // What nobody reads but by order arrives in its order. Of what is read meanwhile some may be on its way, and come back.
        if let Some(head) = place(head_of(self.name)).filter(|head| head.sent_to.is_some()) {
            return head.closed;
        }
        // What an heir gets comes as it died; and the head of a circle is an heir too.
        !is_heir(self.name)
            && self
                .heir
                .is_none_or(|heir| place(heir).is_none_or(|heir| heir.heir.is_none()))
    }

    /// The rank of a message among those of a queue with priorities.
    pub fn rank(&self, message: &Message) -> u8 {
        let max = self.priority_max.unwrap_or(0);
        message.priority.unwrap_or(0).min(max)
    }

    /// How long a message may stay ready, in microseconds.
    pub fn life_us(&self, message: &Message) -> Option<u64> {
        let shortest = self.ttl_ms.into_iter().chain(message.expiration_ms).min();
        shortest.map(|millis| millis * 1000)
    }
}

/// The clock of the broker has milliseconds.
const TICK_US: u64 = 1000;

/// Whether a message that was sent to the head of a family may be too old by now.
pub fn may_have_expired(head: &Place, publish: &Publish, now_us: u64) -> bool {
    let life = head.life_us(&publish.message);
    life.is_some_and(|life| publish.sent_us + life <= now_us + TICK_US)
}

/// Whether a message must have been too old at that moment: its deadline is fixed before it is confirmed.
pub fn had_expired(head: &Place, publish: &Publish, at_us: u64) -> bool {
    let confirmed = publish.resolved_us.filter(|_| publish.confirmed);
    let end = confirmed.and_then(|confirmed| Some(confirmed + head.life_us(&publish.message)?));
    end.is_some_and(|end| end + 2 * TICK_US <= at_us)
}

/// Whether a message may have left the head of its family for an heir by now, as far as the rules go.
pub fn may_have_moved(head: &Place, publish: &Publish, copy: Option<&Copy>, now_us: u64) -> bool {
    let died = head.messages_max.is_some()
        || head.delivery_limit.is_some_and(|limit| limit >= 0)
        || copy.is_some_and(|copy| copy.rejected || copy.moved)
        || may_have_expired(head, publish, now_us);
    head.sent_to.is_some() || head.has_heir() && died
}

/// Whether a message that must be there may have gone by the rules of its queue, nowhere.
pub fn may_have_dropped(head: &Place, publish: &Publish, now_us: u64) -> bool {
    !head.has_heir() && may_have_expired(head, publish, now_us)
}

impl Copy {
    /// Whether it may still be ready, and so may push others out.
    pub(super) fn may_be_there(&self) -> bool {
        !matches!(self.fate, Fate::Gone | Fate::Leaving { since_us: Some(_) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_whole() {
        for place in &PLACES {
            let head = family(place.name);
            assert!(super::place(&head).is_some(), "{} has a head", place.name);
            if let Some(heir) = place.heir {
                assert_eq!(family(heir), head, "{} stays in its family", place.name);
                assert!(super::place(heir).is_some(), "{heir} is there");
            }
            if let Some(other) = place.sent_to {
                assert_eq!(family(other), head, "{} is sent within its family", place.name);
                assert!(super::place(other).is_some(), "{other} is there");
            }
            assert_eq!(places(&head).next().map(|first| first.name), Some(&*head));
        }
        assert_eq!(&*family("d0"), "d0");
    }

    #[test]
    fn order_is_kept_where_nothing_comes_a_second_time() {
        let ordered = PLACES.iter().filter(|place| place.keeps_order());
        let names: Vec<_> = ordered.map(|place| place.name).collect();
        assert!(!names.contains(&"w0"), "a circle");
        assert!(!names.contains(&"x0.dead"));
        assert!(names.contains(&"m0"));
        assert!(names.contains(&"x0"));
        assert!(names.contains(&"o1.else"), "in the order of the orders");
        assert!(!names.contains(&"o0"), "it may come back");
    }
}
