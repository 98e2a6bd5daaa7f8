//! From stretches of messages' ways to spans, by the semantic conventions for messaging (1.27 and later); what these have no name for
//! begins with `everack.`.

use everack_broker::name::Name;
use everack_broker::partition::Death;
use everack_node::traces::Trace;

use super::book::{Consumer, Ended, Stage, Stretch, died_of};
use super::otlp::{
    Event, ExportTraceServiceRequest, KeyValue, Kind, Resource, ResourceSpans, Scope, ScopeSpans, Span,
    Status, attribute, flags,
};

/// What ids of spans are made of: random, so that those of two starts differ.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(pub(super) [u64; 4]);

impl Seed {
    fn publish(&self, trace: &Trace) -> [u8; 8] {
        number(self.0[0], trace.number)
    }

    fn stretch(&self, stretch: u64) -> [u8; 8] {
        number(self.0[1], stretch)
    }

    fn trace(&self, trace: &Trace) -> [u8; 16] {
        if let Some(parent) = &trace.parent {
            return parent.trace;
        }
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number(self.0[2], trace.number));
        id[8..].copy_from_slice(&number(self.0[3], trace.number));
        id
    }
}

/// Number by number another value, which looks like chance (SplitMix64), and never zero, which is no id.
fn number(seed: u64, number: u64) -> [u8; 8] {
    let mut value = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (value ^ (value >> 31)).max(1).to_be_bytes()
}

/// All that is sent in one request.
pub(super) fn request(resource: Resource, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope = Scope {
        name: "everack".into(),
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let scope_spans = vec![ScopeSpans {
        scope: Some(scope),
        spans,
    }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans,
        }],
    }
}

/// Who sends them.
pub(super) fn resource(service: &str, node: &str) -> Resource {
    Resource {
        attributes: vec![
            attribute("service.name", service),
            attribute("service.instance.id", node),
            attribute("service.version", env!("CARGO_PKG_VERSION")),
        ],
    }
}

/// One stretch as a span.
pub(super) fn span(ended: &Ended, seed: &Seed) -> Span {
    let trace = &*ended.trace;
    let publish = seed.publish(trace);
    let (span_id, parent, is_remote) = match ended.number {
        None => {
            let parent = trace.parent.as_ref().map(|parent| parent.span);
            (publish, parent, parent.is_some())
        }
        Some(number) => {
            let parent = ended.parent.map_or(publish, |parent| seed.stretch(parent));
            (seed.stretch(number), Some(parent), false)
        }
    };
    let mut flags = flags::SAMPLED | flags::KNOWN_WHERE_THE_PARENT_IS;
    if is_remote {
        flags |= flags::PARENT_IS_REMOTE;
    }
    let described = Described::of(ended);
    let mut attributes = common(trace);
    attributes.extend(described.attributes);
    Span {
        trace_id: seed.trace(trace).to_vec(),
        span_id: span_id.to_vec(),
        trace_state: trace
            .parent
            .as_ref()
            .map(|parent| parent.state.to_string())
            .unwrap_or_default(),
        parent_span_id: parent.map(Vec::from).unwrap_or_default(),
        name: described.name,
        kind: described.kind as i32,
        start_time_unix_nano: ended.begun,
        end_time_unix_nano: ended.ended.max(ended.begun),
        attributes,
        events: described.events,
        status: described.error.then(|| Status {
            message: ended.outcome.to_owned(),
            code: 2,
        }),
        flags,
    }
}

/// What all spans of a message have in common.
fn common(trace: &Trace) -> Vec<KeyValue> {
    let mut attributes = vec![
        attribute("messaging.system", "rabbitmq"),
        attribute("messaging.message.body.size", i64::from(trace.body_bytes)),
        attribute("everack.exchange", trace.exchange.to_string()),
        attribute("everack.vhost", trace.publisher.vhost.to_string()),
    ];
    let optional = [
        (
            "messaging.rabbitmq.destination.routing_key",
            Some(&trace.routing_key),
        ),
        ("messaging.message.id", trace.message_id.as_ref()),
        ("messaging.message.conversation_id", trace.correlation_id.as_ref()),
    ];
    let given = optional
        .iter()
        .filter_map(|(key, value)| value.map(|value| (key, value)));
    let given = given.filter(|(_, value)| !value.as_bytes().is_empty());
    attributes.extend(given.map(|(key, value)| attribute(key, value.to_string())));
    attributes
}

/// What a span tells besides.
struct Described {
    name: String,
    kind: Kind,
    error: bool,
    attributes: Vec<KeyValue>,
    events: Vec<Event>,
}

impl Described {
    fn of(ended: &Ended) -> Self {
        match &ended.stretch {
            Stretch::Publish {
                confirms,
                places,
                missed,
                sync,
            } => {
                let mut described = Self::publish(&ended.trace, ended.outcome);
                described.attributes.extend([
                    attribute("everack.confirms", *confirms),
                    attribute("everack.queues", i64::from(*places)),
                ]);
                if *missed > 0 {
                    let missed = attribute("everack.queues.refused", i64::from(*missed));
                    described.attributes.push(missed);
                }
                if let Some((begun, synced)) = *sync {
                    described.synced(begun, synced);
                }
                described
            }
            Stretch::InQueue {
                queue,
                redelivered,
                stage,
            } => {
                let mut described = Self::in_queue(ended, queue, stage);
                match stage {
                    Stage::Waiting => described.redelivered(*redelivered),
                    Stage::With {
                        consumer,
                        redelivered,
                    } => {
                        described.redelivered(*redelivered);
                        consumer.iter().for_each(|consumer| described.consumer(consumer));
                    }
                    Stage::Dying(death) => {
                        let died_of = attribute("everack.died_of", died_of(*death));
                        described.attributes.push(died_of);
                    }
                    Stage::Aside => {}
                }
                described
            }
        }
    }

    fn publish(trace: &Trace, outcome: &'static str) -> Self {
        let destination = destination([&trace.exchange, &trace.routing_key, &Name::default()]);
        let mut attributes = vec![
            attribute("messaging.operation.name", "publish"),
            attribute("messaging.operation.type", "send"),
            attribute("messaging.destination.name", &*destination),
            attribute("everack.outcome", outcome),
            attribute("everack.persistent", trace.persistent),
            attribute("everack.channel", i64::from(trace.channel)),
            attribute("user.name", trace.publisher.user.to_string()),
        ];
        attributes.extend(peer(&trace.publisher.peer));
        Self {
            name: format!("publish {destination}"),
            kind: Kind::Server,
            error: matches!(outcome, "returned" | "refused" | "partly refused"),
            attributes,
            events: Vec::new(),
        }
    }

    fn in_queue(ended: &Ended, queue: &Name, stage: &Stage) -> Self {
        let (trace, outcome) = (&ended.trace, ended.outcome);
        let (operation, kind) = match stage {
            Stage::Waiting => ("wait", Kind::Internal),
            Stage::With { .. } => ("deliver", Kind::Producer),
            Stage::Dying(Death::Due) => ("release", Kind::Internal),
            Stage::Dying(_) => ("dead-letter", Kind::Internal),
            Stage::Aside => ("set aside", Kind::Internal),
        };
        let destination = destination([&trace.exchange, &trace.routing_key, queue]);
        Self {
            name: format!("{operation} {queue}"),
            kind,
            error: matches!(
                outcome,
                "rejected" | "failed" | "damaged" | "delivery limit" | "cycle"
            ),
            attributes: vec![
                attribute("messaging.operation.name", operation),
                attribute("messaging.destination.name", destination),
                attribute("everack.queue", queue.to_string()),
                attribute("everack.outcome", outcome),
            ],
            events: Vec::new(),
        }
    }

    fn redelivered(&mut self, redelivered: bool) {
        let redelivered = attribute("everack.redelivered", redelivered);
        self.attributes.push(redelivered);
    }

    fn synced(&mut self, begun: u64, ended: u64) {
        let seconds = ended.saturating_sub(begun) as f64 / 1e9;
        let duration = attribute("everack.log.sync.duration", seconds);
        self.attributes.push(duration);
        let event = |time_unix_nano, name: &str| Event {
            time_unix_nano,
            name: name.into(),
        };
        self.events = vec![
            event(begun, "sync of the log begins"),
            event(ended, "sync of the log ends"),
        ];
    }

    fn consumer(&mut self, consumer: &Consumer) {
        let by = if consumer.tag.as_bytes().is_empty() {
            attribute("everack.got", true)
        } else {
            attribute("everack.consumer.tag", consumer.tag.to_string())
        };
        let channel = attribute("everack.channel", i64::from(consumer.channel));
        let user = attribute("user.name", consumer.peer.user.to_string());
        self.attributes.extend([by, channel, user]);
        self.attributes.extend(peer(&consumer.peer.peer));
    }
}

/// The parts that are there, with colons between them, as the conventions for RabbitMQ have it.
fn destination(parts: [&Name; 3]) -> String {
    let mut last = None;
    let given = parts.into_iter().filter(|part| !part.as_bytes().is_empty());
    // A queue that is published to by its name is named once.
    let given = given.filter(|part| last.replace(*part) != Some(*part));
    let given: Vec<String> = given.map(ToString::to_string).collect();
    if given.is_empty() {
        return "amq.default".to_owned();
    }
    given.join(":")
}

/// Address and port of a client.
fn peer(peer: &str) -> Vec<KeyValue> {
    let Some((address, port)) = peer.rsplit_once(':') else {
        return Vec::new();
    };
    let address = address.trim_matches(['[', ']']);
    let port: i64 = port.parse().unwrap_or_default();
    vec![
        attribute("network.peer.address", address),
        attribute("network.peer.port", port),
    ]
}
