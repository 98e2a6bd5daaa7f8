//! What exchanges may ask of a message that is being published, taken apart only when one asks.

use std::cell::OnceCell;

use everack_amqp::content::Batch;
use everack_amqp::wire::properties::View;
use everack_amqp::wire::table::Table;
use everack_broker::arguments::Arguments;
use everack_broker::routing::{HeaderValue, Headers, Property};

use crate::shared::Shared;
use crate::translate::from_amqp;

/// One message of a batch.
pub(crate) struct Message<'a> {
    view: View<'a>,
    headers: OnceCell<Arguments>,
    shared: &'a Shared,
}

impl<'a> Message<'a> {
    pub(crate) fn new(batch: &'a Batch, index: usize, shared: &'a Shared) -> Self {
        let (view, headers) = (batch.view(index), OnceCell::new());
        Self {
            view,
            headers,
            shared,
        }
    }

    fn decode(&self) -> Arguments {
        let headers = self.view.headers.and_then(|bytes| Table::decode(bytes).ok());
        headers.as_ref().map(from_amqp::arguments).unwrap_or_default()
    }
}

impl Headers for Message<'_> {
    fn visit<'a>(&'a self, visit: &mut dyn FnMut(&'a [u8], HeaderValue<'a>)) {
        self.headers.get_or_init(|| self.decode()).visit(visit);
    }

    fn property(&self, property: Property) -> Option<HeaderValue<'_>> {
        match property {
            Property::CorrelationId => self.view.correlation_id.map(HeaderValue::Bytes),
            Property::MessageId => self.view.message_id.map(HeaderValue::Bytes),
            Property::Timestamp => self.view.timestamp.map(HeaderValue::Timestamp),
        }
    }

    fn draw(&self) -> u64 {
        self.shared.draw()
    }
}
