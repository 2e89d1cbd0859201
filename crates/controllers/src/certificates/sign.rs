//! Signs approved requests for the cluster's own signers.
//!
//! (Kubernetes `pkg/controller/certificates/signer`)

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use reconcile::{Action, Cache, Ctx, Error, Key, Reconciler, Watches, or_gone};

use super::recognize::{API_CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY, Subject, check};
use super::{has, is_issued};
use crate::deps::Deps;
use crate::options::Signer;

const SIGNERS: [&str; 4] = [API_CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY];

/// The controller.
pub(crate) struct Controller {
    csrs: Cache<CertificateSigningRequest>,
    signer: Option<Arc<dyn Signer>>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller { csrs: deps.caches.of(), signer: deps.options.signer.clone() })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "certificatesigningrequest-signing-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        watches.own(&self.csrs);
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let (Some(csr), Some(signer)) = (self.csrs.get_key(key), &self.signer) else {
            return Ok(Action::Await);
        };
        let wanted = SIGNERS.contains(&csr.spec.signer_name.as_str());
        if !wanted || !has(&csr, "Approved") || has(&csr, "Failed") || is_issued(&csr) {
            return Ok(Action::Await);
        }
        let usages = csr.spec.usages.clone().unwrap_or_default();
        let recognized =
            Subject::of(&csr).and_then(|subject| check(&csr.spec.signer_name, &subject, &usages));
        let signed = recognized.and_then(|()| {
            signer.sign(
                &csr.spec.signer_name,
                &csr.spec.request.0,
                &usages,
                csr.spec.expiration_seconds,
            )
        });
        let mut updated = (*csr).clone();
        let status = updated.status.get_or_insert_default();
        match signed {
            Ok(chain) => status.certificate = Some(ByteString(chain)),
            Err(why) => {
                let now = Time(ctx.clock.now());
                let failed = CertificateSigningRequestCondition {
                    type_: "Failed".to_owned(),
                    status: "True".to_owned(),
                    reason: Some("SignerValidationFailure".to_owned()),
                    message: Some(why),
                    last_update_time: Some(now),
                    last_transition_time: None,
                };
                status.conditions.get_or_insert_default().push(failed);
            }
        }
        or_gone(ctx.writer.update_status(&updated).await)?;
        Ok(Action::Await)
    }
}
