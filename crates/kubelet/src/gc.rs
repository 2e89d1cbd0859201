//! Image garbage collection: when the disk is fuller than 85 %, unused images go until it is 80 %.
//!
//! The choice is pure; the thresholds are upstream's defaults.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Duration;

use base::clock::{SignedDuration, Timestamp};
use base::drain::Drain;
use container_runtime::{ContainerFilter, Image, ImageFilter, ImageService, ImageSpec};

use crate::context::NodeContext;
use crate::node::machine;

const LOOK: Duration = Duration::from_secs(300);
const HIGH_PERCENT: u64 = 85;
const LOW_PERCENT: u64 = 80;
/// An image that was seen first less than this ago stays: someone may be about to use it.
const AGE_MIN: SignedDuration = SignedDuration::from_secs(120);

/// Collects until the drain fires.
pub(crate) async fn run(node: &NodeContext, images: &dyn ImageService, drain: &Drain) {
    let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
    loop {
        tokio::select! {
            () = drain.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        look(node, images, &mut seen).await;
    }
}

/// What is remembered of an image.
#[derive(Debug, Clone, Copy)]
struct Seen {
    first: Timestamp,
    used: Timestamp,
}

async fn look(node: &NodeContext, images: &dyn ImageService, seen: &mut BTreeMap<String, Seen>) {
    let Ok(all) = images.list_images(&ImageFilter::default()).await else { return };
    let Ok(containers) = node.runtime.list_containers(&ContainerFilter::default()).await else {
        return;
    };
    let used: HashSet<String> = containers
        .iter()
        .flat_map(|one| [one.image_id.clone(), one.image_ref.clone(), one.image.image.clone()])
        .collect();
    let now = node.clock.now();
    let is_used = |image: &Image| {
        used.contains(&image.id)
            || image.repo_tags.iter().chain(&image.repo_digests).any(|name| used.contains(name))
    };
    seen.retain(|id, _| all.iter().any(|image| image.id == *id));
    for image in &all {
        let entry = seen
            .entry(image.id.clone())
            .or_insert(Seen { first: now, used: Timestamp::UNIX_EPOCH });
        if is_used(image) {
            entry.used = now;
        }
    }
    let place = images
        .image_fs_info()
        .await
        .ok()
        .and_then(|info| info.image_filesystems.into_iter().next());
    let path = place.map_or_else(|| node.options.data_dir.clone(), |place| place.mountpoint.into());
    let Some(wanted) = bytes_to_free(&path) else { return };
    let mut freed = 0;
    let candidates: Vec<&Image> =
        all.iter().filter(|image| !image.pinned && !is_used(image)).collect();
    for image in choose(candidates, seen, wanted, now) {
        match images.remove_image(&ImageSpec::named(image.id.clone())).await {
            Ok(()) => freed += image.size,
            Err(error) => {
                tracing::warn!(image = image.id, %error, "an unused image was not removed")
            }
        }
    }
    tracing::info!(wanted, freed, "the disk was nearly full, unused images were removed");
    if freed < wanted
        && let Some(object) = node.objects.nodes.get("", &node.options.node_name)
    {
        let text = format!(
            "Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, but only found {freed} bytes eligible to free."
        );
        node.recorder.warning(&*object, "FreeDiskSpaceFailed", text);
    }
}

fn bytes_to_free(path: &Path) -> Option<u64> {
    let [free, all, ..] = machine::disk(path)?;
    let used = all.saturating_sub(free);
    (used * 100 >= all * HIGH_PERCENT).then(|| used.saturating_sub(all / 100 * LOW_PERCENT))
}

/// The images to remove: those that were not used for longest first, until enough is free.
fn choose<'a>(
    mut unused: Vec<&'a Image>,
    seen: &BTreeMap<String, Seen>,
    wanted: u64,
    now: Timestamp,
) -> Vec<&'a Image> {
    unused.retain(|image| {
        seen.get(&image.id).is_some_and(|seen| now.duration_since(seen.first) >= AGE_MIN)
    });
    unused.sort_by_key(|image| seen.get(&image.id).map(|seen| (seen.used, seen.first)));
    let mut freed = 0;
    unused
        .into_iter()
        .take_while(|image| {
            let more = freed < wanted;
            freed += image.size;
            more
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_go_first_and_no_more_than_needed() {
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        let images: Vec<Image> = ["new", "old", "older", "fresh"]
            .iter()
            .map(|id| Image { id: (*id).into(), size: 10, ..Image::default() })
            .collect();
        let seen = [("new", 0, 900), ("old", 0, 500), ("older", 0, 100), ("fresh", 950, 0)]
            .map(|(id, first, used)| (id.to_owned(), Seen { first: at(first), used: at(used) }))
            .into();
        let chosen = |wanted| -> Vec<&str> {
            choose(images.iter().collect(), &seen, wanted, at(1000))
                .iter()
                .map(|image| image.id.as_str())
                .collect()
        };
        assert_eq!(chosen(15), ["older", "old"]);
        assert_eq!(chosen(100), ["older", "old", "new"]);
    }
}
