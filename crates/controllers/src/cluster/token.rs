//! Service-account tokens of the older kind: Secrets that name an account get a token without
//! expiry, and go with their account.
//!
//! (Kubernetes `pkg/controller/serviceaccount/tokens_controller.go`)

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use reconcile::{
    Action, Cache, Caches, Ctx, Delete, Error, Key, Reconciler, Scope, Watches, or_gone,
};

use crate::common::owner::{annotation, name, namespace, uid};
use crate::deps::Deps;
use crate::options::ControllersOptions;

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

/// The controller.
pub(crate) struct Controller {
    secrets: Cache<Secret>,
    accounts: Cache<ServiceAccount>,
    options: Arc<ControllersOptions>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller {
        secrets: legacy_secrets(&deps.caches),
        accounts: deps.caches.of(),
        options: deps.options.clone(),
    })
}

/// The Secrets of legacy tokens.
pub(crate) fn legacy_secrets(caches: &Caches) -> Cache<Secret> {
    caches.scoped(Scope { field_selector: format!("type={TYPE}"), ..Scope::default() })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "serviceaccount-token-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        watches.own(&self.secrets);
        let secrets = self.secrets.clone();
        watches.on(&self.accounts, move |event, queue| {
            let account = event.object();
            for secret in secrets.list_in(namespace(&account.metadata)) {
                if annotation(&secret.metadata, ACCOUNT) == Some(name(&account.metadata)) {
                    queue.add(Key::of(&secret.metadata));
                }
            }
        });
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(secret) = self.secrets.get_key(key) else { return Ok(Action::Await) };
        let Some(wanted) = annotation(&secret.metadata, ACCOUNT) else { return Ok(Action::Await) };
        let account_key = Key::new(&key.namespace, wanted);
        let account = match self.accounts.get_key(&account_key) {
            Some(account) => Some((*account).clone()),
            // The cache may be late, and what is deleted does not come back.
            None => or_gone(ctx.writer.get::<ServiceAccount>(&account_key).await)?,
        };
        let bound = annotation(&secret.metadata, ACCOUNT_UID).filter(|uid| !uid.is_empty());
        let account =
            account.filter(|account| bound.is_none_or(|bound| bound == uid(&account.metadata)));
        let Some(account) = account else {
            let how = Delete::uid(secret.metadata.uid.as_deref());
            or_gone(ctx.writer.delete::<Secret>(key, how).await)?;
            return Ok(Action::Await);
        };
        if let Some(filled) = self.fill(&secret, &account)? {
            or_gone(ctx.writer.update(&filled).await)?;
        }
        Ok(Action::Await)
    }
}

impl Controller {
    /// The Secret with what it lacks, when it lacks anything.
    fn fill(&self, secret: &Secret, account: &ServiceAccount) -> Result<Option<Secret>, Error> {
        let mut filled = secret.clone();
        let (space, owner) = (namespace(&secret.metadata), name(&account.metadata));
        let annotations = filled.metadata.annotations.get_or_insert_default();
        annotations.insert(ACCOUNT_UID.to_owned(), uid(&account.metadata).to_owned());
        let data = filled.data.get_or_insert_default();
        let put = |bytes: &[u8]| ByteString(bytes.to_vec());
        let root_ca = self.options.root_ca_pem.borrow();
        if !root_ca.is_empty() {
            data.insert("ca.crt".to_owned(), put(root_ca.as_bytes()));
        }
        drop(root_ca);
        data.entry("namespace".to_owned()).or_insert_with(|| put(space.as_bytes()));
        if !data.contains_key("token")
            && let Some(issuer) = &self.options.token_issuer
        {
            let token = issuer
                .issue(space, owner, uid(&account.metadata), name(&secret.metadata))
                .map_err(|why| Error::Stuck(format!("cannot make a token for {owner}: {why}")))?;
            data.insert("token".to_owned(), put(token.as_bytes()));
        }
        Ok((filled != *secret).then_some(filled))
    }
}
