//! AMQP 0-9-1, bytes in, bytes out. Knows nothing of queues, sockets or clocks.
