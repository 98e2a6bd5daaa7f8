//! What routing one message and changing one binding cost, against tables of up to a million bindings.
//!
//! Keys are asked for in an order that caches cannot guess. `cargo bench -p everack-broker --bench routing`.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use everack_broker::arguments::{Arguments, Value};
use everack_broker::catalog::{
    Binding, Catalog, Command, DeclareExchange, DeclareQueue, Destination, Options, VhostView,
};
use everack_broker::name::Name;
use everack_broker::routing::NoHeaders;

const QUEUES: usize = 1000;

fn catalog() -> Catalog {
    let mut catalog = Catalog::new(Options {
        partitions: 4,
        hash_key: 0x5eed,
    });
    apply(&mut catalog, Command::DeclareVhost { vhost: "/".into() });
    for kind in ["direct", "fanout", "topic", "headers"] {
        let name = format!("bench.{kind}").into();
        let declare = DeclareExchange {
            vhost: "/".into(),
            name,
            kind: kind.into(),
            ..DeclareExchange::default()
        };
        apply(&mut catalog, Command::DeclareExchange(declare));
    }
    for number in 0..QUEUES {
        let name = format!("queue.{number}").into();
        apply(
            &mut catalog,
            Command::DeclareQueue(DeclareQueue {
                vhost: "/".into(),
                name,
                ..DeclareQueue::default()
            }),
        );
    }
    catalog
}

fn apply(catalog: &mut Catalog, command: Command) {
    catalog.apply(command).expect("the bench asks for nothing wrong");
}

fn bind_command(kind: &str, queue: usize, key: &str, arguments: Arguments) -> Command {
    let binding = Binding {
        source: format!("bench.{kind}").into(),
        destination: Destination::Queue(format!("queue.{}", queue % QUEUES).into()),
        routing_key: key.into(),
        arguments,
    };
    Command::Bind {
        vhost: "/".into(),
        binding,
        connection: None,
    }
}

fn bind(catalog: &mut Catalog, kind: &str, queue: usize, key: &str) {
    apply(catalog, bind_command(kind, queue, key, Arguments::default()));
}

fn view(catalog: &Catalog) -> VhostView {
    catalog.snapshot().vhost(b"/").expect("declared above")
}

/// Keys in an order that looks random: multiplication by an odd number visits each place once.
fn scattered(keys: &[Name]) -> impl FnMut() -> Name + '_ {
    let mut at: usize = 0;
    move || {
        at = (at + 0x9e37_79b1) % keys.len();
        keys[at].clone()
    }
}

fn topic_binding_key(number: usize) -> String {
    let (region, shop, item) = (number % 50, number / 50 % 1000, number / 50_000);
    match number % 10 {
        0 => format!("order.{region}.{shop}.{item}.#"),
        1 => format!("order.{region}.*.s{shop}.{item}"),
        _ => format!("order.{region}.{shop}.{item}.created"),
    }
}

fn topic_routing_key(number: usize) -> Name {
    let (region, shop, item) = (number % 50, number / 50 % 1000, number / 50_000);
    format!("order.{region}.{shop}.{item}.created").into()
}

fn route(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    for bindings in [100, 100_000, 1_000_000] {
        let mut catalog = catalog();
        let keys: Vec<Name> = (0..bindings)
            .map(|number| format!("order.created.{number}").into())
            .collect();
        for (number, key) in keys.iter().enumerate() {
            bind(&mut catalog, "direct", number, &key.to_string());
        }
        let (view, mut next) = (view(&catalog), scattered(&keys));
        group.bench_function(BenchmarkId::new("direct", bindings), |bencher| {
            bencher.iter_batched_ref(
                &mut next,
                |key| view.route(b"bench.direct", key, &NoHeaders),
                BatchSize::SmallInput,
            );
        });
    }
    for bindings in [100, 100_000, 1_000_000] {
        let mut catalog = catalog();
        (0..bindings).for_each(|number| bind(&mut catalog, "topic", number, &topic_binding_key(number)));
        let keys: Vec<Name> = (0..bindings).map(topic_routing_key).collect();
        let (view, mut next) = (view(&catalog), scattered(&keys));
        group.bench_function(BenchmarkId::new("topic", bindings), |bencher| {
            bencher.iter_batched_ref(
                &mut next,
                |key| view.route(b"bench.topic", key, &NoHeaders),
                BatchSize::SmallInput,
            );
        });
    }
    let catalog = catalog();
    let view = view(&catalog);
    group.bench_function("default exchange", |bencher| {
        bencher.iter(|| view.route(black_box(b""), black_box(b"queue.77"), &NoHeaders));
    });
    group.bench_function("unroutable", |bencher| {
        bencher.iter(|| view.route(black_box(b"bench.direct"), black_box(b"nothing"), &NoHeaders));
    });
    group.finish();
}

fn route_headers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route headers");
    let message: Arguments = [
        ("region", Value::from("eu")),
        ("customer", Value::from(77)),
        ("kind", Value::from("created")),
        ("x-trace", Value::from("abc")),
    ]
    .into_iter()
    .collect();
    for bindings in [10, 1000, 100_000] {
        let mut catalog = catalog();
        for number in 0..bindings {
            let how = if number % 4 == 0 { "any" } else { "all" };
            let region = if how == "any" { "nowhere" } else { "eu" };
            let arguments = [
                ("x-match", Value::from(how)),
                ("customer", (number as i32).into()),
                ("region", region.into()),
            ];
            apply(
                &mut catalog,
                bind_command("headers", number, "", arguments.into_iter().collect()),
            );
        }
        let view = view(&catalog);
        group.bench_function(BenchmarkId::from_parameter(bindings), |bencher| {
            bencher.iter(|| view.route(b"bench.headers", b"", black_box(&message)));
        });
    }
    group.finish();
}

fn route_fanout(criterion: &mut Criterion) {
    let mut catalog = catalog();
    (0..QUEUES).for_each(|number| bind(&mut catalog, "fanout", number, ""));
    let view = view(&catalog);
    criterion.bench_function("route/fanout to 1000 queues", |bencher| {
        bencher.iter(|| view.route(black_box(b"bench.fanout"), black_box(b""), &NoHeaders));
    });
}

/// One binding more and one less, with a snapshot taken after each, as the node does it.
fn change(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bind and unbind");
    for kind in ["direct", "topic"] {
        for bindings in [1000, 1_000_000] {
            let mut catalog = catalog();
            let key = if kind == "topic" {
                topic_binding_key
            } else {
                |number| format!("order.created.{number}")
            };
            (0..bindings).for_each(|number| bind(&mut catalog, kind, number, &key(number)));
            let mut published = Arc::new(catalog.snapshot());
            let mut number = 0;
            group.bench_function(BenchmarkId::new(kind, bindings), |bencher| {
                bencher.iter(|| {
                    number = (number + 0x9e37_79b1) % bindings;
                    // A binding of its own: the key is there, the queue is not bound to it yet.
                    let command = bind_command(kind, number + 1, &key(number), Arguments::default());
                    let Command::Bind {
                        vhost,
                        binding,
                        connection,
                    } = command.clone()
                    else {
                        unreachable!()
                    };
                    apply(&mut catalog, command);
                    published = Arc::new(catalog.snapshot());
                    apply(
                        &mut catalog,
                        Command::Unbind {
                            vhost,
                            binding,
                            connection,
                        },
                    );
                    published = Arc::new(catalog.snapshot());
                });
            });
            black_box(published);
        }
    }
    group.finish();
}

criterion_group!(benches, route, route_headers, route_fanout, change);
criterion_main!(benches);
