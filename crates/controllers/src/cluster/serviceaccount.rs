//! ServiceAccount: every namespace has one named `default`.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use reconcile::{Action, Cache, Class, Ctx, Error, Event, Failure, Key, Reconciler, Watches};

use crate::deps::Deps;

/// The controller.
pub(crate) struct Controller {
    namespaces: Cache<Namespace>,
    accounts: Cache<ServiceAccount>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller { namespaces: deps.caches.of(), accounts: deps.caches.of() })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "serviceaccount-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        watches.own(&self.namespaces);
        watches.on(&self.accounts, |event, queue| {
            if let Event::Deleted(account) = event
                && account.metadata.name.as_deref() == Some("default")
                && let Some(namespace) = &account.metadata.namespace
            {
                queue.add(Key::new("", namespace));
            }
        });
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        if !is_active(&self.namespaces, &key.name)
            || self.accounts.get(&key.name, "default").is_some()
        {
            return Ok(Action::Await);
        }
        let account = ServiceAccount {
            metadata: ObjectMeta {
                name: Some("default".to_owned()),
                namespace: Some(key.name.to_string()),
                ..ObjectMeta::default()
            },
            ..ServiceAccount::default()
        };
        unless_gone(ctx.writer.create(&account).await)?;
        Ok(Action::Await)
    }
}

/// Whether a namespace is there and is not being deleted.
pub(crate) fn is_active(namespaces: &Cache<Namespace>, name: &str) -> bool {
    namespaces.get("", name).is_some_and(|found| found.metadata.deletion_timestamp.is_none())
}

/// A creation that someone else was quicker with, or whose namespace goes, is no failure.
pub(crate) fn unless_gone<T>(result: Result<T, Failure>) -> Result<(), Failure> {
    match result {
        Err(failure)
            if !matches!(
                failure.class,
                Class::AlreadyExists | Class::NamespaceTerminating | Class::NotFound
            ) =>
        {
            Err(failure)
        }
        _ => Ok(()),
    }
}
