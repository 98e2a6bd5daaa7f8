//! Known bugs, put back on purpose, to show that crashes and oracle find them. They live in the driver: no production code knows them.

/// What a node does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    #[default]
    None,
    /// What has been written is told to be durable; the sync follows with the next write.
    ConfirmsEarly,
    /// Settlements are told to be durable and never written, as if recovery passed over them.
    ForgetsSettlements,
    /// Segments without live messages go before the checkpoint that makes the rest of their records needless.
    RetiresEarly,
}
