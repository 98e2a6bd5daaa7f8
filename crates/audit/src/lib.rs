//! A loss audit from outside, for any AMQP 0-9-1 broker. Imports nothing of ours, so that a shared bug cannot hide a loss.
