//! `projected`: ConfigMaps, Secrets, the downward API and service-account tokens in one folder.
//!
//! A token is got anew when four fifths of its life are over; until then the volume says when.

use async_trait::async_trait;
use base::clock::Timestamp;
use k8s_openapi::api::core::v1::{Pod, ServiceAccountTokenProjection, Volume, VolumeProjection};

use super::payload::{File, Payload};
use super::{Context, Prepared, VolumeError, VolumePlugin, payload};
use crate::objects::ObjectRef;
use crate::pod;

pub(crate) struct Projected;

#[async_trait]
impl VolumePlugin for Projected {
    fn folder(&self) -> &'static str {
        "kubernetes.io~projected"
    }

    fn takes(&self, volume: &Volume) -> bool {
        volume.projected.is_some()
    }

    fn references(&self, pod: &Pod, volume: &Volume) -> Vec<ObjectRef> {
        let namespace = pod::namespace(pod);
        let sources = volume.projected.iter().flat_map(|one| one.sources.iter().flatten());
        sources
            .flat_map(|source| {
                let map = source
                    .config_map
                    .as_ref()
                    .map(|one| ObjectRef::config_map(namespace, &one.name));
                let secret =
                    source.secret.as_ref().map(|one| ObjectRef::secret(namespace, &one.name));
                map.into_iter().chain(secret)
            })
            .collect()
    }

    async fn set_up(&self, ctx: &Context<'_>, volume: &Volume) -> Result<Prepared, VolumeError> {
        let source = volume.projected.clone().unwrap_or_default();
        let mut files = Payload::new();
        let mut refresh_at: Option<Timestamp> = None;
        for one in source.sources.iter().flatten() {
            if let Some(token) = &one.service_account_token {
                let (file, until) = token_file(ctx, token, source.default_mode).await?;
                files.insert(token.path.clone(), file);
                refresh_at = Some(refresh_at.map_or(until, |at| at.min(until)));
                continue;
            }
            files.extend(plain(ctx, one, source.default_mode).await?);
        }
        super::write_in_memory(ctx, files, refresh_at).await
    }
}

async fn plain(
    ctx: &Context<'_>,
    source: &VolumeProjection,
    mode: Option<i32>,
) -> Result<Payload, VolumeError> {
    let namespace = pod::namespace(ctx.pod);
    if let Some(one) = &source.config_map {
        let object =
            ctx.objects.config_map(namespace, &one.name).await.map_err(VolumeError::Api)?;
        let optional = one.optional == Some(true);
        return payload::of_config_map(
            object.as_deref(),
            &one.name,
            one.items.as_deref(),
            mode,
            optional,
        );
    }
    if let Some(one) = &source.secret {
        let object = ctx.objects.secret(namespace, &one.name).await.map_err(VolumeError::Api)?;
        let optional = one.optional == Some(true);
        return payload::of_secret(
            object.as_deref(),
            &one.name,
            one.items.as_deref(),
            mode,
            optional,
        );
    }
    if let Some(one) = &source.downward_api {
        return payload::of_downward(ctx.pod, ctx.place, one.items.as_deref(), mode);
    }
    if source.cluster_trust_bundle.as_ref().is_some_and(|one| one.optional == Some(true)) {
        return Ok(Payload::new());
    }
    let name =
        if source.cluster_trust_bundle.is_some() { "clusterTrustBundle" } else { "podCertificate" };
    Err(VolumeError::Unsupported(format!("projected {name}")))
}

/// A token as a file: only for its user when the pod has one, or a group.
async fn token_file(
    ctx: &Context<'_>,
    source: &ServiceAccountTokenProjection,
    mode: Option<i32>,
) -> Result<(File, Timestamp), VolumeError> {
    let token = ctx.tokens.get(ctx.pod, source, ctx.now).await.map_err(VolumeError::Token)?;
    let owner = common_user(ctx.pod);
    let private = owner.is_some() || ctx.fs_group().is_some();
    let mode = if private { 0o600 } else { payload::mode(None, mode) };
    Ok((File { data: token.value.into_bytes(), mode, owner }, token.refresh_at))
}

/// The user as which all of the pod's containers run, when it is one and the same.
fn common_user(pod: &Pod) -> Option<u32> {
    let spec = pod::spec(pod);
    let pod_wide = spec.security_context.as_ref().and_then(|own| own.run_as_user);
    let mut users = pod::containers(pod)
        .iter()
        .map(|(_, container)| {
            container.security_context.as_ref().and_then(|own| own.run_as_user).or(pod_wide)
        })
        .collect::<Vec<_>>();
    users.dedup();
    match users.as_slice() {
        [Some(user)] => u32::try_from(*user).ok(),
        _ => None,
    }
}
