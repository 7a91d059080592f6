//! What a command answers.

use sdk_config::ledger::{Grant, Refusal, RootId, Span};
use sdk_event::Lineage;
use serde::{Deserialize, Serialize};

use crate::id::{FlowId, NodeId};

/// The answer to a command. Which variant belongs to which command is said in the command's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done, or it was so already.
    Done,
    /// Nothing was changed.
    Rejected(Rejected),
    /// Of `AddNode` and `InitCluster`: the node's number. Of `NodeUp`: with its incarnation.
    Node {
        /// The number.
        node: NodeId,
        /// The incarnation; 0 from `AddNode`.
        incarnation: u64,
    },
    /// Of `CreateFlow` and `ApplySpec`.
    Flow {
        /// The flow.
        flow: FlowId,
        /// The version that was given to the spec.
        version: u32,
    },
    /// Of `Seal`: per seal, in its order.
    Sealed(Vec<Result<Sealed, Rejected>>),
    /// Of `Acquire`.
    Granted(Result<Box<Grant>, Refusal>),
    /// Of `OnLedger`.
    Ledger(LedgerReply),
    /// Of `RecordRoot`: the id recorded now.
    Root(RootId),
}

/// The end of a lineage, whoever brought it about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// L: the first offset that does not belong to the lineage.
    pub end: u64,
    /// True if this very proposal sealed it.
    pub first: bool,
    /// Offsets below `end` that lie at or above the proposed one: files were announced up to there.
    /// What the sealing node lacks of them is quarantined.
    pub raised: Option<Span>,
    /// The shard's newest lineage.
    #[serde(with = "crate::id::lineage")]
    pub current: Lineage,
}

/// The answer to what the holder of a token proposed: refused as a whole, or item by item.
pub type LedgerReply = Result<Answer, Refusal>;

/// The items of a batch that were refused; the others are in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Position in the batch, and why, ascending.
    pub refused: Vec<(u32, Refusal)>,
}

impl Answer {
    /// One result per item of a batch of `items`.
    pub fn results(self, items: usize) -> Vec<Result<(), Refusal>> {
        let mut results = vec![Ok(()); items];
        for (position, refusal) in self.refused {
            if let Some(result) = results.get_mut(position as usize) {
                *result = Err(refusal);
            }
        }
        results
    }
}

/// Why a command changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejected {
    /// The entry was applied earlier; its answer went to whoever waited then.
    #[error("the command was applied before")]
    AppliedBefore,
    /// There is a cluster already.
    #[error("the cluster exists already")]
    Initialised,
    /// No such node.
    #[error("there is no node {0}")]
    UnknownNode(NodeId),
    /// The node's number belongs to another data directory: join anew.
    #[error("node {node} belongs to another data directory")]
    OtherDirectory {
        /// The number.
        node: NodeId,
    },
    /// A newer process of the node has started: end this one.
    #[error("a newer incarnation of node {node} has started ({current})")]
    OldIncarnation {
        /// The node.
        node: NodeId,
        /// Its incarnation.
        current: u64,
    },
    /// The node still keeps copies: drain it first.
    #[error("node {0} still keeps copies of lineages")]
    NodeInUse(NodeId),
    /// A flow of that name exists with another spec: apply a new version to it.
    #[error("a flow of that name exists (id {0})")]
    NameTaken(FlowId),
    /// No such flow; it may have been removed.
    #[error("there is no flow {0}")]
    UnknownFlow(FlowId),
    /// The flow has another newest version: read it, decide again.
    #[error("the flow's newest version is {latest}")]
    OtherVersion {
        /// The newest version.
        latest: u32,
    },
    /// The number of shards of a flow never changes: create another flow.
    #[error("a flow keeps its number of shards ({shards})")]
    ShardsFixed {
        /// The number it has.
        shards: u32,
    },
    /// No such shard.
    #[error("flow {flow} has no shard {shard}")]
    UnknownShard {
        /// The flow.
        flow: FlowId,
        /// The shard.
        shard: u32,
    },
    /// The lineage is not in the state: drained, or never opened.
    #[error("the lineage is not in the state; the shard's epoch is {epoch}")]
    Gone {
        /// The shard's newest epoch.
        epoch: u64,
    },
    /// Only a node that keeps a copy may say that.
    #[error("node {node} keeps no copy of the lineage")]
    NoReplica {
        /// The node that proposed.
        node: NodeId,
    },
    /// A lineage of one is not left behind by a seal but by a reopening.
    #[error("the lineage has several replicas: seal it")]
    NotAlone,
    /// It is sealed.
    #[error("the lineage is sealed at {0}")]
    SealedAt(u64),
    /// It is not sealed.
    #[error("the lineage is not sealed")]
    NotSealed,
    /// No such sink.
    #[error("flow {flow} has no sink {sink}")]
    UnknownSink {
        /// The flow.
        flow: FlowId,
        /// The sink's number.
        sink: u32,
    },
    /// Nothing like that is there to change.
    #[error("nothing like that is there")]
    Nothing,
    /// Another id is recorded for the root.
    #[error("the root is recorded with another id ({0})")]
    OtherRoot(RootId),
    /// Somebody acquired a token in between: decide again.
    #[error("the newest token is {0}")]
    OtherToken(u64),
    /// Not every node knows that much.
    #[error("some node knows only features up to level {0}")]
    FeatureUnknown(u32),
    /// The state is at its cap.
    #[error("the replicated state is full")]
    Full,
    /// The command breaks a limit or makes no sense.
    #[error("{0}")]
    Invalid(String),
}

impl Reply {
    /// The reply as a refusal, if it is one.
    pub(crate) fn from_result(result: Result<Reply, Rejected>) -> Reply {
        result.unwrap_or_else(Reply::Rejected)
    }
}

/// Shorthand for commands that are one chain of checks.
pub(crate) type Verdict = Result<Reply, Rejected>;
