//! Unseals the sealed values in work just before a backend gets it, so that they are in the clear
//! only on the way into the engine.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use zeroize::Zeroize;

use super::{
    Action, Backend, BackendError, Desired, Done, EngineFacts, EngineObject, LogQuery, Notice,
    Observed, OutputFrame, Recreation, Replacement, Reporter, Work,
};
use crate::events::container::ContainerSpec;
use crate::ids::StreamId;
use crate::secrets::{Secrets, SecretsError};

/// A backend that is given unsealed values.
pub struct Unsealing {
    backend: Arc<dyn Backend>,
    secrets: Secrets,
}

impl Unsealing {
    /// Opens with these keys.
    pub fn new(backend: Arc<dyn Backend>, secrets: Secrets) -> Self {
        Self { backend, secrets }
    }

    /// Opens the values of a container that is to be made.
    async fn open(&self, work: &Work, spec: &mut ContainerSpec) -> Result<(), BackendError> {
        let Err(error) = self.secrets.open(&work.project, &mut spec.environment) else {
            return Ok(());
        };
        let words = error.to_string();
        match error {
            // An attempt before the key was erased may have made it; then it is only taken up.
            SecretsError::Erased { .. }
                if matches!(work.action, Action::Apply(_))
                    && self.backend.inspect(work.stream).await?.is_some() =>
            {
                Ok(())
            }
            SecretsError::Erased { .. } | SecretsError::Damaged(_) => {
                Err(BackendError::Refused(words))
            }
            SecretsError::Io { .. } => Err(BackendError::Failed(words)),
        }
    }
}

/// What a container is made from by this action.
const fn spec_of(action: &mut Action) -> Option<&mut ContainerSpec> {
    match action {
        Action::Apply(Desired::Container { spec, .. })
        | Action::Replace(Replacement::Container(Recreation { spec, .. })) => Some(spec),
        _ => None,
    }
}

#[async_trait]
impl Backend for Unsealing {
    async fn perform(&self, work: &Work, reporter: &dyn Reporter) -> Result<Done, BackendError> {
        let mut opened = work.clone();
        if let Some(spec) = spec_of(&mut opened.action) {
            self.open(work, spec).await?;
        }
        let done = self.backend.perform(&opened, reporter).await;
        if let Some(spec) = spec_of(&mut opened.action) {
            spec.environment.values_mut().for_each(Zeroize::zeroize);
        }
        done
    }

    async fn inspect(&self, stream: StreamId) -> Result<Option<Observed>, BackendError> {
        self.backend.inspect(stream).await
    }

    async fn inventory(&self) -> Result<Vec<(StreamId, EngineObject)>, BackendError> {
        self.backend.inventory().await
    }

    async fn notices(&self) -> Result<BoxStream<'static, Notice>, BackendError> {
        self.backend.notices().await
    }

    async fn logs(
        &self,
        stream: StreamId,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<OutputFrame, BackendError>>, BackendError> {
        self.backend.logs(stream, query).await
    }

    async fn probe(&self) -> Result<EngineFacts, BackendError> {
        self.backend.probe().await
    }
}
