//! The same bytes as `amq-protocol`, another implementation of the protocol: what it writes we read, what we
//! write it reads, and both mean the same. Where it is known to differ (byte strings that are not UTF-8,
//! names that occur twice, unsigned 16 bit numbers) the cases stay out of the way.

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, parse_frame};
use amq_protocol::protocol::{AMQPClass, basic as their_basic};
use everack_amqp::wire::frame::{self, ContentHeader, Head};
use everack_amqp::wire::method::Method;
use everack_amqp::wire::primitive::ShortString;
use everack_amqp::wire::properties::Properties;
use everack_amqp::wire::table::{Table, Value};
use everack_fuzz_checks::oracle::{self, written};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn short() -> impl Strategy<Value = ShortString> {
    "[a-zA-Z0-9.#*äß-]{0,20}".prop_map(|text| ShortString::new(text).unwrap())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(Value::I8),
        any::<u8>().prop_map(Value::U8),
        any::<i16>().prop_map(Value::I16),
        any::<i32>().prop_map(Value::I32),
        any::<u32>().prop_map(Value::U32),
        any::<i64>().prop_map(Value::I64),
        (-1e6..1e6f32).prop_map(Value::F32),
        (-1e9..1e9f64).prop_map(Value::F64),
        (any::<u8>(), any::<u32>()).prop_map(|(scale, value)| Value::Decimal { scale, value }),
        vec(any::<u8>(), 0..30).prop_map(Value::String),
        vec(any::<u8>(), 0..30).prop_map(Value::Bytes),
        any::<u64>().prop_map(Value::Timestamp),
        Just(Value::Void),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::Array),
            btree_map(short(), inner, 0..5).prop_map(|map| Value::Table(map.into_iter().collect())),
        ]
    })
}

/// Names in order and once each: the other side keeps a sorted map.
fn table() -> impl Strategy<Value = Table> {
    btree_map(short(), value(), 0..6).prop_map(|map| map.into_iter().collect())
}

/// Their reading of our frame, written again, is our frame; ours of theirs as well.
#[track_caller]
fn check_method(method: &Method) {
    let mut ours = Vec::new();
    frame::write_method(&mut ours, 3, method);
    let (rest, parsed) = parse_frame(&ours[..]).unwrap_or_else(|error| panic!("{method:?}: {error:?}"));
    assert!(rest.is_empty());
    assert!(matches!(parsed, AMQPFrame::Method(3, _)), "{parsed:?}");
    let again = written(&parsed);
    assert_eq!(again, ours, "{method:?}");
    let head = Head::read(&again).unwrap();
    let payload = &again[7..7 + head.size as usize];
    let id = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
    assert_eq!(Method::decode(id(0), id(2), &payload[4..]).unwrap(), *method);
}

/// Fills a method's arguments with bytes that make sense for any type, until it decodes.
fn methods() -> Vec<(u16, u16)> {
    let ids = (0..=100).flat_map(|class| (0..=130).map(move |method| (class, method)));
    let known = ids.filter(|&(class, method)| {
        !matches!(
            Method::decode(class, method, &[]),
            Err(everack_amqp::wire::method::MethodError::UnknownClass(_))
                | Err(everack_amqp::wire::method::MethodError::UnknownMethod(..))
        )
    });
    known.collect()
}

#[test]
fn both_know_the_same_methods() {
    let ours = methods();
    assert_eq!(ours.len(), 66);
    for (class, method) in ours {
        // They forget the ticket and the prefetch size, and write constants instead.
        let fillers: &[u8] = if [(30, 11), (60, 10)].contains(&(class, method)) {
            &[]
        } else {
            &[0, 1]
        };
        for &filler in fillers {
            // Arguments are read from a long row of bytes; what is left over is cut off.
            let Some(length) =
                (0..64).find(|&length| Method::decode(class, method, &vec![filler; length]).is_ok())
            else {
                continue;
            };
            check_method(&Method::decode(class, method, &vec![filler; length]).unwrap());
        }
    }
}

proptest! {
    #[test]
    fn tables(table in table()) {
        let mut ours = Vec::new();
        table.encode(&mut ours);
        prop_assert_eq!(&Table::decode(&ours[4..]).unwrap(), &table);
        let declare = amq_protocol::protocol::queue::Declare {
            queue: "q".into(),
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: true,
            nowait: false,
            arguments: oracle::table(&table),
        };
        let class = AMQPClass::Queue(amq_protocol::protocol::queue::AMQPMethod::Declare(declare));
        let theirs = written(&AMQPFrame::Method(1, class));
        let arguments = &theirs[11..theirs.len() - 1];
        let Ok(Method::QueueDeclare(read)) = Method::decode(50, 10, arguments) else { panic!("{arguments:?}") };
        prop_assert!(read.durable && read.auto_delete && !read.exclusive);
        prop_assert_eq!(&read.arguments, &table);
        check_method(&Method::QueueDeclare(read));
    }

    #[test]
    fn properties(
        texts in vec(proptest::option::of(short()), 9),
        headers in proptest::option::of(table()),
        numbers in (any::<Option<u8>>(), any::<Option<u8>>(), any::<Option<u64>>()),
    ) {
        let text = |index: usize| texts[index].clone();
        let ours = Properties {
            content_type: text(0),
            content_encoding: text(1),
            headers,
            delivery_mode: numbers.0,
            priority: numbers.1,
            correlation_id: text(2),
            reply_to: text(3),
            expiration: text(4),
            message_id: text(5),
            timestamp: numbers.2,
            kind: text(6),
            user_id: text(7),
            app_id: text(8),
            cluster_id: None,
        };
        let mut theirs = their_basic::AMQPProperties::default();
        let their = |index: usize| texts[index].as_ref().map(|text| text.to_string().into());
        if let Some(it) = their(0) { theirs = theirs.with_content_type(it) }
        if let Some(it) = their(1) { theirs = theirs.with_content_encoding(it) }
        if let Some(it) = &ours.headers { theirs = theirs.with_headers(oracle::table(it)) }
        if let Some(it) = numbers.0 { theirs = theirs.with_delivery_mode(it) }
        if let Some(it) = numbers.1 { theirs = theirs.with_priority(it) }
        if let Some(it) = their(2) { theirs = theirs.with_correlation_id(it) }
        if let Some(it) = their(3) { theirs = theirs.with_reply_to(it) }
        if let Some(it) = their(4) { theirs = theirs.with_expiration(it) }
        if let Some(it) = their(5) { theirs = theirs.with_message_id(it) }
        if let Some(it) = numbers.2 { theirs = theirs.with_timestamp(it) }
        if let Some(it) = their(6) { theirs = theirs.with_type(it) }
        if let Some(it) = their(7) { theirs = theirs.with_user_id(it) }
        if let Some(it) = their(8) { theirs = theirs.with_app_id(it) }
        let content = AMQPContentHeader { class_id: 60, body_size: 77, properties: theirs };
        let bytes = written(&AMQPFrame::Header(1, content));
        let header = ContentHeader::read(&bytes[7..bytes.len() - 1]).unwrap();
        prop_assert_eq!((header.class, header.weight, header.body_size), (60, 0, 77));
        prop_assert_eq!(&Properties::decode(header.properties).unwrap(), &ours);
        let mut encoded = Vec::new();
        ours.encode(&mut encoded);
        prop_assert_eq!(&encoded[..], header.properties);
    }
}
