//! Known bugs, put back on purpose, to show that the simulator finds them. They live in the driver, the fake disk and the fake network: no
//! production code knows them.

/// What a node does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
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
    /// Changes of the topology take effect, and are answered, before they are durable.
    AnswersTopologyEarly,
    /// The numbers of transactions begin again at each start.
    ReusesTransactionNumbers,
    /// A checkpoint gets its name before its contents are synced.
    SyncsNoCheckpoint,
    /// Names are never synced: neither of segments nor of checkpoints.
    SyncsNoNames,
    /// The parts of a transaction are written one by one, each with a sync of its own, and count one by one.
    TearsTransactions,
    /// Consumers begin without the prefetch that they asked for.
    DeliversBeyondPrefetch,
    /// What a dead connection's consumers held does not go back to its queues.
    ForgetsDeadConsumers,
    /// A sync that fails is passed over, and what it was to cover is told to be durable.
    IgnoresSyncErrors,
    /// A return overtakes no confirm any more, but is overtaken by it.
    ReturnsBehindConfirms,
    /// Deliveries never say that they may have been made before.
    HidesRedelivery,
    /// What finds the disk full is told to be durable all the same.
    ConfirmsWithoutRoom,
    /// Settlements are left lying until somebody waits for a sync.
    DelaysSettlements,
    /// Nothing is written while a sync is under way, however long it takes.
    WaitsForLongSyncs,
    /// What is read back from the log is handed out with a bit turned over.
    TurnsBits,
    /// A dead letter leaves its queue in one write and enters the next one in another.
    MovesInTwoWrites,
    /// The log is not told that a dead letter has left its queue.
    MovesTwice,
    /// A message that is sent elsewhere by order leaves its queue in one write and enters the next one in another.
    SendsInTwoWrites,
    /// Nobody tells a queue that what it sent elsewhere by order did not arrive.
    StrandsMessages,
    /// Consumers that wait for their connection to drain, or for the limit of their channel, are not told that there is room again.
    LosesResumes,
    /// One of the connections that have news of a round is not woken, if there are several.
    LosesWakeUps,
    /// Queues do not know that they have a dead-letter exchange.
    DropsDeadLetters,
    /// What finds no room is dropped and confirmed, instead of the oldest.
    DropsNewest,
    /// Deadlines are not logged.
    ForgetsDeadlines,
    /// Messages live half as long as they may.
    ExpiresEarly,
    /// Failed deliveries are not logged.
    ForgetsFailures,
    /// That a message is parked is not logged.
    ForgetsParked,
    /// Queues that refuse do so one message too soon.
    RefusesTooSoon,
    /// Priorities do not count.
    IgnoresPriorities,
    /// Every consumer is an active one.
    ServesAll,
    /// What came back is handed out at once.
    RetriesAtOnce,
}

impl Flaw {
    /// All of them but none.
    pub const ALL: [Flaw; 33] = [
        Flaw::ConfirmsEarly,
        Flaw::ForgetsSettlements,
        Flaw::RetiresEarly,
        Flaw::AnswersTopologyEarly,
        Flaw::ReusesTransactionNumbers,
        Flaw::SyncsNoCheckpoint,
        Flaw::SyncsNoNames,
        Flaw::TearsTransactions,
        Flaw::DeliversBeyondPrefetch,
        Flaw::ForgetsDeadConsumers,
        Flaw::IgnoresSyncErrors,
        Flaw::ReturnsBehindConfirms,
        Flaw::HidesRedelivery,
        Flaw::ConfirmsWithoutRoom,
        Flaw::DelaysSettlements,
        Flaw::WaitsForLongSyncs,
        Flaw::TurnsBits,
        Flaw::MovesInTwoWrites,
        Flaw::MovesTwice,
        Flaw::SendsInTwoWrites,
        Flaw::StrandsMessages,
        Flaw::LosesResumes,
        Flaw::LosesWakeUps,
        Flaw::DropsDeadLetters,
        Flaw::DropsNewest,
        Flaw::ForgetsDeadlines,
        Flaw::ExpiresEarly,
        Flaw::ForgetsFailures,
        Flaw::ForgetsParked,
        Flaw::RefusesTooSoon,
        Flaw::IgnoresPriorities,
        Flaw::ServesAll,
        Flaw::RetriesAtOnce,
    ];

    /// Queues that a history has if it has this bug: those whose rules it breaks. None for one that may show anywhere.
    pub fn families(self) -> &'static [&'static str] {
        match self {
            Flaw::MovesInTwoWrites | Flaw::MovesTwice | Flaw::DropsDeadLetters => &["w0", "x0"],
            Flaw::SendsInTwoWrites => &["o1"],
            Flaw::StrandsMessages => &["o2"],
            Flaw::DropsNewest => &["m0"],
            Flaw::ForgetsDeadlines => &["u0", "x0"],
            Flaw::ExpiresEarly => &["x1"],
            Flaw::ForgetsFailures => &["l0", "z0"],
            Flaw::ForgetsParked => &["l0"],
            Flaw::RefusesTooSoon => &["r0"],
            Flaw::IgnoresPriorities => &["p0"],
            Flaw::ServesAll => &["s0"],
            Flaw::RetriesAtOnce => &["z0"],
            _ => &[],
        }
    }

    /// Whether it shows where a history ends alive: then all that have it do.
    pub fn shows_alive(self) -> bool {
        matches!(
            self,
            Flaw::StrandsMessages | Flaw::LosesResumes | Flaw::LosesWakeUps | Flaw::DropsNewest
        )
    }

    /// Its name on the command line: `confirms-early`.
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.extend(letter.to_lowercase());
        }
        name
    }

    /// The flaw of this name.
    pub fn named(name: &str) -> Option<Flaw> {
        Self::ALL.into_iter().find(|flaw| flaw.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        assert_eq!(Flaw::ConfirmsEarly.name(), "confirms-early");
        for flaw in Flaw::ALL {
            assert_eq!(Flaw::named(&flaw.name()), Some(flaw));
        }
        assert_eq!(Flaw::named("none"), None);
    }

    #[test]
    fn families_of_flaws_are_there() {
        for name in Flaw::ALL.into_iter().flat_map(Flaw::families) {
            assert!(crate::book::family::place(name).is_some(), "{name}");
        }
    }
}
