//! What the topology takes in memory. One test in a binary of its own, as it counts what the whole process allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use everack_broker::arguments::Arguments;
use everack_broker::catalog::{
    Binding, Catalog, Command, DeclareExchange, DeclareQueue, Destination, Options,
};
use everack_broker::name::Name;

const BINDINGS: usize = 20_000;

/// A catalog with an exchange `from` of that type and queues `to.0`, `to.1` and so on.
fn catalog(kind: &str, queues: usize) -> Catalog {
    let mut catalog = Catalog::new(Options {
        partitions: 1,
        hash_key: 7,
    });
    let vhost = Name::from("/");
    apply(&mut catalog, Command::DeclareVhost { vhost: vhost.clone() });
    apply(
        &mut catalog,
        Command::DeclareExchange(DeclareExchange {
            vhost: vhost.clone(),
            name: "from".into(),
            kind: kind.into(),
            ..DeclareExchange::default()
        }),
    );
    for number in 0..queues {
        apply(
            &mut catalog,
            Command::DeclareQueue(DeclareQueue {
                vhost: vhost.clone(),
                name: format!("to.{number}").into(),
                ..DeclareQueue::default()
            }),
        );
    }
    catalog
}

fn apply(catalog: &mut Catalog, command: Command) {
    catalog.apply(command).expect("nothing wrong is asked for");
}

/// Bytes that a binding takes of those that the allocator was asked for.
fn bytes_per_binding(kind: &str, queues: usize, key: impl Fn(usize) -> String) -> usize {
    let mut catalog = catalog(kind, queues);
    let before = BYTES.load(Relaxed);
    for number in 0..BINDINGS {
        let binding = Binding {
            source: "from".into(),
            destination: Destination::Queue(format!("to.{}", number % queues).into()),
            routing_key: key(number).into(),
            arguments: Arguments::default(),
        };
        let (vhost, connection) = (Name::from("/"), None);
        apply(
            &mut catalog,
            Command::Bind {
                vhost,
                binding,
                connection,
            },
        );
    }
    (BYTES.load(Relaxed) - before) / BINDINGS
}

/// The bounds are what was measured, and a tenth.
#[test]
fn a_binding_takes_little() {
    let check = |kind, queues, key: fn(usize) -> String, most: usize| {
        let bytes = bytes_per_binding(kind, queues, key);
        assert!(
            bytes <= most,
            "a binding of {kind} to {queues} queues takes {bytes} bytes, more than {most}"
        );
    };
    check("topic", 1, |number| format!("shop.{number}.*"), 180);
    check("topic", 100, |number| format!("shop.{number}.created"), 182);
    check("direct", 1, |number| format!("order.{number}"), 180);
    check("fanout", BINDINGS, |_| String::new(), 330);
}

struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it came; counting touches nothing else.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promises hold for the system's allocator as well.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the pointer came from `alloc` above, hence from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;
