//! Unseals the sealed values in work just before a backend gets it, so that they are in the clear
//! only on the way into the engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use zeroize::Zeroize;

use super::{
    Action, Backend, BackendError, Desired, Done, EngineFacts, EngineObject, LogQuery, Notice,
    Observed, ObservedPod, OutputFrame, Recreation, Replacement, Reporter, Work,
};
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

    /// Opens the values of what is to be made.
    async fn open(
        &self,
        work: &Work,
        values: &mut BTreeMap<String, String>,
    ) -> Result<(), BackendError> {
        let Err(error) = self.secrets.open(&work.project, values) else { return Ok(()) };
        let words = error.to_string();
        match error {
            // An attempt before the key was erased may have made it; then it is only taken up.
            SecretsError::Erased { .. } if self.is_made(work).await? => Ok(()),
            SecretsError::Erased { .. } | SecretsError::Damaged(_) => {
                Err(BackendError::Refused(words))
            }
            SecretsError::Io { .. } => Err(BackendError::Failed(words)),
        }
    }

    /// Whether an earlier attempt made all that is to be made.
    async fn is_made(&self, work: &Work) -> Result<bool, BackendError> {
        match &work.action {
            Action::Apply(Desired::Pod { spec, .. }) => {
                let made = self.backend.inspect_pod(work.stream).await?;
                let made = made.filter(|made| made.is_up && made.work_id == Some(work.id));
                Ok(made.is_some_and(|made| made.containers.len() == spec.containers.len()))
            }
            Action::Apply(_) => Ok(self.backend.inspect(work.stream).await?.is_some()),
            _ => Ok(false),
        }
    }
}

/// The values of what is made by this action.
const fn values_of(action: &mut Action) -> Option<&mut BTreeMap<String, String>> {
    match action {
        Action::Apply(Desired::Container { spec, .. })
        | Action::Replace(Replacement::Container(Recreation { spec, .. })) => {
            Some(&mut spec.environment)
        }
        Action::Apply(Desired::Pod { spec, .. }) => Some(&mut spec.environment),
        _ => None,
    }
}

#[async_trait]
impl Backend for Unsealing {
    async fn perform(&self, work: &Work, reporter: &dyn Reporter) -> Result<Done, BackendError> {
        let mut opened = work.clone();
        if let Some(values) = values_of(&mut opened.action) {
            self.open(work, values).await?;
        }
        let done = self.backend.perform(&opened, reporter).await;
        if let Some(values) = values_of(&mut opened.action) {
            values.values_mut().for_each(Zeroize::zeroize);
        }
        done
    }

    async fn inspect(&self, stream: StreamId) -> Result<Option<Observed>, BackendError> {
        self.backend.inspect(stream).await
    }

    async fn inspect_pod(&self, stream: StreamId) -> Result<Option<ObservedPod>, BackendError> {
        self.backend.inspect_pod(stream).await
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
