//! The operators' gRPC service.

mod audit;
mod flows;
mod letters;
mod tap;
mod ways_out;

use crate::cluster::Cluster;
use crate::drains::Drains;
use crate::figures::Figures;
use crate::file_systems::NodeFileSystems;
use crate::flows::Flows;
use crate::letters::Letters;
use crate::lineages::Lineages;
use crate::sources::LocalSources;
use proto::v1;
use proto::v1::admin_server::Admin;
use sdk_files::archive::Archive;
use sdk_flow::Tasks;
use std::sync::Arc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// What operators ask, and what they may change.
#[derive(Clone)]
pub(crate) struct AdminService {
    pub(crate) figures: Arc<Figures>,
    pub(crate) cluster: Cluster,
    pub(crate) lineages: Arc<Lineages>,
    pub(crate) flows: Flows,
    pub(crate) drains: Arc<Drains>,
    pub(crate) archive: Arc<Archive>,
    pub(crate) file_systems: NodeFileSystems,
    pub(crate) letters: Arc<Letters>,
    /// Held by the one deep audit.
    pub(crate) auditing: Arc<tokio::sync::Mutex<()>>,
    pub(crate) sources: Arc<LocalSources>,
    pub(crate) tasks: Tasks,
}

/// A refusal that the caller can do something about.
pub(crate) fn refused(reason: impl Into<String>) -> Status {
    Status::failed_precondition(reason)
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Admin for AdminService {
    async fn status(&self, _: Request<v1::StatusRequest>) -> Answer<v1::StatusReply> {
        Ok(Response::new(self.figures.look()))
    }

    async fn audit(&self, request: Request<v1::AuditRequest>) -> Answer<v1::AuditReply> {
        let v1::AuditRequest { deep, since_ms } = request.into_inner();
        let audit = if deep { self.deep_audit(since_ms).await? } else { self.audit_books().await };
        Ok(Response::new(audit))
    }

    type TapStream = tap::Tap;

    async fn tap(&self, request: Request<v1::TapRequest>) -> Answer<Self::TapStream> {
        let v1::TapRequest { flow, limit } = request.into_inner();
        Ok(Response::new(self.tap_flow(&flow, limit)?))
    }

    async fn list_flows(&self, _: Request<v1::ListFlowsRequest>) -> Answer<v1::ListFlowsReply> {
        Ok(Response::new(v1::ListFlowsReply { flows: self.figures.look().flows }))
    }

    async fn get_flow(&self, request: Request<v1::GetFlowRequest>) -> Answer<v1::GetFlowReply> {
        self.flow_text(&request.into_inner().name).map(Response::new)
    }

    async fn check_flows(
        &self,
        request: Request<v1::ApplyFlowsRequest>,
    ) -> Answer<v1::ApplyFlowsReply> {
        let v1::ApplyFlowsRequest { toml, file, .. } = request.into_inner();
        Ok(Response::new(self.planned(&toml, &file).reply))
    }

    async fn apply_flows(
        &self,
        request: Request<v1::ApplyFlowsRequest>,
    ) -> Answer<v1::ApplyFlowsReply> {
        let v1::ApplyFlowsRequest { toml, file, discard } = request.into_inner();
        self.apply(&toml, &file, discard).await.map(Response::new)
    }

    async fn list_sinks(&self, _: Request<v1::ListSinksRequest>) -> Answer<v1::ListSinksReply> {
        Ok(Response::new(v1::ListSinksReply { sinks: self.figures.sinks() }))
    }

    async fn list_penalties(
        &self,
        _: Request<v1::ListPenaltiesRequest>,
    ) -> Answer<v1::ListPenaltiesReply> {
        Ok(Response::new(v1::ListPenaltiesReply { penalties: self.figures.penalties() }))
    }

    async fn clear_penalties(
        &self,
        request: Request<v1::ClearPenaltiesRequest>,
    ) -> Answer<v1::ClearPenaltiesReply> {
        self.clear(&request.into_inner().sink).await.map(Response::new)
    }

    async fn list_buckets(
        &self,
        _: Request<v1::ListBucketsRequest>,
    ) -> Answer<v1::ListBucketsReply> {
        Ok(Response::new(v1::ListBucketsReply { buckets: self.buckets() }))
    }

    async fn resolve_bucket(
        &self,
        request: Request<v1::ResolveBucketRequest>,
    ) -> Answer<v1::ResolveBucketReply> {
        self.resolve(request.into_inner()).await.map(Response::new)
    }

    async fn adopt_root(
        &self,
        request: Request<v1::AdoptRootRequest>,
    ) -> Answer<v1::AdoptRootReply> {
        self.adopt(request.into_inner()).await.map(Response::new)
    }

    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Answer<v1::ListDeadLettersReply> {
        self.letters(&request.into_inner().flow).await.map(Response::new)
    }

    type ShowDeadLettersStream = ReceiverStream<Result<v1::DeadLetter, Status>>;

    async fn show_dead_letters(
        &self,
        request: Request<v1::ShowDeadLettersRequest>,
    ) -> Answer<Self::ShowDeadLettersStream> {
        self.letter_file(&request.into_inner().path).await.map(Response::new)
    }

    async fn abandon_lineage(
        &self,
        request: Request<v1::AbandonLineageRequest>,
    ) -> Answer<v1::AbandonLineageReply> {
        self.abandon(&request.into_inner().lineage).await.map(Response::new)
    }
}
