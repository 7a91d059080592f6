//! What can happen to the state, a file each.
//!
//! To add a command: a file, a variant at the end of [`Command`] (variants are numbered by their
//! order in the encoding), a `From`, and a script in `tests/it/testdata`.

mod abandon;
mod acquire;
mod add_node;
mod adopt_root;
mod apply_spec;
mod assign;
mod clear_penalties;
mod create_flow;
mod hold;
mod init_cluster;
mod lost;
mod node_up;
mod on_ledger;
mod probe_sink;
mod raise_features;
mod record_root;
mod remove_flow;
mod remove_node;
mod reopen;
mod report_sink;
mod resolve_bucket;
mod seal;
mod set_node;

mod check;
mod reply;

use serde::{Deserialize, Serialize};

pub use self::abandon::Abandon;
pub use self::acquire::Acquire;
pub use self::add_node::AddNode;
pub use self::adopt_root::AdoptRoot;
pub use self::apply_spec::ApplySpec;
pub use self::assign::Assign;
pub use self::clear_penalties::ClearPenalties;
pub use self::create_flow::CreateFlow;
pub use self::hold::Hold;
pub use self::init_cluster::InitCluster;
pub use self::lost::Lost;
pub use self::node_up::NodeUp;
pub use self::on_ledger::{AddHole, GiveUp, LedgerAction, OnLedger, RaiseFloor};
pub use self::probe_sink::ProbeSink;
pub use self::raise_features::RaiseFeatures;
pub use self::record_root::RecordRoot;
pub use self::remove_flow::RemoveFlow;
pub use self::remove_node::RemoveNode;
pub use self::reopen::Reopen;
pub use self::reply::{Answer, LedgerReply, Rejected, Reply, Sealed};
pub use self::report_sink::{Outcome, ReportSink};
pub use self::resolve_bucket::{Resolution, ResolveBucket};
pub use self::seal::{Seal, ShardSeal};
pub use self::set_node::SetNode;
use crate::state::State;

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Everything that can happen to the state.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Command {
            $($(#[$doc])* $name($name),)*
        }

        impl Command {
            pub(crate) fn apply(self, state: &mut State) -> Reply {
                match self {
                    $(Command::$name(command) => command.apply(state),)*
                }
            }

            /// Its name, for logs.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Command::$name(_) => stringify!($name),)*
                }
            }
        }

        $(impl From<$name> for Command {
            fn from(command: $name) -> Command {
                Command::$name(command)
            }
        })*
    };
}

commands! {
    /// The first command of a cluster.
    InitCluster,
    /// A node joins.
    AddNode,
    /// A process has started.
    NodeUp,
    /// How a node is doing.
    SetNode,
    /// A node leaves for good.
    RemoveNode,
    /// Every node understands more now.
    RaiseFeatures,
    /// A new flow.
    CreateFlow,
    /// A new version of a flow.
    ApplySpec,
    /// A flow and everything it has.
    RemoveFlow,
    /// Ends lineages and opens their successors.
    Seal,
    /// Opens a successor while the lineage before it waits for its only node.
    Reopen,
    /// A node holds a sealed lineage whole, or no longer.
    Hold,
    /// Ranges that nobody can read.
    Lost,
    /// Ends a lineage at its longest living copy.
    Abandon,
    /// A fresh drain token.
    Acquire,
    /// Who drains.
    Assign,
    /// What the holder of a token does.
    OnLedger,
    /// The id of a root, the first time.
    RecordRoot,
    /// The id of a root that has been replaced.
    AdoptRoot,
    /// A sink failed or worked.
    ReportSink,
    /// A penalty's time is up.
    ProbeSink,
    /// Forget penalties.
    ClearPenalties,
    /// An operator's word on a quarantined bucket.
    ResolveBucket,
}
