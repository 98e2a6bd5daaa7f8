//! Methods: reading and writing agree with each other and with the oracle.

use amq_protocol::frame::AMQPFrame;
use everack_amqp::wire::frame;
use everack_amqp::wire::method::{Method, MethodError};
use everack_amqp::wire::table::Table;

use crate::oracle;

/// What the oracle writes as a constant, whatever it has read: `access.request-ok` its ticket, `basic.qos` its size.
const FORGOTTEN: [(u16, u16); 2] = [(30, 11), (60, 10)];

/// Two bytes are the numbers of class and method, the rest are the arguments.
pub fn check(input: &[u8]) {
    let Some((&[class, method], arguments)) = input.split_first_chunk::<2>() else {
        return;
    };
    let (class, method) = (u16::from(class), u16::from(method));
    let decoded = Method::decode(class, method, arguments);
    let theirs = if matches!(decoded, Err(MethodError::Malformed(reason)) if oracle::may_refuse(reason)) {
        None
    } else {
        oracle::read(&frame_of(class, method, arguments))
    };
    match &decoded {
        Ok(ours) => {
            assert_eq!(ours.ids(), (class, method));
            check_writing(ours);
            let refused = theirs.is_none() && arguments.is_ascii();
            assert!(!refused, "the oracle refuses a method that we take: {ours:?}");
        }
        Err(error) => assert!(theirs.is_none(), "we refuse a method: {error}, {theirs:?}"),
    }
}

fn frame_of(class: u16, method: u16, arguments: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, frame::METHOD, 3, |out| {
        out.extend_from_slice(&class.to_be_bytes());
        out.extend_from_slice(&method.to_be_bytes());
        out.extend_from_slice(arguments);
    });
    bytes
}

/// What we write we read again, and the oracle reads and writes the same.
fn check_writing(method: &Method) {
    let mut written = Vec::new();
    frame::write_method(&mut written, 3, method);
    let payload = &written[frame::HEAD_BYTES..written.len() - 1];
    let (class, number) = method.ids();
    let again = Method::decode(class, number, &payload[4..]).expect("what we write we read");
    // Not compared as values: what is not a number differs from itself.
    assert_eq!(format!("{again:?}"), format!("{method:?}"));
    if FORGOTTEN.contains(&method.ids()) || !tables(method).into_iter().all(oracle::is_sorted) {
        return;
    }
    if let Some(theirs) = oracle::read(&written) {
        assert!(matches!(theirs, AMQPFrame::Method(3, _)));
        assert_eq!(oracle::written(&theirs), written, "both write {method:?} alike");
    } else {
        assert!(
            !written.is_ascii(),
            "the oracle refuses what we write: {method:?}"
        );
    }
}

/// The tables among a method's arguments.
fn tables(method: &Method) -> Option<&Table> {
    match method {
        Method::ConnectionStart(start) => Some(&start.server_properties),
        Method::ConnectionStartOk(start_ok) => Some(&start_ok.client_properties),
        Method::ExchangeDeclare(declare) => Some(&declare.arguments),
        Method::ExchangeBind(bind) => Some(&bind.arguments),
        Method::ExchangeUnbind(unbind) => Some(&unbind.arguments),
        Method::QueueDeclare(declare) => Some(&declare.arguments),
        Method::QueueBind(bind) => Some(&bind.arguments),
        Method::QueueUnbind(unbind) => Some(&unbind.arguments),
        Method::BasicConsume(consume) => Some(&consume.arguments),
        _ => None,
    }
}
