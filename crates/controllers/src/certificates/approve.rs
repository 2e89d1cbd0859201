//! Approves the requests of kubelets for their own client certificates, when the requester may
//! have them.
//!
//! (Kubernetes `pkg/controller/certificates/approver`)

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use reconcile::{Action, Cache, Ctx, Error, Failure, Key, Reconciler, Watches, or_gone};
use serde_json::{Value, json};

use super::has;
use super::recognize::{KUBELET_CLIENT, Subject, check};
use crate::deps::Deps;

/// The controller.
pub(crate) struct Controller {
    csrs: Cache<CertificateSigningRequest>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller { csrs: deps.caches.of() })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "certificatesigningrequest-approving-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        watches.own(&self.csrs);
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(csr) = self.csrs.get_key(key) else { return Ok(Action::Await) };
        if csr.spec.signer_name != KUBELET_CLIENT || has(&csr, "Approved") || has(&csr, "Denied") {
            return Ok(Action::Await);
        }
        let Some(node) = node_of(&csr) else { return Ok(Action::Await) };
        let own = csr.spec.username.as_deref() == Some(&node);
        let ways = [
            (
                own,
                "selfnodeclient",
                "Auto approving self kubelet client certificate after SubjectAccessReview.",
            ),
            (
                true,
                "nodeclient",
                "Auto approving kubelet client certificate after SubjectAccessReview.",
            ),
        ];
        for (applies, subresource, message) in ways {
            if applies && may(ctx, &csr, subresource).await? {
                approve(ctx, &csr, message).await?;
                break;
            }
        }
        Ok(Action::Await)
    }
}

/// The node that a request asks a client certificate for, when it asks for nothing else.
fn node_of(csr: &CertificateSigningRequest) -> Option<String> {
    let subject = Subject::of(csr).ok()?;
    let usages = csr.spec.usages.clone().unwrap_or_default();
    check(KUBELET_CLIENT, &subject, &usages).is_ok().then_some(subject.common_name)
}

async fn may(
    ctx: &Ctx,
    csr: &CertificateSigningRequest,
    subresource: &str,
) -> Result<bool, Failure> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {
            "user": csr.spec.username, "uid": csr.spec.uid, "groups": csr.spec.groups,
            "extra": csr.spec.extra,
            "resourceAttributes": {"group": "certificates.k8s.io", "verb": "create",
                "resource": "certificatesigningrequests", "subresource": subresource, "version": "*"},
        },
    });
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let answer = ctx.writer.raw("POST", path, review.to_string().into_bytes()).await?;
    let answer: Value = serde_json::from_slice(&answer)
        .map_err(|error| Failure::decode("read an access review".to_owned(), &error))?;
    Ok(answer.pointer("/status/allowed").and_then(Value::as_bool).unwrap_or_default())
}

async fn approve(ctx: &Ctx, csr: &CertificateSigningRequest, message: &str) -> Result<(), Failure> {
    let mut approved = csr.clone();
    let status = approved.status.get_or_insert_default();
    status.conditions.get_or_insert_default().push(CertificateSigningRequestCondition {
        type_: "Approved".to_owned(),
        status: "True".to_owned(),
        reason: Some("AutoApproved".to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(Time(ctx.clock.now())),
        last_transition_time: None,
    });
    or_gone(ctx.writer.replace(&approved, "approval").await)?;
    Ok(())
}
