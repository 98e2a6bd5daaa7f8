//! One broker as step functions: joins protocol, queues, log and commitment. Knows nothing of tokio, files, sockets or clocks.
