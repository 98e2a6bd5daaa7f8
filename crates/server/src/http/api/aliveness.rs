//! The aliveness test: declares a queue, publishes into it, and gets the message back, as the caller.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::routing::get;
use everack_amqp::wire::method::{Method, basic, confirm, queue};
use everack_amqp::wire::primitive::ShortString;
use serde_json::json;

use super::{Answer, Json};
use crate::http::Node;
use crate::http::caller::Caller;
use crate::http::client::{Client, Ended, Heard};
use crate::http::refusal::Refusal;

/// RabbitMQ's name for it. The queue stays.
const QUEUE: &str = "aliveness-test";
const BODY: &[u8] = b"test_message";
/// No properties: no flags.
const PROPERTIES: [u8; 2] = [0; 2];

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new().route("/api/aliveness-test/{vhost}", get(test))
}

async fn test(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(vhost): Path<String>,
) -> Answer {
    caller.vhost(&vhost)?;
    let vhost = caller.enter(&vhost)?;
    let mut client = Client::open(&node, &caller, vhost.name()).await?;
    let alive = goes_round(&mut client).await.map_err(Ended::into_refusal)?;
    if !alive {
        return Err(Refusal::Busy("a message that was published did not come back"));
    }
    Ok(Json(json!({ "status": "ok" })))
}

/// Whether a message comes back. Another test may take ours and leave its own.
async fn goes_round(client: &mut Client<'_>) -> Result<bool, Ended> {
    let name = ShortString::shortened(QUEUE);
    client.say(queue::Declare {
        queue: name.clone(),
        ..queue::Declare::default()
    });
    client
        .answer(|method| matches!(method, Method::QueueDeclareOk(_)))
        .await?;
    client.say(confirm::Select { nowait: false });
    let publish = basic::Publish {
        routing_key: name.clone(),
        ..basic::Publish::default()
    };
    client.publish(publish, &PROPERTIES, BODY);
    client
        .answer(|method| matches!(method, Method::BasicAck(_)))
        .await?;
    client.say(basic::Get {
        queue: name,
        no_ack: false,
    });
    let Heard::Message(message) = client.hear().await? else {
        return Ok(false);
    };
    client.say(basic::Ack {
        delivery_tag: 0,
        multiple: true,
    });
    client.flush();
    Ok(message.body == BODY)
}
